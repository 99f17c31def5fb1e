"""Rows from JSON text: one object per line, or lists under the keys of one object."""

from collections.abc import Iterator
from typing import Any

import orjson

from core.errors import PoolError
from core.pool.readers.bytestream import BLOCK, ByteStream
from core.pool.readers.limits import format_megabytes, max_row_bytes
from core.pool.readers.lines import LongRow, iter_lines
from core.pool.readers.records import BLOCK_BYTES, Block, Blocks, Record, Source, list_blocks, read_object
from core.pool.schema_detection import detect_schema
from core.pool.turns import UnusableRow

MAX_PROBED_LINES = 50  # lines tried before a file is judged not to be JSON Lines


def has_object_line(lines: list[bytes]) -> bool:
    """Return whether one of the first lines is a JSON object."""
    return any(_parse_object(line) is not None for line in lines[:MAX_PROBED_LINES])


def _parse_object(line: bytes) -> dict[str, Any] | None:
    try:
        return read_object(line)
    except UnusableRow:
        return None


def is_array(head: bytes) -> bool:
    """Return whether a file that begins with "[" is one array, and not lines whose first is a list."""
    first, _, rest = head.lstrip().partition(b"\n")
    try:
        orjson.loads(first)
    except orjson.JSONDecodeError:
        return True
    return not has_object_line(rest.split(b"\n"))


def read_lines_or_object(stream: ByteStream, split: str | None) -> Source:
    """Read JSON Lines, unless the file is one object that holds rows (under `split` if it has several lists)."""
    limit = max_row_bytes()
    first, _, rest = _first_line(stream, limit).partition(b"\n")
    whole = None
    if not rest.strip() and len(first) <= limit:
        whole = _parse_object(first)
    elif _parse_object(first) is None and len(text := stream.head(limit + 1)) <= limit:
        whole = _parse_object(text)
    if whole is None and len(first) <= limit and not has_object_line([first, *rest.split(b"\n", MAX_PROBED_LINES)]):
        whole = _only_object(stream, limit)
    rows_source = None if whole is None else _keyed_rows(stream.name, whole, split)
    if split is not None and rows_source is None:
        raise no_split_error(stream.name, split)
    if rows_source is None and whole is not None and rest.strip():
        return Source(stream.name, list_blocks([whole]), 1)  # one row over several lines
    return rows_source or Source(stream.name, _lines(stream), stream.total)


def no_split_error(file: str, split: str) -> PoolError:
    """Return the error for a split requested from a file without splits."""
    return PoolError(f"{file} is one list of rows, without splits. Remove the split '{split}'.")


def _first_line(stream: ByteStream, limit: int) -> bytes:
    """Return the beginning of the file: the whole first line and some of the next; at most about `limit` bytes."""
    size = BLOCK
    while True:
        head = stream.head(size)
        if head.lstrip().partition(b"\n")[2].strip() or len(head) < size or len(head) > limit:
            return head.lstrip()
        size = min(2 * size, limit + 1)


def _only_object(stream: ByteStream, limit: int) -> dict[str, Any]:
    text = stream.head(limit + 1)
    if len(text) > limit:
        raise PoolError(
            f"{stream.name} is neither JSON Lines (one object on each line) nor one JSON value of at most "
            f"{format_megabytes(limit)}. Save its rows as JSON Lines, or set WINNOW_MAX_ROW_MB."
        )
    try:
        return dict(orjson.loads(text))
    except orjson.JSONDecodeError as error:
        raise PoolError(
            f"{stream.name} is neither JSON Lines (one object on each line) nor one JSON value: "
            f"{error.msg} in line {stream.line + error.lineno}, column {error.colno}."
        ) from error


# ---- one object per line


def _lines(stream: ByteStream) -> Blocks:
    number = stream.line
    for lines in iter_lines(stream, BLOCK_BYTES):
        yield Block(list(_number(lines, number)), stream.done())
        number += len(lines)
    yield Block([], stream.total)


def _number(lines: list[bytes | LongRow], before: int) -> Iterator[Record]:
    """Yield numbered lines; blank lines are no rows."""
    for number, line in enumerate(lines, before + 1):
        if isinstance(line, LongRow):
            yield number, line.set_aside(f"line {number:,}")
        elif line and not line.isspace():
            yield number, line.removesuffix(b"\r")


# ---- lists under the keys of one object


def _keyed_rows(file: str, whole: dict[str, Any], split: str | None) -> Source | None:
    """Return the rows of {"data": [row, …]}, {"train": [row, …], "test": […]} or {id or prompt: row, …}.

    Return None if the object is itself a row.
    """
    if _is_row(whole):
        return None
    lists = {k: v for k, v in whole.items() if isinstance(v, list) and v and all(isinstance(r, dict) for r in v)}
    if lists:
        key = _select_key(file, list(lists), split)
        return Source(
            file, list_blocks(lists[key]), len(lists[key]), [f"The file is one object; its rows are under '{key}'."]
        )
    if len(whole) < 2 or not all(isinstance(row, dict) for row in whole.values()):
        return None
    keys_are_ids = any(name in row for row in whole.values() for name in ("prompt", "instruction", "question"))
    name = "id" if keys_are_ids else "prompt"
    rows = [{name: key} | row for key, row in whole.items()]
    notice = f"The file is one object; its rows are under keys. Each row's key is in its field '{name}'."
    return Source(file, list_blocks(rows), len(rows), [notice])


def _is_row(whole: dict[str, Any]) -> bool:
    try:
        fields = detect_schema([whole])
    except PoolError:
        return False
    return fields.schema != "prompts_only" or bool(fields.turns)


def _select_key(file: str, keys: list[str], split: str | None) -> str:
    if split is not None and split not in keys:
        raise PoolError(f"{file} has no split '{split}'. It has {', '.join(keys)}.")
    if split is None and len(keys) > 1 and "train" not in keys:
        raise PoolError(f"{file} has rows under {', '.join(keys)}. Give one of them as the split.")
    return split or ("train" if "train" in keys else keys[0])
