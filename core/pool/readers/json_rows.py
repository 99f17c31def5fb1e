"""Rows from JSON text: one object per line, the elements of an array, or lists under the keys of one object."""

import codecs
import json
import re
from typing import Any

import orjson

from core.errors import PoolError
from core.pool.readers.bytestream import BLOCK, ByteStream
from core.pool.readers.records import BLOCK_BYTES, Blocks, Record, Source, list_blocks, read_object
from core.pool.schema_detection import detect_schema
from core.pool.turns import UnusableRow

MAX_PROBED_LINES = 50  # lines tried before a file is judged not to be JSON Lines
MAX_SINGLE_VALUE_BYTES = 64 << 20  # up to this size, a file whose first line is no object is also tried as one value
_SPACE = re.compile(r"[ \t\r\n]*")


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
    first, _, rest = _first_line(stream).partition(b"\n")
    whole = None
    if not rest.strip():
        whole = _parse_object(first)
    elif _parse_object(first) is None and len(text := stream.head(MAX_SINGLE_VALUE_BYTES)) < MAX_SINGLE_VALUE_BYTES:
        whole = _parse_object(text)
    if whole is None and not has_object_line([first, *rest.split(b"\n", MAX_PROBED_LINES)]):
        whole = _only_object(stream)
    rows_source = None if whole is None else _keyed_rows(stream.name, whole, split)
    if split is not None and rows_source is None:
        raise no_split_error(stream.name, split)
    if rows_source is None and whole is not None and rest.strip():
        return Source(stream.name, list_blocks([whole]), 1)  # one row over several lines
    return rows_source or Source(stream.name, _lines(stream), stream.total)


def no_split_error(file: str, split: str) -> PoolError:
    """Return the error for a split requested from a file without splits."""
    return PoolError(f"{file} is one list of rows, so there is no split '{split}' to open. Leave the split out.")


def _first_line(stream: ByteStream) -> bytes:
    """Return the beginning of the file: the whole first line and some of the next."""
    size = BLOCK
    while True:
        head = stream.head(size)
        if head.lstrip().partition(b"\n")[2].strip() or len(head) < size:
            return head.lstrip()
        size *= 2


def _only_object(stream: ByteStream) -> dict[str, Any]:
    try:
        return dict(orjson.loads(stream.read(-1)))
    except orjson.JSONDecodeError as error:
        raise PoolError(
            f"{stream.name} is neither JSON Lines (one object on each line) nor one JSON value: "
            f"{error.msg} in line {error.lineno}, column {error.colno}."
        ) from error


# ---- one object per line


def _lines(stream: ByteStream) -> Blocks:
    """Split on \\n alone: U+2028 and U+0085 occur inside the strings of real pools."""
    number = 0
    rest: list[bytes] = []
    while block := stream.read(BLOCK_BYTES):
        head, newline, tail = block.rpartition(b"\n")
        if not newline:
            rest.append(block)
            continue
        lines = b"".join((*rest, head)).split(b"\n")
        rest = [tail]
        yield _numbered(lines, number), stream.done()
        number += len(lines)
    yield _numbered([b"".join(rest)], number), stream.total


def _numbered(lines: list[bytes], before: int) -> list[Record]:
    """Return numbered lines without their ends; blank lines are no rows."""
    return [(n, line.removesuffix(b"\r")) for n, line in enumerate(lines, before + 1) if line.strip()]


# ---- elements of an array


def read_array(stream: ByteStream) -> Blocks:
    """Yield the elements of a JSON array, verbatim."""
    window = _Window(stream)
    records: list[Record] = []
    number = 0
    window.skip("[")
    while not window.skip("]"):
        if number and not window.skip(","):
            window.fail("a comma is missing between two elements" if window.peek() else "the array is not closed")
        number += 1
        records.append((number, window.value()))
        if window.passed + window.at > BLOCK_BYTES:
            window.passed = -window.at
            yield records, stream.done()
            records = []
    if window.peek():
        window.fail("more text follows the end of the array")
    yield records, stream.total


class _Window:
    """Decoded text of a stream from `at` on; more is read when a value does not end inside it.

    The standard decoder finds where an element ends; it is the only one that can start in the middle.
    """

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.text = ""
        self.at = 0
        self.line = 1  # of the file, at the beginning of `text`
        self.passed = 0  # characters dropped from `text` so far
        # Undecodable bytes survive as surrogates, so that only the rows holding them are set aside.
        self.utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.json = json.JSONDecoder(strict=False)

    def more(self, size: int = BLOCK) -> bool:
        data = self.stream.read(size)
        self.line += self.text.count("\n", 0, self.at)
        self.passed += self.at
        self.text = self.text[self.at :] + self.utf8.decode(data, final=not data)
        self.at = 0
        return bool(data)

    def peek(self) -> str:
        """Return the next character that is no white space; "" at the end of the file."""
        while True:
            space = _SPACE.match(self.text, self.at)
            self.at = space.end() if space else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def skip(self, char: str) -> bool:
        matches = self.peek() == char
        self.at += matches
        return matches

    def value(self) -> bytes:
        """Return the text of the next element."""
        self.peek()
        size = BLOCK
        while True:
            try:
                _, end = self.json.raw_decode(self.text, self.at)
                if end < len(self.text):  # else a number may continue in the next block
                    break
                reason = "the array is not closed"
            except json.JSONDecodeError as error:
                reason = error.msg if self.at < len(self.text) else "the array is not closed"
            except RecursionError:
                self.fail("values are nested too deeply")
            if not self.more(size):
                self.fail(reason)
            size *= 2  # so that a long element is scanned a few times only
        raw = self.text[self.at : end].encode("utf-8", "surrogateescape")
        self.at = end
        return raw

    def fail(self, reason: str) -> None:
        line = self.line + self.text.count("\n", 0, self.at)
        raise PoolError(
            f"{self.stream.name}, line {line}: not valid JSON from here on ({reason}). Mend it or download it again."
        )


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
        return Source(file, list_blocks(lists[key]), len(lists[key]), [f"The rows stand under '{key}' in one object."])
    if len(whole) < 2 or not all(isinstance(row, dict) for row in whole.values()):
        return None
    keys_are_ids = any(name in row for row in whole.values() for name in ("prompt", "instruction", "question"))
    name = "id" if keys_are_ids else "prompt"
    rows = [{name: key} | row for key, row in whole.items()]
    notice = f"The rows stand under keys in one object; each key is kept as '{name}'."
    return Source(file, list_blocks(rows), len(rows), [notice])


def _is_row(whole: dict[str, Any]) -> bool:
    try:
        fields = detect_schema([whole])
    except PoolError:
        return False
    return fields.schema != "prompts_only" or bool(fields.turns)


def _select_key(file: str, keys: list[str], split: str | None) -> str:
    if split is not None and split not in keys:
        raise PoolError(f"{file} holds no '{split}'. It holds {', '.join(keys)}.")
    if split is None and len(keys) > 1 and "train" not in keys:
        raise PoolError(f"{file} holds rows under {', '.join(keys)}. Name one of them as the split.")
    return split or ("train" if "train" in keys else keys[0])
