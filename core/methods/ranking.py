"""From one value per row to an order: what every score-and-sort method shares.

Every row of the pool ends in exactly one place: in the order, or excluded under one reason.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.schema import BoolArray, IntArray, Measured, Prefer

FILTERED = "filtered out"
NO_RESPONSE = "no response"
NOT_MEASURED = "not measured"


def rank_rows(values: NDArray[Any], candidates: IntArray, *, prefer: Prefer) -> IntArray:
    """Sort `candidates` (ascending row numbers) by `values` (N,), best first; ties go to the earlier row.

    "middle" sorts by the distance of a row's rank from the median rank, so that growing budgets nest around the median;
    of two rows equally far from it, the one with the lower value comes first.
    """
    candidate_values = values[candidates]
    if prefer == "high":
        return candidates[np.argsort(-candidate_values.astype(np.float64), kind="stable")]
    ascending = candidates[np.argsort(candidate_values, kind="stable")]
    if prefer == "low":
        return ascending
    places = np.arange(len(ascending))
    return ascending[np.argsort(np.abs(2 * places - (len(ascending) - 1)), kind="stable")]


def group_rows(group: IntArray, rows: IntArray) -> list[IntArray]:
    """Split `rows` (ascending) by `group` (N,), the number of each row's group, 0 or more; each list is ascending.

    A group without any of the rows is empty.
    """
    grouped = rows[np.argsort(group[rows], kind="stable")]
    ends = np.searchsorted(group[grouped], np.arange(group.max(initial=-1) + 2))
    return [grouped[a:b] for a, b in pairwise(ends.tolist())]


def put_first(used: IntArray, group: IntArray, orders: Sequence[IntArray]) -> list[IntArray]:
    """Return the orders of groups 0, 1, ... with the `used` rows of each group at its head, eligible or not.

    `group` (N,): the number of each row's group, −1: none. So the seats of a group begin after its used rows.
    """
    if not len(used):
        return list(orders)
    is_used = np.zeros(len(group), np.bool_)
    is_used[used] = True
    heads = group_rows(group, used[group[used] >= 0])
    return [np.concatenate([head, rows[~is_used[rows]]]) for head, rows in zip(heads, orders, strict=True)]


def missing_response(measured: Measured) -> BoolArray:
    """Return an (N,) mask of rows without a response, for methods that can do without; all False if no row has one."""
    has_response = measured.need("response_tokens") > 0
    return ~has_response if has_response.any() else np.zeros(len(measured), np.bool_)


def exclusions(eligible: BoolArray, no_response: BoolArray, measured: BoolArray) -> dict[str, BoolArray]:
    """Return the masks (N,) of rows that every method excludes, by reason, for `split_eligible`."""
    return {FILTERED: ~eligible, NO_RESPONSE: no_response, NOT_MEASURED: ~measured}


def split_eligible(left_out: Mapping[str, BoolArray]) -> tuple[IntArray, dict[str, IntArray]]:
    """Split the rows by masks (N,): rows that none excludes, and excluded rows by the first reason that applies.

    Reasons that exclude no row are omitted.
    """
    masks = list(left_out.values())
    undecided = np.ones(len(masks[0]), np.bool_)
    excluded: dict[str, IntArray] = {}
    for reason, mask in left_out.items():
        excluded_now = np.flatnonzero(mask & undecided)
        if len(excluded_now):
            excluded[reason] = excluded_now
        undecided &= ~mask
    return np.flatnonzero(undecided), excluded
