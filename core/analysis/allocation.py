"""Allocation of a selection to tasks as its budget grows. Arrays only."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.schema import IntArray

MAX_BUDGETS = 60
SMALLEST_SHARE = 0.01  # of the order; below it single rows dominate the shares
MAX_BANDS = 16  # more tasks are combined into one band


@dataclass(frozen=True, eq=False)
class Allocation:
    """Rows of each task among the first rows of an order."""

    lengths: IntArray  # (H,) ascending
    counts: IntArray  # (T, H)

    @property
    def shares(self) -> NDArray[Any]:
        """Shares (T, H) among the rows that have a task. Each column sums to 1; NaN if no row has a task."""
        total = self.counts.sum(axis=0)
        return np.asarray(self.counts / np.where(total, total, np.nan))


def count_allocation(rows: IntArray, codes: IntArray, tasks: int, at: IntArray) -> Allocation:
    """Count the rows of tasks 0 to `tasks` − 1 among the first at[0], at[1], ... of `rows`.

    codes (N,): task of each row; −1: none.
    """
    counts = np.zeros((len(at), tasks), np.int64)
    for place, (start, stop) in enumerate(pairwise([0, *at])):
        inside = codes[rows[start:stop]]
        counts[place] = np.bincount(inside[inside >= 0], minlength=tasks)
    return Allocation(at, np.cumsum(counts, axis=0).T)


def budget_lengths(length: int, count: int = MAX_BUDGETS) -> IntArray:
    """Return up to `count` ascending lengths from the smallest share to `length`, slightly denser at the low end."""
    places = np.ceil(length * np.linspace(SMALLEST_SHARE ** (2 / 3), 1, count) ** 1.5).astype(np.int64)
    return np.unique(places[places > 0])


@dataclass(frozen=True, eq=False)
class Bands:
    """Tasks in stacking order, the first at the bottom."""

    names: tuple[str, ...]
    codes: IntArray  # (N,) place in `names`; −1: no task
    ranked: int  # the first `ranked` bands are sorted by `values`; the others have no value


def stack_bands(
    names: Sequence[str], codes: IntArray, values: NDArray[Any] | None = None, limit: int = MAX_BANDS
) -> Bands:
    """Stack tasks by `values` (T,), lowest first.

    `names` come largest task first. The `limit` − 1 largest tasks get a band each, those without a value last, and all
    others share one more band. Without `values` the order of `names` is kept.
    """
    separate = len(names) if len(names) <= limit else limit - 1
    ranks = np.full(separate, np.nan) if values is None else values[:separate]
    order = np.argsort(ranks, kind="stable")  # NaN last
    place = np.full(len(names) + 1, separate, np.int64)  # of each task; the last entry is for −1
    place[order], place[-1] = np.arange(separate), -1
    more = (f"{len(names) - separate:,} more",) if separate < len(names) else ()
    ranked = separate if values is None else int(np.isfinite(ranks).sum())
    return Bands((*(names[i] for i in order), *more), place[codes], ranked)
