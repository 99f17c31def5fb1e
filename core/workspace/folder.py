"""The workspace folder: its layout, the content keys that name things in it, and locks."""

import fcntl
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from core.workspace.files import disk_errors, make_folder
from core.workspace.leftovers import DAY_S, find_leftovers, find_worker_traces, sweep

FORMAT = 1  # of all files in a workspace; part of every key, so that files of an older format are never misread
FOLDERS = ("pools", "measurements", "models", "runs", "proofs", "jobs", "exports", "selections", "locks")


def content_key(spec: Mapping[str, Any]) -> str:
    """Return 16 hex digits of the SHA-256 of `spec` as JSON; the order of its keys does not matter."""
    text = json.dumps({"format": FORMAT} | dict(spec), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Workspace:
    """The folder that stores pools, measurements, runs and jobs; FOLDERS lists its subfolders."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).expanduser().absolute()
        with disk_errors(self.root):
            make_folder(self.root)
        with suppress(OSError):  # a workspace that cannot be written is read all the same; see `hold`
            for name in FOLDERS:
                make_folder(self.root / name)
            self._sweep()

    def folder(self, kind: str, key: str) -> Path:
        """Return the folder of one item, existing or not; `kind` is one of FOLDERS."""
        return self.root / kind / key

    @property
    def models(self) -> Path:
        """The folder of trained model states and of dequantised models."""
        return self.root / "models"

    def lock(self, key: str) -> FileLock:
        """Return the lock of one key. The operating system frees it when its holder dies."""
        return FileLock(self.root / "locks" / f"{key}.lock")

    def _sweep(self) -> None:
        """Remove what killed workers left, once a day."""
        mark, lock = self.root / "locks" / "swept", self.lock("sweep")
        if mark.exists() and time.time() - mark.stat().st_mtime < DAY_S:
            return
        with suppress(Timeout), lock.acquire(timeout=0):
            sweep([*find_leftovers(self.root), *find_worker_traces(self.root)])
            mark.touch()

    @contextmanager
    def hold(self, key: str, waiting: Any = None, *, shared: bool = False) -> Iterator[None]:
        """Hold the lock of `key`; if another worker has it, call `waiting()` once and wait.

        Any number of workers hold it `shared`, while none holds it alone. All work that is stored begins with a lock,
        so a workspace that cannot be written is refused before the work.
        """
        if shared:
            with self._hold_shared(self.root / "locks" / f"{key}.lock", waiting):
                yield
            return
        lock = self.lock(key)
        with disk_errors(self.root / "locks"):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if waiting is not None:
                    waiting()
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _hold_shared(self, path: Path, waiting: Any) -> Iterator[None]:
        with disk_errors(path.parent):
            file = path.open("a+")
        with file:
            with disk_errors(path.parent):
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    if waiting is not None:
                        waiting()
                    fcntl.flock(file, fcntl.LOCK_SH)
            yield
