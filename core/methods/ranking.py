"""From one value per row to an order: what every score-and-sort method shares.

Every row of the pool ends in exactly one place: in the order, or under one reason for being left out.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.schema import BoolArray, IntArray, Measured

FILTERED = "filtered out"
NO_RESPONSE = "no response"
NOT_MEASURED = "not measured"


def rank_rows(values: NDArray[Any], candidates: IntArray, *, prefer: Literal["high", "low", "middle"]) -> IntArray:
    """`candidates` (ascending row numbers) by `values` (N,), best first; ties go to the earlier row.

    "middle": by the distance of a row's rank from the median rank, so growing budgets nest around the median;
    of two rows equally far away the lower value comes first.
    """
    chosen = values[candidates]
    if prefer == "high":
        return candidates[np.argsort(-chosen.astype(np.float64), kind="stable")]
    ascending = candidates[np.argsort(chosen, kind="stable")]
    if prefer == "low":
        return ascending
    places = np.arange(len(ascending))
    return ascending[np.argsort(np.abs(2 * places - (len(ascending) - 1)), kind="stable")]


def missing_response(measured: Measured) -> BoolArray:
    """(N,) rows without a response, for methods that can do without: none of them where no row has one."""
    answered = measured.need("response_tokens") > 0
    return ~answered if answered.any() else np.zeros(len(measured), np.bool_)


def split_eligible(left_out: Mapping[str, BoolArray]) -> tuple[IntArray, dict[str, IntArray]]:
    """Rows that no mask (N,) leaves out, and per reason the rows it does; the first reason that applies counts.

    Reasons that take no row are not listed.
    """
    masks = list(left_out.values())
    undecided = np.ones(len(masks[0]), np.bool_)
    excluded: dict[str, IntArray] = {}
    for reason, mask in left_out.items():
        taken = np.flatnonzero(mask & undecided)
        if len(taken):
            excluded[reason] = taken
        undecided &= ~mask
    return np.flatnonzero(undecided), excluded
