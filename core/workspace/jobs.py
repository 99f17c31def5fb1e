"""Jobs: long work in detached processes whose state is stored in files.

The app starts `python -m core ...` in a session of its own, so a reloaded page, a closed tab or a dead server does
not affect it. The files of a job are in `workspace/jobs/<id>/`:

    job.json        command, title, subject; written once
    process.json    pid and start time of the latest attempt
    progress.json   state, stage, counts; written by the worker about twice a second
    log.txt         its output

A stored state of "queued" or "running" counts only while the job's own process is alive.
"""

import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from core.errors import WorkspaceError
from core.workspace.files import disk_errors, read_json, write_json
from core.workspace.folder import Workspace

LIVE = ("queued", "running")
GRACE_S = 8.0  # seconds between SIGTERM and SIGKILL
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Job:
    """The state of one job at the time it was read."""

    id: str
    folder: Path
    title: str
    about: Mapping[str, Any]  # its subject, by which the app finds it again: pool, method, ...
    command: tuple[str, ...]  # the arguments after `python -m core`
    state: str = "queued"  # queued, running, done, failed, cancelled, interrupted
    stage: str = ""
    done: int = 0  # rows of this stage
    total: int = 0
    fraction: float = 0.0  # of this stage's work, by tokens
    rate: float = 0.0  # rows a second
    eta: float | None = None  # seconds to the end of this stage
    message: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""
    updated: str = ""

    @property
    def live(self) -> bool:
        """Whether the job is queued or running."""
        return self.state in LIVE

    def log_tail(self, lines: int = 20) -> str:
        """Return the last non-blank lines of its log."""
        path = self.folder / "log.txt"
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 20_000))
            text = file.read().decode("utf-8", "replace").replace("\r", "\n")
        return "\n".join([line for line in text.split("\n") if line.strip()][-lines:])


def start_job(workspace: Workspace, command: Sequence[str], *, title: str, about: Mapping[str, Any]) -> Job:
    """Start `python -m core COMMAND` detached and return its job. The command must accept --job."""
    job_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
    folder = workspace.folder("jobs", job_id)
    document = {"title": title, "about": dict(about), "command": list(command), "created": _now()}
    write_json(folder / "job.json", document)
    return _launch(workspace, folder)


def restart_job(workspace: Workspace, job: Job) -> Job:
    """Run the same command again; finished parts are not repeated. A live job is returned unchanged."""
    job = get_job(workspace, job.id)
    if job.live:
        return job
    (job.folder / "progress.json").unlink(missing_ok=True)
    return _launch(workspace, job.folder)


def _launch(workspace: Workspace, folder: Path) -> Job:
    command = read_json(folder / "job.json")["command"]
    argv = [sys.executable, "-m", "core", *command, "--job", str(folder)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    stdin = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    stdout = (os.POSIX_SPAWN_OPEN, 1, str(folder / "log.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    actions = [stdin, stdout, (os.POSIX_SPAWN_DUP2, 1, 2)]
    with disk_errors(folder):
        pid = os.posix_spawn(sys.executable, argv, environment, setsid=True, file_actions=actions)
    with suppress(psutil.NoSuchProcess):
        born = psutil.Process(pid).create_time()
        write_json(folder / "process.json", {"pid": pid, "born": born, "started": _now()})
    return get_job(workspace, folder.name)


def list_jobs(workspace: Workspace) -> list[Job]:
    """Return all jobs, newest first."""
    ids = sorted((f.parent.name for f in workspace.root.glob("jobs/*/job.json")), reverse=True)
    return [get_job(workspace, job_id) for job_id in ids]


def get_job(workspace: Workspace, job_id: str) -> Job:
    """Return the current state of a job; WorkspaceError for an unknown id."""
    folder = workspace.folder("jobs", job_id)
    if not (folder / "job.json").exists() or folder.parent != workspace.root / "jobs":
        raise WorkspaceError(f"There is no job '{job_id}' in {workspace.root}.")
    document = read_json(folder / "job.json")
    alive = _find_process(folder) is not None  # before reading progress: a job that ends in between counts as done
    progress = _read_if_there(folder / "progress.json")
    state = progress.pop("state", "running")
    if state in LIVE and not alive:
        state = "interrupted"
        progress["message"] = "The worker stopped without a word. Resume repeats at most one part."
    started = _read_if_there(folder / "process.json").get("started", document["created"])
    command = tuple(document["command"])
    return Job(job_id, folder, document["title"], document["about"], command, state, started=started, **progress)


def _read_if_there(file: Path) -> dict[str, Any]:
    return dict(read_json(file)) if file.exists() else {}


def cancel_job(workspace: Workspace, job: Job) -> Job:
    """Stop a job: SIGTERM to its process group, SIGKILL after GRACE_S. Finished parts stay."""
    process = _find_process(job.folder)
    if process is not None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while _find_process(job.folder) is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        if _find_process(job.folder) is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    now = get_job(workspace, job.id)
    if now.state not in ("done", "failed"):
        JobReporter(job.folder).finish("cancelled", "Cancelled. Resume goes on from the last finished part.")
    return get_job(workspace, job.id)


def _find_process(folder: Path) -> psutil.Process | None:
    """Return the job's process if it is alive; another process that reuses its pid does not count."""
    document = _read_if_there(folder / "process.json")
    if not document:
        return None
    with suppress(ChildProcessError):
        os.waitpid(document["pid"], os.WNOHANG)  # reap a finished child, which would stay a zombie
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process = psutil.Process(document["pid"])
        if abs(process.create_time() - document["born"]) < 2 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class JobReporter:
    """A Reporter that writes `progress.json`, at most twice a second."""

    INTERVAL_S = 0.5

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state: dict[str, Any] = {"state": "running", "stage": "Starting"}
        self._totals = (0, 0)
        self._start = (0.0, 0, 0)
        self._written = 0.0

    def stage(self, name: str, *, rows: int, work: int, done_rows: int = 0, done_work: int = 0) -> None:
        """Begin a stage; work done before it does not count towards its rate."""
        self._totals = (rows, work)
        self._start = (time.monotonic(), done_rows, done_work)
        self.state |= {"fraction": done_work / max(work, 1), "rate": 0.0, "eta": None, "message": ""}
        self._write(state="running", stage=name, done=done_rows, total=rows)

    def advance(self, rows: int, work: int) -> None:
        """Update counts, rate and remaining time."""
        began, rows_before, work_before = self._start
        seconds = max(time.monotonic() - began, 1e-9)
        left = self._totals[1] - work
        pace = (work - work_before) / seconds
        self.state |= {"done": rows, "fraction": work / max(self._totals[1], 1)}
        self.state |= {"rate": (rows - rows_before) / seconds, "eta": left / pace if pace > 0 else None}
        if time.monotonic() - self._written >= self.INTERVAL_S:
            self._write()

    def waiting(self, why: str) -> None:
        """Report that the job waits for another worker."""
        self._write(state="queued", message=why)

    def note(self, text: str) -> None:
        """Show the note as the job's message."""
        self._write(message=text)

    def finish(self, state: str, message: str, result: Mapping[str, Any] | None = None) -> None:
        """Report the final state: done, failed or cancelled."""
        self._write(state=state, message=message, eta=None, result=dict(result or {}))

    def _write(self, **changes: Any) -> None:
        self.state |= changes
        self._written = time.monotonic()
        write_json(self.folder / "progress.json", self.state | {"updated": _now()})
