"""How score columns are distributed, computed once: bins, quantiles, reach, and two columns against each other.

Of the column that an order goes by, it is the order in force that counts: under a filter a greedy search has found
other values. Those are computed anew; they are as quick as a move of a slider.
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


def order_values(answer: LiveSelection, column: str) -> Values | None:
    """The values of a column that the order in force has found for itself; None: it is as it was measured."""
    return answer.selection.order.values if column == answer.method.ranks_by else None


def bins(run: Run, answer: LiveSelection, column: str) -> Binned:
    """Every row's bin of one score column."""
    values = order_values(answer, column)
    return bin_values(values) if values is not None else _bins(run.id, *_key(answer.method), column, run)


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_TABLES)
def _bins(run_id: str, key: str, _method: Method, column: str, _run: Run) -> Binned:
    return bin_values(cached.columns(_run, _method)[column], log=column.endswith("_tokens"))


def quantiles(run: Run, answer: LiveSelection, column: str) -> Mapping[float, float]:
    """Share -> value, for the marks of one score column."""
    values = order_values(answer, column)
    return bins_of.quantiles(values) if values is not None else _quantiles(run.id, *_key(answer.method), column, run)


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_TABLES)
def _quantiles(run_id: str, key: str, _method: Method, column: str, _run: Run) -> dict[float, float]:
    return bins_of.quantiles(cached.columns(_run, _method)[column])


def threshold_range(run: Run, answer: LiveSelection) -> tuple[Any, Any] | None:
    """Lowest and highest value that a limit on the score can take; None where there are no two values."""
    column, values = answer.method.ranks_by, answer.selection.order.values
    if values is not None:
        return finite_range(values)
    known = column in cached.columns(run, answer.method)
    return _reach(run.id, *_key(answer.method), column, run) if known else None


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_TABLES)
def _reach(run_id: str, key: str, _method: Method, column: str, _run: Run) -> tuple[Any, Any] | None:
    return finite_range(cached.columns(_run, _method)[column])


def finite_range(values: Values) -> tuple[Any, Any] | None:
    """Lowest and highest of the values there are, rounded outwards; None where there are no two."""
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() == finite.max():
        return None
    low, high = float(finite.min()), float(finite.max())
    if finite.dtype.kind in "iu":
        return int(low), int(high)
    return float(np.floor(low * 1e3) / 1e3), float(np.ceil(high * 1e3) / 1e3)


def density(run: Run, method: Method, names: tuple[str, str]) -> Grid:
    """How many rows lie where in the plane of two score columns."""
    return _density(run.id, *_key(method), names, run)


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_TABLES)
def _density(run_id: str, key: str, _method: Method, names: tuple[str, str], _run: Run) -> Grid:
    columns = cached.columns(_run, _method)
    return count_grid(columns[names[0]], columns[names[1]])


def sample_scored_rows(run: Run, method: Method, names: tuple[str, str]) -> IntArray:
    """A fixed sample of the rows that have both of two score columns."""
    return _dots(run.id, *_key(method), names, run)


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_TABLES)
def _dots(run_id: str, key: str, _method: Method, names: tuple[str, str], _run: Run) -> IntArray:
    x, y = (cached.columns(_run, _method)[name] for name in names)
    return sample_rows(np.flatnonzero(np.isfinite(x) & np.isfinite(y)), MAX_DOTS)


def _key(method: Method) -> tuple[str, Method]:
    return cached.method_key(method), method
