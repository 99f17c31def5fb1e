"""Selections saved under a name: keep the present one, go back to another, and see how far they agree."""

from collections.abc import Callable, Iterable

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.errors import WinnowError
from core.methods import METHODS
from core.schema import IntArray, Pool
from core.selection.budget import Budget
from pages.ui.data import live_selection
from pages.ui.data.live_selection import LiveSelection
from pages.ui.shell import show, state
from pages.ui.shell.state import Settings
from pages.ui.words import escape_markdown

PENDING_KEY = "saved.asked"  # (what, name): the row that is asked about, between one run and the next


def panel(pool: Pool, answer: LiveSelection | None, place: DeltaGenerator) -> None:
    """Save, load, rename and delete. `answer`: the present selection, None where there is none."""
    opened = place.popover("Saved", icon=":material/bookmark:", key="saved.panel", on_change="rerun")
    if not opened.open:
        return  # how many rows each has is not worked out for nothing
    with opened:
        known, called = state.saved_selections(pool), state.saved_name()
        _save(name for name in known if name != called)
        present = None if answer is None else answer.selection.rows
        for name, one in known.items():
            _line(pool, name, one, present, now=name == called)


def _save(others: Iterable[str]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Save the present selection as", key="saved.name", placeholder="A name").strip()
        there = name in set(others)
        pressed = st.button(
            "Replace" if there else "Save",
            icon=":material/bookmark_add:",
            key="saved.save",
            help="Method, parameters, budget, limit, filters and pins, under this name, for every tab.",
        )
    if there:
        st.caption("There is a selection of this name; it would be replaced.")
    if pressed:
        _do(lambda: state.save_as(name))


def _do(change: Callable[[], object]) -> None:
    """Change something that is saved, and draw anew; or say why not."""
    try:
        change()
    except WinnowError as error:
        show.error(error)
        return
    state.set_widget(PENDING_KEY, None)
    st.rerun()  # all of the app: the bar beside the page may show something else


def _line(pool: Pool, name: str, one: Settings, present: IntArray | None, *, now: bool) -> None:
    """One saved selection: what it is, its size, and what can be done with it."""
    key = f"saved.{name}"
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.text(name, width="stretch")
            if st.button("Load", key=f"{key}.load", disabled=now, help="One step: Undo takes it back."):
                _do(lambda: state.load_saved(name))
            for what, icon in (("rename", ":material/edit:"), ("delete", ":material/delete:")):
                if st.button("", icon=icon, key=f"{key}.{what}", help=what.capitalize()):
                    state.set_widget(PENDING_KEY, (what, name))
        st.caption(f"{_words(one)} · {_size(pool, one, present, now=now)}")
        asked = state.session_value(PENDING_KEY)
        if asked == ("rename", name):
            _rename(name, key)
        elif asked == ("delete", name):
            _delete(name, key)


def _words(one: Settings) -> str:
    parts = [METHODS[one.method].label, show.format_budget(Budget.parse(one.budget))]
    parts += [f"{len(one.filters)} filter{'s' if len(one.filters) > 1 else ''}"] if one.filters else []
    parts += [f"{len(one.pins)} pinned"] if one.pins else []
    return " · ".join(parts)


def _size(pool: Pool, one: Settings, present: IntArray | None, *, now: bool) -> str:
    """How many rows it has, and how many of them are chosen now."""
    run = state.run(pool, one)
    if run is None:
        return "not measured"
    try:
        rows = live_selection.select(pool, run, state.recipe(pool, one)).rows
    except WinnowError as error:
        return escape_markdown(error)
    if now:
        return f"{len(rows):,} rows, chosen now"
    if present is None:
        return f"{len(rows):,} rows"
    return f"{len(rows):,} rows, {len(np.intersect1d(rows, present)):,} of them chosen now"


def _rename(name: str, key: str) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        other = st.text_input("New name", name, key=f"{key}.other")
        if st.button("Rename", key=f"{key}.renamed"):
            _do(lambda: state.rename_saved(name, other))


def _delete(name: str, key: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text("Delete it for good?", width="stretch")
        if st.button("Delete", key=f"{key}.deleted", type="primary"):
            _do(lambda: state.delete_saved(name))
        if st.button("Keep", key=f"{key}.kept"):
            _do(lambda: None)
