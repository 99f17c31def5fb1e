"""Rows from CSV and TSV, read strictly: every cell is text, and a quote that may have swallowed rows is named.

A quoted cell may hold separators, line ends and doubled quotes; after its closing quote only a separator or the end of
the row may follow. A quote inside a cell without quotes is read as it is.
"""

import csv
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import orjson

from core.errors import PoolError
from core.pool.readers.bytestream import ByteStream
from core.pool.readers.limits import max_row_bytes
from core.pool.readers.lines import SHOWN, LongRow, iter_lines
from core.pool.readers.records import BLOCK_ROWS, Block, Blocks, Record, Source, UnreadableRow
from core.schema import FieldMap

SEPARATORS = ",;\t"
_QUOTED = re.compile(r'"[^"]*"')
MIN_INNER_LINES = 3  # of a cell, as wide as rows, from which on it may have swallowed rows
MAX_NAME_CHARS, MAX_NAME_WORDS = 60, 5  # of a column; more is data
_NO_NAME = re.compile(r"\s*[+-]?\d[\d.,]*\s*|.*[.?!\n]\s*", re.DOTALL)  # a number, a sentence, several lines


def read_csv(stream: ByteStream, *, header: bool = True) -> Source:
    """Read the rows of a CSV file; without a header, columns are called 1, 2, 3.

    Raise PoolError with the line for a quote that is never closed, and for a header that cannot be used.
    """
    return _Table(stream, header=header).source()


class _LongRecord(Exception):
    """A record is over the limit; all its lines have been read."""


class _Lines:
    """The lines that csv.reader asks for, in bounded memory, with facts about the record that they belong to."""

    def __init__(self, stream: ByteStream) -> None:
        self.number = stream.line  # of the last line given
        self.ended = False
        self.separator, self.separators = b",", 0  # of cells, and how many of them a row has
        self._lines = chain.from_iterable(iter_lines(stream))
        self._limit = max_row_bytes()
        self._forget_inner()
        self.begin()

    def begin(self) -> None:
        """Begin a record with the next line."""
        self._line: bytes | LongRow | None = None  # its first
        if self.inner:
            self._forget_inner()

    def _forget_inner(self) -> None:
        self.inner = self.wide = 0  # further lines of the record, and those of them that are as wide as a row
        self.size = self.inner_quotes = 0  # bytes and quotes in them

    def texts(self) -> Iterator[str]:
        """Yield lines with their ends. Raise _LongRecord at the end of a record over the limit; then begin again."""
        for line in self._lines:
            self.number += 1
            if self._line is None:
                self._line = line
            else:
                self._add(line)
            if isinstance(line, LongRow) or self.size > self._limit:
                self._skip()
                raise _LongRecord
            yield line.decode("utf-8", "surrogateescape") + "\n"
        self.ended = True

    def _add(self, line: bytes | LongRow) -> None:
        """Count a further line of the record."""
        self.inner += 1
        if isinstance(line, LongRow):
            self.size += line.size
            self.inner_quotes += line.quotes
        else:
            self.size += len(line) + 1
            self.inner_quotes += line.count(b'"')
            self.wide += line.count(self.separator) == self.separators

    def _skip(self) -> None:
        """Read the rest of a record."""
        while self.quotes % 2:
            line = next(self._lines, None)
            if line is None:
                self.ended = True
                return
            self.number += 1
            self._add(line)

    @property
    def quotes(self) -> int:
        """Return how many quotes the record has."""
        line = self._line or b""
        return self.inner_quotes + (line.quotes if isinstance(line, LongRow) else line.count(b'"'))

    @property
    def bytes(self) -> int:
        """Return the size of the record."""
        line = self._line or b""
        return self.size + (line.size if isinstance(line, LongRow) else len(line))

    @property
    def first(self) -> int:
        """Return the number of the record's first line."""
        return self.number - self.inner

    @property
    def beginning(self) -> str:
        """Return how the record begins."""
        line = self._line or b""
        return line.text if isinstance(line, LongRow) else line[:SHOWN].decode("utf-8", "replace")

    @property
    def span(self) -> str:
        """Return the place of the record: "line 3" or "lines 3 to 5"."""
        return f"lines {self.first:,} to {self.number:,}" if self.inner else f"line {self.first:,}"


class _Table:
    """Reader of one CSV file."""

    def __init__(self, stream: ByteStream, *, header: bool) -> None:
        csv.field_size_limit(2**31 - 1)  # the default refuses a cell of over 131,072 characters
        self.stream, self.header = stream, header
        self.lines = _Lines(stream)
        self.separator = _find_separator(stream, header=header)
        self.lines.separator = self.separator.encode()
        self.records = self._read()
        self.lone_quotes: list[int] = []  # lines
        self.swallowed: list[str] = []  # places
        self.notices: list[str] = []

    def source(self) -> Source:
        """Return the rows, after reading the header."""
        first = self._first_cells()
        self.names = first if self.header else [str(number) for number in range(1, len(first) + 1)]
        if len(set(self.names)) < len(first) and not _looks_like_data(first):
            raise PoolError(
                f"{self.stream.name}: the header repeats a column name ({', '.join(first)}). Rename one of them."
            )
        self.lines.separators = len(first) - 1
        blocks = self._blocks([] if self.header else [(self.lines.first, self._row(first))])
        if self.header:
            return Source(self.stream.name, blocks, self.stream.total, self.notices, unknown=_unknown(first))
        return Source(self.stream.name, blocks, self.stream.total, self.notices, fields=_unnamed_fields(self.names))

    def _first_cells(self) -> list[str]:
        for cells in self.records:
            if isinstance(cells, UnreadableRow):
                where = f"{self.stream.name}, line {self.lines.first}"
                raise PoolError(f"{where}: the first row cannot be read ({cells.reason}). Correct it.")
            if any(cell.strip() for cell in cells):
                return cells
        raise PoolError(f"{self.stream.name}: it holds no rows.")

    def _blocks(self, records: list[Record]) -> Blocks:
        lines = self.lines
        for cells in self.records:
            if cells:
                row = cells if isinstance(cells, UnreadableRow) else self._row(cells)
                records.append((lines.number - lines.inner, row))
            if len(records) >= BLOCK_ROWS:
                yield Block(records, self.stream.done())
                records = []
        self._report()
        yield Block(records, self.stream.total)

    def _read(self) -> Iterator[list[str] | UnreadableRow]:
        """Yield the cells of each record, or the reason why it has none. `lines` has the facts about it meanwhile."""
        while not self.lines.ended:
            reader = csv.reader(self.lines.texts(), delimiter=self.separator, strict=True)
            try:
                for cells in reader:
                    yield cells
                    self.lines.begin()
            except (csv.Error, _LongRecord) as error:
                unreadable = self._explain(error)
            else:
                return
            yield unreadable
            self.lines.begin()

    def _explain(self, error: Exception) -> UnreadableRow:
        """Return the record for a row that is not valid CSV. Raise PoolError if it takes the rest of the file."""
        if self.lines.ended:
            raise PoolError(
                f"{self.stream.name}, line {self.lines.first}: a quote is opened in this row and never closed. "
                "Close it, or double it if it is part of the text."
            ) from error
        if isinstance(error, _LongRecord):
            return LongRow(self.lines.bytes, 0, self.lines.beginning).set_aside(self.lines.span)
        strayed = "expected after" in str(error)
        return self._unreadable("text follows a closing quote" if strayed else f"not valid CSV ({error})")

    def _row(self, cells: list[str]) -> bytes | UnreadableRow:
        """Return the JSON text of a record, or the reason why it is no row."""
        lines = self.lines
        if len(cells) != len(self.names):
            than = "the header" if self.header else "the first row"
            return self._unreadable(f"{'more' if len(cells) > len(self.names) else 'fewer'} cells than {than}")
        try:
            text = orjson.dumps(dict(zip(self.names, cells, strict=False)))
        except orjson.JSONEncodeError:  # a surrogate: bytes that were not UTF-8
            return self._unreadable("not UTF-8")
        if b'\\"' in text and lines.quotes % 2:
            if lines.inner:
                return self._unreadable("a quote is unmatched")
            self.lone_quotes.append(lines.first)
        if lines.inner and lines.wide >= MIN_INNER_LINES and lines.wide >= 0.9 * lines.inner and len(self.names) > 1:
            self.swallowed.append(lines.span)
        return text

    def _unreadable(self, reason: str) -> UnreadableRow:
        read_as_one = f" ({self.lines.span} are read as one row)" if self.lines.inner else ""
        return UnreadableRow(reason + read_as_one, self.lines.beginning)

    def _report(self) -> None:
        """Add sentences on quotes that were read as they are."""
        if self.lone_quotes:
            rows = f"{len(self.lone_quotes):,} rows" if len(self.lone_quotes) > 1 else "1 row"
            self.notices.append(
                f"Unmatched quote in {rows}, first in line {self.lone_quotes[0]:,}. It is read as text."
            )
        if self.swallowed:
            more = f" (and {len(self.swallowed) - 1:,} more such rows)" if len(self.swallowed) > 1 else ""
            self.notices.append(
                f"{self.swallowed[0].capitalize()} are read as one row but look like several{more}. Check for a "
                "missing quote."
            )


def _find_separator(stream: ByteStream, *, header: bool) -> str:
    """Return the most frequent separator in the first line; a tab in any .tsv that has one."""
    line = next(line for line in stream.head().split(b"\n") if line.strip()).decode("utf-8", "replace")
    if Path(stream.name.lower().removesuffix(".gz")).suffix == ".tsv" and "\t" in line:
        return "\t"
    return max(SEPARATORS, key=(line if header else _QUOTED.sub("", line)).count)


def _looks_like_data(cells: list[str]) -> bool:
    """Return whether the first row of a table holds values rather than names."""
    return any(
        len(cell) > MAX_NAME_CHARS or len(cell.split()) > MAX_NAME_WORDS or _NO_NAME.fullmatch(cell) for cell in cells
    )


def _unknown(header: list[str]) -> str:
    """Return what to say of a table whose columns are none that are known."""
    if _looks_like_data(header):
        return (
            "its first row looks like data, so it may have no header. Open it with --no-header (on the Pool page: "
            "No header); the columns are then named 1, 2, 3."
        )
    return (
        f"no column is a known prompt field: found {', '.join(header)}. Map the fields with --fields or, if the "
        "first row is data, open it with --no-header (on the Pool page: No header)."
    )


def _unnamed_fields(names: list[str]) -> FieldMap:
    """Return the mapping of columns without names: the first is the prompt, the second the response."""
    if len(names) == 1:
        return FieldMap("prompts_only", ("1",))
    return FieldMap("custom", ("1",), "2")
