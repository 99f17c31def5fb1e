"""Pool page: what Winnow does, how far the visitor is, and what is in the open pool."""

import streamlit as st

from core.schema import Pool
from pages.ui.pool import benchmarks, contents, home, outside_scores, rows, storage
from pages.ui.shell import state
from pages.ui.shell.open_row import HAS_PAGE, PAGE
from pages.ui.workbench import bar, layout
from pages.ui.workbench.layout import Places


@st.fragment(key=PAGE)
def draw(pool: Pool, places: Places) -> None:
    """Draw the pool and the highlight in it."""
    st.session_state[HAS_PAGE] = True
    ticked = rows.find_ticked()
    highlight, listed = bar.draw_highlight(
        pool, places.bar, [term for term in state.settings().highlight if term != ticked]
    )
    contents.headline(pool)
    contents.pictures(pool, highlight)
    contents.problems(pool)
    contents.mapping(pool)
    benchmarks.panel(pool)
    outside_scores.panel(pool)
    st.subheader("Rows", anchor=False)
    rows.draw(pool, highlight, listed)


page = layout.open_page("Pool", state.find_open_pool(), bar=True)
with page.body:
    home.draw(state.find_open_pool())
    draw(state.need_pool(), page)
    storage.panel()
