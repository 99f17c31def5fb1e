"""Long work as a process of its own, with its state in files.

The app starts `python -m core ...` detached, in its own session: a reloaded page, a closed tab or a dead
server change nothing. What a job says of itself is in `workspace/jobs/<id>/`:

    job.json        command, title, what it is about; written once
    process.json    pid and start time of the latest attempt
    progress.json   state, stage, counts; written by the worker about twice a second
    log.txt         everything it printed

A state that claims to be live is believed only while that very process is.
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
GRACE_S = 8.0  # between asking a worker to stop and making it stop
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Job:
    """What is known of one job right now."""

    id: str
    folder: Path
    title: str
    about: Mapping[str, Any]  # what the starter wants to find again: pool, method, ...
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
        """Whether it is still at work or waiting for its turn."""
        return self.state in LIVE

    def log_tail(self, lines: int = 20) -> str:
        """The end of what it printed."""
        path = self.folder / "log.txt"
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 20_000))
            text = file.read().decode("utf-8", "replace").replace("\r", "\n")
        return "\n".join([line for line in text.split("\n") if line.strip()][-lines:])


def start_job(workspace: Workspace, command: Sequence[str], *, title: str, about: Mapping[str, Any]) -> Job:
    """Start `python -m core COMMAND` detached and give its job. The command must take --job."""
    job_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
    folder = workspace.folder("jobs", job_id)
    document = {"title": title, "about": dict(about), "command": list(command), "created": _now()}
    write_json(folder / "job.json", document)
    return _launch(workspace, folder)


def restart_job(workspace: Workspace, job: Job) -> Job:
    """Run the same command again; finished parts are not repeated. A live job is left as it is."""
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
    log = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    with disk_errors(folder):
        pid = os.posix_spawn(
            sys.executable,
            argv,
            environment,
            setsid=True,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(folder / "log.txt"), log, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
        )
    with suppress(psutil.NoSuchProcess):
        born = psutil.Process(pid).create_time()
        write_json(folder / "process.json", {"pid": pid, "born": born, "started": _now()})
    return get_job(workspace, folder.name)


def list_jobs(workspace: Workspace) -> list[Job]:
    """All jobs, newest first."""
    ids = sorted((f.parent.name for f in workspace.root.glob("jobs/*/job.json")), reverse=True)
    return [get_job(workspace, job_id) for job_id in ids]


def get_job(workspace: Workspace, job_id: str) -> Job:
    """One job as it is now; WorkspaceError when there is none of that id."""
    folder = workspace.folder("jobs", job_id)
    if not (folder / "job.json").exists() or folder.parent != workspace.root / "jobs":
        raise WorkspaceError(f"There is no job '{job_id}' in {workspace.root}.")
    document = read_json(folder / "job.json")
    alive = _process(folder) is not None  # asked before its progress is read, so a job that ends between is done
    progress = read_json(folder / "progress.json") if (folder / "progress.json").exists() else {}
    state = progress.pop("state", "running")
    if state in LIVE and not alive:
        state = "interrupted"
        progress["message"] = "The worker stopped without a word. Resume repeats at most one part."
    process = read_json(folder / "process.json") if (folder / "process.json").exists() else {}
    return Job(
        id=job_id,
        folder=folder,
        title=document["title"],
        about=document["about"],
        command=tuple(document["command"]),
        state=state,
        started=process.get("started", document["created"]),
        **progress,
    )


def cancel_job(workspace: Workspace, job: Job) -> Job:
    """Stop a job: ask its process group, insist after a grace. What is finished stays."""
    process = _process(job.folder)
    if process is not None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while _process(job.folder) is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        if _process(job.folder) is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    now = get_job(workspace, job.id)
    if now.state not in ("done", "failed"):
        JobReporter(job.folder).finish("cancelled", "Cancelled. Resume goes on from the last finished part.")
    return get_job(workspace, job.id)


def _process(folder: Path) -> psutil.Process | None:
    """The job's own process if it lives; a process that merely got its pid is not it."""
    file = folder / "process.json"
    if not file.exists():
        return None
    document = read_json(file)
    with suppress(ChildProcessError):
        os.waitpid(document["pid"], os.WNOHANG)  # a finished child of ours would linger as a zombie
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process = psutil.Process(document["pid"])
        if abs(process.create_time() - document["born"]) < 2 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class JobReporter:
    """A Reporter that keeps `progress.json` up to date, at most twice a second."""

    INTERVAL_S = 0.5

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state: dict[str, Any] = {"state": "running", "stage": "Starting"}
        self._totals = (0, 0)
        self._start = (0.0, 0, 0)
        self._written = 0.0

    def stage(self, name: str, *, rows: int, work: int, done_rows: int = 0, done_work: int = 0) -> None:
        """Begin a stage; what was done before does not count towards its rate."""
        self._totals = (rows, work)
        self._start = (time.monotonic(), done_rows, done_work)
        self.state |= {"state": "running", "stage": name, "done": done_rows, "total": rows}
        self.state |= {"fraction": done_work / max(work, 1), "rate": 0.0, "eta": None, "message": ""}
        self._write()

    def advance(self, rows: int, work: int) -> None:
        """Note the counts, and from them rate and remaining time."""
        began, rows_before, work_before = self._start
        seconds = max(time.monotonic() - began, 1e-9)
        left = self._totals[1] - work
        pace = (work - work_before) / seconds
        self.state |= {"done": rows, "fraction": work / max(self._totals[1], 1)}
        self.state |= {"rate": (rows - rows_before) / seconds, "eta": left / pace if pace > 0 else None}
        if time.monotonic() - self._written >= self.INTERVAL_S:
            self._write()

    def waiting(self, why: str) -> None:
        """Queued behind another worker."""
        self.state |= {"state": "queued", "message": why}
        self._write()

    def note(self, text: str) -> None:
        """Keep the latest note as the message."""
        self.state |= {"message": text}
        self._write()

    def finish(self, state: str, message: str, result: Mapping[str, Any] | None = None) -> None:
        """The last word: done, failed or cancelled."""
        self.state |= {"state": state, "message": message, "eta": None, "result": dict(result or {})}
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        write_json(self.folder / "progress.json", self.state | {"updated": _now()})
