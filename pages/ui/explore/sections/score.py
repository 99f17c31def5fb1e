"""Score: the distribution of one column, and what it correlates with."""

from typing import Any

import streamlit as st

from core.measurement.runs import Run
from core.schema import Pool
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import scores
from pages.ui.shell import hints


def draw(top: Any, pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw the distribution of one column and what it correlates with."""
    chooser, text = st.columns([1, 3], vertical_alignment="bottom")
    with chooser:
        column = scores.choose_column(run, live.method)
    top.title(scores.verdict(run, live, column), anchor=False)
    with top:
        hints.draw("explore")
    text.markdown(f"**{scores.describe_direction(live, column)}**")
    if column != "response_tokens":  # length itself
        scores.draw_warnings(scores.check_score(run, live.method, column).warnings)
    _draw_figures(pool, run, live, column)


@st.fragment
def _draw_figures(pool: Pool, run: Run, live: LiveSelection, column: str) -> None:
    left, right = st.columns([7, 3])
    with left:
        rule = "; beyond the cut no row is taken" if column == live.method.ranks_by else ""
        st.caption(f"Rows per score, quantiles dotted{rule}. Click a bar, or drag over several, to read or filter.")
        clicked = scores.draw_histogram(run, live, column)
    with right:
        scores.draw_correlations(run, live.method, column)
        st.caption(scores.describe_counts(run, live, column))
    scores.draw_rows(pool, run, live, clicked, key="bar")
