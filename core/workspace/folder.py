"""The workspace folder: its layout, the content keys that name things in it, and locks."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from core.workspace.files import disk_errors

FORMAT = 1  # of all files in a workspace; part of every key, so that files of an older format are never misread
FOLDERS = ("pools", "measurements", "models", "runs", "jobs", "exports", "selections", "locks")


def content_key(spec: Mapping[str, Any]) -> str:
    """Return 16 hex digits of the SHA-256 of `spec` as JSON; the order of its keys does not matter."""
    text = json.dumps({"format": FORMAT} | dict(spec), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Workspace:
    """The folder that stores pools, measurements, runs and jobs; FOLDERS lists its subfolders."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).expanduser().absolute()
        with disk_errors(self.root):
            for name in FOLDERS:
                (self.root / name).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass  # fail now rather than after an hour when the folder is not writable

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

    @contextmanager
    def hold(self, key: str, waiting: Any = None) -> Iterator[None]:
        """Hold the lock of `key`; if another worker has it, call `waiting()` once and wait."""
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
