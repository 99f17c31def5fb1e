"""Tabs of the Compare page: agreement, make-up, rows. Only the open one is computed."""

from collections.abc import Callable, Mapping

import streamlit as st

from core.schema import BoolArray, Pool
from pages.ui.compare import curves, difference, groups, overlap, read, sets
from pages.ui.compare.entries import Comparison, Entry
from pages.ui.shell import state


def draw(pool: Pool, comparison: Comparison, reference: Entry, highlight: BoolArray | None) -> None:
    """Draw the tabs and the content of the open one. `highlight`: (N,) the highlighted rows, if any are."""
    places = st.tabs(list(TABS), **state.view_choice("tab", list(TABS), "compare.tab"))
    for place, draw_tab in zip(places, TABS.values(), strict=True):
        if place.open:
            with place:
                draw_tab(pool, comparison, reference, highlight)


def _draw_agreement(pool: Pool, comparison: Comparison, reference: Entry, highlight: BoolArray | None) -> None:
    looks = overlap.looks(comparison.entries)
    overlap.pair_tables(comparison, highlight)
    st.subheader("Overlap by budget", anchor=False)
    curves.draw(pool, comparison, reference, looks)
    st.subheader("Shared and exclusive rows", anchor=False)
    sets.draw(comparison, looks, highlight)


def _draw_make_up(pool: Pool, comparison: Comparison, reference: Entry, highlight: BoolArray | None) -> None:
    compositions = difference.compute_compositions(pool, comparison, reference, highlight)
    difference.section(pool, compositions)
    groups.section(pool, compositions, overlap.looks(comparison.entries))


TABS: Mapping[str, Callable[[Pool, Comparison, Entry, BoolArray | None], None]] = {
    "Agreement": _draw_agreement,
    "Make-up": _draw_make_up,
    "Rows": read.section,
}
