"""The bytes of a file: unpacked within limits, without a byte order mark, and with lookahead.

Every failure to read is a PoolError that names the file.
"""

import gzip
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import PoolError
from core.pool.readers.limits import GB, MB, max_unpacked_bytes

BOM = b"\xef\xbb\xbf"
BLOCK = 1 << 20


class ByteStream:
    """Reader of a plain or gzip file in blocks, for use in a `with` block; `head` looks ahead."""

    def __init__(self, path: Path, room: int | None = None, name: str = "") -> None:
        """Open the file. `room`: free bytes where its rows are stored, None = not bounded; `name`: what errors name."""
        self.path = path
        self.name = name or path.name
        self.line = 0  # blank lines dropped by `skip_blank`
        self._ahead, self._at = b"", 0  # bytes read ahead, and how many of them are consumed
        with ExitStack() as opened:  # closes the file if its first bytes cannot be read
            try:
                self.total = path.stat().st_size
                self._file: BinaryIO = opened.enter_context(path.open("rb"))
                self.gzip = self._file.peek(2)[:2] == b"\x1f\x8b"  # type: ignore[attr-defined]
            except OSError as error:
                raise PoolError(f"{path}: cannot be read ({error.strerror}).") from error
            opened.pop_all()
        self._bytes: Any = gzip.GzipFile(fileobj=self._file) if self.gzip else self._file
        self._unpacked, self._room = 0, room

    def __enter__(self) -> "ByteStream":
        try:
            self._ahead = self._fetch(BLOCK).removeprefix(BOM)
        except PoolError:
            self._file.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def read(self, size: int = BLOCK) -> bytes:
        """Return the next `size` bytes or fewer; b"" only at the end."""
        if self._at < len(self._ahead):
            data = self._ahead[self._at : self._at + size]
            self._at += len(data)
            return data
        self._ahead, self._at = b"", 0
        return self._fetch(size)

    def _fetch(self, size: int) -> bytes:
        try:
            data = bytes(self._bytes.read(size))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise PoolError(
                f"{self.name} is damaged or incomplete and cannot be unpacked ({error}). Download it again."
            ) from error
        except OSError as error:
            raise PoolError(f"{self.path}: cannot be read ({error.strerror or error}).") from error
        self._unpacked += len(data)
        if self.gzip:
            self._check_unpacked()
        return data

    def _check_unpacked(self) -> None:
        """Raise PoolError if more was unpacked than the limits allow."""
        if self._room is not None and self._unpacked > self._room:
            raise PoolError(
                f"{self.name} unpacks to over {self._room / GB:,.2f} GB, and the workspace's disk has no more "
                "free. Free some space."
            )
        limit = max_unpacked_bytes(self.total)
        if self._unpacked > limit:
            raise PoolError(
                f"{self.name}, of {self.total / MB:,.3g} MB, unpacks to over {limit / GB:,.3g} GB. If that is "
                "correct, unpack it first, or set WINNOW_MAX_UNPACKED_GB."
            )

    def head(self, size: int = BLOCK) -> bytes:
        """Return the next bytes without consuming them: at least `size`, unless the file ends before."""
        blocks = [self._ahead[self._at :]]
        length = len(blocks[0])
        while length < size and (more := self._fetch(BLOCK)):
            blocks.append(more)
            length += len(more)
        self._ahead, self._at = b"".join(blocks), 0
        return self._ahead

    def skip_blank(self) -> None:
        """Consume blank lines at the beginning, a block at a time; `line` counts them."""
        while (head := self.head()) and head.isspace():
            self.line += head.count(b"\n")
            self._at = len(head)

    def done(self) -> int:
        """Return how many bytes of the file were consumed, out of `total`."""
        return min(self._file.tell(), self.total)
