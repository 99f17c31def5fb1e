"""Distributions of score columns, computed once: bins, quantiles, range, and the density of two columns.

If the order has values of its own, they replace the ranked column: under a filter a greedy search computes other
gains. Their distribution is not cached; it takes no longer than a move of a slider.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st

from core.measurement.runs import Run
from core.schema import IntArray, Method
from pages.ui.data import bins as bins_of
from pages.ui.data import cached
from pages.ui.data.bins import MAX_DOTS, Binned, Grid, Values, bin_values, count_grid, sample_rows
from pages.ui.data.live_selection import LiveSelection


def order_values(live: LiveSelection, column: str) -> Values | None:
    """Return the order's own values of a column; None if the column is as measured."""
    return live.selection.order.values if column == live.method.ranks_by else None


def bins(run: Run, live: LiveSelection, column: str) -> Binned:
    """Return every row's bin of a score column."""
    values = order_values(live, column)
    return bin_values(values) if values is not None else _bins(run.id, *_key(live.method), column, run)


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_TABLES)
def _bins(run_id: str, key: str, _method: Method, column: str, _run: Run) -> Binned:
    return bin_values(cached.columns(_run, _method)[column], log=column.endswith("_tokens"))


def quantiles(run: Run, live: LiveSelection, column: str) -> Mapping[float, float]:
    """Return the quantiles of a score column: share -> value."""
    values = order_values(live, column)
    return bins_of.quantiles(values) if values is not None else _quantiles(run.id, *_key(live.method), column, run)


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_TABLES)
def _quantiles(run_id: str, key: str, _method: Method, column: str, _run: Run) -> dict[float, float]:
    return bins_of.quantiles(cached.columns(_run, _method)[column])


def threshold_range(run: Run, live: LiveSelection) -> tuple[Any, Any] | None:
    """Return the lowest and highest value of the threshold; None if there are fewer than two distinct scores."""
    column, values = live.method.ranks_by, live.selection.order.values
    if values is not None:
        return finite_range(values)
    has_column = column in cached.columns(run, live.method)
    return _threshold_range(run.id, *_key(live.method), column, run) if has_column else None


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_TABLES)
def _threshold_range(run_id: str, key: str, _method: Method, column: str, _run: Run) -> tuple[Any, Any] | None:
    return finite_range(cached.columns(_run, _method)[column])


def finite_range(values: Values) -> tuple[Any, Any] | None:
    """Return the lowest and highest finite value, rounded outwards; None if there are fewer than two distinct ones."""
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() == finite.max():
        return None
    low, high = float(finite.min()), float(finite.max())
    if finite.dtype.kind in "iu":
        return int(low), int(high)
    return float(np.floor(low * 1e3) / 1e3), float(np.ceil(high * 1e3) / 1e3)


def density(run: Run, method: Method, names: tuple[str, str]) -> Grid:
    """Count the rows on a grid over two score columns."""
    return _density(run.id, *_key(method), names, run)


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_TABLES)
def _density(run_id: str, key: str, _method: Method, names: tuple[str, str], _run: Run) -> Grid:
    columns = cached.columns(_run, _method)
    return count_grid(columns[names[0]], columns[names[1]])


def sample_scored_rows(run: Run, method: Method, names: tuple[str, str]) -> IntArray:
    """Return a fixed sample of the rows that have both score columns."""
    return _sample_rows(run.id, *_key(method), names, run)


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_TABLES)
def _sample_rows(run_id: str, key: str, _method: Method, names: tuple[str, str], _run: Run) -> IntArray:
    x, y = (cached.columns(_run, _method)[name] for name in names)
    return sample_rows(np.flatnonzero(np.isfinite(x) & np.isfinite(y)), MAX_DOTS)


def _key(method: Method) -> tuple[str, Method]:
    return cached.method_key(method), method
