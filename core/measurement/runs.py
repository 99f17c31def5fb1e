"""Finished runs: everything a method needs to know about every row of one pool, in one small file.

A run is written once, when all of its measurements are complete, and read in milliseconds by the app
and by `select`. It knows nothing of models, so neither needs torch.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.columns import SIGNALS
from core.errors import WorkspaceError
from core.methods import describe_method
from core.methods.combined import Combined
from core.methods.params import measure_params
from core.methods.preference_influence import parse_targets
from core.schema import Method, ModelRef, Pool, Reading
from core.workspace.files import atomic_path, read_json, write_json
from core.workspace.folder import Workspace, content_key


@dataclass(frozen=True)
class Tasks:
    """What the numbers of `task_code` mean."""

    names: tuple[Any, ...]  # text, or None: rows without a label
    source: str  # "labels: FIELD" or "derived"
    embeddings: str = ""  # by what they were derived: "" = the scoring model, else a sentence-transformer and revision

    @property
    def derived(self) -> bool:
        """Are they Winnow's, and not the pool's own?"""
        return self.source == DERIVED


DERIVED = "derived"
INFLUENCES, SUBTASKS = "influences", "subtasks.json"


@dataclass(frozen=True)
class Run:
    """One finished run over one pool."""

    id: str
    pool_id: str
    method: Mapping[str, Any]  # describe(method) as it was measured
    reading: Mapping[str, Any]  # Reading, as asked for
    model: Mapping[str, Any]  # name, revision
    encoder: str  # digest of tokenizer and template
    seed: int
    columns: tuple[str, ...]
    folder: Path
    summary: Mapping[str, Any] = field(default_factory=dict)  # seconds, tokens, rounds, warnings, dtype
    tasks: Tasks | None = None
    kept: Mapping[str, str] = field(default_factory=dict)  # measurements with more than a number a row: states, ...
    members: tuple["Run", ...] = ()  # of a combination, which stores nothing itself

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals (of SIGNALS) that this run holds."""
        return tuple(s for s, names in SIGNALS.items() if set(names) <= set(self.columns))


def run_key(pool: Pool, method: Method, reading: Reading, ref: ModelRef, seed: int) -> str:
    """The id of the run that measures this: changes with anything that changes a column."""
    params = measure_params(method)
    spec = {
        "pool": pool.fingerprint,
        "needs": sorted(method.needs),
        "params": params,
        "seed": seed if params else 0,
        "reading": asdict(reading),
        "revision": ref.revision,
    }
    given = given_files(method)
    spec |= {"given": given} if given else {}
    return content_key(spec | ({"tasks": task_source(method, pool)} if "tasks" in method.needs else {}))


def given_files(method: Method) -> dict[str, list[int]]:
    """Size and time of every file that a method reads beside the pool, of those that are there now."""
    params = measure_params(method)
    names = [target.source for target in parse_targets(params["targets"])] if "targets" in params else []
    paths = [Path(name) for name in [*names, params.get("answers_file")] if name]
    abouts = {str(path): path.stat() for path in paths if path.is_file()}
    return {name: [about.st_size, about.st_mtime_ns] for name, about in abouts.items()}


def unchanged(run: Run, method: Method) -> bool:
    """Are the files that a method reads those that the run was made from? One that is gone counts as unchanged."""
    then = run.summary.get("given") or {}
    return all(then.get(name) == about for name, about in given_files(method).items())


def task_source(method: Method, pool: Pool) -> str:
    """Where this method's tasks come from: the pool's labels, if it has any and they are wanted; else derived."""
    labelled = pool.rows["task"].null_count < len(pool)
    wanted = measure_params(method).get("tasks") != DERIVED
    return f"labels: {pool.fields.task}" if labelled and wanted else DERIVED


def save_run(workspace: Workspace, run: Run, columns: Mapping[str, Any]) -> Run:
    """Keep a finished run; `run.json` is written last, so a run is whole or absent."""
    with atomic_path(run.folder / "columns.parquet") as temporary:
        pq.write_table(pa.table({name: pa.array(v) for name, v in columns.items()}), temporary)
    document = {k: v for k, v in asdict(run).items() if k not in ("folder", "members")}
    write_json(run.folder / "run.json", document)
    return run


def open_run(workspace: Workspace, run_id: str) -> Run:
    """One finished run by its id; WorkspaceError when there is none."""
    folder = workspace.folder("runs", run_id)
    if not (folder / "run.json").exists():
        raise WorkspaceError(f"There is no finished run '{run_id}' in {workspace.root}. Measure first.")
    document = read_json(folder / "run.json")
    tasks = document.get("tasks")
    if tasks is not None:
        document["tasks"] = Tasks(**{**tasks, "names": tuple(tasks["names"])})
    return Run(**{**document, "columns": tuple(document["columns"]), "folder": folder})


def list_runs(workspace: Workspace, pool_id: str) -> list[Run]:
    """Finished runs on one pool, newest first."""
    files = sorted(workspace.root.glob("runs/*/run.json"), key=lambda f: (f.stat().st_mtime_ns, f), reverse=True)
    runs = (open_run(workspace, file.parent.name) for file in files)
    return [run for run in runs if run.pool_id == pool_id]


def find_run(workspace: Workspace, pool: Pool, method: Method, reading: Reading, seed: int) -> Run | None:
    """The newest run under this reading that holds all the method needs; None when there is none.

    A method with measuring parameters finds only runs with its own parameters and seed; the others share any run
    of the same model and reading. A reading without a revision finds any. A combination's is that of its members.
    """
    return pick_run(list_runs(workspace, pool.fingerprint), pool, method, reading, seed)


def pick_run(runs: Sequence[Run], pool: Pool, method: Method, reading: Reading, seed: int) -> Run | None:
    """The same among these runs of the pool, newest first: for who asks for many methods."""
    if not isinstance(method, Combined):
        return next((run for run in runs if reads_alike(run, reading) and fits(run, method, pool, seed)), None)
    members: list[Run] = []
    for part in method.parts:
        found = pick_run(runs, pool, part, reading, seed)
        if found is None:
            return None
        members.append(found)
        reading = replace(reading, revision=found.model["revision"])  # all from one model
    return joined(method, members)


def joined(method: Combined, members: Sequence[Run]) -> Run:
    """A combination's run: those of its members side by side. Nothing is stored, so what is measured needs no more."""
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
    """Whether the run was made with this reading, and with its revision when it names one."""
    same = asdict(reading) | {"revision": None} == dict(run.reading) | {"revision": None}
    return same and reading.revision in (None, run.model["revision"])


def fits(run: Run, method: Method, pool: Pool, seed: int) -> bool:
    """Whether the run, of this pool, holds what this method, with these measuring parameters, needs."""
    params = measure_params(method)
    if not set(method.needs) <= set(run.signals):
        return False
    if not params:
        return True
    same = all(run.method["params"].get(k) == v for k, v in params.items())
    tasks = run.tasks.source if run.tasks else None
    alike = "tasks" not in method.needs or tasks == task_source(method, pool)
    return bool(run.method["name"] == method.name and same and alike and run.seed == seed and unchanged(run, method))


def find_signal(workspace: Workspace, pool: Pool, signal: str, reading: Reading) -> Run | None:
    """The newest run under this reading that holds a signal, whatever method it was made for."""
    runs = list_runs(workspace, pool.fingerprint)
    return next((run for run in runs if signal in run.signals and reads_alike(run, reading)), None)
