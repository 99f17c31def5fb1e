"""Measurement of entropy shift: a brief warm-up training, then a pass of the calibrated model over the pool.

Round 1 trains on a random share α of the rows with a response, round k + 1 on the rows that round k would select.
Every round starts from the base model.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from core.columns import NATS, Column, Signals
from core.measurement.measurement import Measurement, Result, Work
from core.measurement.stages import PoolStages
from core.measurement.warm_up import TRAINING_COST, train_stored
from core.methods.entropy_shift import EntropyShift, calibration_rows, next_calibration_rows
from core.schema import Columns, Measured, Pool

if TYPE_CHECKING:
    from core.models.training.finetune import TrainSpec


class ShiftMeasurement(Measurement[EntropyShift]):
    """NLL and entropy under the calibrated model (InstructDiff)."""

    signals: ClassVar[Signals] = {
        "calibrated": {
            "nll_cal": Column(
                "NLL after warm-up",
                "well predicted after the warm-up",
                "still a surprise after the warm-up",
                "Mean negative log-likelihood of the response under the calibrated model.",
                unit=NATS,
            ),
            "entropy_cal": Column(
                "H after warm-up",
                "few alternatives at each token after the warm-up",
                "many alternatives at each token after the warm-up",
                "Mean entropy of the calibrated model's next-token distribution over the response.",
                unit=NATS,
            ),
        }
    }
    scores: ClassVar[Mapping[str, Column]] = {
        "delta_entropy": Column(
            "ΔH",
            "the model grew less certain on these while it learned (expansion), or gained least certainty",
            "the model grew more certain on these while it learned (compression)",
            "Entropy of the base model minus entropy after the warm-up, mean over the response.",
            unit=NATS,
        ),
        "delta_nll": Column(
            "ΔNLL",
            "the warm-up made these much easier to predict: learnt easily",
            "the warm-up made these harder to predict: not learnt",
            "NLL after the warm-up minus NLL of the base model, mean over the response.",
            unit=NATS,
        ),
    }
    work_in_words: ClassVar[Mapping[str, str]] = {
        "calibrated": "Warm-up training and a second pass give NLL and entropy after it."
    }

    def run(self, stages: PoolStages, method: EntropyShift, columns: Columns, seed: int) -> Result:
        """Train the calibration model and run it over the pool, once for each round."""
        answered = np.flatnonzero(columns["response_tokens"] > 0)
        rows = calibration_rows(answered, method.alpha, seed)
        rounds: list[dict[str, Any]] = []
        calibrated: dict[str, Any] = {}
        for number in range(1, method.rounds + 1):
            of = f" (round {number} of {method.rounds})" if method.rounds > 1 else ""
            folder, losses = train_stored(stages, rows, train_spec(method, seed), f"Warm-up training{of}")
            after = stages.calibrated(f"Reading with the calibrated model{of}", folder / "state")
            calibrated = {f"{name}_cal": values for name, values in after.items()}
            rounds.append({"rows": len(rows), "state": folder.name} | losses)
            if number < method.rounds:
                round_data = Measured(stages.pool.fingerprint, dict(columns) | calibrated)
                rows = next_calibration_rows(round_data, method.beta)
        return Result(calibrated, summary={"rounds": rounds})

    def cost(self, method: EntropyShift, pool: Pool) -> Work:
        """Return a pass of the base model, and for each round a training and a pass of the trained model."""
        shares = [method.alpha] + [method.beta] * (method.rounds - 1)
        training = TRAINING_COST * method.epochs * sum(shares)
        return Work(base_pass=True, trained_passes=len(shares), training=training)

    def warnings(self, columns: Mapping[str, Any], result: Result) -> list[str]:
        """Warn if the warm-up hardly changed the model."""
        shift = float(np.nanmean(np.abs(columns["nll_cal"] - columns["nll"])))
        if shift > 1e-3:
            return []
        return [
            f"Warm-up hardly changed the model (mean |ΔNLL| {shift:.1e} nats). "
            "Raise the learning rate or the epochs before you trust the order."
        ]


def train_spec(method: EntropyShift, seed: int) -> "TrainSpec":
    """Return the training settings of the calibration model; those that `method` does not set are the paper's."""
    from core.models.training.finetune import TrainSpec

    return TrainSpec(
        learning_rate=method.learning_rate,
        epochs=method.epochs,
        batch_size=method.batch_size,
        lora_rank=method.lora_rank,
        seed=seed,
    )
