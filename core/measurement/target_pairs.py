"""A target's pairs as a model reads them: tokens, likelihoods before and after a warm-up, and what to tell of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from core.errors import MethodError
from core.measurement.stages import Sweep
from core.methods.preference_influence import PreferenceInfluence
from core.models.batching import count_predicted_tokens
from core.models.encoder import Encoder
from core.models.loading import load_tokenizer
from core.models.training.checkpoints import EpochCheckpoint
from core.models.training.target_directions import dpo_margins, log_likelihoods, pair_accuracy
from core.pool.preference.target_sets import TargetSet, compare_lengths, find_prompt_overlap, load_target_set
from core.schema import IntArray

MOSTLY = 0.6  # share of pairs with the longer answer chosen from which length may be what is learnt
WHOLE = "all pairs"  # the one sub-task of a set without any
Sides = Mapping[str, list[Any]]
LIKELIHOODS = ("chosen", "rejected")


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs of one target that can be used, as tokens."""

    targets: TargetSet
    chosen: Sides  # columns tokens and spans
    rejected: Sides
    subtasks: list[str]  # of each pair
    truncated: int  # pairs whose prompt lost its beginning, or an answer its end

    @property
    def names(self) -> tuple[str, ...]:
        """Sub-tasks in the order in which they first occur: that of directions."""
        return tuple(dict.fromkeys(self.subtasks))


def read_pairs(sweep: Sweep, method: PreferenceInfluence, source: str, seed: int) -> Pairs:
    """A target set as tokens; MethodError where no pair of it has two different answers that the model can read."""
    targets = load_target_set(source, subtask=method.subtask or None, limit=method.pairs or None, seed=seed)
    encoder = Encoder(load_tokenizer(sweep.ref), replace(sweep.reading, answers="last"))
    both = {side: _encoded(encoder, targets, side) for side in ("chosen", "rejected")}
    usable = np.array([_differ(both["chosen"], both["rejected"], j) for j in range(len(targets))], np.bool_)
    if not usable.any():
        raise MethodError(
            f"{targets.name}: no pair has two different answers within {encoder.max_length} tokens. Raise max_length, "
            "or give another target set."
        )
    rows = np.flatnonzero(usable)
    truncated = both["chosen"]["truncated"][rows] | both["rejected"]["truncated"][rows]
    chosen, rejected = ({k: [side[k][j] for j in rows] for k in ("tokens", "spans")} for side in both.values())
    named = targets.pairs["subtask"].to_pylist()
    return Pairs(targets, chosen, rejected, [named[j] or WHOLE for j in rows], int(truncated.sum()))


def _encoded(encoder: Encoder, targets: TargetSet, side: str) -> dict[str, Any]:
    asked, said = targets.pairs["prompt"].to_pylist(), targets.pairs[side].to_pylist()
    turns = [[*orjson.loads(a), {"role": "assistant", "content": s}] for a, s in zip(asked, said, strict=True)]
    texts = [orjson.dumps(t).decode() for t in turns]
    return encoder({"prompt": asked, "response": said, "turns": texts})


def _differ(chosen: Sides, rejected: Sides, j: int) -> bool:
    readable = count_predicted_tokens(chosen["spans"][j]) and count_predicted_tokens(rejected["spans"][j])
    return bool(readable and not np.array_equal(chosen["tokens"][j], rejected["tokens"][j]))


def about_state(sweep: Sweep, checkpoint: EpochCheckpoint | None) -> dict[str, Any]:
    """What the measurements under a checkpoint, or under the base model, are keyed by."""
    about = sweep.about_model("influence")
    if checkpoint is None:
        return about | {"state": None}
    return about | {"state": checkpoint.state.parents[2].name, "epoch": checkpoint.epoch}


def likelihoods_of(sweep: Sweep, pairs: Pairs, checkpoints: Sequence[EpochCheckpoint]) -> list[NDArray[np.float64]]:
    """(P, 2) log-likelihoods of chosen and rejected answers: under the base model, then under each checkpoint."""
    found, tokens = [], _pair_tokens(pairs)
    plan = [np.arange(len(pairs.subtasks))]
    for checkpoint in (None, *checkpoints):
        spec = about_state(sweep, checkpoint) | {"likelihoods": pairs.targets.fingerprint}
        with sweep.timed("influence"), sweep.stage(spec, plan) as parts:
            for part, _ in sweep.missing([parts], "Reading the target's pairs", tokens):
                model = sweep.model(checkpoint.state if checkpoint else None)
                sides = [log_likelihoods(model, side) for side in (pairs.chosen, pairs.rejected)]
                parts.write(part, pa.table(dict(zip(LIKELIHOODS, map(pa.array, sides), strict=True))))
        columns = [parts.column(name, len(pairs.subtasks)) for name in LIKELIHOODS]
        found.append(np.stack(columns, axis=1))
    return found


def _pair_tokens(pairs: Pairs) -> IntArray:
    both = zip(pairs.chosen["tokens"], pairs.rejected["tokens"], strict=True)
    return np.array([len(a) + len(b) for a, b in both], np.int64)


def told_of(sweep: Sweep, name: str, pairs: Pairs, likelihoods: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
    """What people want to know of a target set: what is in it, what was left out, and how the model takes it."""
    targets, base = pairs.targets, likelihoods[0]
    shared, length = find_prompt_overlap(targets, sweep.pool), compare_lengths(targets)
    counts = {subtask: pairs.subtasks.count(subtask) for subtask in pairs.names}
    accuracy = [pair_accuracy(both @ np.array([1.0, -1.0])) for both in likelihoods]
    return {
        "name": name,
        "source": targets.source,
        "shape": targets.shape,
        "fingerprint": targets.fingerprint,
        "pairs": len(targets),
        "available": targets.available,
        "unused": len(targets) - len(pairs.subtasks),
        "truncated": pairs.truncated,
        "subtasks": counts,
        "problems": dict(targets.problems),
        "notices": list(targets.notices),
        "shared_rows": len(shared.rows),
        "shared_pairs": len(shared.pairs),
        "length_ratio": length.ratio,
        "chosen_longer": length.chosen_longer,
        "accuracy": accuracy,
        "margin_accuracy": [pair_accuracy(dpo_margins(both, base)) for both in likelihoods[1:]],
    }


def doubts_of_targets(told: Sequence[Mapping[str, Any]]) -> list[str]:
    """What should make people look twice at influence on these targets (as `told_of` tells of them)."""
    found = []
    for one in told:
        if max(one["chosen_longer"], 1 - one["chosen_longer"]) >= MOSTLY:
            longer = "longer" if one["chosen_longer"] > 0.5 else "shorter"
            share = max(one["chosen_longer"], 1 - one["chosen_longer"])
            found.append(
                f"{one['name']}: the chosen answer is the {longer} one in {share:.0%} of the pairs, and summed "
                "log-probabilities see length. Hold the influence against response length."
            )
        if one["shared_rows"]:
            found.append(
                f"{one['name']}: {one['shared_rows']:,} rows of the pool ask the same as {one['shared_pairs']:,} pairs."
            )
        if one["truncated"]:
            found.append(f"{one['name']}: {one['truncated']:,} pairs were longer than the model was allowed to read.")
    return found
