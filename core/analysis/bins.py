"""Bins of a column of numbers, and its quantiles: what a histogram is drawn from. Missing values are in no bin."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.schema import BoolArray, IntArray

BINS = 60
TAIL = 0.005  # share of rows at each end that may be outside the frame
MIN_FRAME_SHARE = 0.75  # of the whole range; a frame wider than this shows the whole range instead

Values = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Binned:
    """The bin of every row. The outermost bins also hold the values outside the frame."""

    edges: Values  # (B + 1,) ascending
    place: IntArray  # (N,) 0..B−1; −1: no value
    log: bool  # whether bins have equal ratio instead of equal width

    def counts(self, rows: IntArray | BoolArray | None = None) -> IntArray:
        """Return how many of `rows` (numbers or a mask; None: all) are in each bin, (B,)."""
        return count_codes(self.place if rows is None else self.place[rows], len(self.edges) - 1)


def count_codes(codes: IntArray, n: int) -> IntArray:
    """Count each of the codes 0..n−1, (n,); −1 is not counted."""
    return np.bincount(codes[codes >= 0], minlength=n)


def bin_values(values: Values, *, bins: int = BINS, log: bool = False) -> Binned:
    """Bin `values` (N,) between their outer quantiles, in bins of equal width or, with `log`, of equal ratio."""
    finite = np.isfinite(values)
    log = log and bool(finite.any()) and float(values[finite].max()) > 1
    edges = _edges(values[finite].astype(np.float64), bins, log)
    place = np.full(len(values), -1, np.int64)
    inner = np.searchsorted(edges, values[finite], side="right") - 1
    place[finite] = np.clip(inner, 0, len(edges) - 2)
    return Binned(edges, place, log and len(edges) > 2)


def _edges(finite: Values, bins: int, log: bool) -> Values:
    if not len(finite):
        return np.array([0.0, 1.0])
    low, high = outer_values(finite)
    if low == high:
        return np.array([low - 0.5, low + 0.5])
    if log:
        return np.geomspace(max(low, 1), max(high, 2), bins + 1)
    return np.linspace(low, high, bins + 1)


def outer_values(finite: Values) -> tuple[float, float]:
    """Return the outer quantiles, or the extremes if they are close or if one value dominates."""
    low, high = np.quantile(finite, [TAIL, 1 - TAIL])
    least, most = float(finite.min()), float(finite.max())
    if low == high or (high - low) > MIN_FRAME_SHARE * (most - least):
        return least, most
    return float(low), float(high)


def quantiles(values: Values, shares: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95)) -> dict[float, float]:
    """Return share -> value at that share, over the finite values; empty if there are none."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return {}
    return {share: float(value) for share, value in zip(shares, np.quantile(finite, shares), strict=True)}
