"""Measure a pool: the slow part, done once and kept as a run for each method.

What several methods need of the base model comes from one pass over the pool (core/measurement/stages.py). What else a
signal
takes is in core/measurement/warm_up.py (training), core/measurement/activation_coverage.py (greedy search),
core/measurement/task_confidence.py (tasks and confidence),
core/measurement/answer_divergence.py (answers) and core/measurement/preference_influence.py (gradients).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from core.columns import SIGNALS
from core.measurement.activation_coverage import cover
from core.measurement.answer_divergence import diverge
from core.measurement.imported import doubts_of_numbers, read_numbers
from core.measurement.preference_influence import influence
from core.measurement.runs import Run, Tasks, find_run, given_files, joined, run_key, save_run
from core.measurement.stages import Riding, Sweep
from core.measurement.target_pairs import doubts_of_targets
from core.measurement.task_confidence import confidence_of, tasks_of
from core.measurement.warm_up import calibrate
from core.methods import describe_method
from core.methods.activation_coverage import ActivationCoverage
from core.methods.answer_divergence import AnswerDivergence
from core.methods.combined import Combined, expand_combinations
from core.methods.entropy_shift import EntropyShift
from core.methods.imported import Imported
from core.methods.preference_influence import PreferenceInfluence
from core.methods.task_confidence import TaskConfidence, mean_by_task
from core.models.reference import resolve_model
from core.progress import Reporter
from core.schema import Columns, Method, ModelRef, Pool, Reading
from core.workspace.folder import Workspace


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
    alone = expand_combinations(methods)
    made = dict(zip(alone, _measure_all(pool, alone, reading, ref, workspace, seed, report), strict=True))
    return [joined(m, [made[part] for part in m.parts]) if isinstance(m, Combined) else made[m] for m in methods]


def _measure_all(
    pool: Pool,
    methods: Sequence[Method],
    reading: Reading,
    ref: ModelRef,
    workspace: Workspace,
    seed: int,
    report: Reporter,
) -> list[Run]:
    found = [find_run(workspace, pool, method, reading, seed) for method in methods]
    wanted = [method for method, run in zip(methods, found, strict=True) if run is None]
    if not wanted:
        report.note("Already measured: nothing to do.")
        return [run for run in found if run is not None]
    sweep = Sweep(pool, reading, ref, workspace, report, riding=riding(wanted))
    found_or_not = zip(methods, found, strict=True)
    return [run or _measured(_riding_with(sweep, method), method, seed) for method, run in found_or_not]


def _riding_with(sweep: Sweep, method: Method) -> Sweep:
    """The sweep, or a second one where the method needs other states than those that ride on the first."""
    other = riding([method])
    if other in (None, sweep.riding):
        return sweep
    return Sweep(sweep.pool, sweep.reading, sweep.ref, sweep.workspace, sweep.report, riding=other)


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
        summary = rest.pop("summary")
        summary |= {"warnings": doubts(columns, rest["tasks"]) + doubts_of_targets(summary.get("targets", ()))}
        summary |= {"given": given_files(method)} if given_files(method) else {}
        return save_run(
            workspace,
            Run(
                id=key,
                pool_id=pool.fingerprint,
                method=describe_method(method),
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
    told: dict[str, Any] = {"tokens": int(columns["prompt_tokens"].sum() + columns["response_tokens"].sum())}
    found = Found({})
    if isinstance(method, Imported):
        columns["imported"] = read_numbers(sweep.pool, method.field)
    elif not set(method.needs) <= {"tokens"}:
        with sweep.workspace.hold(
            f"device-{sweep.device.replace(':', '-')}",
            lambda: sweep.report.waiting("Another job uses this device."),
        ):
            if "base" in method.needs:
                columns |= {name: sweep.base.column(name, len(sweep.pool)) for name in SIGNALS["base"]}
            if type(method) in MORE:
                found = MORE[type(method)](sweep, method, columns, seed)
        told |= {"device": sweep.device, "dtype": sweep.dtype}
    summary = told | found.told | {"seconds": dict(sweep.seconds)}
    return columns | found.columns, {"summary": summary, "tasks": found.tasks, "kept": found.kept}


@dataclass(frozen=True)
class Found:
    """What a method's own measurement gives, beside the base pass."""

    columns: dict[str, Any]
    kept: dict[str, str] = field(default_factory=dict)  # measurements with more than a number a row
    told: dict[str, Any] = field(default_factory=dict)  # for the run's summary
    tasks: Tasks | None = None


def _shifted(sweep: Sweep, method: EntropyShift, columns: Columns, seed: int) -> Found:
    calibrated, rounds = calibrate(sweep, method, columns, seed)
    return Found(calibrated, told={"rounds": rounds})


def _covered(sweep: Sweep, method: ActivationCoverage, columns: Columns, seed: int) -> Found:
    return Found(cover(sweep, method, columns, seed), {"states": sweep.states.name})


def _confident(sweep: Sweep, method: TaskConfidence, _columns: Columns, seed: int) -> Found:
    codes, tasks = tasks_of(sweep, method, seed)
    if "confidence" not in method.needs:
        return Found({"task_code": codes}, tasks=tasks)
    confidence, facts = confidence_of(sweep, method, codes, seed)
    return Found({"task_code": codes, "confidence": confidence}, told=dict(facts), tasks=tasks)


def _answered(sweep: Sweep, method: AnswerDivergence, _columns: Columns, seed: int) -> Found:
    columns, kept, counts = diverge(sweep, method, seed)
    return Found(columns, kept, {"answers": counts})


def _influenced(sweep: Sweep, method: PreferenceInfluence, _columns: Columns, seed: int) -> Found:
    return Found(*influence(sweep, method, seed))


MORE: Mapping[type, Callable[[Sweep, Any, Columns, int], Found]] = {
    EntropyShift: _shifted,
    ActivationCoverage: _covered,
    TaskConfidence: _confident,
    AnswerDivergence: _answered,
    PreferenceInfluence: _influenced,
}


def doubts(columns: Mapping[str, Any], tasks: Tasks | None = None) -> list[str]:
    """What should make people look twice before they trust these columns."""
    found = []
    cut = int(columns["truncated"].sum())
    if cut:
        found.append(f"{cut:,} of {len(columns['truncated']):,} rows were longer than the model was allowed to read.")
    unanswered = int((columns["response_tokens"] == 0).sum())
    if unanswered:
        found.append(f"{unanswered:,} rows have no response to measure.")
    if "imported" in columns:
        found += doubts_of_numbers(columns["imported"])
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
    _, _, asked = mean_by_task(columns["confidence"], columns["task_code"], len(tasks.names))
    few = int((asked < 2).sum())
    return (
        [f"{few} of {len(tasks.names)} tasks have fewer than two prompts, so their confidence has no error."]
        if few
        else []
    )
