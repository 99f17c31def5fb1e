"""Stored stages: slow work on a pool, cut into parts that are complete or absent, and done only once.

A stage is a folder in `workspace/measurements`, named by the content key of its spec. A worker locks it; a second
worker waits, then uses the result. The plan, which assigns rows to parts, is written before the first part, so a
stage that was killed and resumed has the same bits as one that was not.

Shards of one command (core/workspace/shards.py) hold that lock together and share the parts: whoever locks a part
computes it, and each goes on when all parts are stored. A part whose worker dies is free again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout

from core.progress import Reporter, percent_callback
from core.schema import IntArray, Progress
from core.workspace.files import remove_damaged
from core.workspace.folder import Workspace, content_key
from core.workspace.parts import Parts
from core.workspace.shards import ALONE, Shard

POLL_S = 0.2  # between looks at parts that other shards compute, where nothing is left to do
LOOK_S = 2.0  # the same, while there is
WAITING = "Waiting for another job that measures the same."


class Stages:
    """Run stages in one workspace and report their progress."""

    def __init__(self, workspace: Workspace, report: Reporter, shard: Shard = ALONE) -> None:
        self.workspace, self.report, self.shard = workspace, report, shard
        self.opened: list[Path] = []  # folders of the stages that are open, the outermost first
        self.seconds: dict[str, float] = {}  # kind of work -> seconds spent on it here
        self.used: list[Path] = []  # folders of all stages that were opened
        self.made_by: dict[str, Any] = {}  # facts about this worker, kept with each part that a model computes

    @contextmanager
    def locked(self, key: str, waiting: str = WAITING, *, together: bool = False) -> Iterator[None]:
        """Hold the lock on `key`; where another worker has it, report `waiting` and wait.

        `together`: the shards of one command hold it at the same time.
        """
        shared = together and not self.shard.is_alone
        with ExitStack() as lock:
            with self.timed("queue"):
                lock.enter_context(self.workspace.hold(key, lambda: self.report.waiting(waiting), shared=shared))
            yield

    @contextmanager
    def on_device(self, device: str) -> Iterator[None]:
        """Hold the lock on a device: one job at a time runs a model there."""
        key = f"device-{device.replace(':', '-')}"
        with self.locked(key, "Queued: another job uses this device.", together=True):
            yield

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Add the seconds that this block takes to `seconds[kind]`, without those of timed blocks inside it."""
        began, before = monotonic(), sum(self.seconds.values())
        yield
        inside = sum(self.seconds.values()) - before
        self.seconds[kind] = self.seconds.get(kind, 0.0) + monotonic() - began - inside

    def folder(self, spec: Mapping[str, Any]) -> Path:
        """Return the folder of the stage with this spec."""
        return self.workspace.folder("measurements", content_key(spec))

    @contextmanager
    def open(
        self,
        spec: Mapping[str, Any],
        plan: Sequence[IntArray],
        *,
        mapped: bool = False,
        gathered: str = "",
        together: bool = False,
        waiting: str = WAITING,
    ) -> Iterator[Parts]:
        """Open the parts of one stage under its lock. A stage that has begun keeps its own plan instead of `plan`.

        `together`: shards of one command open it at the same time, to share its parts by `compute_missing`.
        """
        folder = self.folder(spec)
        with self.locked(f"measurement-{folder.name}", waiting, together=together):
            with self.workspace.hold(f"plan-{folder.name}"):
                parts = Parts.open(folder, spec, plan, mapped=mapped, gathered=gathered)
            self.opened.append(folder)
            self.used.append(folder)
            try:
                yield parts
            finally:
                self.opened.pop()
                self.made_by = {}

    def compute_missing(
        self, stores: Sequence[Parts], title: str, work: IntArray, compute: Callable[[int, IntArray], None]
    ) -> None:
        """Call compute(part, rows), which stores it, for each part that is missing in any of `stores`.

        All stores have the same plan. `work` is (N,), the work in each row of the pool; rows in no part do not count.
        Returns when all parts are stored, by this worker or by other shards; what is reported is done by any of them.
        """
        plan = stores[0].plan
        sizes = np.array([(len(rows), work[rows].sum()) for rows in plan], np.int64).reshape(-1, 2)
        (rows_in_all, total), left = sizes.sum(0).tolist(), self._missing(stores)
        done_rows, done_work = (sizes.sum(0) - sizes[left].sum(0)).tolist()
        self.report.stage(title, rows=rows_in_all, work=total, done_rows=done_rows, done_work=done_work)
        waited, looked = False, monotonic()
        while left:
            claimed = next((part for part in left if self._claim(stores, part, compute)), None)
            if claimed is not None:
                left.remove(claimed)
                self.report.note(f"{title}: part {claimed + 1} of {len(plan)} is stored ({sizes[claimed, 0]} rows).")
            else:
                if not waited:
                    self.report.waiting(f"Waiting for other workers, which compute the last {len(left)} parts.")
                waited = True
                sleep(POLL_S)
            if claimed is None or (not self.shard.is_alone and monotonic() - looked >= LOOK_S):
                left, looked = self._missing(stores), monotonic()
            if (now := (sizes.sum(0) - sizes[left].sum(0)).tolist()) != [done_rows, done_work]:
                done_rows, done_work = now
                self.report.advance(done_rows, done_work)

    def _missing(self, stores: Sequence[Parts]) -> list[int]:
        return self.shard.order({part for store in stores for part in store.missing()})

    def _claim(self, stores: Sequence[Parts], part: int, compute: Callable[[int, IntArray], None]) -> bool:
        """Compute a part unless it is stored; return False if another shard is at it."""
        if all(store.has(part) for store in stores):
            return True
        rows = stores[0].plan[part]
        with ExitStack() as locks:
            for lock in () if self.shard.is_alone else self._part_locks(stores, part):
                try:
                    locks.enter_context(lock.acquire(timeout=0))
                except Timeout:
                    return False
                locks.callback(Path(lock.lock_file).unlink, missing_ok=True)
            if not all(store.has(part) for store in stores):
                self.report.part(part, len(stores[0].plan), len(rows))
                compute(part, rows)
        return True

    def _part_locks(self, stores: Sequence[Parts], part: int) -> list[FileLock]:
        return [self.workspace.lock(f"part-{store.folder.name}-{part}") for store in stores]

    def fill(
        self,
        spec: Mapping[str, Any],
        plan: Sequence[IntArray],
        title: str,
        load: Callable[[], Callable[[IntArray], pa.Table]],
        work: IntArray | None = None,
        *,
        mapped: bool = False,
    ) -> Parts:
        """Return the parts of one stage; compute those that are missing.

        `load()` is called before the first missing part; it returns a function from rows to their table. `work` is
        (N,), the work in each row of the pool; None: all rows are equal.
        """
        compute: Callable[[IntArray], pa.Table] | None = None
        if work is None:
            work = np.ones(sum(map(len, plan)), np.int64)

        def store(part: int, rows: IntArray) -> None:
            nonlocal compute
            compute = compute or load()
            parts.write(part, compute(rows), self.made_by)

        with self.timed(str(spec["kind"])), self.open(spec, plan, mapped=mapped, together=True) as parts:
            self.compute_missing([parts], title, work, store)
        return parts

    def once(
        self,
        spec: Mapping[str, Any],
        n: int,
        name: str,
        title: str,
        make: Callable[[Path, Progress], Any],
        *,
        percent: bool = True,
        files: Sequence[str] = (),
    ) -> tuple[Path, Any]:
        """Return the folder and the column `name`, (n,) or (n, d), of a stage of one part; compute it unless stored.

        `make(folder, progress)` returns the column, and writes `files` into the folder, if any are named. `percent`:
        whether it reports progress.
        """
        with self.timed(str(spec["kind"])), self.open(spec, [np.arange(n)]) as parts:
            more = [parts.folder / file for file in files]
            remove_damaged(more)
            if parts.missing() or not all(file.exists() for file in more):
                self.report.stage(title, rows=0, work=100 if percent else 0)
                values = make(parts.folder, percent_callback(self.report))
                parts.write(0, pa.table({name: as_column(values)}))
        return parts.folder, parts.column(name, n)

    def missing_files(self, files: Sequence[Path], title: str) -> Iterator[int]:
        """Yield the index of each missing file; it counts as done at the next iteration."""
        remove_damaged(files)
        missing = [place for place, file in enumerate(files) if not file.exists()]
        if missing:
            self.report.stage(title, rows=len(missing), work=len(missing))
        for done, place in enumerate(missing, start=1):
            yield place
            self.report.advance(done, done)


def as_column(values: Any) -> pa.Array:
    """Return an array (n,) as an Arrow column, (n, d) as a column of lists of d numbers."""
    if values.ndim == 1:
        return pa.array(values)
    flat = pa.array(np.ascontiguousarray(values).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
