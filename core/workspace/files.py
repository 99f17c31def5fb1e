"""Atomic writes: a file or folder is complete or absent. The files are the only state; there is no database.

Everything is written under a temporary name in the target's folder, synced, and renamed, so a reader never sees
a partial file. Long work is stored in parts, each written this way, so a killed worker repeats at most one part.
"""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from core.errors import WorkspaceError

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EACCES: "permission is denied; choose another folder or change its rights",
    errno.EPERM: "permission is denied; choose another folder or change its rights",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another folder",
    errno.EISDIR: "a folder stands where a file is needed; choose another name",
    errno.ENOENT: "it is not there",
    errno.EFBIG: "the file would be larger than this disk or account allows; free some space or ask for more",
    errno.EEXIST: "a file stands where a folder is needed; choose another folder",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError on `path` into a WorkspaceError of one sentence. Finished files stay."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise WorkspaceError(f"{path}: {reason}.") from error


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to `path` on success, remove it on an exception."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder in the same parent; rename it to `path` on success, remove it on an exception.

    If `path` exists already (another worker was faster), the new folder is dropped: content keys make both equal.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield temporary
            temporary.chmod(0o755)
            try:
                temporary.rename(path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            sync_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a complete file or leave the old one; WorkspaceError when the disk refuses."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, as hex digits."""
    with disk_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_array(path: Path, values: NDArray[Any]) -> None:
    """Write an array as a .npy file, atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, values, allow_pickle=False)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically. NaN becomes null."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    write_atomic(path, orjson.dumps(value, option=options))


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; WorkspaceError when it is missing or not JSON."""
    with disk_errors(path):
        data = path.read_bytes()
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise WorkspaceError(f"{path}: not a JSON file ({error}). Remove it and run again.") from error
