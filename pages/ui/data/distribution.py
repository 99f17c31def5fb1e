"""Distributions of score columns, computed once: bins, quantiles, range, and the density of two columns.

If the order has values of its own, they replace the ranked column: under a filter a greedy search computes other
gains. Their distribution is not cached; it takes no longer than a move of a slider.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from core.measurement.runs import Run
from core.schema import IntArray, Method, Order
from pages.ui.data import bins as bins_of
from pages.ui.data import cached
from pages.ui.data.bins import Binned, Grid, Values
from pages.ui.data.live_selection import LiveSelection


def order_values(live: LiveSelection, column: str) -> Values | None:
    """Return the order's own values of a column; None if the column is as measured."""
    return live.selection.order.values if column == live.method.ranks_by else None


def bins(run: Run, live: LiveSelection, column: str) -> Binned:
    """Return every row's bin of a score column."""
    return bins_in_order(run, live.method, live.selection.order, column)


def bins_in_order(run: Run, method: Method, order: Order, column: str) -> Binned:
    """Return every row's bin of a score column, with the values of an order if it has its own."""
    if column == method.ranks_by and order.values is not None:
        return bins_of.bin_values(order.values)
    return _bins(run, method, column)


@cached.keep()
def _bins(run: Run, method: Method, column: str) -> Binned:
    return bins_of.bin_values(cached.columns(run, method)[column], log=column.endswith("_tokens"))


def quantiles(run: Run, live: LiveSelection, column: str) -> Mapping[float, float]:
    """Return the quantiles of a score column: share -> value."""
    values = order_values(live, column)
    return bins_of.quantiles(values) if values is not None else _quantiles(run, live.method, column)


@cached.keep()
def _quantiles(run: Run, method: Method, column: str) -> dict[float, float]:
    return bins_of.quantiles(cached.columns(run, method)[column])


def threshold_range(run: Run, live: LiveSelection) -> tuple[Any, Any] | None:
    """Return the lowest and highest value of the threshold; None if there are fewer than two distinct scores."""
    column, values = live.method.ranks_by, live.selection.order.values
    if values is not None:
        return finite_range(values)
    return _threshold_range(run, live.method, column) if column in cached.columns(run, live.method) else None


@cached.keep()
def _threshold_range(run: Run, method: Method, column: str) -> tuple[Any, Any] | None:
    return finite_range(cached.columns(run, method)[column])


def finite_range(values: Values) -> tuple[Any, Any] | None:
    """Return the lowest and highest finite value, rounded outwards; None if there are fewer than two distinct ones."""
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() == finite.max():
        return None
    low, high = float(finite.min()), float(finite.max())
    if finite.dtype.kind in "iu":
        return int(low), int(high)
    return float(np.floor(low * 1e3) / 1e3), float(np.ceil(high * 1e3) / 1e3)


@cached.keep()
def density(run: Run, method: Method, names: tuple[str, str]) -> Grid:
    """Count the rows on a grid over two score columns."""
    columns = cached.columns(run, method)
    return bins_of.count_grid(columns[names[0]], columns[names[1]])


@cached.keep()
def sample_scored_rows(run: Run, method: Method, names: tuple[str, str]) -> IntArray:
    """Return a fixed sample of the rows that have both score columns."""
    x, y = (cached.columns(run, method)[name] for name in names)
    return bins_of.sample_rows(np.flatnonzero(np.isfinite(x) & np.isfinite(y)), bins_of.MAX_DOTS)
