"""Warm-up trainings from the base model, each stored in `workspace/models` and never repeated."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.measurement.stages import PoolStages
from core.schema import IntArray
from core.workspace.folder import content_key

if TYPE_CHECKING:
    from core.models.training.schedule import TrainSpec

TRAINING_COST = 3.0  # a training step costs about three forward passes over the same tokens


def train_stored(stages: PoolStages, rows: IntArray, spec: "TrainSpec", title: str) -> tuple[Path, dict[str, Any]]:
    """Train on these rows of the pool, unless stored; return the folder of the model, and its losses and steps."""
    from core.models.training.finetune import train
    from core.models.training.schedule import key_fields

    key = content_key(stages.model_spec("warm-up") | {"rows": rows.tolist(), "spec": key_fields(spec)})
    folder = stages.workspace.folder("models", key)
    steps = -(-len(rows) // spec.batch_size) * spec.epochs
    stages.report.stage(title, rows=steps, work=steps)
    with stages.timed("warm-up"), stages.locked(f"model-{key}", "Waiting for another job that runs the same training."):
        batch = stages.tokens.batch(rows)
        result = train(
            stages.ref,
            batch["tokens"],
            batch["spans"],
            spec,
            folder=folder,
            dtype=stages.dtype,
            device=stages.device,
            on_step=lambda done, _total: stages.report.advance(done, done),
        )
    return folder, {"loss": result.losses.tolist(), "steps": result.steps}
