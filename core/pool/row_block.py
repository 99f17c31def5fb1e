"""Rows of one block, read a step at a time: what is done to all of them at once costs less than row by row."""

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import Any, TypeVar

import orjson

from core.pool.readers.records import Record, UnreadableRow, from_json
from core.pool.turns import UnusableRow

S = TypeVar("S")
T = TypeVar("T")
MAX_SET_ASIDE_CHARS = 400  # stored of the text of a skipped row


class RowBlock:
    """The rows of a block by position: {} with an empty text where a record is no usable row, for a reason."""

    def __init__(self, records: Sequence[Record]) -> None:
        """Parse the records."""
        self.lines = [line for line, _ in records]
        self.texts: list[Any] = [text for _, text in records]  # JSON, on one line
        self.reasons: dict[int, str] = {}  # by position, of the rows to skip
        self.changed: set[int] = set()  # positions of rows whose NaN or Infinity became null
        self._records = records
        self.rows: list[Any] = []
        self.rows += _map(orjson.loads, self.texts, self._parse_laxly)
        for position, row in enumerate(self.rows):
            if type(row) is not dict:
                self._skip(position, self.reasons.get(position, "not an object"))

    def read(self, read: Callable[[dict[str, Any]], T], otherwise: T) -> list[T]:
        """Return read(row) of each row. Where that raises, skip the row and return `otherwise`."""

        def skip(position: int, error: Exception) -> T:
            self._skip(position, str(error) if isinstance(error, UnusableRow) else "nested too deeply")
            return otherwise

        return _map(read, self.rows, skip)

    def usable(self, values: Iterable[T]) -> Iterable[T]:
        """Return these values of each row without those of the skipped ones."""
        if not self.reasons:
            return values
        return compress(values, (position not in self.reasons for position in range(len(self.rows))))

    def skipped(self) -> list[tuple[int, str, str]]:
        """Return line, reason and beginning of the skipped rows, in order."""
        return [
            (self.lines[position], reason, set_aside_text(self._records[position][1]))
            for position, reason in sorted(self.reasons.items())
        ]

    def _parse_laxly(self, position: int, error: Exception) -> Any:
        """Return what `from_json` reads of a row that is not JSON; None, with the reason, if that is nothing."""
        text = self.texts[position]
        if isinstance(text, UnreadableRow):
            self.reasons[position] = text.reason
            return None
        try:
            row, _ = from_json(text)
        except orjson.JSONDecodeError as invalid:
            self.reasons[position] = _why_not_json(text, invalid)
            return None
        self.texts[position] = orjson.dumps(row)
        self.changed.add(position)
        return row

    def _skip(self, position: int, reason: str) -> None:
        """Skip a row, unless there was a reason to before."""
        self.reasons.setdefault(position, reason)
        self.rows[position], self.texts[position] = {}, b""


def _map(function: Callable[[S], T], values: Sequence[S], instead: Callable[[int, Exception], T]) -> list[T]:
    """Return function(value) of each value; where that finds a row not to be usable, instead(position, error)."""
    results: list[T] = []
    remaining = map(function, values)
    while len(results) < len(values):
        try:
            results.extend(remaining)
        except (UnusableRow, orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
            results.append(instead(len(results), error))  # and on with the next value
    return results


def set_aside_text(raw: bytes | UnreadableRow) -> str:
    """Return the stored text of a skipped row: its first MAX_SET_ASIDE_CHARS characters."""
    if isinstance(raw, UnreadableRow):
        return raw.text[:MAX_SET_ASIDE_CHARS]
    # a character has at most 4 bytes
    return raw[: 4 * MAX_SET_ASIDE_CHARS].decode("utf-8", "replace")[:MAX_SET_ASIDE_CHARS]


def _why_not_json(raw: bytes, error: orjson.JSONDecodeError) -> str:
    """Return a reason in few words, the same for all rows with the same fault."""
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError:
        return "not UTF-8"
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (json.JSONDecodeError, RecursionError):
        return f"not JSON: {error.msg}"
    return "more than one JSON value on the line" if text[end:] else f"not JSON: {error.msg}"
