"""Chosen rows in two: to train on, and held out to test on. Arrays only.

Rows of one group (duplicates of each other) stay together, else a model would be tested on what it has learnt by
heart. Every task is held out in proportion, as nearly as whole groups can.
"""

from math import floor

import numpy as np

from core.algorithms.apportionment import seat_order
from core.errors import RecipeError
from core.schema import IntArray


def hold_out_rows(rows: IntArray, groups: IntArray, tasks: IntArray, share: float, *, seed: int) -> IntArray:
    """Which of `rows` (K,) are held out, ascending: round(share · K) of them, fewer where groups do not fit, but some.

    `groups` (N,): a number that rows which may not be parted have in common. `tasks` (N,): the task of each row, any
    numbers. The order of `rows` makes no difference; same seed, same rows. RecipeError where all rows are one group.
    """
    rows = np.sort(rows)
    _, first, unit, sizes = np.unique(groups[rows], return_index=True, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise RecipeError(
            f"None of the {len(rows):,} chosen rows can be held out: they are all duplicates of each other, "
            "which belong on one side. Choose more rows."
        )
    _, task_of_row, in_task = np.unique(tasks[rows], return_inverse=True, return_counts=True)
    task = task_of_row[first]  # of a unit: that of its earliest row
    wanted = max(1, floor(share * len(rows) + 0.5))
    quota = np.bincount(seat_order(in_task.astype(np.float64), in_task)[:wanted], minlength=len(in_task))
    order = np.random.default_rng(seed).permutation(len(sizes))
    taken = _fill(order, sizes, task, quota)
    rest = order[~np.isin(order, taken)]
    left = np.array([wanted - int(sizes[taken].sum())])
    taken += _fill(rest, sizes, np.zeros(len(sizes), np.int64), left)  # what a task could not give, the others do
    if not taken:
        taken = [int(order[np.argmin(sizes[order])])]
    return rows[np.isin(unit, taken)]


def _fill(order: IntArray, sizes: IntArray, part: IntArray, quota: IntArray) -> list[int]:
    """Units in the order given, as many as fit into the quota of the part that each belongs to."""
    left = quota.tolist()
    taken = []
    for unit, size, where in zip(order.tolist(), sizes[order].tolist(), part[order].tolist(), strict=True):
        if size <= left[where]:
            left[where] -= size
            taken.append(unit)
    return taken
