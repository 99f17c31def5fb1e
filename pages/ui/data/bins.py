"""Aggregates that charts are sent instead of all rows: bins, a density grid, samples, rows inside a lasso.

Arrays only, without Streamlit or Plotly. Missing values (NaN) are in no bin.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.analysis.bins import BINS as BINS
from core.analysis.bins import Binned as Binned
from core.analysis.bins import Values as Values
from core.analysis.bins import bin_values as bin_values
from core.analysis.bins import count_codes as count_codes
from core.analysis.bins import outer_values
from core.analysis.bins import quantiles as quantiles
from core.schema import IntArray

GRID = 48  # cells of a density along each axis
MAX_DOTS = 1_000  # dots over a density: the browser takes 0.2 ms to draw one, and 150 bytes to report it selected


@dataclass(frozen=True, eq=False)
class Grid:
    """Number of rows in each cell of a plane."""

    x: Values  # (G,) centres
    y: Values  # (G,) centres
    counts: IntArray  # (G, G), [y, x]
    frame: tuple[float, float, float, float]  # x low, x high, y low, y high


def count_grid(x: Values, y: Values, *, cells: int = GRID) -> Grid:
    """Count the rows that have both values in cells inside their outer quantiles plus a margin."""
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both].astype(np.float64), y[both].astype(np.float64)
    frame = (*_frame(x), *_frame(y))
    counts, *edges = np.histogram2d(x, y, bins=cells, range=(frame[:2], frame[2:]))
    centres = ((side[1:] + side[:-1]) / 2 for side in edges)
    return Grid(*centres, counts.T.astype(np.int64), frame)


def _frame(values: Values) -> tuple[float, float]:
    if not len(values):
        return -1.0, 1.0
    low, high = outer_values(values)
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def sample_rows(rows: IntArray, limit: int, *, seed: int = 0) -> IntArray:
    """Return at most `limit` of `rows`, ascending; the same sample for the same seed."""
    if len(rows) <= limit:
        return np.sort(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))


def rows_in_box(x: Values, y: Values, xs: list[float], ys: list[float]) -> IntArray:
    """Return the rows inside a box given by two opposite corners, ascending."""
    within_x = (x >= min(xs)) & (x <= max(xs))
    return np.flatnonzero(within_x & (y >= min(ys)) & (y <= max(ys)))


def rows_in_lasso(x: Values, y: Values, xs: list[float], ys: list[float]) -> IntArray:
    """Return the rows inside a closed polygon (even-odd rule), ascending."""
    if len(xs) < 3:
        return np.empty(0, np.int64)
    near = rows_in_box(x, y, xs, ys)
    px, py = x[near].astype(np.float64), y[near].astype(np.float64)
    within = np.zeros(len(near), np.bool_)
    for x0, y0, x1, y1 in zip(xs, ys, np.roll(xs, -1), np.roll(ys, -1), strict=True):
        crosses = (y0 > py) != (y1 > py)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = (x1 - x0) * (py - y0) / (y1 - y0) + x0
        within ^= crosses & (px < at)
    return near[within]


def log10(values: Values) -> Values:
    """Return log10 of values (N,); NaN where they are not above 0."""
    return np.log10(values, out=np.full(len(values), np.nan), where=values > 0)


def fold(counts: IntArray, limit: int) -> IntArray:
    """Sum all after the first `limit` − 1 entries of the last axis into one, if there are more than `limit`."""
    if counts.shape[-1] <= limit:
        return counts
    rest = counts[..., limit - 1 :].sum(axis=-1, keepdims=True)
    return np.concatenate([counts[..., : limit - 1], rest], axis=-1)


def fold_names(names: Sequence[str], limit: int) -> list[str]:
    """Return names for the result of `fold`."""
    if len(names) <= limit:
        return list(names)
    return [*names[: limit - 1], f"{len(names) - limit + 1:,} more"]


def sort_by_value(rows: IntArray, values: Values) -> IntArray:
    """Sort rows by a column (N,), lowest first."""
    return rows[np.argsort(values[rows], kind="stable")]


def group_quantiles(codes: IntArray, values: Values, n: int, shares: Sequence[float]) -> Values:
    """Return the quantiles (S, n) of `values` for groups 0..n−1 at each share, without interpolation.

    Between two rows the lower value counts; NaN for groups without a row. `values` are finite.
    """
    order = np.lexsort((values, codes))
    starts = np.searchsorted(codes[order], np.arange(n + 1))
    counts = np.diff(starts)
    result = np.full((len(shares), n), np.nan)
    occupied = np.flatnonzero(counts)
    for line, share in zip(result, shares, strict=True):
        place = starts[occupied] + np.floor(share * (counts[occupied] - 1)).astype(np.int64)
        line[occupied] = values[order[place]]
    return result
