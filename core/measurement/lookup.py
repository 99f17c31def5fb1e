"""Lookup of runs: their keys, and the search for a finished run with all signals that a method needs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace

from core.measurement import all_signals, measurement_of
from core.measurement.runs import Run, list_runs
from core.methods import describe_method
from core.methods.combined import parts_of
from core.methods.params import later_defaults, measure_params, written_params
from core.schema import Method, ModelRef, Pool, Reading
from core.workspace.folder import Workspace, content_key


def run_key(pool: Pool, method: Method, reading: Reading, ref: ModelRef, seed: int) -> str:
    """Return the id of the run of this measurement. It covers everything that can change a column."""
    params = measure_params(method)
    spec = {
        "pool": pool.fingerprint,
        "needs": sorted(method.needs),
        "params": {name: value for name, value in written_params(method).items() if name in params},
        "seed": seed if params else 0,
        "reading": asdict(reading),
        "revision": ref.revision,
    }
    given = file_facts(method)
    return content_key(spec | ({"given": given} if given else {}) | measurement_of(method.name).key(method, pool))


def file_facts(method: Method) -> dict[str, list[int]]:
    """Return size and modification time of the files that a method reads besides the pool; skip those that are gone."""
    facts = {str(path): path.stat() for path in measurement_of(method.name).files(method) if path.is_file()}
    return {name: [about.st_size, about.st_mtime_ns] for name, about in facts.items()}


def signals_of(run: Run) -> tuple[str, ...]:
    """Return the signals that a run has all columns of."""
    return tuple(signal for signal, columns in all_signals().items() if set(columns) <= set(run.columns))


def find_run(workspace: Workspace, pool: Pool, method: Method, reading: Reading, seed: int) -> Run | None:
    """Return the newest run under this reading with all signals that the method needs, or None.

    For a method with measuring parameters, the run must have the same parameters and seed. Other methods share any run
    of the same model and reading. A reading without a revision matches any revision. For a combination, the runs of
    its members are combined.
    """
    return pick_run(list_runs(workspace, pool.fingerprint), pool, method, reading, seed)


def pick_run(runs: Sequence[Run], pool: Pool, method: Method, reading: Reading, seed: int) -> Run | None:
    """Do as `find_run`, on a list of the pool's runs, newest first: for callers with many methods."""
    parts = parts_of(method)
    if not parts:
        fitting = (run for run in runs if reads_alike(run, reading) and fits(run, method, pool, seed))
        return next((run for run in fitting if run.is_whole()), None)
    members: list[Run] = []
    for part in parts:
        run = pick_run(runs, pool, part, reading, seed)
        if run is None:
            return None
        members.append(run)
        reading = replace(reading, revision=run.model["revision"])  # all from one model
    return combine_runs(method, members)


def combine_runs(method: Method, members: Sequence[Run]) -> Run:
    """Combine the runs of a combination's members into one, which is not stored."""
    first = members[0]
    once = {run.id: run for run in members}.values()
    seconds: Counter[str] = Counter()
    for run in once:
        seconds.update(run.summary.get("seconds", {}))
    warnings = dict.fromkeys(sentence for run in once for sentence in run.summary.get("warnings", ()))
    return replace(
        first,
        id=content_key({"members": [run.id for run in members]}),
        method=describe_method(method),
        columns=tuple(dict.fromkeys(name for run in members for name in run.columns)),
        summary={"tokens": first.summary.get("tokens", 0), "seconds": dict(seconds), "warnings": list(warnings)},
        tasks=next((run.tasks for run in members if run.tasks is not None), None),
        kept={},
        members=tuple(members),
    )


def reads_alike(run: Run, reading: Reading) -> bool:
    """Return whether the run has this reading, and its revision if the reading names one."""
    same = asdict(reading) | {"revision": None} == dict(run.reading) | {"revision": None}
    return same and reading.revision in (None, run.model["revision"])


def fits(run: Run, method: Method, pool: Pool, seed: int) -> bool:
    """Return whether a run of this pool has the signals that the method needs, from the same measuring parameters."""
    params = measure_params(method)
    if not set(method.needs) <= set(signals_of(run)):
        return False
    if not params:
        return True
    stored = later_defaults(method) | run.method["params"]
    same = run.method["name"] == method.name and all(stored.get(k) == v for k, v in params.items())
    return bool(
        same and run.seed == seed and measurement_of(method.name).fits(run, method, pool) and _same_files(run, method)
    )


def _same_files(run: Run, method: Method) -> bool:
    """Return whether the files that a method reads are unchanged since the run. A removed file counts as unchanged."""
    then = run.summary.get("given") or {}
    return all(then.get(name) == about for name, about in file_facts(method).items())


def find_signal(workspace: Workspace, pool: Pool, signal: str, reading: Reading) -> Run | None:
    """Return the newest run under this reading that has a signal, of any method; None if there is none."""
    return newest_with(workspace, pool.fingerprint, signal, reading)


def newest_with(workspace: Workspace, fingerprint: str, signal: str, reading: Reading) -> Run | None:
    """Do as `find_signal`, for the pool with this fingerprint."""
    runs = list_runs(workspace, fingerprint)
    fitting = (run for run in runs if signal in signals_of(run) and reads_alike(run, reading))
    return next((run for run in fitting if run.is_whole()), None)
