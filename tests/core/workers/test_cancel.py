"""A job whose workers are processes: it names their records, and all of them end with it."""

import json
import os
import signal
import time

import psutil
import pytest

from core.workers.records import list_workers
from core.workspace.jobs import cancel_job, get_job, start_job

WORDS = ["the", "sea", "rose", "slowly", "under", "a", "pale", "moon", "and", "the", "boat", "turned"]


@pytest.fixture
def job(workspace, tmp_path, monkeypatch):
    """Start a job of two workers and hundreds of parts."""
    monkeypatch.setenv("WINNOW_PART_SECONDS", "0.05")
    file = tmp_path / "pool.jsonl"
    answers = (" ".join(WORDS[k % 7 :] * 12) for k in range(4000))
    file.write_text("".join(json.dumps({"instruction": f"Row {k}", "output": a}) + "\n" for k, a in enumerate(answers)))
    command = ["measure", str(file), "--method", "lowest_nll", "--workers", "2", "--workspace", str(workspace.root)]
    started = start_job(workspace, command, title="Measure", about={})
    yield started
    cancel_job(workspace, started)


def wait_for(workspace, job, done):
    deadline = time.monotonic() + 120
    while not done(get_job(workspace, job.id)):
        now = get_job(workspace, job.id)
        assert now.live and time.monotonic() < deadline, f"{now.state} {now.message}: {now.log_tail()}"
        time.sleep(0.05)
    return get_job(workspace, job.id)


def computing(workspace, job):
    """Return the live workers of a job that compute a part of the pass."""
    workers = list_workers(workspace, job.task) if job.task else []
    return [record for record in workers if record.part >= 0 and record.stage.startswith("Measuring")]


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_cancel_ends_all_of_them(workspace, job):
    wait_for(workspace, job, lambda now: len(computing(workspace, now)) == 2)
    first, second = computing(workspace, get_job(workspace, job.id))
    assert (first.shard, second.shard) == ("0/2", "1/2") and first.parts > 40
    os.kill(second.pid, signal.SIGKILL)

    def is_replaced(now):
        return second.pid not in (pids := [one.pid for one in computing(workspace, now)]) and len(pids) == 2

    now = wait_for(workspace, job, is_replaced)
    assert now.replaced == ["Worker 2 of 2 (cpu) ended unexpectedly (exit code -9) and was replaced."]
    assert now.total == 4000 and 0 < now.done < 4000
    pids = [record.pid for record in list_workers(workspace)]
    assert cancel_job(workspace, job).state == "cancelled"
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert list_workers(workspace) == [] and len(pids) == 2
    assert get_job(workspace, job.id).replaced == now.replaced
