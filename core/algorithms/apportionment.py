"""Apportionment: share a budget of rows over tasks by weight, exactly and nested: Webster's (Sainte-Laguë) method
with caps.

    the next seat goes to the task with the highest  weight / (seats so far + ½)  of those with a row left

Shares follow the weights as closely as whole rows can, a task never gets more than its rows (its cap), what it cannot
take goes to the others by their weights, and the sum is always min(budget, all rows). A larger budget only ever adds
rows, so one order of all rows serves every budget. (The method of largest remainders may take a seat away when the
budget grows: the Alabama paradox.)

Equal weights are round robin: one row per task in turn, as long as it has one. Tasks of weight 0 come after all
others, in turn among themselves. Ties go to the earlier task. Weights are compared as float64: integers and simple
fractions tie exactly where they should.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from core.errors import MethodError
from core.schema import FloatArray, IntArray

Weights = NDArray[np.float64] | FloatArray | Sequence[float]
Sizes = IntArray | Sequence[int]


def seat_order(weights: Weights, caps: Sizes) -> IntArray:
    """Return (Σ caps,) the task that the first, the second, ... seat goes to. O(N log N) for N seats.

    Raises MethodError for a negative or non-finite weight, a negative cap, and weights and caps of different length.
    """
    share, limit = np.asarray(weights, np.float64), np.asarray(caps, np.int64)
    _check(share, limit)
    task = np.repeat(np.arange(len(limit)), limit)
    seat = np.arange(len(task)) - np.repeat(np.cumsum(limit) - limit, limit)  # 0, 1, ... within each task
    last = share[task] == 0
    price = (seat + 0.5) / np.where(last, 1.0, share[task])  # low is early
    return np.asarray(task[np.lexsort((task, price, last))])


def apportion_seats(weights: Weights, caps: Sizes, budget: int) -> IntArray:
    """Return (T,) how many of `budget` seats each task gets; min(budget, Σ caps) in total."""
    within = np.minimum(np.asarray(caps, np.int64), budget)
    return np.asarray(seats_at_budgets(seat_order(weights, within), len(within), [budget])[0])


def seats_at_budgets(order: IntArray, tasks: int, budgets: Sizes) -> IntArray:
    """Return (H, T) seats of each task under each of H budgets, ascending; `order` is that of `seat_order`."""
    counts = np.zeros((len(budgets), tasks), np.int64)
    for k, (start, stop) in enumerate(zip([0, *budgets[:-1]], budgets, strict=True)):
        counts[k] = np.bincount(order[start:stop], minlength=tasks)
    return np.cumsum(counts, axis=0)


def interleave_by_seats(rows: Sequence[IntArray], weights: Weights) -> IntArray:
    """Return one order of the rows of all tasks; `rows[t]` is the order of task t.

    For every B, its first B rows are the seats under budget B, each filled from the beginning of its task's own order.
    """
    order = seat_order(weights, [len(task_rows) for task_rows in rows])
    out = np.empty(len(order), np.int64)
    if len(order):
        out[np.argsort(order, kind="stable")] = np.concatenate(rows)  # the k-th seat of t is the k-th row of t
    return out


def shuffle_by_task(task: IntArray, tasks: int, seed: int) -> list[IntArray]:
    """Return the rows of each task, 0 to tasks − 1, in random order; `task` is (N,), and rows of −1 are in none.

    Excluding rows does not change the order of the others.
    """
    shuffled = np.random.default_rng(seed).permutation(len(task))
    grouped = shuffled[np.argsort(task[shuffled], kind="stable")]
    ends = np.searchsorted(task[grouped], np.arange(tasks + 1))
    return [grouped[a:b] for a, b in pairwise(ends.tolist())]


def _check(weights: NDArray[np.float64], caps: IntArray) -> None:
    if weights.shape != caps.shape:
        raise MethodError(f"There are {len(weights)} weights for {len(caps)} tasks; each task needs one.")
    bad = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
    if len(bad):
        raise MethodError(f"The weight of task number {bad[0]} is {weights[bad[0]]:g}; it must be 0 or more.")
    if (caps < 0).any():
        raise MethodError(f"Task number {np.flatnonzero(caps < 0)[0]} has a negative number of rows.")
