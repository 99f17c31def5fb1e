"""The calibrated states of a model: warm-up training on some rows, then a pass of the result, once per round.

Round 1 trains on a random share α of the rows with a response, round k + 1 on what round k would choose. Every round
starts from the base model. A training is stored in `workspace/models` and never repeated.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from core.methods.entropy_shift import EntropyShift, calibration_rows, next_calibration_rows
from core.schema import IntArray, Measured
from core.store import content_key
from core.sweep import Sweep
from core.training import TrainSpec, train


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
        state, losses = _warm_up(sweep, rows, train_spec(method, seed), f"Warm-up training{of}")
        after = sweep.calibrated(f"Reading with the calibrated model{of}", state)
        calibrated = {f"{name}_cal": values for name, values in after.items()}
        story.append({"rows": len(rows), "state": state.parent.name} | losses)
        if number < method.rounds:
            measured = Measured(sweep.pool.fingerprint, dict(columns) | calibrated)
            rows = next_calibration_rows(measured, method.beta)
    return calibrated, story


def _warm_up(sweep: Sweep, rows: IntArray, spec: TrainSpec, stage: str) -> tuple[Path, dict[str, Any]]:
    key = content_key(sweep.about_model("warm-up") | {"rows": rows.tolist(), "spec": asdict(spec)})
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
    return folder / "state", {"loss": result.losses.tolist(), "steps": result.steps}


def train_spec(method: EntropyShift, seed: int) -> TrainSpec:
    """How the calibration model of `method` is trained; the rest is as the paper has it."""
    return TrainSpec(
        learning_rate=method.learning_rate,
        epochs=method.epochs,
        batch_size=method.batch_size,
        lora_rank=method.lora_rank,
        seed=seed,
    )
