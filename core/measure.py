"""Measure a pool: the slow part, done once and kept as a run for each method.

What several methods need of the base model comes from one pass over the pool (core/sweep.py). What else a signal
takes is in core/warmups.py (training), core/covering.py (greedy search), core/asking.py (tasks and confidence)
and core/diverging.py (answers).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from core.asking import confidence_of, tasks_of
from core.certainty import task_means
from core.covering import cover
from core.diverging import diverge
from core.methods import describe
from core.methods.activation_coverage import ActivationCoverage
from core.methods.answer_divergence import AnswerDivergence
from core.methods.entropy_shift import EntropyShift
from core.methods.task_confidence import TaskConfidence
from core.modelref import resolve_model
from core.progress import Reporter
from core.runs import SIGNALS, Run, Tasks, find_run, given_file, run_key, save_run
from core.schema import Method, Pool, Reading
from core.store import Workspace
from core.sweep import Riding, Sweep
from core.warmups import calibrate


def measure(
    pool: Pool, method: Method, reading: Reading, workspace: Workspace, *, seed: int = 0, report: Reporter
) -> Run:
    """Measure all that `method` needs on `pool`, or find it measured. Resumable at any moment."""
    return measure_all(pool, [method], reading, workspace, seed=seed, report=report)[0]


def measure_all(
    pool: Pool, methods: Sequence[Method], reading: Reading, workspace: Workspace, *, seed: int = 0, report: Reporter
) -> list[Run]:
    """A run for each method, in one pass of the base model for all that they need of it."""
    ref = resolve_model(reading.model, reading.revision)
    reading = replace(reading, revision=ref.revision)
    found = [find_run(workspace, pool, method, reading, seed) for method in methods]
    wanted = [method for method, run in zip(methods, found, strict=True) if run is None]
    if not wanted:
        report.note("Already measured: nothing to do.")
        return [run for run in found if run is not None]
    sweep = Sweep(pool, reading, ref, workspace, report, riding=riding(wanted))
    return [run or _measured(sweep, method, seed) for method, run in zip(methods, found, strict=True)]


def riding(methods: Sequence[Method]) -> Riding | None:
    """What the base pass takes along for these methods."""
    states = [Riding(m.share, m.tokens) for m in methods if isinstance(m, ActivationCoverage)]
    return states[0] if states else None


def _measured(sweep: Sweep, method: Method, seed: int) -> Run:
    pool, workspace, report = sweep.pool, sweep.workspace, sweep.report
    key = run_key(pool, method, sweep.reading, sweep.ref, seed)
    with workspace.hold(f"run-{key}", lambda: report.waiting("Another worker measures the same.")):
        found = find_run(workspace, pool, method, sweep.reading, seed)
        if found is not None:
            return found
        sweep.seconds.clear()  # a run tells what it took itself, not what came before it
        columns, rest = _columns(sweep, method, seed)
        summary = rest.pop("summary") | {"warnings": doubts(columns, rest["tasks"])}
        summary |= {"given": given_file(method)} if given_file(method) else {}
        return save_run(
            workspace,
            Run(
                id=key,
                pool_id=pool.fingerprint,
                method=describe(method),
                reading=asdict(sweep.reading),
                model={"name": sweep.ref.name, "revision": sweep.ref.revision},
                encoder=sweep.encoder.digest,
                seed=seed,
                columns=tuple(columns),
                folder=workspace.folder("runs", key),
                summary=summary,
                **rest,
            ),
            columns,
        )


def _columns(sweep: Sweep, method: Method, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """All columns that `method` needs; and the run's summary, tasks and what is kept beside the columns."""
    columns = sweep.tokens.columns()
    summary: dict[str, Any] = {"tokens": int(columns["prompt_tokens"].sum() + columns["response_tokens"].sum())}
    rest: dict[str, Any] = {"summary": summary, "tasks": None, "kept": {}}
    if set(method.needs) <= {"tokens"}:
        return columns, rest | {"summary": summary | {"seconds": dict(sweep.seconds)}}
    with sweep.workspace.hold(
        f"device-{sweep.device.replace(':', '-')}",
        lambda: sweep.report.waiting("Another job uses this device."),
    ):
        if "base" in method.needs:
            columns |= {name: sweep.base.column(name, len(sweep.pool)) for name in SIGNALS["base"]}
        if isinstance(method, EntropyShift):
            calibrated, summary["rounds"] = calibrate(sweep, method, columns, seed)
            columns |= calibrated
        if isinstance(method, ActivationCoverage):
            columns |= cover(sweep, method, columns, seed)
            rest["kept"] = {"states": sweep.states.name}
        if isinstance(method, AnswerDivergence):
            found, rest["kept"], summary["answers"] = diverge(sweep, method, seed)
            columns |= found
        if isinstance(method, TaskConfidence):
            columns["task_code"], rest["tasks"] = tasks_of(sweep, method, seed)
            if "confidence" in method.needs:
                columns["confidence"], facts = confidence_of(sweep, method, columns["task_code"], seed)
                summary |= facts
    summary |= {"device": sweep.device, "dtype": sweep.dtype, "seconds": dict(sweep.seconds)}
    return columns, rest


def doubts(columns: Mapping[str, Any], tasks: Tasks | None = None) -> list[str]:
    """What should make people look twice before they trust these columns."""
    found = []
    cut = int(columns["truncated"].sum())
    if cut:
        found.append(f"{cut:,} of {len(columns['truncated']):,} rows were longer than the model was allowed to read.")
    unanswered = int((columns["response_tokens"] == 0).sum())
    if unanswered:
        found.append(f"{unanswered:,} rows have no response to measure.")
    if "nll_cal" in columns:
        shift = float(np.nanmean(np.abs(columns["nll_cal"] - columns["nll"])))
        if not shift > 1e-3:
            found.append(
                f"Warm-up hardly changed the model (mean |ΔNLL| {shift:.1e} nats). "
                "Raise the learning rate or the epochs before you trust the order."
            )
    if tasks is not None and "confidence" in columns:
        found += _few(columns, tasks)
    return found


def _few(columns: Mapping[str, Any], tasks: Tasks) -> list[str]:
    """Tasks whose mean confidence comes from one prompt, or from none."""
    _, _, asked = task_means(columns["confidence"], columns["task_code"], len(tasks.names))
    few = int((asked < 2).sum())
    return (
        [f"{few} of {len(tasks.names)} tasks have fewer than two prompts, so their confidence has no error."]
        if few
        else []
    )
