"""Cost of a proof on this machine: a trial of a few steps and rows, scaled up to the runs that are not stored.

seconds of a run = loading + seconds per token of a step · tokens trained on + seconds per token of a pass · tokens
                   evaluated, divided by the number of runs that are done beside each other
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import psutil

from core.algorithms.kmeans import one_thread
from core.proof.design import Design
from core.proof.plan import EvaluatedRows
from core.proof.runs import TrainingRun, evaluate
from core.schema import IntArray

TRIAL_STEPS, TRIAL_ROWS = 4, 16  # steps, of which the first is not timed; evaluated rows of each target
BYTES_PER_PARAMETER = 16  # weights, gradient and AdamW's averages, in float32
MEMORY_SHARE = 0.5  # of the free memory, for runs beside each other
WORKER_WORK = 1e12  # parameters times tokens of all runs: from here on starting workers is worth its seconds


@dataclass(frozen=True)
class TrialTimes:
    """Seconds measured in a trial on one thread of a processor, or on a GPU."""

    loading: float
    per_trained_token: float
    per_evaluated_token: float


def estimate_cost(design: Design, runs: Sequence[TrainingRun]) -> dict[str, Any]:
    """Return what the runs that are not stored will take: seconds in all, and of training and evaluation.

    Nothing is stored. Also counts all models, those that are stored, and the tokens that are left to train on.
    """
    missing = [run for run in runs if not run.is_stored]
    tokens = sum(run.counts.tokens for run in missing)
    counts = {"models": len(runs), "stored": len(runs) - len(missing), "tokens": tokens}
    workers = count_workers(missing)
    times = _time_trial(design, next(run for run in runs if run.settings)) if missing else TrialTimes(0.0, 0.0, 0.0)
    training = tokens * times.per_trained_token + len(missing) * times.loading
    evaluation = sum(map(evaluated_tokens, missing)) * times.per_evaluated_token
    seconds = {"training_seconds": training, "evaluation_seconds": evaluation}
    return {"estimated_seconds": (training + evaluation) / workers, **seconds, "workers": workers, **counts}


def count_workers(missing: Sequence[TrainingRun]) -> int:
    """Return how many runs are done beside each other: on a processor one a core, if the memory holds them."""
    if not missing or missing[0].stages.device != "cpu":
        return 1
    parameters = missing[0].stages.parameters
    if sum(run.counts.tokens for run in missing) * parameters < WORKER_WORK:
        return 1
    room = int(MEMORY_SHARE * psutil.virtual_memory().available / (BYTES_PER_PARAMETER * parameters))
    return max(1, min(len(os.sched_getaffinity(0)), len(missing), room))


def evaluated_tokens(run: TrainingRun) -> int:
    """Return the tokens that a run is evaluated on."""
    return sum(map(_count_tokens, run.evaluated))


def _count_tokens(rows: EvaluatedRows) -> int:
    return sum(len(row) for side in (rows.tokens, rows.rejected_tokens) for row in side)


def _time_trial(design: Design, run: TrainingRun) -> TrialTimes:
    """Time some steps of a run, and some evaluated rows."""
    from core.models.training.finetune import train_in_memory

    assert run.settings
    stages = design.stages
    trial = replace(run, settings=replace(run.settings, steps=TRIAL_STEPS, epochs=1))
    assert trial.settings
    stages.report.stage("Timing training and evaluation", rows=0, work=TRIAL_STEPS)
    ends: list[float] = []

    def on_step(done: int, _total: int) -> None:
        ends.append(monotonic())
        stages.report.advance(0, done)

    with stages.on_device(stages.device), tempfile.TemporaryDirectory() as folder, one_thread():
        batch, began = stages.tokens.batch(run.rows), monotonic()
        model, _ = train_in_memory(
            stages.ref,
            batch["tokens"],
            batch["spans"],
            trial.settings,
            folder=Path(folder),
            dtype=stages.dtype,
            device=stages.device,
            on_step=on_step,
        )
        trained, some = monotonic(), [_take_few(rows) for rows in run.evaluated]
        for rows in some:
            evaluate(model, rows)
        evaluated = monotonic()
    lengths = stages.lengths[run.rows]
    first, *timed = (int(lengths[places].sum()) for places in trial.step_rows)
    per_token = (ends[-1] - ends[0]) / sum(timed)
    loading = max(0.0, ends[0] - began - first * per_token)
    return TrialTimes(loading, per_token, (evaluated - trained) / sum(map(_count_tokens, some)))


def _take_few(rows: EvaluatedRows) -> EvaluatedRows:
    """Return TRIAL_ROWS of a target, spread over their lengths."""
    order = np.argsort([len(row) for row in rows.tokens], kind="stable")
    places: IntArray = order[np.linspace(0, len(order) - 1, min(TRIAL_ROWS, len(order))).round().astype(np.int64)]

    def take(side: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(side[k] for k in places.tolist()) if side else ()

    return replace(
        rows,
        tokens=take(rows.tokens),
        spans=take(rows.spans),
        rejected_tokens=take(rows.rejected_tokens),
        rejected_spans=take(rows.rejected_spans),
        short=rows.short[places],
    )
