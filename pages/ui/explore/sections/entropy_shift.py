"""Entropy shift: both shifts against each other, and by task."""

from typing import Any

import streamlit as st

from core.measurement.runs import Run
from core.measurement.start_model import start_model_sentence
from core.schema import Pool
from pages.ui import glossary
from pages.ui.data.grouping import find_shift_grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import scores, shifts
from pages.ui.shell import show


def draw(verdict: Any, pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw both shifts against each other, and by task."""
    verdict.subheader(shifts.headline(run, live), anchor=False)
    st.caption(f"{shifts.describe(run, live)} {start_model_sentence(run)}")
    _draw_figures(pool, run, live)


def _draw_figures(pool: Pool, run: Run, live: LiveSelection) -> None:
    left, right = show.columns([6, 4])
    with left:
        st.subheader("ΔNLL and ΔH by row", anchor=False)
        shifts.draw_shifts(pool, run, live)
    groups = find_shift_grouping(pool, run)
    with right:
        st.subheader(f"ΔH by {groups.noun}", anchor=False)
        less = f"{glossary.link('delta_entropy')} below 0 is expansion: the model became less certain."
        st.caption(f"{less} Click a bar to highlight its rows. {groups.origin}")
        shifts.draw_tasks(pool, run, live)
    scores.draw_highlighted(pool, run, live, shifts.SHIFT_COLUMNS[1])
