"""Influence: each target, response length, the two ends, agreement, and pair accuracy."""

from typing import Any

import streamlit as st

from core.measurement.runs import Run
from core.schema import Pool
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import (
    influence,
    influence_agreement,
    influence_check,
    influence_extremes,
    influence_spread,
    scores,
)
from pages.ui.explore.influence import SCORE
from pages.ui.shell import show


def draw(verdict: Any, pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw influence on each target, its relation to length, agreement between targets, and pair accuracy."""
    source = influence.find_influence_run(pool, run)
    assert source is not None
    scored = influence.score_influence(source, live)
    if scored.method is not live.method:
        scored = influence.choose_target(scored)
    verdict.subheader(influence.headline(scored), anchor=False)
    st.caption(influence.reading_help(scored))
    scores.draw_warnings(influence.collect_warnings(scored))
    left, right = show.columns(2, gap="medium")
    with left:
        st.subheader("Distribution of influence", anchor=False)
        st.caption("Click a bar to highlight its rows.")
        influence_spread.draw_ridges(scored, live)
    with right:
        st.subheader("Influence and response length", anchor=False)
        influence_spread.draw_length_plane(pool, scored, live)
    influence_extremes.draw_ends(pool, scored, live)
    left, right = show.columns([6, 5], gap="medium")
    with left:
        influence_agreement.draw_agreement(pool, scored, live)
    with right:
        influence_agreement.draw_accuracy(scored)
        influence_check.draw_check(scored)
    influence_agreement.draw_pairs(scored)
    scores.draw_highlighted(pool, run, live, scored.column_of(scored.target), scored.columns[SCORE], highest=True)
