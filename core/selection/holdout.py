"""Hold-out: split the selected rows into rows to train on and rows to test on. Arrays only.

Rows of one group (duplicates of each other) stay together, else a model would be tested on rows it has memorised.
Every task is held out in proportion, as closely as whole groups allow.
"""

from math import floor

import numpy as np

from core.algorithms.apportionment import seat_order
from core.errors import RecipeError
from core.schema import IntArray


def hold_out_rows(rows: IntArray, groups: IntArray, tasks: IntArray, share: float, *, seed: int) -> IntArray:
    """Return the held-out ones of `rows` (K,), ascending: round(share · K), or fewer if groups do not fit, but some.

    `groups` (N,): a number shared by rows that must stay together. `tasks` (N,): the task of each row, any numbers. The
    order of `rows` does not matter; same seed, same rows. RecipeError if all rows are one group.
    """
    rows = np.sort(rows)
    _, first, unit, sizes = np.unique(groups[rows], return_index=True, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise RecipeError(
            f"None of the {len(rows):,} selected rows can go to a validation split: they are all duplicates of "
            "each other, which belong in one file. Select more rows."
        )
    _, task_of_row, in_task = np.unique(tasks[rows], return_inverse=True, return_counts=True)
    task = task_of_row[first]  # the task of a unit is that of its earliest row
    target = max(1, floor(share * len(rows) + 0.5))
    quota = np.bincount(seat_order(in_task.astype(np.float64), in_task)[:target], minlength=len(in_task))
    order = np.random.default_rng(seed).permutation(len(sizes))
    units = _fill(order, sizes, task, quota)
    rest, missing = order[~np.isin(order, units)], target - int(sizes[units].sum())
    units += _fill(rest, sizes, np.zeros_like(task), np.array([missing]))  # other tasks fill what a task could not
    if not units:
        units = [int(order[np.argmin(sizes[order])])]
    return rows[np.isin(unit, units)]


def _fill(order: IntArray, sizes: IntArray, part: IntArray, quota: IntArray) -> list[int]:
    """Return units in the order given, as many as fit into the quota of each unit's task."""
    remaining = quota.tolist()
    units = []
    for unit, size, task in zip(order.tolist(), sizes[order].tolist(), part[order].tolist(), strict=True):
        if size <= remaining[task]:
            remaining[task] -= size
            units.append(unit)
    return units
