"""Files that are whole or absent, and the folder they live in. The files are the truth; there is no database.

A reader never sees half a file: everything is written to a temporary name beside its place, synced, and
renamed. Long work is kept in parts, each such a file, so a killed worker repeats at most one part.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from core.errors import WorkspaceError
from core.schema import IntArray

FORMAT = 1  # of everything below a workspace; part of every key, so old files are never misread
FOLDERS = ("pools", "measurements", "models", "runs", "jobs", "exports", "selections", "locks")

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
    """Turn an OSError on `path` into one WorkspaceError sentence; what is finished stays."""
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
    """A temporary path beside `path`; renamed onto it when the block ends well, removed when not."""
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
    """A temporary folder beside `path`; renamed onto it when the block ends well, removed when not.

    When `path` is there already (another worker was faster) the new one is dropped: content keys make
    them equal.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield temporary
            temporary.chmod(0o755)
            with suppress(FileExistsError):
                _rename_folder(temporary, path)
            sync_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _rename_folder(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FileExistsError(str(target)) from error
        raise


def write_atomic(path: Path, data: bytes) -> None:
    """Write a whole file, or leave what was there. WorkspaceError when the disk will not."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write JSON that people can read, whole or not at all. NaN becomes null."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    write_atomic(path, orjson.dumps(value, option=options))


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote; WorkspaceError when it is missing or not JSON."""
    with disk_errors(path):
        data = path.read_bytes()
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise WorkspaceError(f"{path}: not a JSON file ({error}). Remove it and run again.") from error


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


@dataclass(frozen=True, eq=False)
class Parts:
    """A table in parts, one per group of pool rows; a part is whole or absent.

    `plan` is written before the first part and never changes: part k holds the rows plan[k], in that
    order, so a resumed worker computes exactly what the first one would have.
    """

    folder: Path
    plan: tuple[IntArray, ...]
    mapped: bool = False  # Arrow files that are memory-mapped when read, instead of compressed Parquet

    @classmethod
    def open(
        cls,
        folder: Path,
        spec: Mapping[str, Any],
        plan: Sequence[IntArray],
        *,
        mapped: bool = False,
    ) -> "Parts":
        """The table in `folder`; on first use with `plan`, later with the plan it began with."""
        file = folder / "plan.parquet"
        if not file.exists():
            write_json(folder / "spec.json", dict(spec))
            with atomic_path(file) as temporary:
                pq.write_table(
                    pa.table({"rows": pa.array([p.tolist() for p in plan], pa.list_(pa.int64()))}), temporary
                )
        stored = pq.read_table(file)["rows"]
        return cls(folder, tuple(np.asarray(p.values, np.int64) for p in stored), mapped)

    def path(self, part: int) -> Path:
        """The file of one part."""
        return self.folder / f"part-{part:05d}.{'arrow' if self.mapped else 'parquet'}"

    def missing(self) -> list[int]:
        """Parts still to be made, in order."""
        return [k for k in range(len(self.plan)) if not self.path(k).exists()]

    def write(self, part: int, table: pa.Table) -> None:
        """Keep one part. WorkspaceError when it has not as many rows as planned, or the disk will not."""
        if table.num_rows != len(self.plan[part]):
            raise WorkspaceError(
                f"{self.path(part)}: {table.num_rows} rows were measured, {len(self.plan[part])} were planned."
            )
        with atomic_path(self.path(part)) as temporary:
            if self.mapped:
                feather.write_feather(table, str(temporary), compression="uncompressed")
            else:
                pq.write_table(table, temporary, compression="zstd")

    def read(self, part: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One part, row k of which is pool row plan[part][k]."""
        wanted = list(columns) if columns else None
        with disk_errors(self.path(part)):
            if self.mapped:
                return feather.read_table(str(self.path(part)), columns=wanted, memory_map=True)
            return pq.read_table(self.path(part), columns=wanted)

    def column(self, name: str, n: int) -> Any:
        """One numeric column of all parts as an (n,) or (n, d) array in pool order.

        Rows in no part are NaN (floats), -1 (integers) or False.
        """
        out = None
        for part, rows in enumerate(self.plan):
            values = _to_numpy(self.read(part, [name])[name])
            if out is None:
                out = np.full((n, *values.shape[1:]), _blank(values.dtype), values.dtype)
            out[rows] = values
        return out


def _to_numpy(column: pa.ChunkedArray) -> Any:
    array = column.combine_chunks()
    if pa.types.is_fixed_size_list(array.type):
        return np.asarray(array.flatten()).reshape(len(array), array.type.list_size)
    return array.to_numpy(zero_copy_only=False)


def _blank(dtype: np.dtype[Any]) -> Any:
    return {"f": np.nan, "i": -1, "u": 0, "b": False}[dtype.kind]
