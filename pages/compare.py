"""Compare page: how far the methods agree."""

import streamlit as st

from core.selection.selection import Selection
from pages.ui.compare import combine, contenders, difference, entries, groups, overlap, picker, read
from pages.ui.controls import budget
from pages.ui.data import cached
from pages.ui.shell import show, state

pool = state.need_pool()


@st.fragment
def compare() -> None:
    """Draw the page; a new budget only cuts the cached orders at another place."""
    top = st.container()
    runs = contenders.list_pool_runs(pool)
    available_contenders = contenders.available(pool, runs)
    if not available_contenders:
        top.title("Compare", anchor=False)
        show.empty_page("Nothing is measured yet", "Measure a method: random rows come with it.", page="measure")
    current, panel = contenders.current_contenders(available_contenders), st.container(border=True)
    who, against, more = panel.columns([6, 2, 1], vertical_alignment="bottom")
    with who:
        picker.choose_contenders(available_contenders, current)
    with more:
        picker.add_panel(pool, runs, current)
    built, refused = entries.build_entries(pool, runs, current)
    if len(built) < 2:
        top.title("Compare", anchor=False)
        show.warning(*refused)
        st.info("Choose at least two to compare.", icon=":material/compare_arrows:")
        return
    with against:
        reference = picker.choose_reference(built)
    comparison = entries.compare_entries(built, state.budget(), len(pool))
    with panel:
        _budget(comparison, reference)
        st.caption(overlap.comparison_terms(built))
    show.warning(*refused)
    top.title(overlap.headline(comparison, reference), anchor=False)
    top.markdown(overlap.summary(comparison, reference))
    _draw(comparison, reference)


def _budget(comparison: entries.Comparison, reference: entries.Entry) -> None:
    """Draw the budget that all pages share."""
    base = entries.base_entry(comparison.entries)
    rows = comparison.rows(list(comparison.entries).index(reference))
    tokens = cached.measurements(base.run).need("response_tokens")
    budget.budget(pool, base.run, Selection(pool.fingerprint, rows, 0, int(tokens[rows].sum()), reference.order))


def _draw(comparison: entries.Comparison, reference: entries.Entry) -> None:
    looks = overlap.looks(comparison.entries)
    left, right = st.columns([11, 9], gap="medium")
    with left:
        st.subheader("What they share, at every budget", anchor=False)
        overlap.curves(pool, comparison, reference, looks)
    with right:
        st.subheader("Who takes which rows", anchor=False)
        clicked_set = overlap.exclusive_sets(comparison, looks)
    overlap.pair_tables(comparison)
    compositions = difference.compute_compositions(pool, comparison)
    difference.section(pool, comparison, compositions)
    groups.section(pool, comparison, compositions, looks)
    read.section(pool, comparison, reference, clicked_set)
    combine.panel(pool, comparison.entries)


with show.errors():
    compare()
