"""Sidebar of every page: the open pool, its size, method, model, budget and running jobs."""

import streamlit as st

from core.methods import METHODS
from pages.ui.data import cached
from pages.ui.shell import hints, jobs, show, sign_in, state, term_dialog, visitors
from pages.ui.words import model_name

WITH_BAR = ("explore", "compare", "select", "export")


def bar(page: str) -> None:
    """Draw the sidebar. It reads small files only, so its cost is negligible.

    On the pages with a bar the budget is left out: there it moves with a slider, whose fragment cannot redraw the
    sidebar.
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
            if page not in WITH_BAR:
                _entry("Budget", show.format_budget(state.budget()))
        jobs.badge(cached.live_jobs())
        term_dialog.button()
        hints.recall_button()
        if name := sign_in.find_name():
            _entry("Signed in as", name)
            sign_in.sign_out_button()
        if not visitors.is_known():
            st.caption("This browser keeps no cookies, so your settings and uploads are available in this tab only.")


def _entry(label: str, value: str, note: str = "") -> None:
    with st.container(gap=None):
        st.caption(label)
        st.text(value)
        if note:
            st.caption(note)
