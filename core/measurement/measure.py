"""Measuring a pool with some methods: slow, done once, and stored as a run for each method.

One pass of the base model serves all methods (core/measurement/stages.py). The rest of a method's work is in the file
of its measurement.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from time import monotonic
from typing import Any

import numpy as np

from core.columns import SHARED_SIGNALS, count_cut, cut_in_words
from core.errors import RecipeError
from core.measurement import find_column, measurement_of
from core.measurement.kinds import collect_kinds, describe_mix
from core.measurement.lookup import combine_runs, file_facts, find_run, find_signal, run_key
from core.measurement.measurement import Measurement, Result
from core.measurement.run_data import damaged_data
from core.measurement.runs import Run, describe_outdated, save_run
from core.measurement.stage_times import OTHER
from core.measurement.stages import ActivationOptions, PoolStages
from core.methods import describe_method
from core.methods.combined import expand_combinations, parts_of
from core.models.generation.addresses import check_url, host_and_port, is_loopback, is_named
from core.models.reference import resolve_model
from core.progress import Reporter
from core.schema import Columns, Method, ModelRef, Pool, Reading
from core.workspace.files import log_once, remove_stored
from core.workspace.folder import Workspace
from core.workspace.shards import ALONE, Shard

NEARLY_CONSTANT = 0.95  # share of the measured rows with one value from which a column hardly ranks them


def measure(
    pool: Pool, method: Method, reading: Reading, workspace: Workspace, *, seed: int = 0, report: Reporter
) -> Run:
    """Return the run of `method` on `pool`: the stored one, else a new measurement. Resumable at any moment."""
    return measure_all(pool, [method], reading, workspace, seed=seed, report=report)[0]


def measure_all(
    pool: Pool,
    methods: Sequence[Method],
    reading: Reading,
    workspace: Workspace,
    *,
    seed: int = 0,
    report: Reporter,
    servers: Collection[str] | None = None,
    shard: Shard = ALONE,
    allow_mix: bool = False,
) -> list[Run]:
    """Return a run for each method; new measurements share one pass of the base model.

    shard      which of several processes this is that measure the same at the same time
    allow_mix  devices of several kinds may compute parts of one stage
    servers    for methods from a file: host or host:port of servers that may be sent prompts, besides those on this
               computer; RecipeError for any other, before it is asked. None: the user gave the addresses
    """
    began, single = monotonic(), expand_combinations(methods)
    ref = _find_model(pool, single, reading, workspace)
    reading = replace(reading, revision=ref.revision)
    stored = {method: _find_whole_run(pool, method, reading, workspace, seed) for method in single}
    to_measure = [method for method, run in stored.items() if run is None]
    if servers is not None:
        _check_servers(to_measure, servers)
    note = describe_outdated(workspace, pool.fingerprint) if to_measure else "Already measured."
    if note:
        report.note(note)
    for method in to_measure:
        measurement_of(method.name).check(method, pool)
    counted = None if any(map(uses_model, to_measure)) else _find_counts(pool, reading, workspace)
    common = activation_options(to_measure)
    options: dict[str, Any] = {"shard": shard, "allow_mix": allow_mix}
    stages = PoolStages(pool, reading, ref, workspace, report, activations=common, counted=counted, **options)

    def stages_for(method: Method) -> PoolStages:
        """Return the common stages, or new ones for a method with other activation options than the common pass."""
        own = activation_options([method])
        if own in (None, common):
            return stages
        return PoolStages(pool, reading, ref, workspace, report, activations=own, **options)

    runs: dict[Method, Run] = {}
    for method, run in stored.items():
        runs[method] = run or _measure_one(stages_for(method), method, seed, began)
        began = monotonic()
    return [combine_runs(m, [runs[part] for part in parts_of(m)]) if parts_of(m) else runs[m] for m in methods]


def _check_servers(methods: Sequence[Method], allowed: Collection[str]) -> None:
    """Raise RecipeError if a method would send prompts to a server that is not on this computer nor allowed."""
    for method in methods:
        for url in map(check_url, measurement_of(method.name).servers(method)):
            if not is_loopback(url) and not is_named(url, allowed):
                raise RecipeError(
                    f"This recipe would send the pool's prompts to the server {url}. Nothing was sent. If you "
                    f"trust it, add --allow-server {host_and_port(url)} (in Python, allow_servers)."
                )


def _find_whole_run(pool: Pool, method: Method, reading: Reading, workspace: Workspace, seed: int) -> Run | None:
    """Return the stored run of `method`; None if there is none, or something that it was made from is damaged."""
    run = find_run(workspace, pool, method, reading, seed)
    return None if run is None or _is_damaged(workspace, run) else run


def _find_counts(pool: Pool, reading: Reading, workspace: Workspace) -> Run | None:
    """Return a run whose token counts can be used; None if there is none, or its tokens are damaged."""
    run = find_signal(workspace, pool, "tokens", reading)
    return None if run is None or _is_damaged(workspace, run) else run


def _is_damaged(workspace: Workspace, run: Run) -> bool:
    damaged = damaged_data(workspace, run)
    for file in damaged:
        log_once(f"{file} is damaged or missing, and is computed again.")
        if not file.exists():
            remove_stored(file)  # what is left of it; a file that a killed worker was removing is not needed
    return bool(damaged)


def _find_model(pool: Pool, methods: Sequence[Method], reading: Reading, workspace: Workspace) -> ModelRef:
    """Resolve the model. If no method runs it and the revision is given, use the model of a run that counted tokens."""
    if reading.revision is not None and not any(map(uses_model, methods)):
        counted = find_signal(workspace, pool, "tokens", reading)
        if counted is not None:
            return ModelRef(**counted.model, path="", size_bytes=0)
    return resolve_model(reading.model, reading.revision, models=workspace.models)


def uses_model(method: Method) -> bool:
    """Return whether measuring this method runs a model, and not just a tokenizer or the rows' own fields."""
    return not set(method.needs) <= {"tokens"} and measurement_of(method.name).uses_model


def activation_options(methods: Sequence[Method]) -> ActivationOptions | None:
    """Return the activation options of the base pass: those of the first method that needs activations, or None."""
    options = (measurement_of(method.name).activations(method) for method in methods)
    return next((each for each in options if each is not None), None)


def _measure_one(stages: PoolStages, method: Method, seed: int, began: float) -> Run:
    """Measure one method. The run states the seconds since `began`, by kind of work."""
    pool, workspace = stages.pool, stages.workspace
    key = run_key(pool, method, stages.reading, stages.ref, seed)
    stages.seconds.clear()
    stages.used.clear()
    with stages.locked(f"run-{key}", together=True):
        run = _find_whole_run(pool, method, stages.reading, workspace, seed)
        if run is not None:
            return run
        measurement = measurement_of(method.name)
        columns, result = _run(stages, method, measurement, seed)
        given = file_facts(method)
        mix = describe_mix(result.summary.get("kinds", ()))
        summary = result.summary | {"warnings": [*mix, *warnings_for(columns, measurement, result)]}
        other = monotonic() - began - sum(stages.seconds.values())
        summary["seconds"] = stages.seconds | {OTHER: max(0.0, other)}
        run = Run(
            id=key,
            pool_id=pool.fingerprint,
            method=describe_method(method),
            reading=asdict(stages.reading),
            model={"name": stages.ref.name, "revision": stages.ref.revision},
            encoder=stages.encoder_digest,
            seed=seed,
            columns=tuple(columns),
            folder=workspace.folder("runs", key),
            summary=summary | ({"given": given} if given else {}),
            tasks=result.tasks,
            kept=result.kept,
        )
        with workspace.hold(f"plan-{key}"):  # the first of several shards saves it
            return _find_whole_run(pool, method, stages.reading, workspace, seed) or save_run(workspace, run, columns)


def _run(stages: PoolStages, method: Method, measurement: Measurement[Any], seed: int) -> tuple[dict[str, Any], Result]:
    """Return all columns that `method` needs, and the result with the summary that every run has."""
    shared: dict[str, Any] = dict(stages.counts)
    summary: dict[str, Any] = {"tokens": int(stages.lengths.sum())}
    kept = {"tokens": stages.tokens_key}
    if uses_model(method):
        with stages.on_device(stages.device):
            if "base" in method.needs:
                shared |= {name: stages.base.column(name, len(stages.pool)) for name in SHARED_SIGNALS["base"]}
            result = measurement.run(stages, method, shared, seed)
        if "base" in method.needs or measurement.cost(method, stages.pool).base_pass:
            kept["base"] = stages.base.folder.name
        summary |= {"device": stages.device, "dtype": stages.dtype}
        summary["kinds"] = collect_kinds(dict.fromkeys(stages.used))
    else:
        result = measurement.run(stages, method, shared, seed)
    summary |= result.summary
    return shared | result.columns, replace(result, summary=summary, kept=kept | result.kept)


def warnings_for(columns: Columns, measurement: Measurement[Any], result: Result) -> list[str]:
    """Return reasons to check these columns before they are used, as sentences."""
    warnings = []
    cut = count_cut(columns)
    if cut["rows"]:
        rows = f"{cut['rows']:,} of {len(columns['truncated']):,} rows"
        warnings.append(f"{rows} exceed the maximum sequence length: {cut_in_words(cut)}.")
    empty = int((columns["response_tokens"] == 0).sum())
    if empty:
        warnings.append(f"{empty:,} rows have no response to measure.")
    return warnings + describe_constant_columns(columns) + measurement.warnings(columns, result)


def describe_constant_columns(columns: Columns) -> list[str]:
    """Return a sentence for each column whose commonest value is that of nearly all measured rows."""
    sentences = []
    for name, values in columns.items():
        measured = values[np.isfinite(values)] if values.dtype.kind == "f" else values[:0]
        distinct, counts = np.unique(measured, return_counts=True)
        if len(measured) > 1 and counts.max() >= NEARLY_CONSTANT * len(measured):
            about = find_column(name.partition(".")[0])
            label, value = about.label if about else name, distinct[counts.argmax()]
            sentences.append(
                f"{label}: {counts.max():,} of {len(measured):,} measured rows have the same value, {value:.4g}, "
                "so this score hardly ranks them."
            )
    return sentences
