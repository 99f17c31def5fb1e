"""From arrays of all rows to the few numbers a chart is sent: bins, a grid, a sample, a lasso's rows.

Arrays in, small aggregates out; nothing of Streamlit or Plotly. Missing values (NaN) are in no bin.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.schema import BoolArray, IntArray

BINS = 60
TAIL = 0.005  # share of rows at each end that may lie beyond the frame
MIN_FRAME_SHARE = 0.75  # of the whole range: what the frame must hold to be worth cutting tails off
GRID = 48  # cells of a density on each axis
MAX_DOTS = 1_500  # dots over a density; each costs 150 bytes when it is selected

Values = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Binned:
    """Every row's bin. The outermost bins also hold what lies beyond the frame."""

    edges: Values  # (B + 1,) ascending
    place: IntArray  # (N,) 0..B-1; -1: no value
    log: bool  # bins of equal ratio

    def counts(self, rows: IntArray | BoolArray | None = None) -> IntArray:
        """(B,) how many of `rows` (numbers or a mask; None: all) are in each bin."""
        place = self.place if rows is None else self.place[rows]
        return np.bincount(place[place >= 0], minlength=len(self.edges) - 1)

    def rows_in(self, bin_number: int) -> IntArray:
        """The rows of one bin, ascending."""
        return np.flatnonzero(self.place == bin_number)


def bin_values(values: Values, *, bins: int = BINS, log: bool = False) -> Binned:
    """Bins of equal width between the outer quantiles of `values` (N,), or of equal ratio with `log`."""
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
    low, high = _reach(finite)
    if low == high:
        return np.array([low - 0.5, low + 0.5])
    if log:
        return np.geomspace(max(low, 1), max(high, 2), bins + 1)
    return np.linspace(low, high, bins + 1)


def _reach(finite: Values) -> tuple[float, float]:
    """The outer quantiles; the extremes where these lie near, or where one value takes nearly all rows."""
    low, high = np.quantile(finite, [TAIL, 1 - TAIL])
    least, most = float(finite.min()), float(finite.max())
    if low == high or (high - low) > MIN_FRAME_SHARE * (most - least):
        return least, most
    return float(low), float(high)


def quantiles(values: Values, shares: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95)) -> dict[float, float]:
    """Share -> value at that share, over the values there are; empty when there are none."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return {}
    return {share: float(value) for share, value in zip(shares, np.quantile(finite, shares), strict=True)}


@dataclass(frozen=True, eq=False)
class Grid:
    """How many rows lie in each cell of a plane."""

    x: Values  # (G,) centres
    y: Values  # (G,) centres
    counts: IntArray  # (G, G), [y, x]
    beyond: int  # rows outside the frame
    frame: tuple[float, float, float, float]  # x low, x high, y low, y high


def count_grid(x: Values, y: Values, *, cells: int = GRID) -> Grid:
    """Density of the rows that have both values, inside their outer quantiles with a margin."""
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both].astype(np.float64), y[both].astype(np.float64)
    frame = (*_frame(x), *_frame(y))
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=cells, range=(frame[:2], frame[2:]))
    return Grid(
        (x_edges[1:] + x_edges[:-1]) / 2,
        (y_edges[1:] + y_edges[:-1]) / 2,
        counts.T.astype(np.int64),
        int(len(x) - counts.sum()),
        frame,
    )


def _frame(values: Values) -> tuple[float, float]:
    if not len(values):
        return -1.0, 1.0
    low, high = _reach(values)
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def sample_rows(rows: IntArray, limit: int, *, seed: int = 0) -> IntArray:
    """At most `limit` of `rows`, ascending, the same ones every time."""
    if len(rows) <= limit:
        return np.sort(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))


def rows_in_box(x: Values, y: Values, xs: list[float], ys: list[float]) -> IntArray:
    """Rows inside a box given by two opposite corners, ascending."""
    within_x = (x >= min(xs)) & (x <= max(xs))
    return np.flatnonzero(within_x & (y >= min(ys)) & (y <= max(ys)))


def rows_in_lasso(x: Values, y: Values, xs: list[float], ys: list[float]) -> IntArray:
    """Rows inside a closed polygon (even-odd rule), ascending."""
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


def fold(counts: IntArray, limit: int) -> IntArray:
    """The last axis with all beyond the first `limit - 1` added up into one last entry, if there are more."""
    if counts.shape[-1] <= limit:
        return counts
    rest = counts[..., limit - 1 :].sum(axis=-1, keepdims=True)
    return np.concatenate([counts[..., : limit - 1], rest], axis=-1)


def fold_names(names: Sequence[str], limit: int) -> list[str]:
    """Names for what `fold` gives."""
    if len(names) <= limit:
        return list(names)
    return [*names[: limit - 1], f"{len(names) - limit + 1:,} more"]


def sort_by_value(rows: IntArray, values: Values) -> IntArray:
    """Rows by a column (N,), lowest first."""
    return rows[np.argsort(values[rows], kind="stable")]


def group_quantiles(codes: IntArray, values: Values, n: int, shares: Sequence[float]) -> Values:
    """(S, n) per group (codes 0..n-1) the value at each share, a row's own: the lower one where it falls between.

    NaN for groups without a row. `values` are finite.
    """
    order = np.lexsort((values, codes))
    starts = np.searchsorted(codes[order], np.arange(n + 1))
    counts = np.diff(starts)
    found = np.full((len(shares), n), np.nan)
    some = np.flatnonzero(counts)
    for line, share in zip(found, shares, strict=True):
        place = starts[some] + np.floor(share * (counts[some] - 1)).astype(np.int64)
        line[some] = values[order[place]]
    return found
