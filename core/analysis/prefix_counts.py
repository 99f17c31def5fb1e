"""Counts of the first k rows of an order for many k at once: what a browser needs to follow a dragged budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.schema import IntArray
from core.selection.budget import NOTHING, Budget, Spent, cumulative_tokens, prefix_length
from core.selection.selection import bound_length


@dataclass(frozen=True, eq=False)
class PrefixCounts:
    """Counts of P prefixes of one order."""

    rows: IntArray  # (P,) lengths
    tokens: IntArray  # (P,) response tokens
    last: IntArray  # (P,) number of the last row that is not pinned in; −1: none
    groups: Mapping[str, IntArray]  # (P, G) rows in each group, by the name of the grouping


def prefix_lengths(
    order_rows: IntArray,
    budgets: Sequence[Budget],
    response_tokens: IntArray,
    *,
    n_pinned: int = 0,
    limit: int | None = None,
    spent: Spent = NOTHING,
) -> IntArray:
    """Return how many rows of an order (M,) each budget selects, as `core.selection.selection.select_prefix` does."""
    sums = cumulative_tokens(order_rows, response_tokens)
    n = len(response_tokens)
    lengths = [prefix_length(order_rows, one, response_tokens, n, cumulative=sums, spent=spent) for one in budgets]
    return np.array([bound_length(length, n_pinned=n_pinned, limit=limit) for length in lengths], np.int64)


def count_prefixes(
    order_rows: IntArray,
    lengths: IntArray,
    response_tokens: IntArray,
    groupings: Mapping[str, tuple[IntArray, int]],
    *,
    n_pinned: int = 0,
) -> PrefixCounts:
    """Count prefixes of an order (M,), whose `lengths` (P,) do not fall. Linear in M.

    `groupings`: for each name the group of each row of the pool, (N,), −1: none, and the number of groups.
    """
    rows = order_rows[: lengths[-1]]
    sums = np.concatenate([[0], cumulative_tokens(rows, response_tokens)])
    step = np.repeat(np.arange(len(lengths)), np.diff(lengths, prepend=0))  # (M,) first prefix that holds the row
    groups = {name: _count_groups(step, codes[rows], len(lengths), n) for name, (codes, n) in groupings.items()}
    last = np.full(len(lengths), -1, np.int64)
    by_method = lengths > n_pinned
    last[by_method] = order_rows[lengths[by_method] - 1]
    return PrefixCounts(lengths, sums[lengths], last, groups)


def _count_groups(step: IntArray, codes: IntArray, steps: int, n: int) -> IntArray:
    grouped = codes >= 0
    added = np.bincount(step[grouped] * n + codes[grouped], minlength=steps * n).reshape(steps, n)
    return np.cumsum(added, axis=0)
