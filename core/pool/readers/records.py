"""The output of every source reader: the JSON text of rows, a block at a time."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import orjson

from core.pool.readers.file_list import FileList
from core.pool.turns import UnusableRow
from core.schema import FieldMap

BLOCK_BYTES = 2 << 20  # of text read at a time
BLOCK_ROWS = 2000  # read at a time if rows are objects already
SAMPLE_ROWS = 1000  # used to detect the schema
MAX_PEEKED_BYTES = 64 << 20  # searched for the first object
RECORD_BYTES = 200  # of a record in memory, besides its text


class UnreadableRow(NamedTuple):
    """A row that cannot be read as JSON; it is skipped with the reason."""

    reason: str
    text: str


class Place(NamedTuple):
    """Where a row is in its source."""

    line: int
    file: str = ""  # name of its file, in a source of several


Record = tuple[int, bytes | UnreadableRow]  # line or element number in its file, 1-based; JSON text


class Block(NamedTuple):
    """Some rows of one file, in order."""

    records: list[Record]
    done: int  # how much of the source's total has been read
    file: int = 0  # place of the file among those of the source


Blocks = Iterator[Block]


@dataclass(frozen=True)
class SourceFile:
    """One of several files of a source, by its first rows."""

    name: str  # relative to the folder of all
    shown: str  # as errors name it
    sample: Sequence[dict[str, Any]]  # objects, for the detection of one schema over all files
    merged: Mapping[str, Any]  # one object with every field of the first rows, without their values


@dataclass(frozen=True)
class Source:
    """The rows of a source, read once from front to end."""

    name: str
    blocks: Blocks
    total: int  # bytes or rows, as `blocks` counts
    notices: list[str] = field(default_factory=list)  # complete after the last block
    fields: FieldMap | None = None  # the mapping of fields without names
    unknown: str = ""  # what to say if no schema is detected; "" = the general message
    files: Sequence[SourceFile] = ()  # where there are several
    listed: FileList | None = None  # the same files, where they are


def from_json(text: bytes) -> tuple[Any, bool]:
    """Return the value, and whether NaN or Infinity, which JSON lacks, was read as null.

    Python writes them, so scored pools contain them. Raise orjson.JSONDecodeError for anything else that is invalid.
    """
    try:
        return orjson.loads(text), False
    except orjson.JSONDecodeError:
        if b"NaN" not in text and b"Infinity" not in text:
            raise
        with suppress(ValueError, TypeError, RecursionError):
            # dumped again, because this parser is laxer than orjson in other ways too
            return orjson.loads(orjson.dumps(json.loads(text, parse_constant=lambda name: None))), True
        raise


def read_object(raw: bytes | UnreadableRow) -> dict[str, Any]:
    """Return the object of a record. Raise UnusableRow with the reason if it holds none."""
    if isinstance(raw, UnreadableRow):
        raise UnusableRow(raw.reason)
    try:
        value, _ = from_json(raw)
    except orjson.JSONDecodeError as error:
        raise UnusableRow(f"not JSON: {error.msg}") from error
    if not isinstance(value, dict):
        raise UnusableRow("not an object")
    return value


def peek_objects(source: Source) -> tuple[list[Block], list[dict[str, Any]]]:
    """Read blocks up to the first that holds an object; return them and the objects at its beginning.

    Of several files, which were peeked at when they were opened: no blocks, and objects of each file.
    No objects: there are none in the first MAX_PEEKED_BYTES.
    """
    if source.files:
        return [], [row for file in source.files for row in file.sample]
    blocks: list[Block] = []
    size = 0
    for block in source.blocks:
        blocks.append(block)
        if sample := list(islice(_objects(block.records), SAMPLE_ROWS)):
            return blocks, sample
        size += sum(RECORD_BYTES + len(raw.text if isinstance(raw, UnreadableRow) else raw) for _, raw in block.records)
        if size > MAX_PEEKED_BYTES:
            break
    return blocks, []


def describe_no_objects(blocks: Sequence[Block]) -> str:
    """Return why the first blocks of a source hold no object."""
    records = [raw for block in blocks for _, raw in block.records]
    if not records:
        return "it holds no rows"
    if isinstance(records[0], UnreadableRow):
        return f"its first row cannot be read ({records[0].reason})"
    return f"none of its first {len(records):,} lines or elements is a JSON object"


def _objects(records: list[Record]) -> Iterator[dict[str, Any]]:
    for _, raw in records:
        with suppress(UnusableRow):
            yield read_object(raw)


def to_json(row: Any) -> bytes | UnreadableRow:
    """Return the JSON text of a table's row. Dates and decimals become text; NaN becomes null."""
    try:
        return orjson.dumps(row, default=str, option=orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError as error:
        return UnreadableRow(f"not JSON: {error}", repr(row))


def list_blocks(rows: list[Any]) -> Blocks:
    """Yield the rows of a list in memory, in blocks."""
    for start in range(0, len(rows), BLOCK_ROWS):
        part = rows[start : start + BLOCK_ROWS]
        yield Block([(n, to_json(row)) for n, row in enumerate(part, start + 1)], start + len(part))
