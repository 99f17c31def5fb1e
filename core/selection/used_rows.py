"""Rows used already, which a selection tops up: none of them is selected again.

They count in the budget, in the quotas of groups and for coverage, and no row that repeats one of them is eligible.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.schema import NO_ROWS, BoolArray, IntArray, Measured, Method, Order

USED = "used already"
REPEATS = "repeats a used row"


@dataclass(frozen=True, eq=False)
class UsedRows:
    """Rows used already, and the other rows that repeat one of them; ascending."""

    rows: IntArray = field(default_factory=NO_ROWS.copy)
    repeats: IntArray = field(default_factory=NO_ROWS.copy)


def find_repeats(used: IntArray, duplicates: Iterable[NDArray[Any]], n: int) -> IntArray:
    """Return the rows that repeat a used one, ascending, without the used ones.

    `duplicates`: for each kind, the first row that each row repeats, (N,); negative or NaN: none.
    """
    repeats = np.zeros(n, np.bool_)
    for first in duplicates:
        group = np.where(first >= 0, first, np.arange(n)).astype(np.int64)
        has_used = np.zeros(n, np.bool_)
        has_used[group[used]] = True
        repeats |= has_used[group]
    repeats[used] = False
    return np.flatnonzero(repeats)


def order_rows(method: Method, measured: Measured, eligible: BoolArray, *, seed: int, used: UsedRows) -> Order:
    """Order the eligible (N,) rows after those used already; these and their repeats are excluded, for that reason."""
    if not len(used.rows):
        return method.order(measured, eligible, seed=seed)
    allowed, removed = eligible.copy(), np.zeros(len(eligible), np.bool_)
    allowed[used.repeats] = False
    removed[used.rows] = removed[used.repeats] = True
    order = method.order(measured, allowed, seed=seed, used=used.rows)
    excluded = {USED: used.rows, REPEATS: used.repeats}
    excluded |= {reason: rows[~removed[rows]] for reason, rows in order.excluded.items()}
    excluded = {reason: rows for reason, rows in excluded.items() if len(rows)}
    return replace(order, rows=order.rows[~removed[order.rows]], excluded=excluded, used=used.rows)
