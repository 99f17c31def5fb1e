"""Rows from a JSON array: its elements, verbatim.

Elements are found by their brackets and quotes alone, over whole blocks at once, so one of any length passes through
bounded memory. Each is then checked to be JSON, because after invalid JSON the ends of elements are not certain.
"""

import json
from contextlib import suppress

import numpy as np
import orjson
from numpy.typing import NDArray

from core.errors import PoolError
from core.pool.readers.bytestream import ByteStream
from core.pool.readers.lines import LongRow, RowCollector
from core.pool.readers.records import BLOCK_BYTES, Block, Blocks, Record, UnreadableRow
from core.schema import BoolArray, IntArray

SPACE = b" \t\r\n"
QUOTE, COMMA, BACKSLASH = b'",\\'
_STEPS = np.zeros(256, np.int64)  # change of depth at a byte
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1
_STRUCTURE = bytes(byte in b'"[]{},' for byte in range(256))


def read_array(stream: ByteStream) -> Blocks:
    """Yield the elements of a JSON array, numbered from 1. Raise PoolError with the line if it is not valid JSON."""
    elements, cutter = _Elements(stream), _Cutter()
    block = elements.open(stream.read(len(stream.head())))
    while block:
        text, ends = cutter.cut(block)
        start = 0
        for end in ends:
            elements.add(text[start:end], text[end : end + 1])
            start = end + 1
        if cutter.closed:
            elements.check_end(text[start:])
            break
        elements.add(text[start:])
        yield Block(elements.take(), stream.done())
        block = stream.read(BLOCK_BYTES)
    else:
        elements.fail("the array is not closed")
    while block := stream.read(BLOCK_BYTES):
        elements.check_end(block)
    yield Block(elements.take(), stream.total)


class _Cutter:
    """Finder of the ends of elements: commas outside all brackets but the array's, and the end of the array."""

    def __init__(self) -> None:
        self.closed = False
        self._depth = 1
        self._in_string = False
        self._held = b""  # a backslash at the end of a block, which decides about the next byte

    def cut(self, block: bytes) -> tuple[bytes, list[int]]:
        """Return text to read, and the positions in it at which an element ends."""
        text = self._held + block
        self._held = b"\\" * ((len(text) - len(text.rstrip(b"\\"))) % 2)
        text = text.removesuffix(self._held)
        places, kinds = self._outside_strings(text)
        depths = self._depth + np.cumsum(_STEPS[kinds])
        self._depth = int(depths[-1]) if len(depths) else self._depth
        ends = places[((kinds == COMMA) & (depths == 1)) | (depths == 0)]
        closing = places[depths == 0]
        if len(closing):
            self.closed = True
            ends = ends[ends <= closing[0]]
        return text, ends.tolist()

    def _outside_strings(self, text: bytes) -> tuple[IntArray, NDArray[np.uint8]]:
        """Return positions and values of the brackets and commas that are in no string."""
        places = np.flatnonzero(np.frombuffer(text.translate(_STRUCTURE), np.bool_))
        kinds = np.frombuffer(text, np.uint8)[places]
        is_quote = kinds == QUOTE
        quotes = places[is_quote]
        is_quote[is_quote] = ~_escaped(text, quotes)
        inside = np.logical_xor.accumulate(is_quote) ^ self._in_string
        self._in_string = bool(inside[-1]) if len(inside) else self._in_string
        outside = (kinds != QUOTE) & ~inside
        return places[outside], kinds[outside]


def _escaped(text: bytes, quotes: IntArray) -> BoolArray:
    """Return for quotes at these positions whether an odd number of backslashes precedes them."""
    values = np.frombuffer(text, np.uint8)
    before = values[quotes - 1] == BACKSLASH
    if (values[quotes[before] - 2] == BACKSLASH).any():
        values = np.frombuffer(text.replace(b"\\\\", b"__"), np.uint8)
        before = values[quotes - 1] == BACKSLASH
    escaped: BoolArray = before & (quotes > 0)
    return escaped


class _Elements:
    """The elements of an array, collected from pieces, checked and counted."""

    def __init__(self, stream: ByteStream) -> None:
        self.name = stream.name
        self.records: list[Record] = []
        self.count = 0
        self._row = RowCollector()
        self._start = self._line = stream.line + 1  # lines at which the current element and the next piece begin

    def open(self, text: bytes) -> bytes:
        """Return what follows the opening bracket."""
        before, _, rest = text.partition(b"[")
        self._line += before.count(b"\n")
        return rest

    def add(self, piece: bytes, ends_with: bytes = b"") -> None:
        """Add a piece of the current element; `ends_with`: the byte after its last."""
        if not self._row.size:
            blank = len(piece) - len(piece.lstrip(SPACE))
            self._start = self._line = self._line + piece.count(b"\n", 0, blank)
            piece = piece[blank:]
        self._row.add(piece)
        self._line += piece.count(b"\n")
        if ends_with:
            self._finish(ends_with)

    def _finish(self, closing: bytes) -> None:
        raw = self._row.take()
        if closing == b"]" and not raw and not self.count:
            return
        if closing == b"}":
            self.fail("the array is not closed")
        self.count += 1
        record: bytes | UnreadableRow
        if isinstance(raw, LongRow):
            record = raw.set_aside(f"element {self.count:,}")
        else:
            record = self._checked(raw.rstrip(SPACE))
        self.records.append((self.count, record))

    def _checked(self, text: bytes) -> bytes:
        """Return an element, on one line where it is JSON and can be written again.

        Raise PoolError if it is not JSON, NaN and undecodable bytes aside, which spoil a single row.
        """
        try:
            element = orjson.loads(text)
        except orjson.JSONDecodeError:
            self._check_leniently(text.decode("utf-8", "surrogateescape"))
            return text
        with suppress(orjson.JSONEncodeError):  # nested too deeply
            return orjson.dumps(element) if b"\n" in text else text
        return text

    def _check_leniently(self, text: str) -> None:
        try:
            _, end = json.JSONDecoder(strict=False).raw_decode(text)
        except json.JSONDecodeError as error:
            self.fail(error.msg)
        except RecursionError:
            self.fail("values are nested too deeply")
        else:
            rest = text[end:].lstrip()
            if rest:
                self._start += text.count("\n", 0, len(text) - len(rest))
                self.fail("a comma is missing between two elements")

    def check_end(self, text: bytes) -> None:
        """Check what follows the array: nothing but white space."""
        rest = text.lstrip(SPACE)
        self._line += text.count(b"\n", 0, len(text) - len(rest))
        if rest:
            self._start = self._line
            self.fail("more text follows the end of the array")

    def take(self) -> list[Record]:
        """Return the elements since the last call."""
        records, self.records = self.records, []
        return records

    def fail(self, reason: str) -> None:
        """Raise PoolError for the current element."""
        raise PoolError(
            f"{self.name}, line {self._start:,}: not valid JSON from here on ({reason}). Correct it or "
            "download it again."
        )
