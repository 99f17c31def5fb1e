"""From target sets to influences: how training on each row would move the model towards what each set prefers.

    pairs        each set's pairs as tokens, under the pool's own template; those without a use are counted
    warm-up      a LoRA adapter, kept after each epoch with the optimizer's moments (core/measurement/warm_up.py)
    influence    at each of these checkpoints: the targets' directions, and each row's cosines with them, part by part
    influences   Σ_c η̄_c · cosines, of all targets side by side

Cosines are stored for each target and checkpoint, so another target repeats nothing. Directions of the preference loss
(ROSE) and of the loss on chosen answers (LESS) are scored in the same pass.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.columns import SIGNALS
from core.measurement.runs import INFLUENCES, SUBTASKS
from core.measurement.stages import Sweep, plan_parts
from core.measurement.target_pairs import Pairs, Sides, about_state, likelihoods_of, read_pairs, told_of
from core.measurement.warm_up import adapter_epochs
from core.methods.preference_influence import PreferenceInfluence, parse_targets
from core.models.loading import Model
from core.models.training.adam_update import AdamMoments
from core.models.training.checkpoints import EpochCheckpoint
from core.models.training.row_gradients import RowGradients
from core.models.training.target_directions import preference_directions, sft_directions
from core.workspace.files import write_json
from core.workspace.parts import Parts

GRADIENT_COST = 4  # a row's gradient takes about as long as so many passes over it


def influence(
    sweep: Sweep, method: PreferenceInfluence, seed: int
) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """The columns of SIGNALS["influence"], the measurement that holds the influences, and what to tell of the warm-up
    and of each target."""
    sets = {name: read_pairs(sweep, method, source, seed) for name, source in parse_targets(method.targets)}
    checkpoints, story = adapter_epochs(sweep, method, seed)
    stored = [_at_checkpoint(sweep, method, sets, checkpoint, len(checkpoints)) for checkpoint in checkpoints]
    folder = _summed(sweep, sets, checkpoints, stored)
    likelihoods = {name: likelihoods_of(sweep, pairs, checkpoints) for name, pairs in sets.items()}
    told = [told_of(sweep, name, pairs, likelihoods[name]) for name, pairs in sets.items()]
    column = SIGNALS["influence"][0]
    after = next(iter(stored[-1].values())).column("nll", len(sweep.pool))
    return {column: after}, {INFLUENCES: folder}, {"warm_up": story, "targets": told}


# At one checkpoint


def _at_checkpoint(
    sweep: Sweep, method: PreferenceInfluence, sets: Mapping[str, Pairs], checkpoint: EpochCheckpoint, of: int
) -> dict[str, Parts]:
    """Each row's cosines with every target's directions under one checkpoint: a store for each target."""
    plan = plan_parts(sweep.lengths, max(1024, sweep.part_tokens // GRADIENT_COST))
    about = about_state(sweep, checkpoint) | {"form": method.form, "momentum": method.momentum}
    specs = {name: about | {"pairs": pairs.targets.fingerprint} for name, pairs in sets.items()}
    with ExitStack() as held, sweep.timed("influence"):
        # one order of locks for every worker; two names may stand for the same pairs
        prints = sorted({spec["pairs"] for spec in specs.values()})
        stores = {p: held.enter_context(sweep.stage(about | {"pairs": p}, plan)) for p in prints}
        first = {p: next(name for name, spec in specs.items() if spec["pairs"] == p) for p in prints}
        for group in _of_one_plan({p: store for p, store in stores.items() if store.missing()}):
            some = {p: sets[first[p]] for p in group}
            stage = f"Influence of each row after epoch {checkpoint.epoch} of {of}"
            _score(sweep, method, checkpoint, some, {p: stores[p] for p in group}, stage)
    return {name: stores[spec["pairs"]] for name, spec in specs.items()}


def _of_one_plan(stores: Mapping[str, Parts]) -> list[list[str]]:
    """Their names, those that can be filled in one pass together."""
    groups: dict[bytes, list[str]] = {}
    for name, store in stores.items():
        cuts = np.concatenate([np.array([len(p) for p in store.plan]), *store.plan])
        groups.setdefault(cuts.tobytes(), []).append(name)
    return list(groups.values())


def _score(
    sweep: Sweep,
    method: PreferenceInfluence,
    checkpoint: EpochCheckpoint,
    sets: Mapping[str, Pairs],
    stores: Mapping[str, Parts],
    stage: str,
) -> None:
    """Fill the parts that any of the stores lacks."""
    score: Callable[[Sides], dict[str, pa.Table]] | None = None
    for part, rows in sweep.missing(list(stores.values()), stage, sweep.lengths):
        score = score or _scorer(sweep.model(checkpoint.state), method, checkpoint, sets)
        for name, table in score(sweep.tokens.batch(rows)).items():
            if not stores[name].path(part).exists():
                stores[name].write(part, table)


def _scorer(
    model: Model, method: PreferenceInfluence, checkpoint: EpochCheckpoint, sets: Mapping[str, Pairs]
) -> Callable[[Sides], dict[str, pa.Table]]:
    """Rows to a table for each target: cosines with its directions, preference first, then sft; NLL of the row."""
    gradients = RowGradients(model)
    moments = AdamMoments.from_file(
        checkpoint.moments, checkpoint.steps, form=method.form, momentum=method.momentum == "on"
    )
    vectors, width = [], {}
    for name, pairs in sets.items():
        towards = preference_directions(gradients, pairs.chosen, pairs.rejected, pairs.subtasks)
        control = sft_directions(gradients, pairs.chosen, pairs.subtasks)
        vectors += [*towards.vectors, *control.vectors]
        width[name] = 2 * len(towards.vectors)

    def score(batch: Sides) -> dict[str, pa.Table]:
        found = gradients.scores(batch, vectors, moments)
        edges = np.cumsum([0, *width.values()])
        return {
            name: pa.table({"cosines": _fixed(found.cosines[:, a:b]), "nll": pa.array(found.nll)})
            for name, a, b in zip(width, edges[:-1], edges[1:], strict=True)
        }

    return score


def _fixed(values: NDArray[np.float32]) -> pa.Array:
    """(n, k) as one list of k numbers for each row."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), values.shape[1])


# Over all checkpoints


def _summed(
    sweep: Sweep,
    sets: Mapping[str, Pairs],
    checkpoints: Sequence[EpochCheckpoint],
    stored: Sequence[Mapping[str, Parts]],
) -> str:
    """Cosines weighted by the checkpoints' learning rates: the measurement that keeps them."""
    n = len(sweep.pool)
    rates = np.array([checkpoint.learning_rate for checkpoint in checkpoints])
    parts = [[name, *(stores[name].folder.name for stores in stored)] for name in sets]
    spec = {"kind": INFLUENCES, "cosines": parts, "weights": (rates / rates.sum()).tolist()}
    with sweep.timed("influence"), sweep.stage(spec, [np.arange(n)]) as whole:
        if whole.missing():
            write_json(whole.folder / SUBTASKS, {name: list(pairs.names) for name, pairs in sets.items()})
            halves = [np.split(_weighted(stored, spec["weights"], name, n), 2, axis=1) for name in sets]
            preference, sft = (_fixed(np.hstack(side)) for side in zip(*halves, strict=True))
            whole.write(0, pa.table({"preference": preference, "sft": sft}))
    return whole.folder.name


def _weighted(
    stored: Sequence[Mapping[str, Parts]], weights: Sequence[float], name: str, n: int
) -> NDArray[np.float32]:
    """(N, 2 S) cosines with one target's directions, of both losses."""
    columns = (stores[name].column("cosines", n).astype(np.float64) for stores in stored)
    return np.asarray(sum(weight * cosines for weight, cosines in zip(weights, columns, strict=True)), np.float32)
