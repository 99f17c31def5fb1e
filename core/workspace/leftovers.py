"""Leftovers of killed workers: temporary files and folders, `.NAME.xxxxxxxx`, beside the file they were to become."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

DAY_S = 86_400.0
TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}")  # as tempfile names them in core/workspace/files.py


def sweep(folder: Path) -> None:
    """Remove all leftovers below a folder that nothing was written to for a day."""
    for path in find_leftovers(folder):
        _remove_if_old(path)


def sweep_beside(path: Path) -> None:
    """Remove the leftovers of one output that nothing was written to for a day."""
    for other in path.parent.glob(f".{path.name}.*"):
        if TEMPORARY.fullmatch(other.name):
            _remove_if_old(other)


def find_leftovers(folder: Path) -> Iterator[Path]:
    """Yield all leftovers below a folder."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:  # deleted meanwhile
        for entry in entries:
            if TEMPORARY.fullmatch(entry.name):
                yield Path(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                yield from find_leftovers(Path(entry.path))


def _remove_if_old(path: Path) -> None:
    with suppress(OSError):  # its worker has finished it, or it is another account's
        if time.time() - max(_times(path)) < DAY_S:
            return
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _times(path: Path) -> Iterator[float]:
    """Yield when a file, or anything in a folder, was last written to."""
    yield path.lstat().st_mtime
    if path.is_dir() and not path.is_symlink():
        for inner in path.rglob("*"):
            yield inner.lstat().st_mtime
