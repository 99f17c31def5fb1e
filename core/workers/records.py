"""Records of workers: what each is doing now, in a file that it rewrites about once a second.

    workspace/workers/<task>/<host>-<pid>.json

A worker removes its record at its end. What a killed one left counts no more, and is removed by the next worker.
"""

import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import WorkspaceError
from core.progress import Reporter
from core.workspace.files import make_folder, read_json, write_json
from core.workspace.folder import Workspace
from core.workspace.jobs import birth_mark
from core.workspace.shards import Shard

FOLDER = "workers"
INTERVAL_S = 1.0
SILENT_S = 600.0  # after which a worker of another machine counts as dead


@dataclass(frozen=True)
class WorkerRecord:
    """What one worker is doing."""

    shard: str
    host: str
    pid: int
    born: str  # birth mark of its process
    place: str = ""  # such as "cpu" or "cuda:0"
    stage: str = ""
    waits: str = ""  # for what; "" = it works
    part: int = -1  # of the stage, from 0; -1: none
    parts: int = 0
    rows: int = 0  # of this stage that it has computed itself
    rate: float = 0.0  # rows a second
    done: int = 0  # rows of this stage that any worker has computed
    total: int = 0
    work: int = 0  # the same in units of work
    total_work: int = 0
    updated: float = 0.0  # seconds since 1970

    @property
    def is_alive(self) -> bool:
        """Whether the worker still runs, as far as can be seen from here."""
        if self.host == platform.node():
            return birth_mark(self.pid) == self.born
        return time.time() - self.updated < SILENT_S


def list_workers(workspace: Workspace, task: str = "*") -> list[WorkerRecord]:
    """Return the records of live workers, of one task or all, by shard."""
    records = []
    for file in workspace.root.glob(f"{FOLDER}/{task}/*.json"):
        with suppress(WorkspaceError, TypeError):  # it has just ended, or another version wrote it
            record = WorkerRecord(**read_json(file))
            if record.is_alive:
                records.append(record)
    return sorted(records, key=lambda record: (int(record.shard.partition("/")[0]), record.host, record.pid))


@contextmanager
def recording(
    workspace: Workspace, task: str, shard: Shard, report: Reporter, place: str = ""
) -> Iterator["WorkerReporter"]:
    """Yield a reporter that keeps the record of this worker, and reports to `report` too."""
    folder = workspace.root / FOLDER / task
    make_folder(folder)
    record = WorkerRecord(str(shard), platform.node(), os.getpid(), birth_mark(os.getpid()) or "", place)
    file = folder / f"{record.host}-{record.pid}.json"
    for other in folder.glob("*.json"):
        with suppress(WorkspaceError, TypeError):
            if not WorkerRecord(**read_json(other)).is_alive:
                other.unlink(missing_ok=True)
    try:
        yield WorkerReporter(file, record, report)
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)


class WorkerReporter:
    """A Reporter that keeps the record of one worker."""

    def __init__(self, file: Path, record: WorkerRecord, report: Reporter) -> None:
        self._file, self._record, self._inner = file, record, report
        self._began = self._written = 0.0
        self._own = 0  # rows of the part that is computed now
        self._write()

    def stage(self, name: str, *, rows: int, work: int, done_rows: int = 0, done_work: int = 0) -> None:
        """Begin a stage."""
        self._inner.stage(name, rows=rows, work=work, done_rows=done_rows, done_work=done_work)
        self._began, self._own = time.monotonic(), 0
        done = {"done": done_rows, "total": rows, "work": done_work, "total_work": work}
        self._change(at_once=True, stage=name, waits="", part=-1, parts=0, rows=0, rate=0.0, **done)

    def part(self, number: int, of: int, rows: int) -> None:
        """Begin a part."""
        self._inner.part(number, of, rows)
        self._own = rows
        self._change(at_once=True, waits="", part=number, parts=of)

    def advance(self, rows: int, work: int) -> None:
        """Update the counts."""
        self._inner.advance(rows, work)
        own, self._own = self._record.rows + self._own, 0
        seconds = max(time.monotonic() - self._began, 1e-9)
        self._change(work == self._record.total_work, rows=own, rate=own / seconds, done=rows, work=work)

    def waiting(self, why: str) -> None:
        """Show what the worker waits for."""
        self._inner.waiting(why)
        self._change(at_once=True, waits=why, part=-1)

    def workers(self, task: str, replaced: Sequence[str] = ()) -> None:
        """Pass it on."""
        self._inner.workers(task, replaced)

    def note(self, text: str) -> None:
        """Pass a note on."""
        self._inner.note(text)

    def _change(self, at_once: bool, **changes: Any) -> None:
        self._record = replace(self._record, **changes)
        if at_once or time.monotonic() - self._written >= INTERVAL_S:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        write_json(self._file, asdict(replace(self._record, updated=time.time())))
