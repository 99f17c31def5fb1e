"""Tabs of the Compare page: agreement, make-up, rows. Only the open one is computed."""

from collections.abc import Callable, Mapping
from functools import partial

import streamlit as st

from core.schema import Pool
from pages.ui.compare import curves, difference, groups, overlap, read, sets
from pages.ui.compare.entries import Comparison, Entry
from pages.ui.shell import state

TAB_KEY = "compare.tab"


def draw(pool: Pool, comparison: Comparison, reference: Entry) -> None:
    """Draw the tabs and the content of the open one."""
    places = st.tabs(list(TABS), **state.view_choice("tab", list(TABS), TAB_KEY))
    for place, draw_tab in zip(places, TABS.values(), strict=True):
        if place.open:
            with place:
                draw_tab(pool, comparison, reference)


def _draw_agreement(pool: Pool, comparison: Comparison, reference: Entry) -> None:
    looks = overlap.looks(comparison.entries)
    overlap.pair_tables(comparison)
    st.subheader("Overlap by budget", anchor=False)
    curves.draw(pool, comparison, reference, looks)
    st.subheader("Shared and exclusive rows", anchor=False)
    sets.draw(comparison, looks, partial(_read_set, comparison))


def _read_set(comparison: Comparison, code: int) -> None:
    read.choose_set(comparison, code)
    state.choose_view(TAB_KEY, ROWS)


def _draw_make_up(pool: Pool, comparison: Comparison, reference: Entry) -> None:
    compositions = difference.compute_compositions(pool, comparison, reference)
    difference.section(pool, comparison, compositions)
    groups.section(pool, comparison, compositions, overlap.looks(comparison.entries))


ROWS = "Rows"
TABS: Mapping[str, Callable[[Pool, Comparison, Entry], None]] = {
    "Agreement": _draw_agreement,
    "Make-up": _draw_make_up,
    ROWS: read.section,
}
