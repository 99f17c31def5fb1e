"""Start of workers, and what becomes of them: one that dies is replaced, and an error of one is that of all.

The process that starts them computes nothing. When one of them has ended, all work is stored: it ends the others, runs
the same work once more, alone, and finds it.
"""

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import orjson

from core.errors import Cancelled, ModelError, WinnowError
from core.measurement.recipe_inputs import measure_methods
from core.measurement.runs import Run
from core.progress import Reporter
from core.schema import Method, Pool
from core.selection.recipe import Recipe
from core.workers.places import LOCAL, Place, check_workers, cluster_address, local_places
from core.workers.records import WorkerRecord, list_workers
from core.workers.task import Task, is_measured, measuring
from core.workers.worker import CANCELLED, FAILED
from core.workspace.folder import Workspace
from core.workspace.shards import Shard

ROOT = Path(__file__).resolve().parents[2]
POLL_S = 0.2
QUEUED_POLLS = 10  # in a row in which all workers wait: for another job, not for each other
MAX_DEATHS = 3  # of one worker in a row, without a part stored in between
GRACE_S = 8.0


def share_work(task: Task, workers: str, device: str, report: Reporter, is_done: Callable[[], bool]) -> None:
    """Let several workers do a task, unless `workers` means this process alone; what is left is for the caller.

    `is_done`: whether all is stored, so that none is started. Raises the error of a worker that fails, and ModelError
    if one dies again and again.
    """
    check_workers(workers)
    if is_done():
        return
    address = cluster_address(workers)
    if address is not None:
        from core.workers.cluster import run_on_cluster  # it starts workers on each node with this module

        run_on_cluster(task, address, device, report)
        return
    places = local_places(workers, device)
    if len(places) > 1:
        run_workers(task, places, report)


def measure_together(
    recipe: Recipe,
    pool: Pool,
    workspace: Workspace,
    report: Reporter,
    also: Sequence[Method] = (),
    *,
    servers: Collection[str] | None = None,
    allow_mix: bool = False,
) -> list[Run]:
    """Do as `measure_methods`, with the workers that the recipe names."""
    from core.measurement.measure import uses_model  # imports the hub's client, which other commands do not need
    from core.models.reference import resolve_model

    runs_model = any(map(uses_model, [recipe.method.build(), *also]))
    if recipe.workers != LOCAL or runs_model:
        if runs_model:  # so that workers on machines with other caches use the same weights
            revision = resolve_model(recipe.reading.model, recipe.reading.revision, models=workspace.models).revision
            reading = recipe.reading.model_copy(update={"revision": revision})
            recipe = recipe.model_copy(update={"reading": reading})
        task = measuring(recipe, pool, workspace, also, servers=servers, allow_mix=allow_mix)
        device = recipe.reading.device
        share_work(task, recipe.workers, device, report, lambda: is_measured(recipe, pool, workspace, also))
    return measure_methods(recipe, pool, workspace, report, also, servers=servers, allow_mix=allow_mix)


def run_workers(task: Task, places: Sequence[Place], report: Reporter) -> None:
    """Run a worker of a task on this machine in each place until all work is stored."""
    supervise([LocalWorker(task, Shard(index, len(places)), place) for index, place in enumerate(places)], report)


def supervise(crew: Sequence["Worker"], report: Reporter) -> None:
    """Run the workers of one task until one of them has ended with all work stored, or with an error."""
    progress = Progress(crew[0].task, report)
    try:
        for worker in crew:
            worker.start()
        while not any([worker.has_ended(progress) for worker in crew]):
            progress.update()
            time.sleep(max(POLL_S, len(crew) / 100))  # so many records are read each time
    finally:
        for worker in crew:
            worker.cancel()
        for worker in crew:
            worker.close()


@dataclass
class Progress:
    """The progress of all workers of a task, as one."""

    task: Task
    report: Reporter
    _stage: str = ""
    _done: int = -1
    _idle: int = 0  # updates in a row in which all workers waited
    _replaced: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.report.workers(self.task.key)

    def update(self) -> list[WorkerRecord]:
        """Report how far the work is by now; return the records of the workers."""
        records = list_workers(Workspace(self.task.workspace), self.task.key)
        working = [record for record in records if record.stage and not record.waits]
        if working:
            latest = max(
                working, key=lambda record: (record.part >= 0 and record.work < record.total_work, record.updated)
            )
            furthest = max((one for one in working if one.stage == latest.stage), key=lambda one: one.work)
            self._show(furthest)
        self._idle = self._idle + 1 if records and all(record.waits for record in records) else 0
        if self._idle == QUEUED_POLLS:
            self._stage = ""
            self.report.waiting(records[0].waits)
        return records

    def replace(self, sentence: str) -> None:
        """Report that a worker ended unexpectedly and was replaced."""
        self._replaced.append(sentence)
        self.report.workers(self.task.key, tuple(self._replaced))

    @property
    def mark(self) -> tuple[str, int]:
        """What changes with every part that is stored."""
        return self._stage, self._done

    def _show(self, record: WorkerRecord) -> None:
        if record.stage != self._stage:
            self._stage, self._done = record.stage, record.done
            self.report.stage(
                record.stage, rows=record.total, work=record.total_work, done_rows=record.done, done_work=record.work
            )
        elif record.done > self._done:
            self._done = record.done
            self.report.advance(record.done, record.work)


class Worker(ABC):
    """One worker, and its successors."""

    def __init__(self, task: Task, shard: Shard, place: str) -> None:
        self.task, self.shard = task, shard
        self.name = f"Worker {shard.index + 1} of {shard.count} ({place})"
        self.deaths, self._mark = 0, ("", -1)

    @abstractmethod
    def start(self) -> None:
        """Start it, or a successor of one that died."""

    @abstractmethod
    def poll(self) -> tuple[int, str] | None:
        """Return its exit code, with its error or why it died; None while it runs."""

    @abstractmethod
    def cancel(self) -> None:
        """Ask it to end, if it runs."""

    @abstractmethod
    def close(self) -> None:
        """End it, if it was started and still runs."""

    def has_ended(self, progress: Progress) -> bool:
        """Return whether its work is done; start it again if it died. Raise the error that it ended with."""
        ended = self.poll()
        if ended is None or ended[0] == 0:
            return ended is not None
        code, reason = ended
        raise_ended(code, reason)
        self.deaths = self.deaths + 1 if progress.mark == self._mark else 1
        self._mark = progress.mark
        if self.deaths >= MAX_DEATHS:
            raise ModelError(
                f"{self.name} ended {self.deaths} times without storing a part, perhaps for want of memory ({reason}). "
                "Choose fewer workers and run the same command again; finished parts are kept."
            )
        progress.replace(f"{self.name} ended unexpectedly ({reason}) and was replaced.")
        self.close()
        self.start()
        return False


class LocalWorker(Worker):
    """A process on this machine."""

    def __init__(self, task: Task, shard: Shard, place: Place) -> None:
        super().__init__(task, shard, place.name)
        self.place = place
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process."""
        self._errors: IO[bytes] = TemporaryFile()  # noqa: SIM115  read when the process has ended
        self._process = start_worker(self.task, self.shard, self.place, self._errors)

    def poll(self) -> tuple[int, str] | None:
        """Return exit code and last line on stderr, None while the process runs."""
        code = self._process.poll() if self._process else None
        if code is None:
            return None
        self._errors.seek(0)
        line = self._errors.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        return code, line if code in (FAILED, CANCELLED) else f"exit code {code}{f': {line}' if line else ''}"

    def cancel(self) -> None:
        """Send SIGTERM."""
        if self._process and self._process.poll() is None:
            self._process.terminate()

    def close(self) -> None:
        """End the process: SIGTERM, then SIGKILL after GRACE_S."""
        if self._process:
            end_worker(self._process)
            with suppress(OSError):
                self._process.stdin.close()  # type: ignore[union-attr]
            self._errors.close()
            self._process = None


def start_worker(task: Task, shard: Shard, place: Place, errors: IO[bytes] | int | None) -> subprocess.Popen[bytes]:
    """Start a worker process, which ends when this process does."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": paths} | dict(place.environment)
    command = [sys.executable, "-m", "core.workers.worker", str(shard), place.name]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
    )
    assert process.stdin
    with suppress(OSError):  # it has ended already; its exit code says why
        process.stdin.write(orjson.dumps(task.as_data()) + b"\n")
        process.stdin.flush()
    return process


def end_worker(process: subprocess.Popen[bytes]) -> None:
    """End a worker process: SIGTERM, then SIGKILL after GRACE_S."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def raise_ended(code: int, sentence: str) -> None:
    """Raise the error of a worker that ended by itself, with this exit code and last line on stderr."""
    if code == CANCELLED:
        raise Cancelled(sentence or "Cancelled. The same command continues from the last finished part.")
    if code == FAILED:
        raise WinnowError(sentence)
