"""folder."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from core.workspace.files import disk_errors

FORMAT = 1  # of everything below a workspace; part of every key, so old files are never misread


FOLDERS = ("pools", "measurements", "models", "runs", "jobs", "exports", "selections", "locks")


def content_key(spec: Mapping[str, Any]) -> str:
    """Sixteen hex digits that change when anything in `spec` changes; the order of its keys does not matter."""
    text = json.dumps({"format": FORMAT} | dict(spec), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Workspace:
    """The folder in which everything that took time is kept. See FOLDERS for what is inside."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).expanduser().absolute()
        with disk_errors(self.root):
            for name in FOLDERS:
                (self.root / name).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass  # only to find out now, not after an hour, that nothing can be written here

    def folder(self, kind: str, key: str) -> Path:
        """Where the thing of this kind (one of FOLDERS) with this key is or will be."""
        return self.root / kind / key

    def lock(self, key: str) -> FileLock:
        """The lock on one thing. The operating system frees it when its holder dies."""
        return FileLock(self.root / "locks" / f"{key}.lock")

    @contextmanager
    def hold(self, key: str, waiting: Any = None) -> Iterator[None]:
        """Hold the lock on `key`; calls `waiting()` once if another worker has it, then waits."""
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
