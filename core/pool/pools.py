"""Pools: imported once from any source, stored in the workspace, read a few rows at a time.

A pool is memory-mapped from workspace/pools/<key>/, a folder that is complete or absent (files: core.pool.importer).
The key changes with the source's path, size and modification time, and with the mapping.
"""

import os
import shutil
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from core.demo.pool import write_demo
from core.errors import DamagedFile, PoolError
from core.pool.fingerprint import FINGERPRINT_FORMAT
from core.pool.importer import import_pool
from core.pool.nested_fields import iter_fields
from core.pool.readers.file_list import folder_of, is_pattern
from core.pool.readers.limits import max_row_bytes
from core.pool.readers.sources import find_files, identify, local_path, open_source
from core.pool.schema_detection import mapped_fields
from core.pool.source_files import describe_current, describe_since, record_files, stored_files
from core.pool.validation import ROW_SCHEMA
from core.schema import FieldMap, IntArray, Pool, Progress, Row, format_place, ignore_progress
from core.workspace.files import (
    LOG,
    atomic_folder,
    check_stored,
    disk_errors,
    is_whole,
    log_once,
    read_json,
    reading,
    write_atomic,
    write_json,
)
from core.workspace.folder import content_key

DEMO = "demo"
READING_FORMAT = 2  # of sources; a change reads every source again, and keeps measurements of the same rows
COLUMNS = ("id", *ROW_SCHEMA.names, "duplicate_of")
ROW_COLUMNS = ("id", "line", "prompt", "response", "task", "turns", "original")  # of a Row
FILES = ("rows.arrow", "ids.arrow", "set_aside.arrow", "pool.json")
SLICE_ROWS = 1024  # read at a time
SAMPLE_ROWS = 50  # searched for nested fields
SAMPLE_BYTES = 100_000  # of such a row; longer ones are not searched
MAX_NESTED = 200  # of them listed


def load_pool(
    source: str,
    *,
    workspace: Path,
    fields: FieldMap | None = None,
    name: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    header: bool = True,
    on_progress: Progress = ignore_progress,
) -> Pool:
    """Open a path, a pattern of paths, a dataset of the hub or "demo". The first call imports it, later calls open it.

    The data files of a folder or pattern are one pool, in natural order. Where they are not those of the last call, the
    pool is read anew, and its first notice names what has changed.
    `fields` overrides the detected mapping. `name` and `split` are a configuration and a split of a folder or of a
    dataset of the hub; `revision` is a branch, tag or commit of the latter, and the pool's options have the commit.
    Without `header`, the first row of a CSV file is data, and its columns are called 1, 2, 3.
    `on_progress` counts bytes of a file, or rows. Raise PoolError with one sentence on what is wrong
    with the source.
    """
    identity = identify(str(_demo(workspace)) if source == DEMO else source, revision)
    location = identity.get("hub") or (identity["path"] if source == DEMO else source)
    revision = identity.get("commit", revision)
    options = _options(name, split, revision, header)
    folder = _folder(workspace, identity, fields, options)
    pool = _open_whole(folder)
    if pool is None:
        if folder.exists():
            with disk_errors(folder):
                shutil.rmtree(folder)
        if "path" in identity and Path(identity["path"]).is_file():
            check_stored(Path(identity["path"]))  # it may be an upload
        with atomic_folder(folder) as temporary:
            cache = temporary / "cache"
            with open_source(location, name=name, split=split, revision=revision, header=header, cache=cache) as rows:
                document = import_pool(rows, fields, temporary, on_progress)
            shutil.rmtree(cache, ignore_errors=True)
            document["path"] = identity.get("path")
            document["options"] = options
            document["source"] = source if source == DEMO else identity.get("hub") or identity["path"]
            document["files"] = record_files(rows.listed or find_files(location, split, name), document["files"])
            if identify(location, revision) != identity:
                raise PoolError(f"{source} was changed while it was read. Open it again when nothing writes to it.")
            changes = describe_since(map(_document, _by_last_use(workspace)), document)
            document["notices"] = [*changes, *document["notices"]]
            write_json(temporary / "pool.json", document)
        pool = _open(folder)
    return _opened(pool, folder, identity.get("hub", source))


def load_stored(source: str, *, workspace: Path, fields: FieldMap | None = None, **options: Any) -> Pool | None:
    """Open a source that `load_pool` with these arguments has imported; None if it would be imported now.

    None also for a dataset of the hub, which would have to be asked. Raise PoolError if there is no such source.
    """
    if local_path(source) is None:
        return None
    folder = _folder(workspace, identify(source), fields, _options(**options))
    pool = _open_whole(folder)
    return None if pool is None else _opened(pool, folder, source)


def _open_whole(folder: Path) -> Pool | None:
    """Open a stored pool; None if it is not stored, or a file of it is not as it was written."""
    try:
        return _open(folder)
    except DamagedFile as error:
        if folder.exists():
            if all(is_whole(folder / name) for name in FILES):
                raise  # of version 0.2, without checksums
            LOG.warning("%s The pool is imported again.", error)
        return None


def _opened(pool: Pool, folder: Path, source: str) -> Pool:
    """Record that a stored pool was opened, and return it with its source as given."""
    _mark_opened(folder / "pool.json")
    return replace(pool, source=source)


def _mark_opened(file: Path) -> None:
    """Record by the time of a pool.json that its pool was opened last. `touch` would take a clock with wide steps."""
    now = time.time_ns()
    with suppress(OSError):  # a workspace that cannot be written is read all the same
        os.utime(file, ns=(now, now))


def _options(
    name: str | None = None, split: str | None = None, revision: str | None = None, header: bool = True
) -> dict[str, Any]:
    """Return the options of a source that differ from the usual ones."""
    options = {"name": name, "split": split, "revision": revision, "header": None if header else False}
    return {option: value for option, value in options.items() if value is not None}


def _folder(workspace: Path, identity: dict[str, Any], fields: FieldMap | None, options: dict[str, Any]) -> Path:
    """Return the folder of a pool, stored or not."""
    spec: dict[str, Any] = {"pool": FINGERPRINT_FORMAT, "reading": READING_FORMAT, "max_row": max_row_bytes()}
    spec |= {"identity": identity, "fields": asdict(fields) if fields else None, "options": options}
    return workspace / "pools" / content_key(spec)


def _demo(workspace: Path) -> Path:
    """Return the demo pool's file, rewritten only if this version of the generator gives other rows."""
    folder = workspace / "demo"
    with tempfile.TemporaryDirectory() as fresh:
        generated = write_demo(Path(fresh))
        for file in sorted(Path(fresh).iterdir(), reverse=True):  # the key before the pool
            stored, data = folder / file.name, file.read_bytes()
            if not stored.exists() or stored.read_bytes() != data:
                write_atomic(stored, data)
    return folder / generated.name


def _open(folder: Path) -> Pool:
    document = read_json(folder / "pool.json")
    content, ids, set_aside = (_table(folder / f"{part}.arrow") for part in ("rows", "ids", "set_aside"))
    # The table's metadata carries the source's path and field names, and the path of the rows.
    notes = {"path": document["path"], "found": document["found"], "options": document.get("options", {})}
    notes["rows"] = str(folder / "rows.arrow")
    columns = {c: (ids if c in ids.column_names else content)[c] for c in COLUMNS}
    return Pool(
        fingerprint=document["fingerprint"],
        name=document["name"],
        source=document["source"],
        fields=FieldMap(**document["fields"] | {"prompt": tuple(document["fields"]["prompt"])}),
        rows=pa.table(columns).replace_schema_metadata({"winnow": orjson.dumps(notes)}),
        set_aside=set_aside,
        notices=tuple(document["notices"]),
        files=stored_files(document),
    )


def _table(path: Path) -> pa.Table:
    with reading(path):
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _notes(pool: Pool) -> dict[str, Any]:
    return dict(orjson.loads((pool.rows.schema.metadata or {}).get(b"winnow", b"{}")))


def field_names(pool: Pool) -> list[str]:
    """Return the fields that a mapping can name: all fields of the source, then nested ones of its first rows."""
    found = list(_notes(pool).get("found", []))
    first = pool.rows["original"].slice(0, SAMPLE_ROWS)
    short = first.filter(pc.less(pc.binary_length(first), SAMPLE_BYTES)).to_pylist()
    nested = dict.fromkeys(name for text in short for name, _ in iter_fields(orjson.loads(text)) if "." in name)
    return [*found, *[name for name in nested if name not in found][:MAX_NESTED]]


def unread_fields(pool: Pool) -> list[str]:
    """Return the fields of the source that the pool's mapping does not read, in order of appearance."""
    mapped = mapped_fields(pool.fields)
    found = _notes(pool).get("found", [])
    return [name for name in found if not any(used == name or used.startswith(f"{name}.") for used in mapped)]


def source_options(pool: Pool) -> dict[str, Any]:
    """Return the options of `load_pool` with which its source was opened: name, split, revision, header."""
    return dict(_notes(pool).get("options", {}))


def hub_commit(pool: Pool) -> str | None:
    """Return the commit of the dataset on the hub that a pool was read from; None for files."""
    commit: str | None = source_options(pool).get("revision")
    return commit


def open_pool(fingerprint: str, *, workspace: Path) -> Pool:
    """Return the last opened pool with this fingerprint. Raise PoolError if it was never opened in this workspace."""
    for entry in recent_pools(workspace):
        if entry["fingerprint"] == fingerprint:
            return open_stored(entry["key"], workspace=workspace)
    raise PoolError(f"{workspace} has no pool with fingerprint {fingerprint}. Open its file again.")


def open_stored(key: str, *, workspace: Path) -> Pool:
    """Return the pool that is stored under a key of `recent_pools`, with a notice if its files have changed since."""
    folder = workspace / "pools" / key
    pool = _open(folder)
    changes = describe_current(read_json(folder / "pool.json"))
    return replace(pool, notices=(*changes, *pool.notices))


def recent_pools(workspace: Path) -> list[dict[str, Any]]:
    """List the pools of this workspace, last opened first.

    Each: key, name, source, fingerprint, rows, set_aside, schema, opened (ISO time, UTC).
    """
    entries = (_entry(path) for path in _by_last_use(workspace))
    return [entry for entry in entries if entry is not None]


def _by_last_use(workspace: Path) -> list[Path]:
    """Return the pool.json of every stored pool, last opened first."""
    files = [(path.stat().st_mtime_ns, path) for path in (workspace / "pools").glob("*/pool.json")]
    return [path for _, path in sorted(files, reverse=True)]


@contextmanager
def keep_last_opened(workspace: Path) -> Iterator[None]:
    """Leave the pool that was opened last the last one, whatever else is opened in this context."""
    last = _by_last_use(workspace)[:1]
    yield
    for path in last:
        _mark_opened(path)


def _document(path: Path) -> dict[str, Any] | None:
    """Return the content of a pool.json; None if it is damaged."""
    try:
        return dict(read_json(path))
    except DamagedFile as error:
        log_once(str(error))
        return None


def _entry(path: Path) -> dict[str, Any] | None:
    document = _document(path)
    if document is None:
        return None
    facts = {k: document[k] for k in ("name", "source", "fingerprint", "rows", "set_aside")}
    opened = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    return {"key": path.parent.name, **facts, "schema": document["fields"]["schema"], "opened": opened}


def read_rows(pool: Pool, indices: Sequence[int]) -> list[Row]:
    """Return these rows, in this order. Only their own pages are read from the disk."""
    # Cell by cell: Table.take gathers whole columns first and fails on more than 2 GB of text.
    cells = {name: pool.rows[name] for name in ROW_COLUMNS}
    return [_row(pool, cells, int(i)) for i in indices]


def _row(pool: Pool, cells: dict[str, pa.ChunkedArray], index: int) -> Row:
    if not 0 <= index < len(pool):
        raise PoolError(f"{pool.name} has no row {index}. It has {len(pool):,} rows, counted from 0.")
    values = {name: column[index].as_py() for name, column in cells.items()}
    turns = values.pop("turns")
    conversation = orjson.loads(turns) if turns else [{"role": "user", "content": values["prompt"]}]
    if not turns and values["response"] is not None:
        conversation.append({"role": "assistant", "content": values["response"]})
    return Row(index=index, turns=tuple(conversation), file=row_file(pool, index), **values)


def row_file(pool: Pool, index: int) -> str:
    """Return the name of the file that a row is from, in a pool of several files; "" otherwise."""
    return pool.files[bisect_right(pool.file_ends, index)].name if len(pool.files) > 1 else ""


def row_place(pool: Pool, index: int) -> str:
    """Return where a row is in the source: "line 3", or "part-2.jsonl, line 3"."""
    return format_place(row_file(pool, index), pool.rows["line"][index].as_py())


def iter_originals(pool: Pool, stop: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the original rows [0, stop) as objects, in order."""
    column, stop = pool.rows["original"], len(pool) if stop is None else min(stop, len(pool))
    for start in range(0, stop, SLICE_ROWS):
        yield from map(orjson.loads, column.slice(start, min(SLICE_ROWS, stop - start)).to_pylist())


def iter_text(
    pool: Pool, start: int = 0, stop: int | None = None, *, size: int = SLICE_ROWS
) -> Iterator[dict[str, list[Any]]]:
    """Yield the columns prompt, response, turns of rows [start, stop) in order, at most `size` rows at a time."""
    stop = len(pool) if stop is None else min(stop, len(pool))
    table = pool.rows.select(["prompt", "response", "turns"])
    for begin in range(start, stop, size):
        yield table.slice(begin, min(size, stop - begin)).to_pydict()


def search(pool: Pool, text: str, *, limit: int) -> IntArray:
    """Return the first `limit` rows whose prompt or response contains `text`, ignoring case."""
    matches: list[int] = []
    start = 0
    for batch in _iter_batches(Path(_notes(pool)["rows"]), ("prompt", "response")):
        hits = [pc.fill_null(pc.match_substring(column, text, ignore_case=True), False) for column in batch]
        matches += (np.flatnonzero(np.asarray(pc.or_(*hits))) + start).tolist()
        start += len(batch)
        if len(matches) >= limit:
            break
    return np.array(matches[:limit], np.int64)


def _iter_batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield columns of a stored table, read rather than mapped: pages of a mapping stay with the process."""
    with reading(path), pa.OSFile(str(path)) as file:
        places = [pa.ipc.open_file(file).schema.get_field_index(name) for name in columns]
        reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=places))
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)


def source_file(pool: Pool) -> Path | None:
    """Return the file, folder or pattern that a pool was imported from; None for a hub data set."""
    path = _notes(pool).get("path")
    return Path(path) if path else None


def source_files(pool: Pool) -> list[Path]:
    """Return the file or folder that a pool was imported from, or the files of its pattern; [] for a hub data set."""
    source = source_file(pool)
    if source is None:
        return []
    return [folder_of(source) / file.name for file in pool.files] if is_pattern(str(source)) else [source]


def answer_key_file(pool: Pool) -> Path | None:
    """Return the path of the answer key, NAME.key.jsonl next to NAME.jsonl, there or not; None for a hub data set."""
    source = source_file(pool)
    return source and Path(str(source).removesuffix(".gz")).with_suffix(".key.jsonl")


def load_answer_key(pool: Pool) -> dict[str, dict[str, Any]] | None:
    """Load the known faults by row id from the answer key of a pool; None if there is none.

    Each line holds "id" and, in the demo pool, "fault" and "of" (the row a fault was made from).
    """
    key = answer_key_file(pool)
    if key is None or not key.is_file():
        return None
    with disk_errors(key):
        rows = [orjson.loads(line) for line in key.read_bytes().split(b"\n") if line]
    return {str(row.pop("id")): row for row in rows}
