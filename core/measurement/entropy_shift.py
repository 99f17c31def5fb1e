"""Measurement of entropy shift: a brief warm-up training, then a pass of the calibrated model over the pool.

Round 1 trains on a random share α of the rows with a response, round k + 1 on the rows that round k would select.
Every round starts from the base model. Calibrated per group, each group has its own rounds, exactly those that a pool
of its rows alone would have, and each row is read by the model of its group.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from core.columns import ALTERNATIVES, NATS, PERPLEXITY, SHARED_SIGNALS, Column, Signals, Signs, group_column
from core.measurement.measurement import Measurement, Result, Work
from core.measurement.runs import Run
from core.measurement.shift_groups import TASK, find_groups, label_field, shorten
from core.measurement.stages import PoolStages
from core.measurement.start_model import describe_start_model, judge_start_model, warn_mixed_pool
from core.measurement.warm_up import TRAINING_COST, train_stored
from core.methods.entropy_shift import EntropyShift, calibration_rows, next_calibration_rows
from core.schema import Columns, IntArray, Measured, Pool

if TYPE_CHECKING:
    from core.models.training.schedule import TrainSpec


HARDLY = 1e-3  # nats: mean |ΔNLL| up to which a warm-up has changed nothing
MAX_NAMED = 5  # groups in a sentence


class ShiftMeasurement(Measurement[EntropyShift]):
    """NLL and entropy under the calibrated model (InstructDiff)."""

    signals: ClassVar[Signals] = {
        "calibrated": {
            "nll_cal": Column(
                "NLL after warm-up",
                "the calibrated model predicts the response better",
                "the response surprises the calibrated model more",
                "Mean negative log-likelihood of the response under the calibrated model.",
                unit=NATS,
                exponential=PERPLEXITY,
            ),
            "entropy_cal": Column(
                "H after warm-up",
                "the calibrated model is more certain of the next token",
                "the calibrated model is less certain of the next token",
                "Mean entropy of the calibrated model's next-token distribution over the response.",
                unit=NATS,
                exponential=ALTERNATIVES,
            ),
        },
        "shift_groups": {  # only where rows are calibrated per group
            "shift_group": group_column("Group number", "the group whose own model reads the row")
        },
    }
    scores: ClassVar[Mapping[str, Column]] = {
        "delta_entropy": Column(
            "ΔH",
            "the model became less certain (expansion), or gained the least certainty",
            "the model became more certain (compression), or lost the least certainty",
            "Entropy of the base model minus entropy of the calibrated model, mean over the response.",
            unit=NATS,
            signs=Signs(
                "less certain after warm-up (expansion)",
                "as certain after warm-up as before",
                "more certain after warm-up (compression)",
            ),
        ),
        "delta_nll": Column(
            "ΔNLL",
            "warm-up helped most to predict the response",
            "warm-up helped least to predict the response",
            "NLL of the calibrated model minus NLL of the base model, mean over the response.",
            unit=NATS,
            signs=Signs(
                "easier to predict after warm-up",
                "as predictable after warm-up as before",
                "harder to predict after warm-up",
            ),
        ),
    }
    work_in_words: ClassVar[Mapping[str, str]] = {
        "calibrated": "Warm-up training and a second pass measure NLL and entropy after it.",
        "shift_groups": "Each group has its own warm-up training and model.",
    }

    def run(self, stages: PoolStages, method: EntropyShift, columns: Columns, seed: int) -> Result:
        """Train the calibration model and read the pool with it, once for each round, for all rows or per group."""
        pool = stages.pool
        about: dict[str, Any] = {"start_model": judge_start_model(stages.tokenizer, pool)}
        if not method.per:
            after, rounds = _calibrate(stages, method, columns, np.arange(len(pool)), seed)
            return Result(after, summary=about | {"rounds": rounds})
        groups, left_out = find_groups(pool, method)
        calibrated = {f"{name}_cal": np.full(len(pool), np.nan, np.float32) for name in SHARED_SIGNALS["base"]}
        described = []
        for number, (name, rows) in enumerate(zip(groups.names, groups.rows, strict=True), start=1):
            of = f"'{shorten(name)}', {number} of {len(groups.names)}"
            after, rounds = _calibrate(stages, method, columns, rows, seed, of)
            for column, values in after.items():
                calibrated[column][rows] = values[rows]
            described.append({"name": name, "rows": len(rows), "rounds": rounds})
        about |= {"per": method.per, "field": label_field(method.per, pool), "groups": described, "left_out": left_out}
        return Result(calibrated | {"shift_group": groups.codes}, summary=about)

    def cost(self, method: EntropyShift, pool: Pool) -> Work:
        """Return a pass of the base model, and for each round a training and a pass of the trained model.

        Calibrated per group, each row is read by the model of its group alone: one pass in all for each round.
        """
        share, groups = 1.0, 1
        if method.per:
            found, _ = find_groups(pool, method)
            share, groups = float((found.codes >= 0).mean()), len(found.names)
        shares = [method.alpha] + [method.beta] * (method.rounds - 1)
        training = TRAINING_COST * method.epochs * share * sum(shares)
        rounds = len(shares)
        models = groups * rounds
        rows = [len(pool) * share * part / groups for part in shares]  # of each training
        steps = groups * method.epochs * sum(math.ceil(some / method.batch_size) for some in rows)
        words = "warm-up and 1 pass" if models == 1 else f"{models} warm-ups, {rounds} pass{'es' * (rounds > 1)}"
        return Work(True, rounds, models, training, steps, words=words)

    def warnings(self, columns: Mapping[str, Any], result: Result) -> list[str]:
        """Warn about a warm-up that hardly changed the model, a tuned model on a mixed pool, and rows in no group."""
        summary, shift = result.summary, np.abs(columns["nll_cal"] - columns["nll"])
        if "groups" not in summary:
            return _warn_unchanged({"": float(np.nanmean(shift))}) + warn_mixed_pool(summary["start_model"])
        group = columns["shift_group"]
        means = {each["name"]: float(np.nanmean(shift[group == k])) for k, each in enumerate(summary["groups"])}
        return _warn_unchanged(means) + _warn_ungrouped(summary, int((group < 0).sum()), len(group))

    def check(self, method: EntropyShift, pool: Pool) -> None:
        """Raise MethodError if the groups cannot be calibrated."""
        if method.per:
            find_groups(pool, method)

    def key(self, method: EntropyShift, pool: Pool) -> dict[str, Any]:
        """Return the field of the task labels, if they make the groups."""
        return {"groups": pool.fields.task} if method.per == TASK else {}

    def fits(self, run: Run, method: EntropyShift, pool: Pool) -> bool:
        """Return whether the run's groups are labels of the same field."""
        return not method.per or run.summary["field"] == label_field(method.per, pool)

    def load(self, run: Run) -> Mapping[str, Any]:
        """Load the kind of the start model, and the labels and warm-up rows of the groups."""
        groups = run.summary.get("groups", ())
        return {
            "start_model": describe_start_model(run),
            "shift_groups": tuple(group["name"] for group in groups),
            "warm_up_rows": tuple(group["rounds"][0]["rows"] for group in groups),
        }


def _calibrate(
    stages: PoolStages, method: EntropyShift, columns: Columns, rows: IntArray, seed: int, of: str = ""
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Calibrate on some rows (ascending) and read them; return nll_cal and entropy_cal (N,), and facts of each round.

    What is drawn and trained depends on these rows alone, as if there were no others. `of` is shown with the progress.
    """
    answered = columns["response_tokens"][rows] > 0
    trained = calibration_rows(rows[answered], method.alpha, seed)
    rounds: list[dict[str, Any]] = []
    calibrated: dict[str, Any] = {}
    for number in range(1, method.rounds + 1):
        parts = [part for part in (of, f"round {number} of {method.rounds}" if method.rounds > 1 else "") if part]
        note = f" ({', '.join(parts)})" if parts else ""
        folder, losses = train_stored(stages, trained, train_spec(method, seed), f"Warm-up training{note}")
        after = stages.calibrated(f"Measuring with the calibrated model{note}", folder / "state", rows)
        calibrated = {f"{name}_cal": values for name, values in after.items()}
        rounds.append({"rows": len(trained), "state": folder.name} | losses)
        if number < method.rounds:
            known = {name: values[rows] for name, values in (dict(columns) | calibrated).items()}
            trained = rows[next_calibration_rows(Measured(stages.pool.fingerprint, known), method.beta)]
    return calibrated, rounds


def _warn_ungrouped(summary: Mapping[str, Any], outside: int, rows: int) -> list[str]:
    """Warn about the rows that are in no group."""
    small = summary["left_out"]
    parts = {f"have no label in '{summary['field']}'": outside - small, "are in groups smaller than min_group": small}
    words = " and ".join(f"{count:,} {why}" for why, count in parts.items() if count)
    return [f"{outside:,} of {rows:,} rows are not measured and cannot be selected: {words}."] if outside else []


def _warn_unchanged(means: Mapping[str, float]) -> list[str]:
    """Warn about the groups, by name, whose mean |ΔNLL| is so low that the warm-up has changed nothing."""
    still = {name: mean for name, mean in means.items() if mean <= HARDLY}
    if not still:
        return []
    names = ", ".join(f"'{shorten(name)}'" for name in list(still)[:MAX_NAMED] if name)
    more = f" and {len(still) - MAX_NAMED:,} more groups" if len(still) > MAX_NAMED else ""
    whose = f" of {names}{more}" if names else ""
    return [
        f"Warm-up{whose} hardly changed the model (mean |ΔNLL| {max(still.values()):.1e} nats). Raise the learning "
        "rate or the number of epochs before you trust the ranks."
    ]


def train_spec(method: EntropyShift, seed: int) -> "TrainSpec":
    """Return the training settings of the calibration model; those that `method` does not set are the paper's."""
    from core.models.training.schedule import TrainSpec

    return TrainSpec(
        learning_rate=method.learning_rate,
        epochs=method.epochs,
        batch_size=method.batch_size,
        lora_rank=method.lora_rank,
        seed=seed,
    )
