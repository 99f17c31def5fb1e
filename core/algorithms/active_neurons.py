"""Active neurons of each row of a pool: sparse and binary; arrays only.

Neurons are numbered layer by layer, from layer 0. core/models/activations.py decides which of them count as active.
"""

from collections.abc import Iterator
from dataclasses import InitVar, dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from core.errors import MethodError
from core.schema import IntArray

ABSENT = np.uint32(0xFFFFFFFF)  # in a table of fixed width: no active neuron at this place
CHUNK = 1 << 22  # neurons read at once


@dataclass(frozen=True, eq=False)
class ActiveNeurons:
    """Sorted lists of active neurons, one for each row, concatenated. `indices` may be memory-mapped."""

    indptr: IntArray  # (N + 1,) row i holds indices[indptr[i] : indptr[i + 1]]
    indices: NDArray[np.uint32]  # ascending inside a row, no repeats, below `neurons`
    neurons: int  # how many the model has, active or not
    check: InitVar[bool] = True  # False: checked when written; reads nothing of `indices`

    def __post_init__(self, check: bool) -> None:
        if check:
            self._check_indices()

    def _check_indices(self) -> None:
        ends = self.indptr
        if len(ends) == 0 or ends[0] != 0 or ends[-1] != len(self.indices) or (np.diff(ends) < 0).any():
            raise MethodError("Activation states are damaged: their rows do not fill the list. Measure them again.")
        for start in range(0, len(self.indices), CHUNK):
            active = np.asarray(self.indices[start : start + CHUNK + 1])  # one more: pairs across the cut
            falls = np.flatnonzero(active[1:] <= active[:-1]) + start + 1
            if active.max() >= self.neurons or not np.isin(falls, ends).all():
                raise MethodError(
                    "Activation states are damaged: the neurons of a row must be ascending numbers below "
                    f"{self.neurons:,}. Measure them again."
                )

    @classmethod
    def from_table(cls, table: NDArray[np.uint32], neurons: int) -> "ActiveNeurons":
        """Convert a table of fixed width (N, K), each row ascending; ABSENT, at the end of a row, is dropped."""
        present = table != ABSENT
        indptr = np.concatenate([[0], np.cumsum(present.sum(axis=1))]).astype(np.int64)
        return cls(indptr, table.ravel() if present.all() else table[present], neurons)

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def row(self, row: int) -> NDArray[np.uint32]:
        """Return the active neurons of this row, ascending."""
        return self.indices[self.indptr[row] : self.indptr[row + 1]]

    def take(self, rows: IntArray) -> "ActiveNeurons":
        """Return a copy of these rows, in this order."""
        ends = np.concatenate([[0], np.cumsum(np.diff(self.indptr)[rows])]).astype(np.int64)
        return ActiveNeurons(ends, gather_slices(self.indices, self.indptr, rows), self.neurons)

    def counts(self, rows: IntArray) -> IntArray:
        """Return (neurons,) the number of these rows in which each neuron is active."""
        total = np.zeros(self.neurons, np.int64)
        for chunk in self._chunks(rows):
            total += np.bincount(gather_slices(self.indices, self.indptr, chunk), minlength=self.neurons)
        return total

    def weighted_sums(self, weight: NDArray[np.float64], rows: IntArray) -> NDArray[np.float64]:
        """Return (R,) Σ weight (neurons,) over the active neurons of each of these rows."""
        sums: list[NDArray[Any]] = [np.zeros(0)]
        for chunk in self._chunks(rows):
            place = np.repeat(np.arange(len(chunk)), self.indptr[chunk + 1] - self.indptr[chunk])
            weights = weight[gather_slices(self.indices, self.indptr, chunk)]
            sums.append(np.bincount(place, weights, minlength=len(chunk)))
        return np.concatenate(sums)

    def _chunks(self, rows: IntArray) -> Iterator[IntArray]:
        """Split `rows` into runs of about CHUNK neurons."""
        size = max(1, CHUNK * len(self) // max(1, len(self.indices)))
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


def gather_slices(
    values: NDArray[Any], ends: IntArray, which: NDArray[Any], dtype: DTypeLike | None = None
) -> NDArray[Any]:
    """Concatenate values[ends[k] : ends[k + 1]] for each k of `which`; optionally cast to `dtype`."""
    pieces = [values[a:b] for a, b in zip(ends[which].tolist(), ends[which + 1].tolist(), strict=True)]
    return np.concatenate(pieces or [values[:0]], dtype=dtype, casting="unsafe")
