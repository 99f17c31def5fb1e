"""Rows collected from the blocks of a stream. A row over the limit is dropped while it is read; its size is counted."""

from collections.abc import Iterator
from typing import NamedTuple

from core.pool.readers.bytestream import BLOCK, ByteStream
from core.pool.readers.limits import format_megabytes, max_row_bytes
from core.pool.readers.records import UnreadableRow

SHOWN = 1600  # bytes kept of a row that is too long


class LongRow(NamedTuple):
    """A row over the limit."""

    size: int  # bytes
    quotes: int  # double quotes in it
    text: str  # its beginning

    def set_aside(self, where: str) -> UnreadableRow:
        """Return the record of the row; `where` names its place, such as "line 3"."""
        limit = format_megabytes(max_row_bytes())
        reason = f"{format_megabytes(self.size)} in {where}; a row may have {limit} (WINNOW_MAX_ROW_MB)"
        return UnreadableRow(reason, self.text)


class RowCollector:
    """Collector of the pieces of one row at a time, in bounded memory."""

    def __init__(self) -> None:
        self.limit = max_row_bytes()
        self.size = 0
        self._quotes = 0
        self._pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        """Add the next piece of the row."""
        was_long = self.size > self.limit
        self.size += len(piece)
        if self.size <= self.limit:
            self._pieces.append(piece)
            return
        if not was_long:
            self._quotes = sum(held.count(b'"') for held in self._pieces)
            self._pieces = [b"".join([*(held[:SHOWN] for held in self._pieces), piece[:SHOWN]])[:SHOWN]]
        self._quotes += piece.count(b'"')

    def take(self) -> bytes | LongRow:
        """Return the row, and begin the next."""
        text, size, quotes = b"".join(self._pieces), self.size, self._quotes
        self.size = self._quotes = 0
        self._pieces = []
        return text if size <= self.limit else LongRow(size, quotes, text.decode("utf-8", "replace"))


def iter_lines(stream: ByteStream, size: int = BLOCK) -> Iterator[list[bytes | LongRow]]:
    """Yield the lines that end in each block of about `size` bytes, without their ends.

    Lines end at \\n alone: U+2028 and U+0085 occur inside the strings of real pools.
    """
    row = RowCollector()
    while block := stream.read(size):
        first, *others = block.split(b"\n")
        row.add(first)
        if others:
            *complete, rest = others
            yield [row.take(), *complete]
            row.add(rest)
        else:
            yield []  # for progress within a long line
    if row.size:
        yield [row.take()]
