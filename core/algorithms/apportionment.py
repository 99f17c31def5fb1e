"""Share a budget of rows over tasks by weight, exactly and nested: Webster's (Sainte-Laguë) method with caps.

    the next seat goes to the task with the highest  weight / (seats so far + ½)  of those that have a row left

So shares follow the weights as closely as whole rows can, a task never gets more than it has (its cap), what it
cannot take goes to the others by their weights, and the sum is min(budget, all rows), always. A larger budget only
ever adds rows: the budget never has to be known beforehand, and one order of all rows serves every budget. (The
method of largest remainders may take a seat away when the house grows: the Alabama paradox.)

Equal weights are round robin: every task one row in turn, as long as it has one. Tasks of weight 0 come when all
others have nothing left, in turn among themselves. Ties go to the earlier task. Weights are compared as float64:
integers and simple fractions tie exactly where they should.
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
    """(Σ caps,) which task the first, the second, ... seat goes to. O(N log N) for N seats.

    MethodError for a weight that is negative or not finite, a negative cap, and weights and caps of unlike length.
    """
    share, most = np.asarray(weights, np.float64), np.asarray(caps, np.int64)
    _check(share, most)
    task = np.repeat(np.arange(len(most)), most)
    seat = np.arange(len(task)) - np.repeat(np.cumsum(most) - most, most)  # 0, 1, ... inside each task
    last = share[task] == 0
    price = (seat + 0.5) / np.where(last, 1.0, share[task])  # low is early
    order: IntArray = task[np.lexsort((task, price, last))]
    return order


def apportion_seats(weights: Weights, caps: Sizes, house: int) -> IntArray:
    """(T,) how many of `house` seats each task gets; min(house, Σ caps) in all."""
    within = np.minimum(np.asarray(caps, np.int64), house)
    found: IntArray = seats_at_budgets(seat_order(weights, within), len(within), [house])[0]
    return found


def seats_at_budgets(order: IntArray, tasks: int, houses: Sizes) -> IntArray:
    """(H, T) seats of each task under each of H house sizes, ascending; `order` is that of `turns`."""
    found = np.zeros((len(houses), tasks), np.int64)
    for k, (start, stop) in enumerate(zip([0, *houses[:-1]], houses, strict=True)):
        found[k] = np.bincount(order[start:stop], minlength=tasks)
    return np.cumsum(found, axis=0)


def interleave_by_seats(rows: Sequence[IntArray], weights: Weights) -> IntArray:
    """One order of the rows of all tasks: the first B of it are, for every B, the seats of B, each filled from the
    beginning of its task's own order. `rows[t]` is the order of task t."""
    order = seat_order(weights, [len(own) for own in rows])
    out = np.empty(len(order), np.int64)
    if len(order):
        out[np.argsort(order, kind="stable")] = np.concatenate(rows)  # the k-th seat of t is the k-th row of t
    return out


def shuffle_by_task(task: IntArray, tasks: int, seed: int) -> list[IntArray]:
    """Rows of each task, 0 to tasks − 1, in a random order; `task` is (N,), and rows of −1 are in none.

    Rows left out do not change the order of the others: a filter moves nothing but what it takes.
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
