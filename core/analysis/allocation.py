"""How a selection is shared out over tasks as its budget grows. Arrays in, small tables out."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.schema import IntArray

MAX_BUDGETS = 60
SMALLEST_SHARE = 0.01  # of the order: below it, single rows make the picture
MAX_BANDS = 16  # tasks before the rest is put together


@dataclass(frozen=True, eq=False)
class Allocation:
    """Rows of each task among the first rows of an order."""

    at: IntArray  # (H,) lengths, ascending
    counts: IntArray  # (T, H)

    @property
    def shares(self) -> NDArray[Any]:
        """(T, H) of the rows that have a task; they add up to 1. NaN where none has."""
        total = self.counts.sum(axis=0)
        shares: NDArray[Any] = self.counts / np.where(total, total, np.nan)
        return shares


def count_allocation(rows: IntArray, codes: IntArray, tasks: int, at: IntArray) -> Allocation:
    """Rows of tasks 0 to `tasks` − 1 among the first at[0], at[1], ... of `rows`; codes (N,), −1: no task."""
    found = np.zeros((len(at), tasks), np.int64)
    for place, (start, stop) in enumerate(pairwise([0, *at])):
        inside = codes[rows[start:stop]]
        found[place] = np.bincount(inside[inside >= 0], minlength=tasks)
    return Allocation(at, np.cumsum(found, axis=0).T)


def budget_lengths(length: int, count: int = MAX_BUDGETS) -> IntArray:
    """Up to `count` lengths from FIRST of `length` to all of it, ascending: somewhat denser where they are small."""
    places = np.ceil(length * np.linspace(SMALLEST_SHARE ** (2 / 3), 1, count) ** 1.5).astype(np.int64)
    return np.unique(places[places > 0])


@dataclass(frozen=True, eq=False)
class Bands:
    """Tasks in the order in which they are stacked, the first at the bottom."""

    names: tuple[str, ...]
    codes: IntArray  # (N,) place in `names`; −1: no task
    ranked: int  # the first so many by `values`; the rest has none


def stack_bands(
    names: Sequence[str], codes: IntArray, values: NDArray[Any] | None = None, limit: int = MAX_BANDS
) -> Bands:
    """The first `limit` − 1 tasks (those of most rows) by `values` (T,), lowest first; then those without a value, then
    all further tasks together. Without `values`: as they come."""
    kept = len(names) if len(names) <= limit else limit - 1
    ranks = np.full(kept, np.nan) if values is None else values[:kept]
    order = np.argsort(ranks, kind="stable")  # NaN last
    place = np.full(len(names) + 1, kept, np.int64)  # of each task; the last: of −1
    place[order], place[-1] = np.arange(kept), -1
    more = (f"{len(names) - kept:,} more",) if kept < len(names) else ()
    known = kept if values is None else int(np.isfinite(ranks).sum())
    return Bands((*(names[i] for i in order), *more), place[codes], known)
