"""A range of scores picked in a histogram: its term of the highlight, and the button that makes it the threshold."""

from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from core.measurement.runs import Run
from core.selection.filters import Filter
from pages.ui.charts import scales
from pages.ui.data import distribution, live_selection
from pages.ui.data.bins import Binned, Values
from pages.ui.data.live_selection import LiveSelection
from pages.ui.shell import show, state
from pages.ui.shell.terms import Match


def range_of_bars(run: Run, live: LiveSelection, column: str, selection: Any) -> Match:
    """Return the range of scores of the bars that are clicked or dragged over."""
    numbers = [point["customdata"][0] for point in selection["points"]]
    binned, values = distribution.bins(run, live, column), live_selection.columns(run, live)[column]
    return range_of(column, values, binned, min(numbers), max(numbers))


def range_of(column: str, values: Values, binned: Binned, first: int, last: int) -> Match:
    """Return the range of scores of a row of bars, by the numbers of its ends.

    Its limits are scores of rows, so that it holds exactly the rows of these bars; the outermost bars are open ranges.
    """
    inside = values[(binned.place >= first) & (binned.place <= last)]
    if not len(inside):
        return Match(Filter(column, low=float(binned.edges[first]), high=float(binned.edges[last + 1])))
    return Match(
        Filter(
            column,
            low=None if first == 0 and last < len(binned.edges) - 2 else float(inside.min()),
            high=None if last == len(binned.edges) - 2 and first > 0 else float(inside.max()),
        )
    )


def draw_cut(run: Run, live: LiveSelection, column: str) -> None:
    """Draw a button that sets the threshold at the worse end of the highlighted range, if the method ranks by it."""
    method = live.method
    terms = [t for t in state.settings().highlight if isinstance(t, Match) and t.filter.column == column]
    if column != method.ranks_by or method.prefer == "middle" or len(terms) != 1 or live.highlight is None:
        return
    values = live_selection.columns(run, live)[column][live.highlight]
    if not np.isfinite(values).any():
        return
    worst = float(np.nanmax(values) if method.prefer == "low" else np.nanmin(values))
    label = f"Set {'maximum' if method.prefer == 'low' else 'minimum'}: {scales.format_number(worst)}"
    help = "Rows beyond this score are not selected, even if the budget is not filled."
    cut = partial(_cut, worst)
    show.action(label, "content_cut", "drag.cut", cut, disabled=state.settings().threshold == worst, help=help)


def _cut(worst: float) -> None:
    state.change(threshold=worst)
    st.rerun()  # the whole page, because it computes the selection that this fragment draws
