"""Finished runs: all columns that a method needs of one pool, in one small file.

A run is written once, when all of its stages are complete. The app and `select` load it in milliseconds, without
torch.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.errors import DamagedFile, WorkspaceError
from core.schema import Reading
from core.workspace.checksums import has_known_damage
from core.workspace.files import is_whole, log_once, read_json, reading, stored_path, write_json
from core.workspace.folder import Workspace

DERIVED = "derived"
COLUMNS = "columns.parquet"


@dataclass(frozen=True)
class Tasks:
    """The tasks that the numbers of `task_code` refer to."""

    names: tuple[Any, ...]  # text, or None: rows without a label
    source: str  # "labels: FIELD" or "derived"
    embeddings: str = ""  # model of the embeddings that tasks are derived from; "" = the scoring model

    @property
    def derived(self) -> bool:
        """Whether tasks were derived from embeddings, and are not labels of the pool."""
        return self.source == DERIVED


@dataclass(frozen=True)
class Run:
    """One finished run over one pool."""

    id: str
    pool_id: str
    method: Mapping[str, Any]  # describe_method(method) as it was measured
    reading: Mapping[str, Any]  # Reading, as requested
    model: Mapping[str, Any]  # name, revision
    encoder: str  # digest of tokenizer and template
    seed: int
    columns: tuple[str, ...]
    folder: Path
    summary: Mapping[str, Any] = field(default_factory=dict)  # seconds, tokens, rounds, warnings, dtype
    tasks: Tasks | None = None
    kept: Mapping[str, str] = field(default_factory=dict)  # name -> key of a stage it was made from: tokens, base, ...
    members: tuple["Run", ...] = ()  # of a combination, which is not stored

    @property
    def outdated(self) -> bool:
        """Whether an earlier version measured it, under a reading of another form. Such a run is not used."""
        return self.reading.keys() != {each.name for each in fields(Reading)}

    def load_columns(self, names: Iterable[str]) -> dict[str, NDArray[Any]]:
        """Load stored columns as read-only arrays (N,)."""
        with reading(self.folder / COLUMNS):
            table = pq.read_table(self.folder / COLUMNS, columns=list(names))
        columns = {name: table[name].to_numpy() for name in table.column_names}
        for values in columns.values():
            values.flags.writeable = False
        return columns

    def is_whole(self) -> bool:
        """Return whether its columns are stored as they were written; a run that is not is logged.

        Of its stages counts what this process has found damaged: they are too large to be verified for a question.
        """
        stages = [folder for name in self.kept if (folder := self.stage_folder(name))]
        whole = is_whole(self.folder / COLUMNS) and not any(map(has_known_damage, stages))
        if not whole:
            log_once(f"{self.folder}: a file of this run is damaged or missing. Measure again to restore it.")
        return whole

    def stage_folder(self, name: str) -> Path | None:
        """Return the folder of the stage with this name in `kept`, or None."""
        return self.folder.parents[1] / "measurements" / self.kept[name] if name in self.kept else None


def save_run(workspace: Workspace, run: Run, columns: Mapping[str, Any]) -> Run:
    """Write a finished run, `run.json` last, so that a run is complete or absent."""
    with stored_path(run.folder / COLUMNS) as temporary:
        pq.write_table(pa.table(dict(columns)), temporary)
    document = {k: v for k, v in asdict(run).items() if k not in ("folder", "members")}
    write_json(run.folder / "run.json", document)
    return run


def open_run(workspace: Workspace, run_id: str) -> Run:
    """Open a finished run by its id; WorkspaceError if there is none."""
    folder = workspace.folder("runs", run_id)
    if not (folder / "run.json").exists():
        raise WorkspaceError(f"There is no finished run '{run_id}' in {workspace.root}. Measure first.")
    document = read_json(folder / "run.json")
    tasks = document.get("tasks")
    if tasks is not None:
        document["tasks"] = Tasks(**{**tasks, "names": tuple(tasks["names"])})
    return Run(**{**document, "columns": tuple(document["columns"]), "folder": folder})


def list_runs(workspace: Workspace, pool_id: str) -> list[Run]:
    """Return the finished runs on one pool, newest first, without outdated ones."""
    return [run for run in _runs_on(workspace, pool_id) if not run.outdated]


def describe_outdated(workspace: Workspace, pool_id: str) -> str:
    """Return a sentence on the outdated runs on one pool; "" if there are none."""
    count = sum(run.outdated for run in _runs_on(workspace, pool_id))
    which = "1 measurement of this pool was" if count == 1 else f"{count:,} measurements of this pool were"
    sentence = f"{which} made by an earlier version, which shortened long rows differently. Measure again."
    return sentence if count else ""


def _runs_on(workspace: Workspace, pool_id: str) -> Iterator[Run]:
    files = sorted(workspace.root.glob("runs/*/run.json"), key=lambda f: (f.stat().st_mtime_ns, f), reverse=True)
    runs = (_open_unless_damaged(workspace, file.parent.name) for file in files)
    return (run for run in runs if run is not None and run.pool_id == pool_id)


def _open_unless_damaged(workspace: Workspace, run_id: str) -> Run | None:
    try:
        return open_run(workspace, run_id)
    except DamagedFile as error:
        log_once(str(error))
        return None
