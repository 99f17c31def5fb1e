"""Pairs of a target set as tokens, with log-likelihoods before and after a warm-up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from core.errors import MethodError
from core.measurement.stages import PoolStages
from core.methods.preference_influence import PreferenceInfluence
from core.models.encoder import Encoder
from core.pool.preference.target_sets import TargetSet, compare_lengths, find_prompt_overlap, load_target_set
from core.schema import IntArray

if TYPE_CHECKING:
    from core.models.training.checkpoints import EpochCheckpoint

LENGTH_BIAS = 0.6  # from this share of pairs with the longer answer chosen, length may be what is learnt
WHOLE = "all pairs"  # the sub-task of a set that names none
Sides = Mapping[str, list[Any]]


@dataclass(frozen=True, eq=False)
class Pairs:
    """The usable pairs of one target set, as tokens."""

    targets: TargetSet
    rows: IntArray  # of `targets.pairs` that are usable
    chosen: Sides  # columns tokens and spans
    rejected: Sides
    subtasks: list[str]  # of each pair
    prompt_cut: int  # pairs whose prompt was shortened, equally for both answers
    answer_cut: int  # pairs with an answer that lost its end

    @property
    def names(self) -> tuple[str, ...]:
        """Sub-tasks in order of first occurrence, which is also the order of directions."""
        return tuple(dict.fromkeys(self.subtasks))


def read_pairs(stages: PoolStages, method: PreferenceInfluence, source: str, seed: int) -> Pairs:
    """Read a target set as tokens; MethodError if no pair has two different answers within the model's limit."""
    targets = load_target_set(source, subtask=method.subtask or None, limit=method.pairs or None, seed=seed)
    return encode_pairs(stages, targets)


def encode_pairs(stages: PoolStages, targets: TargetSet) -> Pairs:
    """Encode the pairs of a target set; MethodError if no pair has two different answers within the model's limit."""
    encoder = Encoder(stages.tokenizer, replace(stages.reading, answers="last"))
    both = encoder.encode_pairs(*(_side_columns(targets, side) for side in ("chosen", "rejected")))
    usable = np.array([_differ(*both, j) for j in range(len(targets))], np.bool_)
    if not usable.any():
        raise MethodError(
            f"{targets.name}: no pair has two different answers within {encoder.max_length} tokens. Raise max_length, "
            "or give another target set."
        )
    rows = np.flatnonzero(usable)
    cut = [int(((both[0][name] + both[1][name])[rows] > 0).sum()) for name in ("prompt_cut", "response_cut")]
    chosen, rejected = ({k: [side[k][j] for j in rows] for k in ("tokens", "spans")} for side in both)
    named = targets.pairs["subtask"].to_pylist()
    return Pairs(targets, rows, chosen, rejected, [named[j] or WHOLE for j in rows], *cut)


def _side_columns(targets: TargetSet, side: str) -> dict[str, list[Any]]:
    """Return one answer to each prompt, as the columns that the encoder reads."""
    prompts, answers = targets.pairs["prompt"].to_pylist(), targets.pairs[side].to_pylist()
    turns = [[*orjson.loads(p), {"role": "assistant", "content": a}] for p, a in zip(prompts, answers, strict=True)]
    return {"prompt": prompts, "response": answers, "turns": [orjson.dumps(t).decode() for t in turns]}


def _differ(chosen: Sides, rejected: Sides, j: int) -> bool:
    from core.models.batching import count_predicted_tokens

    readable = count_predicted_tokens(chosen["spans"][j]) and count_predicted_tokens(rejected["spans"][j])
    return bool(readable and not np.array_equal(chosen["tokens"][j], rejected["tokens"][j]))


def state_spec(stages: PoolStages, checkpoint: "EpochCheckpoint | None") -> dict[str, Any]:
    """Return the spec that all stages under a checkpoint (None: the base model) have in common."""
    about = stages.model_spec("influence")
    if checkpoint is None:
        return about | {"state": None}
    return about | {"state": checkpoint.state.parents[2].name, "epoch": checkpoint.epoch}


def measure_likelihoods(
    stages: PoolStages, pairs: Pairs, checkpoints: Sequence["EpochCheckpoint"]
) -> list[NDArray[np.float64]]:
    """Return log-likelihoods (P, 2) of chosen and rejected answers: of the base model, then of each checkpoint."""
    from core.models.training.target_directions import log_likelihoods

    n, sides = len(pairs.subtasks), {"chosen": pairs.chosen, "rejected": pairs.rejected}
    both = zip(pairs.chosen["tokens"], pairs.rejected["tokens"], strict=True)
    work = np.array([len(chosen) + len(rejected) for chosen, rejected in both], np.int64)

    def measure(checkpoint: "EpochCheckpoint | None") -> NDArray[np.float64]:
        def read(_: IntArray) -> pa.Table:
            model = stages.model(checkpoint.state if checkpoint else None)
            return pa.table({name: log_likelihoods(model, side) for name, side in sides.items()})

        spec = state_spec(stages, checkpoint) | {"likelihoods": pairs.targets.fingerprint}
        parts = stages.fill(spec, [np.arange(n)], "Measuring the target pairs", lambda: read, work)
        return np.stack([parts.column(name, n) for name in sides], axis=1)

    return [measure(checkpoint) for checkpoint in (None, *checkpoints)]


def describe_targets(
    stages: PoolStages, name: str, pairs: Pairs, likelihoods: Sequence[NDArray[np.float64]]
) -> dict[str, Any]:
    """Return facts on a target set: counts, unused pairs, and how often the model prefers the chosen answers."""
    from core.models.training.target_directions import dpo_margins, pair_accuracy

    targets, base = pairs.targets, likelihoods[0]
    shared, length = find_prompt_overlap(targets, stages.pool), compare_lengths(targets)
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
        "prompt_cut": pairs.prompt_cut,
        "answer_cut": pairs.answer_cut,
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


def target_warnings(targets: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return reasons to doubt influence on these targets, as sentences; `targets`: facts from `describe_targets`."""
    warnings = []
    for one in targets:
        share = max(one["chosen_longer"], 1 - one["chosen_longer"])
        if share >= LENGTH_BIAS:
            longer = "longer" if one["chosen_longer"] > 0.5 else "shorter"
            warnings.append(
                f"{one['name']}: the chosen answer is the {longer} one in {share:.0%} of the pairs, and summed "
                "log-probabilities depend on length. Compare the influence with response length."
            )
        if one["shared_rows"]:
            warnings.append(
                f"{one['name']}: {one['shared_rows']:,} rows of the pool have the same prompt as "
                f"{one['shared_pairs']:,} pairs."
            )
        if one["prompt_cut"] or one["answer_cut"]:
            warnings.append(
                f"{one['name']}: some pairs exceed the maximum sequence length. {one['prompt_cut']:,} prompts were "
                f"shortened, equally for both answers; {one['answer_cut']:,} pairs lost the end of an answer."
            )
    return warnings
