"""Select: how much, and exactly which?"""

import streamlit as st

from core.errors import WinnowError
from pages.ui.controls import budget
from pages.ui.data import live_selection
from pages.ui.select import saved, subset
from pages.ui.shell import show, state

pool = state.need_pool()


@st.fragment
def what_if() -> None:
    """All that a move changes, and nothing else: sorted arrays in, a few kB out."""
    top, back = st.columns([5, 3], vertical_alignment="center")
    kept = budget.undo_buttons(back)
    figures, panel = st.container(), st.container(border=True)
    choice, amount = panel.columns([1, 3], vertical_alignment="bottom")
    with choice:
        budget.method(pool)
    if state.run(pool) is None:
        top.title("Select", anchor=False)
    run, recipe = state.need_run(), state.recipe(pool)
    try:
        answer = live_selection.evaluate(pool, run, recipe)
    except WinnowError as error:
        show.error(error)
        budget.recovery_buttons(run)
        saved.panel(pool, None, kept)
        return
    saved.panel(pool, answer, kept)
    with amount:
        budget.budget(pool, run, answer.selection)
    with panel:
        budget.limits(pool, run, answer)
    band = live_selection.chance_band(pool, run, recipe, state.budget())
    top.title(subset.headline(pool, answer), anchor=False)
    with figures:
        subset.metrics(pool, run, answer, band)
    if not len(answer.selection.rows):
        subset.explain_empty(answer)
        return
    subset.score_histogram(run, answer)
    subset.composition_panels(pool, run, answer, band)
    subset.rows_section(pool, run, answer)


what_if()
