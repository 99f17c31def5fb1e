"""Rows at the two ends of an influence score, as a table: most helpful or most harmful."""

from dataclasses import replace

import numpy as np
import streamlit as st

from core.measurement.runs import Run
from core.schema import IntArray, Method, Pool
from pages.ui.data import cached
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore.influence import SCORE, ScoredInfluence
from pages.ui.row import table
from pages.ui.shell import show

ROWS_PER_END = 50  # rows of each end
BEST, WORST = "best", "worst"


@cached.keep()
def find_extreme_rows(run: Run, method: Method) -> tuple[IntArray, IntArray]:
    """Return the most helpful rows, best first, and the most harmful ones, worst first; no row is in both."""
    values = cached.columns(run, method)[SCORE]
    rows = np.flatnonzero(np.isfinite(values))
    ascending = rows[np.argsort(values[rows], kind="stable")]
    each = min(ROWS_PER_END, len(rows) - len(rows) // 2)
    return ascending[::-1][:each], ascending[: min(each, len(rows) // 2)]


def draw_ends(pool: Pool, scored: ScoredInfluence, live: LiveSelection) -> None:
    """Draw one end of the current score as a table, and the choice of the end."""
    values = scored.columns[SCORE]
    best, worst = find_extreme_rows(scored.run, scored.method)
    most = "Most helpful" if len(best) and values[best[0]] > 0 else "Least harmful"
    least = "Most harmful" if len(worst) and values[worst[0]] < 0 else "Least helpful"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Rows at both ends", anchor=False, width="stretch")
        end = show.choose("End", {BEST: most, WORST: least}, "explore.influence.end", label_visibility="collapsed")
    selection = live.selection
    if scored.method is not live.method:  # then the order's own values are of another score
        selection = replace(selection, order=replace(selection.order, values=None))
    rows = best if end == BEST else worst
    table.draw(pool, scored.run, rows, key=f"influence.{end}", method=scored.method, selection=selection)
