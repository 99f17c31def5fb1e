"""Jobs: detached processes whose state is stored in files."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from core.errors import WorkspaceError
from core.workspace.files import read_json, write_json
from core.workspace.jobs import ROOT, JobReporter, cancel_job, get_job, list_jobs, restart_job, start_job


def wait_for(workspace, job, *states, seconds=60):
    deadline = time.monotonic() + seconds
    while (now := get_job(workspace, job.id)).state not in states:
        assert time.monotonic() < deadline, f"still {now.state}: {now.log_tail()}"
        time.sleep(0.05)
    return now


@pytest.fixture
def pool_file(tmp_path):
    file = tmp_path / "pool.jsonl"
    rows = ('{"instruction": "Add 1 and 1.", "output": "2"}', '{"instruction": "Name a colour.", "output": "Red."}')
    file.write_text("\n".join(rows))
    return file


def start_inspect(workspace, source):
    command = ["inspect", str(source), "--workspace", str(workspace.root)]
    return start_job(workspace, command, title="Look", about={"pool": "p"})


def test_a_job_runs_in_its_own_process_and_stores_its_result(workspace, pool_file):
    job = start_inspect(workspace, pool_file)
    assert psutil.Process(read_json(job.folder / "process.json")["pid"]).pid != os.getpid()
    done = wait_for(workspace, job, "done")
    assert (done.result["rows"], done.result["schema"], done.about) == (2, "alpaca", {"pool": "p"})
    assert [j.id for j in list_jobs(workspace)] == [job.id]


def test_a_users_mistake_ends_in_one_sentence(workspace, tmp_path):
    failed = wait_for(workspace, start_inspect(workspace, tmp_path / "nowhere.jsonl"), "failed")
    assert "nowhere.jsonl" in failed.message
    assert "Traceback" not in failed.log_tail()


def test_a_killed_worker_is_interrupted_not_running(workspace, pool_file):
    job = start_inspect(workspace, pool_file)
    pid = read_json(job.folder / "process.json")["pid"]
    os.kill(pid, signal.SIGKILL)
    stopped = wait_for(workspace, job, "interrupted")
    assert "Resume" in stopped.message
    assert wait_for(workspace, restart_job(workspace, stopped), "done").result["rows"] == 2


def test_a_process_that_reuses_the_pid_is_not_the_job(workspace, pool_file):
    job = wait_for(workspace, start_inspect(workspace, pool_file), "done")
    (job.folder / "progress.json").unlink()
    ours = psutil.Process()
    write_json(job.folder / "process.json", {"pid": ours.pid, "born": ours.create_time() - 100, "started": ""})
    assert get_job(workspace, job.id).state == "interrupted"
    cancel_job(workspace, job)  # must not stop this test


def test_cancelling_stops_the_process(workspace, tmp_path):
    fifo = tmp_path / "pool.jsonl"  # nothing is ever written to it, so reading blocks
    os.mkfifo(fifo)
    job = start_inspect(workspace, fifo)
    process = psutil.Process(read_json(job.folder / "process.json")["pid"])
    wait_for(workspace, job, "running", "failed")
    assert cancel_job(workspace, job).state in ("cancelled", "failed")
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("name", ["nothing", "..", "../runs"])
def test_an_unknown_job_is_one_sentence(workspace, name):
    with pytest.raises(WorkspaceError, match="There is no job"):
        get_job(workspace, name)


def test_rate_and_remaining_time_follow_the_work_not_the_rows(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    report = JobReporter(tmp_path)
    report.stage("Reading", rows=10, work=1000, done_rows=2, done_work=400)
    now[0] += 10
    report.advance(4, 500)  # two rows, 100 tokens in 10 s; 500 tokens left at 10 a second
    state = read_json(tmp_path / "progress.json")
    assert (state["done"], state["total"], state["fraction"]) == (4, 10, 0.5)
    assert (state["rate"], state["eta"]) == (0.2, 50.0)


@pytest.mark.parametrize(("given", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_waiting_threads_yield_their_core_unless_the_user_set_otherwise(given, expected):
    code = "import os, sys, core.__main__; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    clean = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean | given, capture_output=True, text=True)
    assert done.stdout.split() == [expected, "False"]  # torch reads the variable when it is imported
