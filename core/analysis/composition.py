"""Composition of a subset: counts by task and length, compared with the pool and with random selections.

Tasks are codes (N,) into a list of names, -1 = no task, so that a move of a slider costs only the counting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.schema import BoolArray, FloatArray, IntArray

LENGTH_EDGES = (0, 1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)  # tokens; the last bin has no upper end
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
RANDOM_SELECTIONS = 39  # random selections that a selection is compared with: 38 of 40 are 95%
MAX_RANDOM_ROWS = 4_000_000  # of all random selections: at most 32 MB in memory; fewer for pools above 100,000 rows


@dataclass(frozen=True, eq=False)
class Composition:
    """Counts over a set of rows."""

    rows: int
    response_tokens: int
    prompt_tokens: int
    tasks: IntArray  # (T,) rows per task
    lengths: IntArray  # (B,) rows per bin of response length; bin b starts at LENGTH_EDGES[b] tokens
    quantiles: FloatArray  # (5,) response tokens at QUANTILES, of the lower row between two; NaN for no rows
    marked: Mapping[str, int] = field(default_factory=dict)  # rows per mark, for example per kind of planted fault


@dataclass(frozen=True, eq=False)
class PoolColumns:
    """The columns of a pool that subsets are counted by."""

    response_tokens: IntArray  # (N,)
    prompt_tokens: IntArray  # (N,)
    task_codes: IntArray  # (N,) -1: no task
    n_tasks: int
    marks: Mapping[str, BoolArray] = field(default_factory=dict)  # (N,) masks of rows to count separately, by name

    def count(self, rows: IntArray) -> Composition:
        """Count `rows` (K,). Linear in K, about 15 ms per million."""
        tokens, codes = self.response_tokens[rows], self.task_codes[rows]
        counts = np.bincount(tokens)  # (longest + 1,) rows per exact length, for both histogram and quantiles
        return Composition(
            rows=len(rows),
            response_tokens=int(tokens.sum()),
            prompt_tokens=int(self.prompt_tokens[rows].sum()),
            tasks=np.bincount(codes[codes >= 0], minlength=self.n_tasks),
            lengths=_count_by_bin(counts),
            quantiles=_quantiles(counts, len(rows)),
            marked={name: int(mask[rows].sum()) for name, mask in self.marks.items()},
        )

    def count_random(self, orders: Sequence[IntArray], size: int) -> "RandomBand":
        """Count the first `size` rows of each random order."""
        counted = [self.count(order[:size]) for order in orders]
        names = ("rows", "response_tokens", "prompt_tokens", "tasks", "lengths")
        return RandomBand(
            **{name: np.array([getattr(each, name) for each in counted]) for name in names},
            marked={name: np.array([each.marked[name] for each in counted]) for name in self.marks},
        )


def _count_by_bin(counts: IntArray) -> IntArray:
    """Return (B,) rows per length bin from rows per exact length."""
    shorter = np.concatenate([[0], np.cumsum(counts)])  # shorter[t] = rows shorter than t tokens
    starts = shorter[np.minimum(LENGTH_EDGES, len(counts))]
    return np.diff(np.append(starts, shorter[-1]))


def _quantiles(counts: IntArray, n: int) -> FloatArray:
    if n == 0:
        return np.full(len(QUANTILES), np.nan, np.float32)
    positions = np.floor(np.asarray(QUANTILES) * (n - 1)) + 1  # the k-th shortest row
    return np.asarray(np.searchsorted(np.cumsum(counts), positions), np.float32)


def draw_random_orders(rows: IntArray, n: int) -> tuple[IntArray, ...]:
    """Return random orders of `rows` (M,), which depend on nothing but the rows: a prefix is a random selection.

    There are RANDOM_SELECTIONS of them, fewer for a pool of many rows `n`. Of 39, the least and the greatest contain
    another one with a probability of 95%.
    """
    draws = max(2, min(RANDOM_SELECTIONS, MAX_RANDOM_ROWS // max(n, 1)))
    return tuple(np.random.default_rng(draw).permutation(np.sort(rows)) for draw in range(draws))


def mark_faults(ids: Sequence[str], key: Mapping[str, Mapping[str, Any]]) -> dict[str, BoolArray]:
    """Return (N,) a mask of the rows with these ids for each kind of known bad row; `key`: id -> its fault."""
    kinds = [key[i]["fault"] if i in key else None for i in ids] if key else []
    faults = sorted({kind for kind in kinds if kind is not None})
    return {fault: np.array([kind == fault for kind in kinds], np.bool_) for fault in faults}


@dataclass(frozen=True, eq=False)
class RandomBand:
    """Compositions of S random selections of one size: (S, ...) arrays."""

    rows: IntArray  # (S,)
    response_tokens: IntArray  # (S,)
    prompt_tokens: IntArray  # (S,)
    tasks: IntArray  # (S, T)
    lengths: IntArray  # (S, B)
    marked: Mapping[str, IntArray]  # (S,) each
