"""Sources of rows: a file, the data files of a folder or pattern, a folder that `datasets` wrote, or a hub id.

The format of a file is recognized by its content, not its name: JSON Lines, a JSON array, one object with the
rows under a key, Parquet, each plain or gzipped. Only CSV needs its file ending.
"""

import codecs
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.errors import PoolError
from core.pool.readers.bytestream import ByteStream
from core.pool.readers.csv_rows import read_csv
from core.pool.readers.file_list import FileChoice, FileList, is_pattern, list_files, walk_files
from core.pool.readers.json_array import read_array
from core.pool.readers.json_rows import has_object_line, is_array, no_split_error, read_lines_or_object
from core.pool.readers.records import Source
from core.pool.readers.shards import join_files
from core.pool.readers.tables import choose_files, open_folder, read_parquet

FILE_ENDINGS = (".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".parquet", ".gz", ".arrow", ".txt", ".zip")
UNSUPPORTED_ARCHIVES = {b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
MAX_SOURCE_CHARS = 200  # of the name of a missing source, in the error message
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def identify(source: str, revision: str | None = None) -> dict[str, Any]:
    """Return a value that changes when the source does. Raise PoolError if there is no such source.

    For files and folders: resolved path, and size and modification time of each file that may be read. For a dataset of
    the hub: its address, and the commit that the revision names now.
    """
    path = local_path(source)
    if path is None:
        from core.pool.readers import hub  # imported here: its client takes a while and is seldom needed

        address = hub.resolve_address(hub.parse_address(source, revision))
        return {"hub": address.source, "commit": address.revision}
    try:
        if path.is_file():
            return {"path": str(path.resolve()), "files": _stamps(path, ["."])}
        files = list_files(source)
        if files is None:
            return {"path": str(path.resolve()), "files": _stamps(path, walk_files(source, path))}
        root = files.root.resolve()
        return {"path": str(root / path.relative_to(files.root)), "data_files": _stamps(root, files.names)}
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else source
        raise PoolError(f"{where}: cannot be read ({error.strerror}).") from error


def _stamps(root: Path, names: Iterable[str]) -> list[tuple[str, int, int]]:
    """Return name, size and modification time of each file."""
    stats = {name: (root / name).stat() for name in names}
    return sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items())


def find_files(source: str, split: str | None = None, name: str | None = None) -> FileList | None:
    """Return the files that a pool is read from, in order; None for the hub and a folder that `datasets` reads."""
    path = local_path(source)
    if path is not None and path.is_file():
        return FileList(path.name, path.parent, (path.name,))
    choice = None if path is None else choose_files(source, split, name)
    return choice and choice.files


def local_path(source: str) -> Path | None:
    """Return the file, folder or pattern named by `source`; None for the hub. Raise PoolError if it is neither."""
    if not source.strip():
        raise PoolError("No pool is given. Give a path, or a hub id of the form owner/name.")
    if source.startswith("hf://"):
        return None
    try:
        path = Path(source).expanduser()
        if path.is_file() or path.is_dir() or is_pattern(source):
            return path
    except (OSError, RuntimeError):  # a name too long for a path; the home of an unknown user
        pass
    if _HUB_ID.fullmatch(source) and not source.lower().endswith(FILE_ENDINGS):
        return None
    shown = source if len(source) <= MAX_SOURCE_CHARS else source[:MAX_SOURCE_CHARS] + "…"
    raise PoolError(f"There is no file or folder {shown}. Give a path, or a hub id of the form owner/name.")


@contextmanager
def open_source(
    source: str, *, name: str | None, split: str | None, revision: str | None, cache: Path, header: bool = True
) -> Iterator[Source]:
    """Open the rows of a source for the length of the block. Raise PoolError in one sentence if it has none.

    `cache` is a folder for files that are needed only meanwhile. `header`: whether a CSV file begins with one.
    """
    path = local_path(source)
    if path is None:
        from core.pool.readers import hub  # see identify

        address = hub.resolve_address(hub.parse_address(source, revision))
        choice: FileChoice | None = hub.fetch_files(address, name=name, split=split)
    elif revision is not None or (name is not None and not path.is_dir()):
        raise PoolError(f"{source} is not a hub dataset, so it has no revision or configuration. Remove these options.")
    else:
        choice = None if path.is_file() else choose_files(source, split, name)
    with _reading_errors(source):
        if choice is not None:
            open_file = partial(_open_listed, choice.files, split=choice.split, cache=cache, header=header)
            yield join_files(choice.files, open_file, choice.notices)
        elif path is not None:
            with _open_local(path, name=name, split=split, cache=cache, header=header) as rows:
                yield rows


@contextmanager
def _open_local(path: Path, *, name: str | None, split: str | None, cache: Path, header: bool) -> Iterator[Source]:
    """Open a file, or a folder that `datasets` reads."""
    if path.is_file():
        with _open_file(path, path.name, split=split, cache=cache, header=header) as rows:
            yield rows
    elif not header:
        raise _no_csv_error(str(path))
    else:
        yield open_folder(path, name=name, split=split, cache=cache)


@contextmanager
def _open_listed(files: FileList, number: int, **options: Any) -> Iterator[Source]:
    """Open one of several files."""
    with _reading_errors(files.shown(number)), _open_file(files.paths[number], files.shown(number), **options) as rows:
        yield rows


@contextmanager
def _open_file(path: Path, shown: str, *, split: str | None, cache: Path, header: bool) -> Iterator[Source]:
    with ByteStream(path, shutil.disk_usage(cache.parent).free, shown) as stream:
        rows = read_file(stream, cache, split=split, header=header)
        if not header and not rows.fields:
            raise _no_csv_error(shown)
        yield rows


@contextmanager
def _reading_errors(source: str) -> Iterator[None]:
    """Turn a lack of memory, and what Arrow cannot hold, into a PoolError of one sentence."""
    try:
        yield
    except MemoryError as error:
        raise PoolError(
            f"{source}: there is too little memory to read its rows. Close other programs, or set "
            "WINNOW_MAX_ROW_MB below 64 to skip longer rows."
        ) from error
    except pa.ArrowException as error:
        why = str(error).split("\n")[0].rstrip(".")
        raise PoolError(f"{source}: its rows cannot be stored ({why}). Save it as JSON Lines.") from error


def _no_csv_error(source: str) -> PoolError:
    return PoolError(f"{source} is not a CSV or TSV file. Remove --no-header.")


def read_file(stream: ByteStream, cache: Path, *, split: str | None = None, header: bool = True) -> Source:
    """Read the rows of one file. `split` selects one of several lists of rows in one object."""
    stream.skip_blank()
    head = stream.head()
    start = head.lstrip()[:1]
    if not start:
        raise PoolError(f"{stream.name} is empty.")
    _refuse_archive(stream.name, head)
    is_one_array = start == b"[" and is_array(head)
    if not is_one_array and (start in (b"{", b"[") or has_object_line(head.split(b"\n"))):
        return read_lines_or_object(stream, split)
    if split is not None:
        raise no_split_error(stream.name, split)
    if is_one_array:
        return Source(stream.name, read_array(stream), stream.total)
    if head.startswith(b"PAR1"):
        return read_parquet(stream, cache)
    if b"\0" in head:
        raise PoolError(
            f"{stream.name} is a binary file and not Parquet, so it has no readable rows. Save it as JSON Lines."
        )
    if Path(stream.name.lower().removesuffix(".gz")).suffix in (".csv", ".tsv"):
        return read_csv(stream, header=header)
    beginning = head[:60].decode("utf-8", "replace").split("\n")[0].strip()
    raise PoolError(
        f"{stream.name} has no readable rows: it begins with {beginning!r}. Winnow reads JSON Lines, a JSON array, "
        "CSV (.csv, .tsv), Parquet, and .gz of these."
    )


def _refuse_archive(name: str, head: bytes) -> None:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise PoolError(f"{name} is UTF-16 text. Save it as UTF-8.")
    for magic, kind in UNSUPPORTED_ARCHIVES.items():
        if head.startswith(magic):
            raise PoolError(f"{name} is a {kind} file. Unpack it first; only gzip is unpacked automatically.")
