"""Explore: can I trust this score, how much does a selection cover, and which tasks is it made of?"""

import streamlit as st

from core.errors import WinnowError
from pages.ui import show, state, whatif
from pages.ui.explore import sections
from pages.ui.select import controls

pool = state.need_pool()


@st.fragment
def explore() -> None:
    """All that a move of the budget changes: one section."""
    top, choice = st.container(), st.container()
    left, right = st.container(border=True).columns([1, 3], vertical_alignment="bottom")
    with left:
        controls.method(pool)
    if state.run(pool) is None:
        top.title("Explore", anchor=False)
    run = state.need_run()
    try:
        answer = whatif.answer(pool, run, state.recipe(pool))
        there = sections.found(pool, run, answer.method)
        with right:
            controls.budget(pool, run, answer.selection)
        with choice:
            opened = sections.choose(there, answer.method)
        sections.DRAWN[opened](top, pool, run, answer)
    except WinnowError as error:
        show.error(error)
        controls.way_out(run)
        return
    if sections.missing(there):
        st.caption(sections.missing(there))


explore()
