"""Warm-up trainings, stored in `workspace/models` and never repeated. Every one starts from the base model.

calibration   for entropy shift: round 1 on a random share α of the rows with a response, round k + 1 on what
              round k would choose; after each, a pass of the result over the pool
adapter       for preference influence: LoRA on a random share, kept after every epoch
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.measurement.stages import Sweep
from core.methods.entropy_shift import EntropyShift, calibration_rows, next_calibration_rows
from core.methods.preference_influence import PreferenceInfluence
from core.models.loading import count_parameters, fetch_model
from core.models.training.checkpoints import EpochCheckpoint, load_epoch_checkpoints
from core.models.training.finetune import TrainSpec, key_fields, train
from core.schema import IntArray, Measured
from core.workspace.folder import content_key


def calibrate(
    sweep: Sweep, method: EntropyShift, columns: Mapping[str, Any], seed: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """NLL and entropy under the calibrated model of the last round, and the story of each round."""
    answered = np.flatnonzero(columns["response_tokens"] > 0)
    rows = calibration_rows(answered, method.alpha, seed)
    story: list[dict[str, Any]] = []
    calibrated: dict[str, Any] = {}
    for number in range(1, method.rounds + 1):
        of = f" (round {number} of {method.rounds})" if method.rounds > 1 else ""
        folder, losses = _warm_up(sweep, rows, train_spec(method, seed), f"Warm-up training{of}")
        after = sweep.calibrated(f"Reading with the calibrated model{of}", folder / "state")
        calibrated = {f"{name}_cal": values for name, values in after.items()}
        story.append({"rows": len(rows), "state": folder.name} | losses)
        if number < method.rounds:
            measured = Measured(sweep.pool.fingerprint, dict(columns) | calibrated)
            rows = next_calibration_rows(measured, method.beta)
    return calibrated, story


def _warm_up(sweep: Sweep, rows: IntArray, spec: TrainSpec, stage: str) -> tuple[Path, dict[str, Any]]:
    key = content_key(sweep.about_model("warm-up") | {"rows": rows.tolist(), "spec": key_fields(spec)})
    folder = sweep.workspace.folder("models", key)
    steps = -(-len(rows) // spec.batch_size) * spec.epochs
    sweep.report.stage(stage, rows=steps, work=steps)
    with (
        sweep.timed("warm-up"),
        sweep.workspace.hold(f"model-{key}", lambda: sweep.report.waiting("Another worker trains the same.")),
    ):
        batch = sweep.tokens.batch(rows)
        result = train(
            sweep.ref,
            batch["tokens"],
            batch["spans"],
            spec,
            folder=folder,
            dtype=sweep.dtype,
            device=sweep.device,
            on_step=lambda done, _total: sweep.report.advance(done, done),
        )
    return folder, {"loss": result.losses.tolist(), "steps": result.steps}


def train_spec(method: EntropyShift, seed: int) -> TrainSpec:
    """How the calibration model of `method` is trained; the rest is as the paper has it."""
    return TrainSpec(
        learning_rate=method.learning_rate,
        epochs=method.epochs,
        batch_size=method.batch_size,
        lora_rank=method.lora_rank,
        seed=seed,
    )


# Adapters

LEAST_ROWS = 256  # of a warm-up, where the pool has as many
SIZES = (  # parameters below which: LoRA rank, highest learning rate
    (5e7, 8, 5e-4),
    (1e9, 8, 2e-4),
    (3e9, 16, 1e-4),
    (math.inf, 128, 2e-5),  # as released with ROSE
)


def adapter_epochs(
    sweep: Sweep, method: PreferenceInfluence, seed: int
) -> tuple[tuple[EpochCheckpoint, ...], dict[str, Any]]:
    """The checkpoint after each epoch of the LoRA warm-up, and its story."""
    answered = np.flatnonzero(sweep.tokens.columns()["response_tokens"] > 0)
    rows = calibration_rows(answered, adapter_share(method, len(answered)), seed)
    spec = adapter_spec(method, seed, len(rows), count_parameters(fetch_model(sweep.ref)))
    folder, losses = _warm_up(sweep, rows, spec, "Warm-up training of an adapter")
    found = load_epoch_checkpoints(folder)
    told = {"rows": len(rows), "rank": spec.lora_rank, "learning_rate": spec.learning_rate}
    rates = [checkpoint.learning_rate for checkpoint in found]
    return found, told | {"batch_size": spec.batch_size, "epoch_rates": rates} | losses


def adapter_share(method: PreferenceInfluence, rows: int) -> float:
    """Share of so many rows that the warm-up trains on."""
    return max(method.warmup, min(1.0, LEAST_ROWS / max(1, rows)))


def adapter_spec(method: PreferenceInfluence, seed: int, rows: int, parameters: int) -> TrainSpec:
    """How the adapter is trained: what the method says, and where it says 0 what suits the model and its rows."""
    rank, rate = next((rank, rate) for below, rank, rate in SIZES if parameters < below)
    return TrainSpec(
        learning_rate=method.learning_rate or rate,
        epochs=method.epochs,
        batch_size=method.batch_size or min(128, max(8, rows // 16)),
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
