"""The bytes of a file: decompressed, without a byte order mark, and with lookahead.

Every failure to read is a PoolError that names the file.
"""

import gzip
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import PoolError

BOM = b"\xef\xbb\xbf"
BLOCK = 1 << 20


class ByteStream:
    """Reader of a plain or gzip file in blocks, for use in a `with` block; `head` looks ahead."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self._head = b""
        try:
            self.total = path.stat().st_size
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise PoolError(f"{path}: cannot be read ({error.strerror}).") from error
        self.gzip = self._file.peek(2)[:2] == b"\x1f\x8b"  # type: ignore[attr-defined]
        self._bytes: Any = gzip.GzipFile(fileobj=self._file) if self.gzip else self._file

    def __enter__(self) -> "ByteStream":
        try:
            self._head = self.read(BLOCK).removeprefix(BOM)
        except PoolError:
            self._file.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def read(self, size: int = BLOCK) -> bytes:
        """Return the next `size` bytes or fewer; b"" only at the end. A negative size reads all."""
        if self._head and size >= 0:
            data, self._head = self._head[:size], self._head[size:]
            return data
        data, self._head = self._head, b""
        try:
            return data + bytes(self._bytes.read(size))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise PoolError(
                f"{self.name} is damaged or cut short and cannot be unpacked ({error}). Download it again."
            ) from error
        except OSError as error:
            raise PoolError(f"{self.path}: cannot be read ({error.strerror or error}).") from error

    def head(self, size: int = BLOCK) -> bytes:
        """Return the next bytes without consuming them: at least `size`, unless the file ends before."""
        data = self._head
        while len(data) < size:
            self._head = b""
            more = self.read(BLOCK)
            if not more:
                break
            data += more
        self._head = data
        return data

    def done(self) -> int:
        """Return how many bytes of the file were consumed, out of `total`."""
        return min(self._file.tell(), self.total)
