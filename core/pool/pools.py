"""Pools: opened once from any source, kept in the workspace, read a few rows at a time.

A pool lies memory-mapped in workspace/pools/<key>/, whole or not at all (core.pool.importer says which
files). The key changes with the source's path, size and time of change, and with the mapping.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from core.demo.pool import write_demo
from core.errors import PoolError, WorkspaceError
from core.pool.fingerprint import FINGERPRINT_FORMAT
from core.pool.importer import import_pool
from core.pool.readers.sources import identify, open_source
from core.schema import FieldMap, IntArray, Pool, Progress, Row, ignore_progress
from core.workspace.files import atomic_folder, disk_errors, read_json, write_atomic, write_json
from core.workspace.folder import content_key

DEMO = "demo"
COLUMNS = (
    *("id", "line", "hash", "prompt", "response", "task", "turns", "original"),
    *("prompt_chars", "response_chars", "duplicate_of"),
)
ROW_COLUMNS = ("id", "line", "prompt", "response", "task", "turns", "original")  # what a Row is made of
SLICE_ROWS = 1024  # rows handed to a worker at a time


def load_pool(
    source: str,
    *,
    workspace: Path,
    fields: FieldMap | None = None,
    name: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    on_progress: Progress = ignore_progress,
) -> Pool:
    """Open a path, a hub id or "demo"; imported on first use, at once afterwards.

    `fields` overrides the mapping that is detected; `name`, `split` and `revision` are those of
    `datasets`. `on_progress` counts bytes of a file, or rows. PoolError is one sentence that says
    what is wrong with the source.
    """
    place = str(_demo(workspace)) if source == DEMO else source
    identity = identify(place)
    options = {"name": name, "split": split, "revision": revision}
    spec = {"pool": FINGERPRINT_FORMAT, "identity": identity, "fields": asdict(fields) if fields else None, **options}
    folder = workspace / "pools" / content_key(spec)
    if not (folder / "pool.json").exists():
        with atomic_folder(folder) as temporary:
            with open_source(place, **options, cache=temporary / "cache") as rows:
                about = import_pool(rows, fields, temporary, on_progress)
            shutil.rmtree(temporary / "cache", ignore_errors=True)
            about["path"] = identity.get("path")
            about["source"] = source if source == DEMO or "hub" in identity else identity["path"]
            write_json(temporary / "pool.json", about)
    with disk_errors(folder):
        (folder / "pool.json").touch()  # its time of change is when the pool was last opened
    return replace(_open(folder), source=source)


def _demo(workspace: Path) -> Path:
    """The demo pool's file; written again only when this version's generator makes other rows."""
    folder = workspace / "demo"
    with tempfile.TemporaryDirectory() as fresh:
        made = write_demo(Path(fresh))
        for file in sorted(Path(fresh).iterdir(), reverse=True):  # the key before the pool
            kept, data = folder / file.name, file.read_bytes()
            if not kept.exists() or kept.read_bytes() != data:
                write_atomic(kept, data)
    return folder / made.name


def _open(folder: Path) -> Pool:
    about = read_json(folder / "pool.json")
    body, ids, set_aside = (_table(folder / f"{part}.arrow") for part in ("rows", "ids", "set_aside"))
    # What reading the pool needs beside its columns travels with the table.
    notes = {"path": about["path"], "found": about["found"]}
    columns = {c: (ids if c in ids.column_names else body)[c] for c in COLUMNS}
    return Pool(
        fingerprint=about["fingerprint"],
        name=about["name"],
        source=about["source"],
        fields=FieldMap(**about["fields"] | {"prompt": tuple(about["fields"]["prompt"])}),
        rows=pa.table(columns).replace_schema_metadata({"winnow": orjson.dumps(notes)}),
        set_aside=set_aside,
        notices=tuple(about["notices"]),
    )


def _table(path: Path) -> pa.Table:
    with disk_errors(path):
        try:
            return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except pa.ArrowInvalid as error:
            raise WorkspaceError(f"{path}: damaged ({error}). Remove {path.parent} and open the pool again.") from error


def _notes(pool: Pool) -> dict[str, Any]:
    return dict(orjson.loads((pool.rows.schema.metadata or {}).get(b"winnow", b"{}")))


def field_names(pool: Pool) -> list[str]:
    """Every field that some row of the source has: what a mapping can name."""
    return list(_notes(pool).get("found", []))


def open_pool(fingerprint: str, *, workspace: Path) -> Pool:
    """The pool with this fingerprint that was opened last; PoolError when it was never opened here."""
    for about in recent_pools(workspace):
        if about["fingerprint"] == fingerprint:
            return _open(workspace / "pools" / about["key"])
    raise PoolError(f"No pool with fingerprint {fingerprint} was opened in {workspace}. Open its file again.")


def recent_pools(workspace: Path) -> list[dict[str, Any]]:
    """Pools in this workspace, last opened first.

    Each: key, name, source, fingerprint, rows, set_aside, schema, opened (ISO time, UTC).
    """
    files = [(path.stat().st_mtime, path) for path in (workspace / "pools").glob("*/pool.json")]
    return [_entry(path, opened) for opened, path in sorted(files, reverse=True)]


def _entry(path: Path, opened: float) -> dict[str, Any]:
    about = read_json(path)
    kept = {k: about[k] for k in ("name", "source", "fingerprint", "rows", "set_aside")}
    time = datetime.fromtimestamp(opened, UTC).isoformat(timespec="seconds")
    return {"key": path.parent.name, **kept, "schema": about["fields"]["schema"], "opened": time}


def read_rows(pool: Pool, indices: Sequence[int]) -> list[Row]:
    """These rows, in this order. Only their own pages are read from the disk."""
    # Cell by cell, for Table.take gathers whole columns first and fails on more than 2 GB of text.
    cells = {name: pool.rows[name] for name in ROW_COLUMNS}
    return [_row(pool, cells, int(i)) for i in indices]


def _row(pool: Pool, cells: dict[str, pa.ChunkedArray], index: int) -> Row:
    if not 0 <= index < len(pool):
        raise PoolError(f"{pool.name} has no row {index}; its {len(pool):,} rows are counted from 0.")
    said = {name: column[index].as_py() for name, column in cells.items()}
    turns = said.pop("turns")
    talk = orjson.loads(turns) if turns else [{"role": "user", "content": said["prompt"]}]
    if not turns and said["response"] is not None:
        talk.append({"role": "assistant", "content": said["response"]})
    return Row(index=index, turns=tuple(talk), **said)


def iter_text(
    pool: Pool, start: int = 0, stop: int | None = None, *, size: int = SLICE_ROWS
) -> Iterator[dict[str, list[Any]]]:
    """Columns prompt, response, turns of rows [start, stop), at most `size` rows at a time, in order."""
    stop = len(pool) if stop is None else min(stop, len(pool))
    table = pool.rows.select(["prompt", "response", "turns"])
    for begin in range(start, stop, size):
        yield table.slice(begin, min(size, stop - begin)).to_pydict()


def search(pool: Pool, text: str, *, limit: int) -> IntArray:
    """Rows whose prompt or response holds `text`, without regard to case; the first `limit` of them."""
    found: list[IntArray] = []
    count = start = 0
    for batch in pool.rows.select(["prompt", "response"]).to_batches():
        hits = [pc.fill_null(pc.match_substring(column, text, ignore_case=True), False) for column in batch]
        rows = np.flatnonzero(np.asarray(pc.or_(*hits)))
        found.append(rows + start)
        count += len(rows)
        start += len(batch)
        if count >= limit:
            break
    return np.concatenate(found or [np.empty(0, np.int64)])[:limit]


def load_answer_key(pool: Pool) -> dict[str, dict[str, Any]] | None:
    """What is known to be wrong with which row, by id: NAME.key.jsonl beside NAME.jsonl. None without one.

    Each line of it holds "id" and, in the demo pool, "fault" and "of" (the row a fault was made from).
    """
    path = _notes(pool).get("path")
    if path is None:
        return None
    key = Path(path.removesuffix(".gz")).with_suffix(".key.jsonl")
    if not key.is_file():
        return None
    with disk_errors(key):
        rows = [orjson.loads(line) for line in key.read_bytes().split(b"\n") if line]
    return {str(row.pop("id")): row for row in rows}
