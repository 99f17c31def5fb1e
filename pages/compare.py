"""Compare page: how far the methods agree."""

import streamlit as st

from core.schema import Pool
from pages.ui.compare import entries, overlap, picker, tabs
from pages.ui.shell import hints, show, state
from pages.ui.shell.open_row import PAGE
from pages.ui.words import escape_markdown
from pages.ui.workbench import bar, layout
from pages.ui.workbench.layout import Places


@st.fragment(key=PAGE)
def compare(pool: Pool, places: Places) -> None:
    """Draw the page; a new budget only cuts the cached orders at another place."""
    shown = bar.draw(pool, places.bar)
    if shown is None:
        return
    verdict = st.container()
    with show.errors():
        built, reference = picker.draw(pool)
        if reference is None:
            st.info("Choose at least two methods to compare.", icon=":material/compare_arrows:")
            return
        comparison = entries.compare_entries(built, state.budget(), len(pool))
        with verdict:
            _verdict(pool, comparison, reference)
        tabs.draw(pool, comparison, reference, shown[1].highlight)


def _verdict(pool: Pool, comparison: entries.Comparison, reference: entries.Entry) -> None:
    st.subheader(escape_markdown(overlap.headline(comparison, reference)), anchor=False)
    hints.draw("compare")
    st.markdown(overlap.summary(comparison, reference))
    show.note(" ".join(overlap.shortfalls(comparison, len(pool))))


opened = state.need_pool()
page = layout.open_page("Compare", opened, bar=True)
with page.body:
    compare(opened, page)
