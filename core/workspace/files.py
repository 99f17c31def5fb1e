"""Atomic writes: a file or folder is complete or absent. The files are the only state; there is no database.

Everything is written under a temporary name in the target's folder, synced, and renamed, so a reader never sees
a partial file. Long work is stored in parts, each written this way, so a killed worker repeats at most one part.
Files of the workspace have a checksum (core/workspace/checksums.py), which is verified when they are read; files
that the user asked for are written without one.
"""

import errno
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from core.errors import NO_MEMORY, DamagedFile, OutOfMemory, WorkspaceError, is_out_of_memory
from core.workspace import checksums

LOG = logging.getLogger("winnow")

_NO_LOCKS = "this disk has no file locks; choose a folder on one that has (docs/scale.md)"
_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EACCES: "permission is denied; choose another folder or change its rights",
    errno.EPERM: "permission is denied; choose another folder or change its rights",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.ENOTDIR: "it is a file, and a folder is needed; choose another folder",
    errno.EISDIR: "it is a folder, and a file is needed; choose another name",
    errno.ENOENT: "it does not exist; check the path",
    errno.ENOMEM: "there is not enough memory; close other programs and run the same command again",
    errno.EFBIG: "the file would be larger than this disk or account allows; free some space or ask for more",
    errno.EEXIST: "it is a file, and a folder is needed; choose another folder",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ENOLCK: _NO_LOCKS,
    errno.ENOSYS: _NO_LOCKS,
    errno.ENOTSUP: _NO_LOCKS,
}
_CHANGED = "its content has changed since it was written"
_MADE_AGAIN = "Run the command that made it again; only damaged parts are computed again."
_REMEDIES = {  # by the folder of the workspace
    "pools": "Open the pool's file again to import it again.",
    "measurements": _MADE_AGAIN,
    "models": _MADE_AGAIN,
    "runs": _MADE_AGAIN,
    "proofs": _MADE_AGAIN,
    "uploads": "Upload the file again.",
}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError on `path` into a WorkspaceError of one sentence. Finished files stay."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise WorkspaceError(f"{path}: {reason}.") from error


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk, so that they survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, each of which survives a power cut."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to `path` on success, remove it on an exception."""
    with disk_errors(path), _temporary_file(path) as temporary:
        yield temporary
        _put(temporary, path)


@contextmanager
def stored_path(path: Path) -> Iterator[Path]:
    """Do as `atomic_path`, for a file of the workspace: its checksum is stored before it."""
    with disk_errors(path), _temporary_file(path) as temporary:
        yield temporary
        _write_checksum(path, checksums.hash_file(temporary))
        _put(temporary, path)


@contextmanager
def _temporary_file(path: Path) -> Iterator[Path]:
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _put(temporary: Path, path: Path, *, durable: bool = True) -> None:
    """Rename a finished file; `durable`: and wait until the disk has its new name."""
    sync(temporary)
    temporary.chmod(0o644)
    temporary.replace(path)
    if durable:
        sync(path.parent)


def _write_checksum(path: Path, digest: str) -> None:
    """Store the checksum of a file that is about to be renamed to `path`, after which its folder is synced."""
    with _temporary_file(checksums.checksum_path(path)) as temporary:
        temporary.write_bytes(checksums.checksum_line(digest, path.name))
        _put(temporary, checksums.checksum_path(path), durable=False)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder in the same parent; rename it to `path` on success, remove it on an exception.

    Its files get their checksums. If `path` exists already (another worker was faster), the new folder is dropped:
    content keys make both equal.
    """
    with disk_errors(path):
        make_folder(path.parent)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield temporary
            hashed = _finish_folder(temporary)
            temporary.chmod(0o755)
            try:
                temporary.rename(path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            else:
                for file in hashed:
                    checksums.mark_verified(path / file)
            sync(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _finish_folder(folder: Path) -> list[Path]:
    """Write the checksum of every file in a folder that nobody reads yet, and flush all of them to the disk.

    Return the files that have a checksum of their own.
    """
    hashed = []
    for file in [path for path in folder.rglob("*") if path.is_file()]:
        if file.suffix != ".json" or not file.read_bytes().startswith(checksums.JSON_HEAD):
            line = checksums.checksum_line(checksums.hash_file(file), file.name)
            checksums.checksum_path(file).write_bytes(line)
            hashed.append(file.relative_to(folder))
    for path in (*folder.rglob("*"), folder):
        sync(path)
    return hashed


def write_atomic(path: Path, data: bytes) -> None:
    """Write a complete file or leave the old one; WorkspaceError when the disk refuses."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, as hex digits."""
    with disk_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_stored(path: Path, data: bytes) -> None:
    """Write a file of the workspace."""
    with stored_path(path) as temporary:
        temporary.write_bytes(data)


def check_stored(path: Path) -> None:
    """Raise DamagedFile if a file has a checksum and is not as it was written."""
    if checksums.read_checksum(path) is not None:
        with reading(path):
            pass


def write_array(path: Path, values: NDArray[Any]) -> None:
    """Write an array as a .npy file of the workspace."""
    with stored_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, values, allow_pickle=False)


def to_json(value: Any) -> bytes:
    """Return indented JSON. NaN becomes null."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(value, option=options)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object of the workspace, with its checksum as its first field."""
    write_atomic(path, checksums.seal_json(to_json(value)))


def read_json(path: Path) -> Any:
    """Return the content of a JSON file of the workspace; DamagedFile when it is missing or not as it was written."""
    with reading(path):
        data = _unseal(path)
        if data is None:
            raise ValueError(_CHANGED)
        return orjson.loads(data)


def _unseal(path: Path) -> bytes | None:
    return checksums.unseal_json(path.read_bytes())


@contextmanager
def reading(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Verify a stored file before the block reads it; DamagedFile if it is missing, changed, or cannot be read.

    `errors`: what the block raises for bytes that it cannot read, besides the errors of Arrow, numpy and JSON.
    """
    try:
        if not checksums.matches_checksum(path):
            raise ValueError(_CHANGED)
        yield
    except FileNotFoundError as error:
        raise DamagedFile(f"{path} is missing. {_remedy(path)}") from error
    except (OSError, pa.ArrowException, ValueError, KeyError, EOFError, *errors) as error:
        if is_out_of_memory(error):
            raise OutOfMemory(NO_MEMORY) from error
        if isinstance(error, OSError) and error.errno is not None:  # Arrow's has none, for bytes it cannot read
            with disk_errors(path):
                raise
        raise _damaged(path, error) from error
    if path.suffix != ".json" and checksums.read_checksum(path) is None:
        with suppress(OSError):  # a workspace that cannot be written is read all the same
            _write_checksum(path, checksums.hash_file(path))


def _damaged(path: Path, error: Exception) -> DamagedFile:
    why = (str(error).strip() or type(error).__name__).split("\n")[0][:200].rstrip(".")
    return DamagedFile(f"{path} is damaged: {why}. {_remedy(path)}")


def _remedy(path: Path) -> str:
    if is_whole(path):  # it has no checksum, or got it when it was damaged already
        return "Remove it and run the same command again."
    kinds = (_REMEDIES[part] for part in reversed(path.parts) if part in _REMEDIES)
    return next(kinds, "Remove it and run the same command again.")


def is_whole(path: Path) -> bool:
    """Return whether a stored file is there and as it was written; one without a checksum counts as such."""
    try:
        return checksums.matches_checksum(path) and (path.suffix != ".json" or _unseal(path) is not None)
    except FileNotFoundError:
        return False


def remove_damaged(paths: Iterable[Path]) -> None:
    """Remove damaged files, so that they are made again, and log how many they are."""
    damaged = [path for path in paths if path.exists() and not is_whole(path)]
    for path in damaged:
        path.unlink(missing_ok=True)
    if damaged:
        files = "file is" if len(damaged) == 1 else "files are"
        LOG.warning("%s: %d damaged %s computed again.", damaged[0].parent, len(damaged), files)


@cache
def log_once(text: str) -> None:
    """Log a sentence on something damaged, once in a process."""
    LOG.warning("%s", text)


def remove_stored(path: Path) -> None:
    """Remove a stored file and its checksum; neither need be there."""
    checksums.checksum_path(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def damaged_files(folder: Path) -> list[Path]:
    """Return the files below a folder that are not as they were written, or missing: of these there is a checksum.

    What a killed worker left under a temporary name does not count.
    """
    there = [path for path in folder.rglob("*") if path.is_file()]
    named = [path for path in there if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    stored = {path.with_name(path.name.removesuffix(checksums.SUFFIX)) for path in named}
    return [path for path in sorted(stored) if not is_whole(path)]
