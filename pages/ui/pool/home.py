"""Home, on top of the Pool page: what Winnow does, why, how far the visitor is, and ways to open a pool."""

import streamlit as st

from core.schema import Pool
from pages.ui.pool import opening
from pages.ui.shell import road, running, show

WHAT = "Find the part of your instruction data that is worth training on"
WHY = (
    "A language model measures every row; then you rank, compare and select rows without waiting. Papers report better "
    "models from 10% to 15% of a pool than from the whole pool, but this depends on the pool. Winnow compares every "
    "method with random rows, so that you can check."
)


def draw(pool: Pool | None) -> None:
    """Draw what Winnow does and why, the road with the next step, and the ways to open a pool."""
    st.header(WHAT, anchor=False)
    st.markdown(WHY)
    if pool is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            road.draw(pool)
            _next_step(pool)
    opening.panel()
    opening.reading()


def _next_step(pool: Pool) -> None:
    """Draw the button to the first page that has something to show."""
    page, label = "measure", "Show the progress" if running.measuring(pool) else "Measure this pool"
    if road.measured_methods(pool):
        page, label = "explore", "See the scores"
    if st.button(show.on_primary(label), icon=show.PAGES[page]["icon"], type="primary", key=f"to.{page}"):
        st.switch_page(show.PAGES[page]["page"])
