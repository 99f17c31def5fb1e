"""Jobs: long work in detached processes whose state is stored in files.

The app starts `python -m core ...` in a session of its own, so a reloaded page, a closed tab or a dead server does
not affect it. The files of a job are in `workspace/jobs/<id>/`:

    job.json        command, title, subject; written once
    process.json    pid and birth mark of the latest attempt
    progress.json   state, stage, counts; written by the worker about twice a second
    log.txt         its output

A stored state of "queued" or "running" counts only while the job's own process is alive. A job with a damaged file is
"unreadable"; it can be deleted, and the other jobs are not affected.
"""

import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import WorkspaceError
from core.workspace.files import disk_errors, read_json, write_json
from core.workspace.folder import Workspace

LIVE = ("queued", "running")
GRACE_S = 8.0  # seconds between SIGTERM and SIGKILL
ROOT = Path(__file__).resolve().parents[2]
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class _Record(BaseModel):
    """A stored file of a job; one with other fields or types is damaged."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _Task(_Record):
    title: str
    about: dict[str, Any]
    command: list[str]
    created: str


class _Process(_Record):
    pid: int = Field(gt=0)
    born: str | float  # birth mark; seconds since 1970 in records of older versions
    started: str


class _Progress(_Record):
    state: Literal["queued", "running", "done", "failed", "cancelled"] = "running"
    stage: str = ""
    done: int = 0
    total: int = 0
    fraction: float = 0.0
    rate: float = 0.0
    eta: float | None = None
    message: str = ""
    result: dict[str, Any] = {}
    task: str = ""
    replaced: list[str] = []
    updated: str = ""


_R = TypeVar("_R", bound=_Record)


@dataclass(frozen=True)
class Job:
    """The state of one job at the time it was read."""

    id: str
    folder: Path
    title: str
    about: Mapping[str, Any]  # its subject, by which the app finds it again: pool, method, ...
    command: tuple[str, ...]  # the arguments after `python -m core`
    state: str = "queued"  # queued, running, done, failed, cancelled, interrupted, unreadable
    stage: str = ""
    done: int = 0  # rows of this stage
    total: int = 0
    fraction: float = 0.0  # of this stage's work, by tokens
    rate: float = 0.0  # rows a second
    eta: float | None = None  # seconds to the end of this stage
    message: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    task: str = ""  # of the workers that share the work, as core.workers.records names it; "" = it has none
    replaced: Sequence[str] = ()  # a sentence on each worker that ended unexpectedly
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
    command = _read(folder / "job.json", _Task).command
    argv = [sys.executable, "-m", "core", *command, "--job", str(folder)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    stdin = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    stdout = (os.POSIX_SPAWN_OPEN, 1, str(folder / "log.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    actions = [stdin, stdout, (os.POSIX_SPAWN_DUP2, 1, 2)]
    with disk_errors(folder):
        pid = os.posix_spawn(sys.executable, argv, environment, setsid=True, file_actions=actions)
    write_json(folder / "process.json", {"pid": pid, "born": birth_mark(pid) or "", "started": _now()})
    return get_job(workspace, folder.name)


def list_jobs(workspace: Workspace) -> list[Job]:
    """Return all jobs, newest first; one with a damaged file is "unreadable"."""
    ids = sorted((f.parent.name for f in workspace.root.glob("jobs/*/job.json")), reverse=True)
    return [get_job(workspace, job_id) for job_id in ids]


def get_job(workspace: Workspace, job_id: str) -> Job:
    """Return the current state of a job; WorkspaceError for an unknown id."""
    folder = workspace.folder("jobs", job_id)
    if not (folder / "job.json").exists() or folder.parent != workspace.root / "jobs":
        raise WorkspaceError(f"There is no job '{job_id}' in {workspace.root}.")
    try:
        return _read_job(folder)
    except WorkspaceError as error:
        return Job(job_id, folder, f"Job {job_id}", {}, (), "unreadable", message=str(error))


def _read_job(folder: Path) -> Job:
    task = _read(folder / "job.json", _Task)
    process = _read_process(folder)
    alive = process is not None and _is_alive(process, folder)
    # read after `alive`: a job that ends in between counts as done
    progress = _read(folder / "progress.json", _Progress).model_dump() if (folder / "progress.json").exists() else {}
    state = progress.pop("state", "running")
    if state in LIVE and not alive:
        state = "interrupted"
        progress["message"] = "The job ended unexpectedly, with no error message. Resume repeats at most one part."
    started = process.started if process else task.created
    return Job(folder.name, folder, task.title, task.about, tuple(task.command), state, started=started, **progress)


def _read(file: Path, record: type[_R]) -> _R:
    """Read one file of a job; WorkspaceError when it is missing or damaged."""
    try:
        return record.model_validate(read_json(file))
    except (ValidationError, WorkspaceError) as error:
        raise WorkspaceError(
            f"{file} is damaged. Delete this job and start it again; finished parts are kept."
        ) from error


def _read_process(folder: Path) -> _Process | None:
    file = folder / "process.json"
    return _read(file, _Process) if file.exists() else None


def delete_job(job: Job) -> None:
    """Remove a job's record and log, after stopping it if it is still at work; what it measured stays."""
    with suppress(WorkspaceError):  # damaged: no process is known
        _stop(job.folder)
    with disk_errors(job.folder):
        shutil.rmtree(job.folder)


def cancel_job(workspace: Workspace, job: Job) -> Job:
    """Stop a job: SIGTERM to its process group, SIGKILL after GRACE_S. Finished parts stay."""
    _stop(job.folder)
    now = get_job(workspace, job.id)
    if now.state not in ("done", "failed"):
        report = JobReporter(job.folder)
        report.state |= {"task": now.task, "replaced": list(now.replaced)}
        report.finish("cancelled", "Cancelled. Resume continues from the last finished part.")
    return get_job(workspace, job.id)


def _stop(folder: Path) -> None:
    process = _read_process(folder)
    if process is None or not _is_alive(process, folder):
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while _is_alive(process, folder):
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return
        time.sleep(0.05)


def _is_alive(process: _Process, folder: Path) -> bool:
    """Return whether the job's own process is alive; another process that reuses its pid does not count."""
    with suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)  # reap a finished child, which would stay a zombie
    mark = birth_mark(process.pid)
    if isinstance(process.born, float):  # the clock may have been set since, so it is known by its own command
        return mark is not None and _command_line(process.pid)[-2:] == ["--job", str(folder)]
    return mark is not None and mark == process.born


def birth_mark(pid: int) -> str | None:
    """Return a text that no other process with this pid ever has; None if the process has ended.

    On Linux: the id of this boot and the clock ticks from boot to the start of the process, which do not change when
    the clock is set. Elsewhere: the time of its start, as the system stored it.
    """
    if not BOOT_ID.exists():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process = psutil.Process(pid)
            return repr(process.create_time()) if process.status() != psutil.STATUS_ZOMBIE else None
        return None
    with suppress(FileNotFoundError, ProcessLookupError):
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()  # from field 3
        return None if fields[0] in "ZX" else f"{BOOT_ID.read_text().strip()} {fields[19]}"
    return None


def _command_line(pid: int) -> list[str]:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return list(psutil.Process(pid).cmdline())
    return []


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

    def part(self, number: int, of: int, rows: int) -> None:
        """Ignore it: parts are short."""

    def waiting(self, why: str) -> None:
        """Report that the job waits for another worker."""
        self._write(state="queued", message=why)

    def workers(self, task: str, replaced: Sequence[str] = ()) -> None:
        """Store whose records show the workers of the job, and which of them were replaced."""
        self._write(task=task, replaced=list(replaced))

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
