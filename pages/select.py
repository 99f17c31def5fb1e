"""Select page: how many rows, and exactly which."""

import streamlit as st

from core.analysis.composition import RandomBand
from core.errors import WinnowError
from core.measurement.runs import Run
from pages.ui.controls import budget
from pages.ui.data import live_selection
from pages.ui.data.live_selection import LiveSelection
from pages.ui.proof import line
from pages.ui.select import saved, subset
from pages.ui.shell import show, state

pool = state.need_pool()


@st.fragment
def what_if() -> None:
    """Draw all that a control changes, computed from arrays sorted once; a few kB reach the browser."""
    top, history_place = st.columns(2)
    top.title("Select", anchor=False)
    saved_place = budget.undo_buttons(history_place)
    figures, panel = st.container(), st.container(border=True)
    choice, amount = panel.columns([1, 3], vertical_alignment="bottom")
    with choice:
        budget.method(pool)
    run, recipe = state.need_run(), state.recipe(pool)
    try:
        live = live_selection.evaluate(pool, run, recipe)
    except WinnowError as error:
        show.error(error)
        budget.recovery_buttons(run)
        saved.panel(pool, None, saved_place)
        return
    saved.panel(pool, live, saved_place)
    with amount:
        budget.budget(pool, run, live.selection)
    with panel:
        budget.limits(pool, run, live)
    band = live_selection.chance_band(pool, run, live.selection)
    top.subheader(subset.headline(pool, live), anchor=False)
    with figures:
        line.draw(pool, recipe)
        subset.metrics(pool, run, live, band)
    _details(run, live, band)


def _details(run: Run, live: LiveSelection, band: RandomBand) -> None:
    """Draw the histogram, the composition and the rows of the selection, or why it is empty."""
    if not len(live.selection.rows):
        subset.explain_empty(live)
        return
    subset.score_histogram(run, live)
    subset.composition_panels(pool, run, live, band)
    subset.rows_section(pool, run, live)


what_if()
