"""Jobs: detached processes whose state is stored in files."""

import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from core.errors import WorkspaceError
from core.workspace import jobs
from core.workspace.files import read_json, write_json
from core.workspace.folder import Workspace
from core.workspace.jobs import (
    ROOT,
    JobReporter,
    birth_mark,
    cancel_job,
    delete_job,
    get_job,
    list_jobs,
    restart_job,
    start_job,
)


def wait_for(workspace, job, *states, seconds=60):
    deadline = time.monotonic() + seconds
    while (now := get_job(workspace, job.id)).state not in states:
        assert time.monotonic() < deadline, f"still {now.state}: {now.log_tail()}"
        time.sleep(0.05)
    return now


@pytest.fixture
def pool_file(tmp_path):
    return write_pool(tmp_path)


@pytest.fixture(scope="module")
def two_done(tmp_path_factory):
    """Return a folder with a workspace of two finished jobs, to copy."""
    folder = tmp_path_factory.mktemp("two")
    workspace = Workspace(folder / "workspace")
    for _ in range(2):
        wait_for(workspace, start_inspect(workspace, write_pool(folder)), "done")
    return workspace.root


def write_pool(folder):
    file = folder / "pool.jsonl"
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


def another_boot(mark):
    boot, ticks = mark.split()
    return f"{boot[::-1]} {ticks}"


def another_start(mark):
    boot, ticks = mark.split()
    return f"{boot} {int(ticks) + 1}"


@pytest.mark.parametrize(
    "other", [another_boot, another_start, lambda _: "", lambda _: psutil.Process().create_time()],
    ids=["another boot", "a tick later", "unknown", "an older record of the same second"],
)  # fmt: skip
def test_a_process_that_reuses_the_pid_is_not_the_job(workspace, pool_file, other):
    job = wait_for(workspace, start_inspect(workspace, pool_file), "done")
    (job.folder / "progress.json").unlink()
    born = other(birth_mark(os.getpid()))
    write_json(job.folder / "process.json", {"pid": os.getpid(), "born": born, "started": ""})
    assert get_job(workspace, job.id).state == "interrupted"
    cancel_job(workspace, job)  # must not stop this test


@pytest.fixture
def blocked_job(workspace, tmp_path, monkeypatch):
    """Return a job whose process waits for ever, with the arguments of a worker."""
    program = tmp_path / "worker"
    program.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(600)\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    job = start_job(workspace, ["inspect", "demo"], title="Look", about={})
    yield job
    if job.folder.exists():
        delete_job(job)


@pytest.mark.parametrize("record", ["now", "older"])
def test_setting_the_clock_neither_interrupts_a_job_nor_keeps_it_from_being_cancelled(
    workspace, blocked_job, monkeypatch, record
):
    process = read_json(blocked_job.folder / "process.json")
    running = psutil.Process(process["pid"])
    if record == "older":  # stored by a version that knew a process by the time of its start
        process["born"] = running.create_time()
        write_json(blocked_job.folder / "process.json", process)
    create_time = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) + 3600)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert get_job(workspace, blocked_job.id).state == "running"
    assert cancel_job(workspace, blocked_job).state == "cancelled"
    assert not running.is_running() or running.status() == psutil.STATUS_ZOMBIE


def test_without_a_boot_id_a_process_is_known_by_its_start(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "BOOT_ID", tmp_path / "none")
    assert birth_mark(os.getpid()) == repr(psutil.Process().create_time())
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert birth_mark(ended.pid) is None


def test_a_process_that_ended_or_is_a_zombie_has_no_birth_mark():
    child = subprocess.Popen(["true"])
    deadline = time.monotonic() + 10
    while birth_mark(child.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert birth_mark(child.pid) is None  # a zombie: nobody has waited for it yet
    child.wait()
    assert birth_mark(child.pid) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("progress.json", "[]"),
        ("progress.json", "null"),
        ("progress.json", '{"state": "running", "surprise": 1}'),
        ("progress.json", '{"state": "asleep"}'),
        ("progress.json", '{"state": "running", "done": "many"}'),
        ("progress.json", "\0\0\0"),
        ("process.json", "{}"),
        ("process.json", '{"pid": -1, "born": 0.0, "started": ""}'),
        ("process.json", '{"pid": true, "born": 0.0, "started": ""}'),
        ("job.json", "{}"),
        ("job.json", '{"title": 1, "about": [], "command": "rm", "created": null}'),
        ("job.json", ""),
    ],
)
def test_a_damaged_file_hides_one_job_which_can_be_deleted(two_done, workspace, name, text):
    shutil.copytree(two_done, workspace.root, dirs_exist_ok=True)
    whole, job = list_jobs(workspace)
    (job.folder / name).write_text(text)
    listed = {one.id: one for one in list_jobs(workspace)}
    assert listed[whole.id].state == "done"
    assert listed[job.id].state == "unreadable" and not listed[job.id].live
    assert listed[job.id].message.startswith(f"{job.folder / name} is damaged.")
    delete_job(listed[job.id])
    assert [one.id for one in list_jobs(workspace)] == [whole.id]


def test_deleting_a_job_stops_its_process(workspace, blocked_job):
    running = psutil.Process(read_json(blocked_job.folder / "process.json")["pid"])
    delete_job(blocked_job)
    assert not running.is_running() or running.status() == psutil.STATUS_ZOMBIE
    assert list_jobs(workspace) == []


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
