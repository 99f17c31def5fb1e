"""Running a command of Winnow in a fork of this warmed-up process, which has imported everything and started nothing.

A command may be killed just before its n-th event: a rename, a sync, a file opened for writing, a folder made or
removed. Events are counted, not timed, so a kill can be repeated.
"""

import os
import shutil
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset
import sklearn.cluster
import transformers.models.llama

import core.models.training.finetune
import core.models.training.row_gradients
from core.cli.app import app
from core.measurement import stages
from core.models import answer_embeddings, encoder, forward_pass, hidden_states, loading, lora

EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}
LIMIT_S = 300  # of one command
WARM = (  # what commands import when they need it
    pyarrow.dataset, sklearn.cluster, transformers.models.llama, core, answer_embeddings, encoder, forward_pass,
    hidden_states, loading, lora,
)  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int  # exit code; -9: killed; -1: no end in LIMIT_S
    out: str
    err: str
    events: int

    @property
    def fault(self) -> str | None:
        """What is wrong with this end; None for exit code 0, or 2 with one message and no traceback."""
        if "Traceback" in self.err:
            return "traceback: " + " | ".join(self.err.strip().split("\n")[-3:])
        if self.code == 2 and not self.err.strip():
            return "exit code 2 without a word"
        return None if self.code in (0, 2) else f"exit code {self.code}: {self.err.strip()[-300:]}"


def run(folder: Path, argv: list[str], *, kill_at: int = 0, kill_after: float = 0.0) -> Ended:
    """Run one command in `folder`; kill it before its event number `kill_at`, or after so many seconds."""
    log = folder / ".log"
    shutil.rmtree(log, ignore_errors=True)
    log.mkdir()
    for name in ("out", "err"):
        (log / name).touch()  # a command may be killed before it opens them
    pid = os.fork()
    if pid == 0:
        _be_command(folder, log, argv, kill_at)
    code = _wait(pid, kill_after)
    out, err = ((log / name).read_text(errors="replace") for name in ("out", "err"))
    count = (log / "events").read_text() if (log / "events").exists() else ""
    return Ended(code, out, err, int(count or 0))


def _wait(pid: int, kill_after: float) -> int:
    end = time.monotonic() + (kill_after or LIMIT_S)
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -9 if kill_after else -1


def _be_command(folder: Path, log: Path, argv: list[str], kill_at: int) -> None:
    """Become the command; never return."""
    code = 1
    counter = _Counter(kill_at)
    try:
        os.setpgid(0, 0)
        for number, name in ((1, "out"), (2, "err")):
            handle = os.open(log / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder)
        stages.PART_SECONDS = 1e-5  # many small parts
        counter.start()
        app(argv, prog_name="winnow")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  a bug in the command: the finding that is looked for
        traceback.print_exc()
    counter.stop()
    sys.stdout.flush()
    sys.stderr.flush()
    (log / "events").write_text(str(counter.n))
    os._exit(code)


class _Counter:
    """Counts events of this process and kills it before one of them."""

    def __init__(self, kill_at: int) -> None:
        self.n = 0
        self._kill_at = kill_at
        self._active = False

    def start(self) -> None:
        """Begin to count."""
        sync = os.fsync

        def fsync(handle: Any) -> None:
            self._count()
            sync(handle)

        os.fsync = fsync
        sys.addaudithook(self._audit)
        self._active = True

    def stop(self) -> None:
        """Count no more."""
        self._active = False

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._active and (event in EVENTS or (event == "open" and _writes(arguments))):
            self._count()

    def _count(self) -> None:
        self.n += self._active
        if self._active and self.n == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def _writes(arguments: tuple[Any, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
