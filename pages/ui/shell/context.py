"""The narrow bar beside every page: what is open, with what it is read, how much is chosen, what is running."""

import streamlit as st

from core.methods import METHODS
from pages.ui.data import cached
from pages.ui.shell import jobs, show, state
from pages.ui.words import model_name


def bar(page: str) -> None:
    """Draw it. Reads small files only, so that it costs a page nothing.

    The Explore, Compare and Select pages show the budget themselves: there it moves with a slider, which draws nothing
    outside its own fragment.
    """
    with st.sidebar:
        pool = state.find_open_pool()
        now = state.settings()
        if pool is None:
            st.caption("No pool is open.")
        else:
            rows = f"{show.format_count(len(pool))} {'row' if len(pool) == 1 else 'rows'}"
            _entry("Pool", show.pool_name(pool.name, pool.source), rows)
            _entry("Method", METHODS[now.method].label)
            _entry("Model", model_name(now.reading.model))
            if page not in ("explore", "compare", "select"):
                _entry("Budget", show.format_budget(state.budget()))
        jobs.badge(cached.live_jobs())


def _entry(label: str, value: str, note: str = "") -> None:
    with st.container(gap=None):
        st.caption(label)
        st.text(value)
        if note:
            st.caption(note)
