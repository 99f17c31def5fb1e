"""Measurement of preference influence: how training on each row would change the model's preferences on target sets.

    pairs        the pairs of each set as tokens, under the pool's template; unusable ones are counted
    warm-up      a LoRA adapter, stored after each epoch with the moments of the optimizer
    influence    at each of these checkpoints: the directions of the targets, and each row's cosines with them
    influences   Σ_c η̄_c · cosines, of all targets in one table

Cosines are stored for each target and checkpoint, so another target repeats nothing. Directions of the preference loss
(ROSE) and of the loss on chosen answers (LESS) are scored in the same pass.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.algorithms.influences import Influences
from core.columns import NATS, PERPLEXITY, Column, Signals, Signs
from core.measurement.measurement import Measurement, Result, TrialBatch, Work
from core.measurement.runs import Run
from core.measurement.stages import PoolStages
from core.measurement.target_pairs import (
    Pairs,
    Sides,
    describe_targets,
    measure_likelihoods,
    read_pairs,
    state_spec,
    target_warnings,
)
from core.measurement.warm_up import TRAINING_COST, train_stored
from core.methods.entropy_shift import calibration_rows
from core.methods.preference_influence import PreferenceInfluence, parse_targets
from core.pool.preference.target_sets import DEMO
from core.schema import Columns, IntArray, Pool
from core.workspace.files import read_json, remove_damaged, write_json
from core.workspace.parts import Parts, plan_by_work
from core.workspace.stages import as_column

if TYPE_CHECKING:
    from core.models.loading import Model
    from core.models.training.checkpoints import EpochCheckpoint
    from core.models.training.schedule import TrainSpec

GRADIENT_COST = 4  # the gradient of a row takes about as long as this many passes over it
MIN_WARM_UP_ROWS = 256  # or all rows of a smaller pool
ADAPTER_SIZES = (  # (parameters below, LoRA rank, peak learning rate)
    (5e7, 8, 5e-4),
    (1e9, 8, 2e-4),
    (3e9, 16, 1e-4),
    (math.inf, 128, 2e-5),  # as released with ROSE
)
INFLUENCES, SUBTASKS = "influences", "subtasks.json"


class InfluenceMeasurement(Measurement[PreferenceInfluence]):
    """Influence of every row on every sub-task of every target set (ROSE, LESS)."""

    signals: ClassVar[Signals] = {
        "influence": {
            "nll_adapted": Column(
                "NLL after LoRA warm-up",
                "the model with the adapter predicts the response better",
                "the response surprises the model with the adapter more",
                "Mean negative log-likelihood of the response under the model with the adapter of the last epoch.",
                unit=NATS,
                exponential=PERPLEXITY,
            )
        }
    }
    scores: ClassVar[Mapping[str, Column]] = {
        "influence": Column(
            "Influence",
            "training helps the preferences of the target set least, or harms them most",
            "training helps the preferences of the target set most, or harms them least",
            "Cosine of the row's training step with the target's direction, mean over pairs, weighted over "
            "checkpoints, highest of several sub-tasks.",
            unit="cosine",
            signs=Signs(
                "training on the row moves the model away from the preferences of the target set",
                "training on the row does not change the preferences of the target set",
                "training on the row moves the model towards the preferences of the target set",
            ),
        ),
        "less": Column(
            "Influence on chosen answers (LESS)",
            "training helps the chosen answers of the target set least, or harms them most",
            "training helps the chosen answers of the target set most, or harms them least",
            "As influence, but the loss of the target set is that of its chosen answers alone: the control.",
            unit="cosine",
            signs=Signs(
                "training on the row makes the chosen answers of the target set less likely",
                "training on the row does not change the chosen answers of the target set",
                "training on the row makes the chosen answers of the target set more likely",
            ),
        ),
    }
    work_in_words: ClassVar[Mapping[str, str]] = {
        "influence": "After each epoch of a LoRA warm-up, every row's gradient is compared with those of the "
        "target sets. Gradients are not stored."
    }

    def run(self, stages: PoolStages, method: PreferenceInfluence, columns: Columns, seed: int) -> Result:
        """Train the adapter, score rows at each checkpoint, and sum over checkpoints."""
        sets = {name: read_pairs(stages, method, source, seed) for name, source in parse_targets(method.targets)}
        checkpoints, training = train_adapter(stages, method, seed)
        stored = [_at_checkpoint(stages, method, sets, checkpoint, len(checkpoints)) for checkpoint in checkpoints]
        folder = _sum_checkpoints(stages, sets, checkpoints, stored)
        likelihoods = {name: measure_likelihoods(stages, pairs, checkpoints) for name, pairs in sets.items()}
        targets = [describe_targets(stages, name, pairs, likelihoods[name]) for name, pairs in sets.items()]
        after = next(iter(stored[-1].values())).column("nll", len(stages.pool))
        return Result({"nll_adapted": after}, {INFLUENCES: folder}, {"warm_up": training, "targets": targets})

    def cost(self, method: PreferenceInfluence, pool: Pool) -> Work:
        """Return the warm-up training, and a pass of gradients after each of its epochs."""
        share = adapter_share(method, len(pool))
        rows = math.ceil(share * len(pool))
        return Work(
            base_pass="base" in method.needs,
            training=TRAINING_COST * method.epochs * share,
            steps=method.epochs * math.ceil(rows / adapter_batch(method, rows)),
            gradient_passes=method.epochs,
            words=f"warm-up, row gradients × {method.epochs}",
        )

    def time_trial(self, model: "Model", method: PreferenceInfluence, batch: TrialBatch) -> Mapping[str, float]:
        """Return seconds per token for a row's gradient and its cosines. Adds an adapter to the model."""
        from core.models.lora import add_adapter
        from core.models.training.row_gradients import RowGradients

        spec = adapter_spec(PreferenceInfluence(), 0, batch.rows, model.parameters)
        alpha = spec.lora_alpha * spec.lora_rank
        network = add_adapter(model.network, rank=spec.lora_rank, alpha=alpha, layers=spec.lora_on).eval()
        gradients = RowGradients(replace(model, network=network.get_base_model()))
        direction = gradients.uniform_direction()
        _, seconds = batch.time(lambda rows: gradients.scores(rows, [direction]))
        return {"seconds_per_gradient": seconds / batch.tokens}

    def warnings(self, columns: Mapping[str, Any], result: Result) -> list[str]:
        """Warn about targets whose influence is doubtful: answer lengths, shared prompts or truncation."""
        return target_warnings(result.summary["targets"])

    def files(self, method: PreferenceInfluence) -> list[Path]:
        """Return the files of the target sets that are not embedded."""
        return [Path(target.source) for target in parse_targets(method.targets) if target.source != DEMO]

    def load(self, run: Run) -> Mapping[str, Any]:
        """Load the influence of every row on every target, summed over checkpoints."""
        folder = run.stage_folder(INFLUENCES)
        if folder is None:
            return {}
        table = Parts.stored(folder).read(0)
        subtasks = {name: tuple(names) for name, names in read_json(folder / SUBTASKS).items()}
        width = sum(map(len, subtasks.values()))
        sides = (table[side].combine_chunks().flatten().to_numpy().reshape(-1, width) for side in ("preference", "sft"))
        return {"influences": Influences(subtasks, *sides)}


# The adapter


def train_adapter(
    stages: PoolStages, method: PreferenceInfluence, seed: int
) -> tuple[tuple["EpochCheckpoint", ...], dict[str, Any]]:
    """Return the checkpoint after each epoch of the LoRA warm-up, and a summary of the training."""
    from core.models.training.checkpoints import load_epoch_checkpoints

    answered = np.flatnonzero(stages.counts["response_tokens"] > 0)
    rows = calibration_rows(answered, adapter_share(method, len(answered)), seed)
    spec = adapter_spec(method, seed, len(rows), stages.parameters)
    folder, losses = train_stored(stages, rows, spec, "Warm-up training of an adapter")
    checkpoints = load_epoch_checkpoints(folder)
    summary = {"rows": len(rows), "rank": spec.lora_rank, "learning_rate": spec.learning_rate}
    rates = [checkpoint.learning_rate for checkpoint in checkpoints]
    return checkpoints, summary | {"batch_size": spec.batch_size, "epoch_rates": rates} | losses


def adapter_share(method: PreferenceInfluence, rows: int) -> float:
    """Return the share of `rows` rows that the warm-up trains on."""
    return max(method.warmup, min(1.0, MIN_WARM_UP_ROWS / max(1, rows)))


def adapter_batch(method: PreferenceInfluence, rows: int) -> int:
    """Return the rows of a step of a warm-up on `rows` rows."""
    return method.batch_size or min(128, max(8, rows // 16))


def adapter_spec(method: PreferenceInfluence, seed: int, rows: int, parameters: int) -> "TrainSpec":
    """Return the training settings of the adapter. A 0 in the method is replaced by a value for model size and rows."""
    from core.models.training.schedule import TrainSpec

    rank, rate = next((rank, rate) for below, rank, rate in ADAPTER_SIZES if parameters < below)
    return TrainSpec(
        learning_rate=method.learning_rate or rate,
        epochs=method.epochs,
        batch_size=adapter_batch(method, rows),
        warmup=0.03,
        weight_decay=0.0,
        schedule="linear",
        lora_rank=method.lora_rank or rank,
        lora_alpha=4.0,
        lora_dropout=0.1,
        lora_on="attention",
        epoch_checkpoints=True,
        seed=seed,
    )


# At one checkpoint


def _at_checkpoint(
    stages: PoolStages, method: PreferenceInfluence, sets: Mapping[str, Pairs], checkpoint: "EpochCheckpoint", of: int
) -> dict[str, Parts]:
    """Score each row against the directions of every target under one checkpoint; return the parts of each target."""
    plan = plan_by_work(stages.lengths, max(1024, stages.part_tokens // GRADIENT_COST))
    about = state_spec(stages, checkpoint) | {"form": method.form, "momentum": method.momentum}
    unique = {pairs.targets.fingerprint: pairs for pairs in sets.values()}  # two names may refer to the same pairs
    title = f"Row gradients after epoch {checkpoint.epoch} of {of}"
    with ExitStack() as locks, stages.timed("influence"):
        opened = {p: stages.open(about | {"pairs": p}, plan, together=True) for p in sorted(unique)}
        stores = {p: locks.enter_context(parts) for p, parts in opened.items()}  # every worker in the same order
        for group in _group_by_plan({p: store for p, store in stores.items() if store.missing()}):
            some = {p: unique[p] for p in group}
            _score(stages, method, checkpoint, some, {p: stores[p] for p in group}, title)
    return {name: stores[pairs.targets.fingerprint] for name, pairs in sets.items()}


def _group_by_plan(stores: Mapping[str, Parts]) -> list[list[str]]:
    """Group the names of stores that can be filled in one pass together."""
    groups: dict[bytes, list[str]] = {}
    for name, store in stores.items():
        cuts = np.concatenate([np.array([len(p) for p in store.plan]), *store.plan])
        groups.setdefault(cuts.tobytes(), []).append(name)
    return list(groups.values())


def _score(
    stages: PoolStages,
    method: PreferenceInfluence,
    checkpoint: "EpochCheckpoint",
    sets: Mapping[str, Pairs],
    stores: Mapping[str, Parts],
    title: str,
) -> None:
    """Score the rows of all parts that are missing in any of the stores."""
    score: Callable[[Sides], dict[str, pa.Table]] | None = None

    def score_part(part: int, rows: IntArray) -> None:
        nonlocal score
        score = score or _load_scorer(stages.model(checkpoint.state), method, checkpoint, sets)
        for name, table in score(stages.tokens.batch(rows)).items():
            if not stores[name].has(part):
                stores[name].write(part, table, stages.made_by)

    stages.compute_missing(list(stores.values()), title, stages.lengths, score_part)


def _load_scorer(
    model: "Model", method: PreferenceInfluence, checkpoint: "EpochCheckpoint", sets: Mapping[str, Pairs]
) -> Callable[[Sides], dict[str, pa.Table]]:
    """Return a function from rows to a table for each target: cosines with its directions (preference first), NLL."""
    from core.models.training.adam_update import AdamMoments
    from core.models.training.row_gradients import RowGradients
    from core.models.training.target_directions import preference_directions, sft_directions

    gradients = RowGradients(model)
    moments = AdamMoments.from_file(
        checkpoint.moments, checkpoint.steps, form=method.form, momentum=method.momentum == "on"
    )
    vectors, width = [], {}
    for name, pairs in sets.items():
        preference = preference_directions(gradients, pairs.chosen, pairs.rejected, pairs.subtasks)
        sft = sft_directions(gradients, pairs.chosen, pairs.subtasks)
        vectors += [*preference.vectors, *sft.vectors]
        width[name] = 2 * len(preference.vectors)

    def score(batch: Sides) -> dict[str, pa.Table]:
        scores = gradients.scores(batch, vectors, moments)
        edges = np.cumsum([0, *width.values()])
        return {
            name: pa.table({"cosines": as_column(scores.cosines[:, a:b]), "nll": pa.array(scores.nll)})
            for name, a, b in zip(width, edges[:-1], edges[1:], strict=True)
        }

    return score


# Over all checkpoints


def _sum_checkpoints(
    stages: PoolStages,
    sets: Mapping[str, Pairs],
    checkpoints: Sequence["EpochCheckpoint"],
    stored: Sequence[Mapping[str, Parts]],
) -> str:
    """Store sums of cosines weighted by the learning rates of the checkpoints; return the key of the stage."""
    n = len(stages.pool)
    rates = np.array([checkpoint.learning_rate for checkpoint in checkpoints])
    parts = [[name, *(stores[name].folder.name for stores in stored)] for name in sets]
    spec = {"kind": INFLUENCES, "cosines": parts, "weights": (rates / rates.sum()).tolist()}
    with stages.timed("influence"), stages.open(spec, [np.arange(n)]) as whole:
        remove_damaged([whole.folder / SUBTASKS])
        if whole.missing() or not (whole.folder / SUBTASKS).exists():
            write_json(whole.folder / SUBTASKS, {name: list(pairs.names) for name, pairs in sets.items()})
            halves = [np.split(_weight_cosines(stored, spec["weights"], name, n), 2, axis=1) for name in sets]
            preference, sft = (as_column(np.hstack(side)) for side in zip(*halves, strict=True))
            whole.write(0, pa.table({"preference": preference, "sft": sft}))
    return whole.folder.name


def _weight_cosines(
    stored: Sequence[Mapping[str, Parts]], weights: Sequence[float], name: str, n: int
) -> NDArray[np.float32]:
    """Return the weighted cosines (N, 2 S) with the S directions of one target for each of the two losses."""
    total = np.zeros((n, stored[0][name].values(0, "cosines").shape[1]))
    for weight, stores in zip(weights, stored, strict=True):
        for rows, cosines in stores[name].blocks("cosines"):
            total[rows] += weight * cosines.astype(np.float64)
    return total.astype(np.float32)
