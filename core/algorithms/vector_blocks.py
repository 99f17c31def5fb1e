"""Vectors that are read block by block, because all of them together do not fit in memory. Arrays only.

What is computed from them depends on the vectors alone: not on the order, the number or the size of the blocks.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from core.schema import FloatArray, IntArray

MAX_SAMPLE_ROWS = 1 << 20  # rows that k-means is fitted to
MAX_SAMPLE_NUMBERS = 1 << 28  # and numbers in them: 1 GiB, such as 131,072 vectors of 2,048

Block = tuple[IntArray, NDArray[np.floating]]  # (n,) row numbers and (n, d) their vectors


@dataclass(frozen=True, eq=False)
class VectorBlocks:
    """Vectors of N rows, of any float type; a row in no block, or with a NaN in its vector, has none."""

    n: int  # N
    read: Callable[[], Iterable[Block]]  # reads all blocks again; each row is in one at most

    @classmethod
    def of(cls, vectors: NDArray[np.floating], size: int = 1 << 14) -> "VectorBlocks":
        """Split (N, d) vectors into blocks of `size` rows."""
        rows = np.arange(len(vectors))
        starts = range(0, len(rows), size)
        return cls(len(rows), lambda: ((rows[k : k + size], vectors[k : k + size]) for k in starts))

    @cached_property
    def width(self) -> int:
        """The length d of a vector; 0 without blocks."""
        return next((vectors.shape[1] for _, vectors in self.read()), 0)

    def sample(self, *, seed: int) -> tuple[IntArray, FloatArray]:
        """Return a seeded sample of the rows that have a vector, ascending, and their vectors (S, d).

        These are all such rows if `sample_size` allows.
        """
        size = sample_size(self.n, self.width)
        if size == self.n:
            rows = np.arange(self.n)
        elif len(rows := self._present()) > size:
            rows = np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))
        vectors = self.take(rows)
        present = has_vector(vectors)
        return (rows, vectors) if present.all() else (rows[present], vectors[present])

    def take(self, rows: IntArray) -> FloatArray:
        """Return the vectors of these rows, (R, d); NaN for a row in no block."""
        place = np.full(self.n, -1, np.int64)
        place[rows] = np.arange(len(rows))
        out = np.full((len(rows), self.width), np.nan, np.float32)
        for block_rows, vectors in self.read():
            places = place[block_rows]
            out[places[places >= 0]] = vectors[places >= 0]
        return out

    def batches(self, size: int) -> Iterator[tuple[IntArray, FloatArray]]:
        """Yield the rows that have a vector, `size` at a time, and (size, d) vectors; zeros fill up the last batch.

        The next batch overwrites the vectors. All batches have the same shape, so that a matrix product with them gives
        a row the same numbers whatever batch it is in.
        """
        batch, rows, filled = np.zeros((size, self.width), np.float32), np.empty(size, np.int64), 0
        for block_rows, vectors in self.read():
            left = np.flatnonzero(has_vector(vectors))
            while len(left):
                some, left = np.split(left, [size - filled])
                end = filled + len(some)
                rows[filled:end], batch[filled:end] = block_rows[some], vectors[some]
                filled = end % size
                if not filled:
                    yield rows, batch
        if filled:
            batch[filled:] = 0
            yield rows[:filled], batch

    def _present(self) -> IntArray:
        """Return the rows that have a vector, ascending."""
        present = np.zeros(self.n, np.bool_)
        for rows, vectors in self.read():
            present[rows] = has_vector(vectors)
        return np.flatnonzero(present)


def sample_size(n: int, width: int) -> int:
    """Return how many of n rows with vectors of this width k-means is fitted to: all if they fit in a sample."""
    return min(n, MAX_SAMPLE_ROWS, MAX_SAMPLE_NUMBERS // max(1, width))


def has_vector(vectors: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return (n,) whether each row has a vector: one without NaN."""
    return np.asarray(np.isfinite(vectors).all(axis=1))
