"""Records of workers, and the progress of all of them as one."""

import os
import subprocess
from dataclasses import asdict, replace

import pytest

from core.progress import SilentReporter
from core.workers.launch import QUEUED_POLLS, Progress
from core.workers.records import WorkerRecord, list_workers, recording
from core.workers.task import Task
from core.workspace.files import write_json
from core.workspace.jobs import birth_mark
from core.workspace.shards import Shard

SHARD = Shard(0, 2)


def read(workspace):
    (record,) = list_workers(workspace, "task")
    return record


def test_a_record_shows_the_part_that_is_computed_now(workspace):
    with recording(workspace, "task", SHARD, SilentReporter(), "cpu") as report:
        report.stage("Forward pass", rows=40, work=400)
        for number in range(3):  # within the second in which counts are written once
            report.part(number, 10, 4)
            assert (read(workspace).part, read(workspace).parts) == (number, 10)
            report.advance(4 * (number + 1), 40)
        report.waiting("Waiting for another job.")
        assert (read(workspace).part, read(workspace).waits) == (-1, "Waiting for another job.")
        report.part(3, 10, 4)
        assert (read(workspace).part, read(workspace).waits, read(workspace).rows) == (3, "", 12)
        assert (read(workspace).shard, read(workspace).place) == ("0/2", "cpu")
    assert list_workers(workspace) == []


@pytest.fixture
def put(workspace):
    """Return a function that stores the record of a live worker; its process is this one."""

    def store(index, stage="Forward pass", pid=None, **fields):
        pid = pid or os.getpid()
        record = WorkerRecord(f"{index}/2", os.uname().nodename, pid, birth_mark(os.getpid()), "cpu", stage)
        write_json(
            workspace.root / "workers" / Task(str(workspace.root), {}).key / f"{index}.json",
            asdict(replace(record, **fields)),
        )

    return store


def test_what_a_dead_worker_left_does_not_count(workspace, put):
    ended = subprocess.Popen(["true"])
    ended.wait()
    put(0, done=10)
    put(1, pid=ended.pid)
    assert [record.shard for record in list_workers(workspace)] == ["0/2"]


class Recorder(SilentReporter):
    def __init__(self):
        self.calls = []

    def stage(self, name, *, rows, work, done_rows=0, done_work=0):
        self.calls.append((name, done_rows, rows))

    def advance(self, rows, work):
        self.calls.append(rows)

    def waiting(self, why):
        self.calls.append(why)

    def workers(self, task, replaced=()):
        self.calls.append((task, *replaced))


def test_progress_is_that_of_the_furthest_worker_which_computes_a_part(workspace, put):
    task, report = Task(str(workspace.root), {}), Recorder()
    progress = Progress(task, report)
    assert report.calls.pop() == (task.key,)
    for index in (0, 1):
        put(index, stage="", waits="Queued: another job uses this device.")
    for _ in range(2 * QUEUED_POLLS):
        progress.update()
    rows = {"total": 40, "total_work": 400}
    put(0, part=2, done=10, work=100, updated=1.0, **rows)
    progress.update()
    put(1, stage="Loading the pool", total_work=1, updated=2.0)  # begins anew
    progress.update()
    put(1, stage="Tokenising", part=0, done=40, work=400, updated=3.0, **rows)
    progress.update()
    put(1, part=3, done=14, work=140, updated=4.0, **rows)
    progress.update()
    put(0, waits="Waiting for other workers.")
    progress.update()
    put(1, waits="Waiting for other workers.")  # both for a moment, when the last part has just been stored
    progress.update()
    assert report.calls == ["Queued: another job uses this device.", ("Forward pass", 10, 40), 14]


def test_every_worker_that_was_replaced_is_reported(workspace):
    task, report = Task(str(workspace.root), {}), Recorder()
    progress = Progress(task, report)
    progress.replace("Worker 1 was replaced.")
    progress.replace("Worker 2 was replaced.")
    assert report.calls[1:] == [
        (task.key, "Worker 1 was replaced."),
        (task.key, "Worker 1 was replaced.", "Worker 2 was replaced."),
    ]
