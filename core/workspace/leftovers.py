"""Leftovers of killed workers: temporary files and folders, `.NAME.xxxxxxxx`, next to the file they were to become.

Workers that shared a task also leave their records and the locks of single parts.
"""

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

DAY_S = 86_400.0
TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}")  # as tempfile names them in core/workspace/files.py


def sweep(leftovers: Iterable[Path]) -> None:
    """Remove those of these files and folders that nothing was written to for a day."""
    for path in list(leftovers):
        with suppress(OSError):  # its worker has finished it, or it is another account's
            if time.time() - max(_times(path)) > DAY_S:
                remove = shutil.rmtree if path.is_dir() and not path.is_symlink() else Path.unlink
                remove(path)


def find_leftovers(root: Path) -> Iterator[Path]:
    """Yield all leftovers below a folder."""
    folders = [root]
    while folders:
        with suppress(FileNotFoundError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if TEMPORARY.fullmatch(entry.name):
                    yield Path(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))


def find_worker_traces(root: Path) -> Iterator[Path]:
    """Yield the folder of records of each task that workers share or shared, and the locks of parts."""
    yield from root.glob("workers/*")
    yield from root.glob("locks/part-*.lock")


def _times(path: Path) -> Iterator[float]:
    """Yield when a file, or anything in a folder, was last written to."""
    yield path.lstat().st_mtime
    if path.is_dir() and not path.is_symlink():
        for inner in path.rglob("*"):
            yield inner.lstat().st_mtime
