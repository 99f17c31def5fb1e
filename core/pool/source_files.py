"""Files that a pool was read from: names, sizes, row counts and checksums, and what has changed in them since.

A stored pool holds its rows itself, so a file that changes later is named, and never misread.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import PoolError
from core.pool.readers.file_list import FileList
from core.pool.readers.sources import find_files
from core.schema import PoolFile
from core.workspace.checksums import hash_file
from core.workspace.files import disk_errors

MAX_NAMED = 3  # of the files that have changed


def record_files(files: FileList | None, counts: Sequence[Mapping[str, int]]) -> list[dict[str, Any]]:
    """Return what pool.json records of each file; `counts`: its rows."""
    if files is None:
        return []
    return [_record(path, name, count) for path, name, count in zip(files.paths, files.names, counts, strict=True)]


def _record(path: Path, name: str, counts: Mapping[str, int]) -> dict[str, Any]:
    with disk_errors(path):
        about = path.stat()
        return {
            "name": name,
            "bytes": about.st_size,
            **counts,
            "xxh128": hash_file(path),
            "modified": about.st_mtime_ns,
        }


def stored_files(document: Mapping[str, Any]) -> tuple[PoolFile, ...]:
    """Return the files that a pool.json records."""
    names = PoolFile.__dataclass_fields__
    return tuple(PoolFile(**{name: file[name] for name in names}) for file in document.get("files", ()))


def describe_changes(then: Sequence[PoolFile], now: Sequence[PoolFile]) -> str:
    """Return in words which files have changed, are missing or new: the start of a sentence; "" if none."""
    return _in_words({f.name: f.xxh128 for f in then}, {f.name: f.xxh128 for f in now})


def describe_since(earlier: Iterable[Mapping[str, Any] | None], document: Mapping[str, Any]) -> list[str]:
    """Return a sentence on the files that have changed since a folder or pattern was last imported with other rows.

    `earlier`: what was stored of the pools of the workspace, last opened first.
    """
    files = stored_files(document)
    last = next((pool for pool in earlier if pool and pool.get("files") and _same_source(pool, document)), None)
    if last is None or max(len(files), len(last["files"])) < 2 or last["fingerprint"] == document["fingerprint"]:
        return []
    changes = describe_changes(stored_files(last), files)
    again = f"This is another pool; the earlier one opens by its fingerprint, {last['fingerprint']}."
    return [f"Since {document['name']} was last opened, {changes}. {again}"] if changes else []


def _same_source(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    def place(document: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        return document["source"], {name: value for name, value in document["options"].items() if name != "revision"}

    return place(one) == place(other)


def describe_current(document: Mapping[str, Any]) -> list[str]:
    """Return a sentence on the files of a stored pool that are not on the disk as they were when it was read."""
    then = {file["name"]: (file["bytes"], file["modified"]) for file in document.get("files", ())}
    if not then or document["path"] is None:  # a commit of the hub does not change
        return []
    options = document.get("options", {})
    try:
        files = find_files(document["path"], options.get("split"), options.get("name"))
        now = {} if files is None else dict(zip(files.names, map(_stamp, files.paths), strict=True))
    except (PoolError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not there, or not as it was"
        return [f"{document['path']} cannot be read ({why}). The pool holds its rows as they were."]
    changes = _in_words(then, now)
    if not changes:
        return []
    again = f"The pool holds its rows as they were; to read what is there now, open {document['path']} again."
    return [f"Since this pool was opened, {changes}. {again}"]


def _stamp(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns


def _in_words(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    changed = [name for name in then if name in now and now[name] != then[name]]
    missing = [name for name in then if name not in now]
    added = [name for name in now if name not in then]
    parts = [
        _count(changed, "has changed", "have changed"),
        _count(missing, "is missing", "are missing"),
        _count(added, "is new", "are new"),
    ]
    return ", ".join(part for part in parts if part)


def _count(names: Sequence[str], one: str, several: str) -> str:
    if not names:
        return ""
    more = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
    shown = " and ".join(names[:MAX_NAMED]) + more
    return f"{shown} {one if len(names) == 1 else several}"
