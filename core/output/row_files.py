"""Files of rows: JSON lines, or Parquet where the name ends so. Each is whole or absent.

An export's other files are named after it: `chosen.jsonl` -> `chosen.manifest.json`.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from numpy.typing import NDArray

from core.output.parquet_rows import score_arrays, write_parquet
from core.schema import IntArray, Pool
from core.workspace.files import atomic_path, file_digest

PARQUET = ".parquet"
SCORES_FIELD = "winnow"  # the one field, or the first part of the columns, that an export with scores or tags adds

Scores = Mapping[str, NDArray[Any]]


class LinesFile:
    """A file of lines that counts its lines and computes its checksum."""

    filled = 0  # rows with added nulls

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.count = 0

    def write_rows(self, rows: IntArray, source: "RowSource") -> None:
        """Write these rows (ascending)."""
        self.write(source.lines(rows, source.scores))

    def write(self, lines: Iterable[bytes]) -> None:
        """Write lines, given without their ends."""
        for line in lines:
            self._digest.update(line + b"\n")
            self._file.write(line + b"\n")
            self.count += 1

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of what was written."""
        return self._digest.hexdigest()


class TableFile:
    """A Parquet file of rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = self.filled = 0

    def write_rows(self, rows: IntArray, source: "RowSource") -> None:
        """Write these rows (ascending), once: the file is theirs."""
        scores = score_arrays(source.scores or {}, rows, f"{SCORES_FIELD}.")
        lines = partial(source.lines, rows, None)
        self.filled = write_parquet(self._path, lines, rows, source.pool, scores)
        self.count = len(rows)

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of the file."""
        return file_digest(self._path)


class RowSource(NamedTuple):
    """The rows of a pool as JSON lines, and their scores."""

    pool: Pool
    lines: Callable[[IntArray, Scores | None], Iterator[bytes]]
    scores: Scores | None


@contextmanager
def open_lines(path: Path) -> Iterator[LinesFile]:
    """Open a file of lines."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        yield LinesFile(file)


@contextmanager
def open_rows(path: Path) -> Iterator[LinesFile | TableFile]:
    """Open a file of rows, in the format that its ending names."""
    if not is_parquet(path):
        with open_lines(path) as lines:
            yield lines
        return
    with atomic_path(path) as temporary:
        yield TableFile(temporary)


def is_parquet(path: Path) -> bool:
    """Return whether a file of rows is Parquet by its ending; every other is JSON lines."""
    return path.suffix == PARQUET


def sibling_path(out: Path, suffix: str) -> Path:
    """Return the path of a companion file: `chosen.jsonl` -> `chosen.manifest.json` and similar.

    One of rows, with a suffix that ends in .jsonl, has the format of `out`.
    """
    if is_parquet(out) and suffix.endswith(".jsonl"):
        suffix = suffix.removesuffix(".jsonl") + PARQUET
    return out.with_name(rows_stem(out.name) + suffix)


def rows_stem(name: str) -> str:
    """Return the name of a file of rows without the ending of its format."""
    return name.removesuffix(".jsonl").removesuffix(PARQUET)
