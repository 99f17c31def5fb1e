"""Compare: which method should I believe?"""

import streamlit as st

from core.errors import WinnowError
from core.selection.selection import Selection
from pages.ui.compare import combine, contenders, difference, entries, groups, overlap, picker, read
from pages.ui.controls import budget
from pages.ui.data import cached
from pages.ui.shell import show, state

pool = state.need_pool()


@st.fragment
def compare() -> None:
    """All of it: orders are known, so a move of the budget only cuts them elsewhere."""
    top = st.container()
    runs = contenders.list_pool_runs(pool)
    there = contenders.available(pool, runs)
    if not there:
        top.title("Compare", anchor=False)
        show.empty_page("Nothing is measured yet", "Measure a method: random rows come with it.", page="score")
    picked, panel = contenders.current_contenders(there), st.container(border=True)
    who, against, more = panel.columns([6, 2, 1], vertical_alignment="bottom")
    with who:
        picker.choose_contenders(there, picked)
    with more:
        picker.add_panel(pool, runs, picked)
    found, refused = entries.build_entries(pool, runs, picked)
    if len(found) < 2:
        top.title("Compare", anchor=False)
        picker.show_refused(refused)
        st.info("Choose at least two to compare.", icon=":material/compare_arrows:")
        return
    with against:
        first = picker.choose_reference(found)
    known = entries.compare_entries(found, state.budget(), len(pool))
    with panel:
        _budget(known, first)
        st.caption(overlap.comparison_terms(found))
    picker.show_refused(refused)
    top.title(overlap.headline(known, first), anchor=False)
    top.markdown(overlap.summary(known, first))
    _draw(known, first)


def _budget(known: entries.Comparison, first: entries.Entry) -> None:
    """The one budget of all pages."""
    base = entries.base_entry(known.entries)
    rows = known.rows(list(known.entries).index(first))
    tokens = cached.measurements(base.run).need("response_tokens")
    budget.budget(pool, base.run, Selection(pool.fingerprint, rows, 0, int(tokens[rows].sum()), first.order))


def _draw(known: entries.Comparison, first: entries.Entry) -> None:
    named = overlap.looks(known.entries)
    left, right = st.columns([11, 9], gap="medium")
    with left:
        st.subheader("What they share, at every budget", anchor=False)
        overlap.curves(pool, known, first, named)
    with right:
        st.subheader("Who takes which rows", anchor=False)
        clicked = overlap.exclusive_sets(known, named)
    overlap.pair_tables(known)
    here = difference.compute_compositions(pool, known)
    difference.section(pool, known, here)
    groups.section(pool, known, here, named)
    read.section(pool, known, first, clicked)
    combine.panel(pool, known.entries)


try:
    compare()
except WinnowError as error:
    show.error(error)
