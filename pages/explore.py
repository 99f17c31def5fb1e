"""Explore page: whether a score is trustworthy, how much a selection covers, and which tasks it consists of."""

import streamlit as st

from core.errors import WinnowError
from pages.ui.controls import budget
from pages.ui.data import live_selection
from pages.ui.explore.sections import catalogue
from pages.ui.shell import show, state

pool = state.need_pool()


@st.fragment
def explore() -> None:
    """Draw everything that depends on the budget: the verdict and one section."""
    heading = st.container(horizontal=True, vertical_alignment="center")
    heading.title("Explore", anchor=False, width="stretch")
    section_choice, verdict = heading.container(width="content"), st.container()
    left, right = st.container(border=True).columns([1, 3], vertical_alignment="bottom")
    with left:
        budget.method(pool)
    run = state.need_run()
    try:
        live = live_selection.evaluate(pool, run, state.recipe(pool))
        available = catalogue.find_sections(pool, run, live.method)
        with right:
            budget.budget(pool, run, live.selection)
        with section_choice:
            section = catalogue.choose_section(available, live.method)
        catalogue.DRAW_SECTION[section](verdict, pool, run, live)
    except WinnowError as error:
        show.error(error)
        budget.recovery_buttons(run)
        return
    if catalogue.suggest_measurements(available):
        st.caption(catalogue.suggest_measurements(available))


explore()
