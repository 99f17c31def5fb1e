"""Range of scores dragged over a histogram: read, keep or exclude its rows, or set the threshold."""

from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from core.measurement.runs import Run
from core.schema import IntArray
from core.selection.filters import Filter
from pages.ui.charts import scales
from pages.ui.controls import budget
from pages.ui.data import bins, cached, distribution, live_selection
from pages.ui.data.live_selection import LiveSelection
from pages.ui.shell import show, state
from pages.ui.words import meaning


def marked_bars(selection: Any) -> tuple[int, int] | None:
    """Return the first and last bar that are clicked or dragged over; None if there is none."""
    numbers = [point["customdata"][0] for point in selection["points"]]
    return (min(numbers), max(numbers)) if numbers else None


def rows_in_bars(run: Run, live: LiveSelection, column: str, first: int, last: int) -> tuple[IntArray, str]:
    """Return the rows in these bars, sorted by score, with a description."""
    binned, values = distribution.bins(run, live, column), live_selection.columns(run, live)[column]
    inside = np.flatnonzero((binned.place >= first) & (binned.place <= last))
    description = f"{meaning(column).label} {scales.describe_bins(binned.edges, first, last)}"
    return bins.sort_by_value(inside, values), description


def draw_actions(run: Run, live: LiveSelection, column: str, bars: tuple[int, int] | None) -> None:
    """Draw the actions for the rows in the marked bars, with undo and redo."""
    inside = rows_in_bars(run, live, column, *bars)[0] if bars else []
    with st.container(horizontal=True):
        if bars and len(inside):
            _draw_filters(run, live, column, *bars, inside)
            _draw_cut(run, live, column, inside)
        if state.undo_words() or state.redo_words():
            budget.undo_buttons(st.container(width="content"))


def _draw_filters(run: Run, live: LiveSelection, column: str, first: int, last: int, inside: IntArray) -> None:
    """Draw buttons that filter by the range.

    Skipped if the order computes its own values for the column, as a filter uses the measured ones.
    """
    if distribution.order_values(live, column) is not None:
        return
    values = cached.columns(run, live.method)[column][inside]
    last_bin = len(distribution.bins(run, live, column).edges) - 2
    low = None if first == 0 else float(values.min())
    high = None if last == last_bin else float(values.max())
    if low is None and high is None:
        return
    help = "Adds a filter, which determines the eligible rows. The Select page lists it."
    for label, icon, name in (("Keep only these", "filter_alt", "only"), ("Exclude these", "block", "out")):
        new_filter = Filter(column, low, high, exclude=name == "out")
        options = {"disabled": new_filter in state.settings().filters, "help": help}
        show.action(f"{label} ({len(inside):,})", icon, f"drag.{name}", _add_filter, new_filter, **options)


def _add_filter(new_filter: Filter) -> None:
    _change(filters=(*state.settings().filters, new_filter))


def _change(**settings: Any) -> None:
    state.change(**settings)
    st.rerun()  # the whole page, because it computes the selection that this fragment draws


def _draw_cut(run: Run, live: LiveSelection, column: str, inside: IntArray) -> None:
    """Draw a button that sets the threshold at the worse end of the range, if the method ranks by this column."""
    method = live.method
    if column != method.ranks_by or method.prefer == "middle":
        return
    values = live_selection.columns(run, live)[column][inside]
    worst = float(values.max() if method.prefer == "low" else values.min())
    word = "maximum" if method.prefer == "low" else "minimum"
    label, cut = f"Set {word}: {scales.format_number(worst)}", partial(_change, threshold=worst)
    help = "Rows beyond this score are not selected, even if the budget is not filled."
    show.action(label, "content_cut", "drag.cut", cut, disabled=state.settings().threshold == worst, help=help)
