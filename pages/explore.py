"""Explore page: whether a score is trustworthy, how much a selection covers, and which tasks it consists of."""

import streamlit as st

from core.schema import Pool
from pages.ui.explore.sections import catalogue
from pages.ui.shell import show, state
from pages.ui.shell.open_row import PAGE
from pages.ui.workbench import bar, layout
from pages.ui.workbench.layout import Places


@st.fragment(key=PAGE)
def explore(pool: Pool, places: Places) -> None:
    """Draw everything that depends on the bar: the verdict and one section."""
    with places.heading:
        section_choice = st.container(width="content")
    shown = bar.draw(pool, places.bar)
    if shown is None:
        return
    run, live = shown
    verdict = st.container()
    with show.errors():
        available = catalogue.find_sections(pool, run, live.method)
        with section_choice:
            section = catalogue.choose_section(available, live.method)
        catalogue.DRAW_SECTION[section](verdict, pool, run, live)
        if catalogue.suggest_measurements(available):
            st.caption(catalogue.suggest_measurements(available))


opened = state.need_pool()
page = layout.open_page("Explore", opened, bar=True)
with page.body:
    explore(opened, page)
