"""Lookup of the rows of a pool that a file lists, by content or by id, never by position.

A row of the file is, in this order, the row of the pool
    with the same content, as its source has it     of equal rows that of the same id, else one for each time
    with the same prompt, response and turns        in whatever schema the file has them
    with the same turns of user and tools, and the  unless responses must be the same: schemas write tools and calls in
    same response                                   different ways
    with the same id                                if the file has no prompt for it; or, unless responses must be the
                                                    same, if it has the same one, as a queue that was answered has
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import PoolError, RecipeError
from core.pool.fingerprint import content_digest, text_digest
from core.pool.nested_fields import get_field
from core.pool.pools import iter_text
from core.pool.readers.records import from_json, peek_objects, read_object
from core.pool.readers.sources import open_source
from core.pool.row_view import RowReader, RowView
from core.pool.schema_detection import detect_schema
from core.pool.turns import UnusableRow
from core.pool.validation import label_text
from core.schema import IntArray, Pool
from core.workspace.files import disk_errors

ADDED_FIELD = "winnow"  # that an export adds to its rows on request; in Parquet, columns that begin with "winnow."
IDS_ENDING = ".txt"  # of a file with one id a line
MAX_NAMED = 3  # rows that a sentence names


@dataclass(frozen=True)
class ListedRow:
    """A row that a file lists, by what is known of it."""

    line: int
    id: str | None = None
    hash: str | None = None  # of its content, as in core.schema.Pool
    texts: tuple[bytes, ...] = ()  # digests of prompt, response and turns, for each way to read it
    gists: tuple[bytes, ...] = ()  # digests of what is the same in every schema, of a row of several turns
    prompts: (
        tuple[bytes, ...] | None
    ) = ()  # digests of the prompt; (): none, so that the id suffices; None: it does not

    @property
    def name(self) -> str:
        """Return what people call the row."""
        return f"line {self.line:,}" if self.id is None else f"'{self.id}'"


@dataclass(frozen=True, eq=False)
class FoundRows:
    """The rows of a pool that a file lists, and the listed rows that the pool does not have."""

    rows: IntArray  # ascending, each once
    unmatched: Sequence[ListedRow]


def find_file_rows(pool: Pool, path: Path, *, same_responses: bool = False) -> FoundRows:
    """Find the rows that a file lists: whole rows in any format and schema of a pool, or ids.

    Ids are objects {"id": ...}, a JSON array of them, or lines of a .txt file. `same_responses`: a row with another
    response than the pool's is another row, whatever its id. Raise RecipeError for a file without rows, and PoolError
    if it cannot be read.
    """
    if path.suffix.lower() == IDS_ENDING:
        with disk_errors(path):
            lines = path.read_text("utf-8", "replace").splitlines()
        listed = [ListedRow(line, text.strip()) for line, text in enumerate(lines, 1) if text.strip()]
    else:
        listed = list(_read_rows(pool, path))
    if not listed:
        raise RecipeError(f"{path} holds no row.")
    if same_responses:
        listed = [replace(row, gists=(), prompts=None) if row.prompts else row for row in listed]
    return find_rows(pool, listed)


def find_rows(pool: Pool, listed: Sequence[ListedRow]) -> FoundRows:
    """Find rows by what is known of them."""
    by_id = _rows_by(pool.rows["id"], {row.id for row in listed if row.id is not None})
    found = _match_content(pool, listed, by_id)
    rest = [row for row in listed if id(row) not in found]
    by_text = _rows_by_text(pool, {text for row in rest for text in (*row.texts, *row.gists)})
    for row in rest:
        same = next((by_text[text] for text in (*row.texts, *row.gists) if text in by_text), [])
        if same:
            found[id(row)] = same.pop() if len(same) > 1 else same[0]
    known = [row for row in rest if id(row) not in found and row.id in by_id and row.prompts is not None]
    prompts = _take(pool.rows["prompt"], [by_id[str(row.id)][0] for row in known if row.prompts])
    for row in known:
        if not row.prompts or text_digest(next(prompts), 0) in row.prompts:
            found[id(row)] = by_id[str(row.id)][0]
    unmatched = [row for row in listed if id(row) not in found]
    return FoundRows(np.unique(np.array(list(found.values()), np.int64)), unmatched)


def _match_content(pool: Pool, listed: Sequence[ListedRow], by_id: Mapping[str, list[int]]) -> dict[int, int]:
    """Return the row of the pool with the content of each listed row, by the latter's `id()`."""
    by_hash = _rows_by(pool.rows["hash"], {row.hash for row in listed if row.hash is not None})
    hash_of = {row: digits for digits, rows in by_hash.items() for row in rows}
    found = {}
    for row in listed:
        same = by_hash.get(row.hash or "", [])
        own = next((one for one in by_id.get(row.id or "", ()) if hash_of.get(one, "") == row.hash), None)
        if own is not None:
            found[id(row)] = own
        elif same:
            found[id(row)] = same.pop() if len(same) > 1 else same[0]
    return found


def _rows_by(column: pa.ChunkedArray, keys: Collection[str]) -> dict[str, list[int]]:
    """Return the rows that have each of the keys, the last first."""
    rows = np.flatnonzero(pc.is_in(column, value_set=pa.array(list(keys), pa.string())).to_numpy())[::-1]
    found = defaultdict(list)
    for key, row in zip(_take(column, rows.tolist()), rows.tolist(), strict=True):
        found[key].append(row)
    return found


def _take(column: pa.ChunkedArray, rows: Sequence[int]) -> Iterator[str]:
    return iter(column.take(pa.array(rows, pa.int64())).to_pylist())


def _rows_by_text(pool: Pool, wanted: Collection[bytes]) -> dict[bytes, list[int]]:
    """Return the rows that have each of these texts or gists, the last first; reads the whole pool."""
    found = defaultdict(list)
    blocks = (zip(*block.values(), strict=True) for block in iter_text(pool)) if wanted else ()
    for row, view in enumerate(chain.from_iterable(blocks)):
        for digest in (_digest_view(view), *_digest_gist(view)):
            if digest in wanted:
                found[digest].append(row)
    return {digest: rows[::-1] for digest, rows in found.items()}


def _digest_view(view: RowView) -> bytes:
    return text_digest("\0".join(part or "" for part in view), 0)


def _digest_gist(view: RowView) -> tuple[bytes, ...]:
    """Return a digest of what user and tools say and of the response; () if the row is no more than these."""
    _, response, turns = view
    if turns is None:
        return ()
    said = [turn["content"] for turn in orjson.loads(turns) if turn["role"] in ("user", "tool")]
    return (text_digest("\0".join([*said, response or ""]), 0),)


def _read_rows(pool: Pool, path: Path) -> Iterator[ListedRow]:
    """Yield the rows of a file, read with the fields of the pool, and with those that the file itself seems to have."""
    with (
        TemporaryDirectory() as cache,
        open_source(str(path), name=None, split=None, revision=None, cache=Path(cache)) as source,
    ):
        first, sample = peek_objects(source)
        readers = [RowReader(pool.fields).read]
        with suppress(PoolError):  # no field that looks like a prompt
            readers.append(RowReader(detect_schema(sample)).read)
        for block in chain(first, source.blocks):
            for line, raw in block.records:
                try:
                    yield _describe(pool, line, _read_record(raw), readers)
                except UnusableRow as reason:
                    raise RecipeError(f"{path}, line {line:,}: {reason}. Give one row, as an object, a line.") from None


def _read_record(raw: Any) -> dict[str, Any]:
    """Return a row; a text or number alone is an id."""
    try:
        return read_object(raw)
    except UnusableRow:
        value = label_text(from_json(raw)[0]) if isinstance(raw, bytes) else None
        if value is None:
            raise
        return {"id": value}


def _describe(pool: Pool, line: int, row: dict[str, Any], readers: Iterable[Callable[..., RowView]]) -> ListedRow:
    own = {name: value for name, value in row.items() if name.partition(".")[0] != ADDED_FIELD}
    name = label_text(get_field(own, pool.fields.id)) if pool.fields.id else None
    name = name or label_text(own.get("id"))
    if set(own) <= {"id"}:
        return ListedRow(line, name)
    views = [view for read in readers if (view := _view(read, own)) is not None]
    prompts = {view[0] for view in views} | ({own["prompt"]} if isinstance(own.get("prompt"), str) else set())
    try:
        digits = content_digest(own).hex()
    except orjson.JSONEncodeError:  # nested too deeply
        digits = None
    texts = tuple(dict.fromkeys(map(_digest_view, views)))
    gists = tuple(dict.fromkeys(gist for view in views for gist in _digest_gist(view)))
    return ListedRow(line, name, digits, texts, gists, tuple(text_digest(prompt, 0) for prompt in prompts))


def _view(read: Callable[..., RowView], row: dict[str, Any]) -> RowView | None:
    try:
        return read(row)
    except UnusableRow:
        return None
