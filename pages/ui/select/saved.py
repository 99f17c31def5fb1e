"""Selections saved under a name: save the current one, load another, and see how far they overlap."""

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
from pages.ui.words import escape_markdown, format_rows

PENDING_KEY = "saved.asked"  # key of (action, name): what the user is asked to confirm


def panel(pool: Pool, live: LiveSelection | None, place: DeltaGenerator) -> None:
    """Draw saving, loading, renaming and deleting. `live`: the current selection, None if there is none."""
    opened = place.popover("Saved selections", icon=":material/bookmark:", key="saved.panel", on_change="rerun")
    if not opened.open:
        return  # sizes are computed only when they are shown
    with opened:
        selections, loaded = state.saved_selections(pool), state.saved_name()
        _save_form(name for name in selections if name != loaded)
        current = None if live is None else live.selection.rows
        for name, saved in selections.items():
            _draw_saved(pool, name, saved, current, is_loaded=name == loaded)


def _save_form(others: Iterable[str]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Save the current selection as", key="saved.name", placeholder="Name").strip()
        exists = name in set(others)
        label, icon = "Replace" if exists else "Save", ":material/bookmark_add:"
        help = "Saves method, settings, budget, score limit, filters and pins under this name."
        pressed = st.button(label, icon=icon, key="saved.save", help=help)
    if exists:
        st.caption("A selection with this name exists. Saving replaces it.")
    if pressed:
        _apply(lambda: state.save_as(name))


def _apply(change: Callable[[], object]) -> None:
    """Apply a change to what is saved and rerun the app; or show why it failed."""
    with show.errors():
        change()
        state.set_widget(PENDING_KEY, None)
        st.rerun()  # the whole app, because the sidebar may change


def _draw_saved(pool: Pool, name: str, settings: Settings, current: IntArray | None, *, is_loaded: bool) -> None:
    """Draw one saved selection: what it is, its size, and what can be done with it."""
    key = f"saved.{name}"
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.text(name, width="stretch")
            if st.button("Load", key=f"{key}.load", disabled=is_loaded, help="Undo restores the current settings."):
                _apply(lambda: state.load_saved(name))
            for action, icon in (("rename", ":material/edit:"), ("delete", ":material/delete:")):
                if st.button("", icon=icon, key=f"{key}.{action}", help=action.capitalize()):
                    state.set_widget(PENDING_KEY, (action, name))
        st.caption(f"{_describe_settings(settings)} · {_describe_size(pool, settings, current, is_loaded=is_loaded)}")
        pending = state.session_value(PENDING_KEY)
        if pending == ("rename", name):
            _rename_form(name, key)
        elif pending == ("delete", name):
            _delete_form(name, key)


def _describe_settings(settings: Settings) -> str:
    parts = [METHODS[settings.method].label, show.format_budget(Budget.parse(settings.budget))]
    parts += ["tops up used rows"] if settings.given else []
    for noun, parts_of in (("filter", settings.filters), ("pin", settings.pins)):
        parts += [f"{len(parts_of):,} {noun}{'s' if len(parts_of) > 1 else ''}"] if parts_of else []
    return " · ".join(parts)


def _describe_size(pool: Pool, settings: Settings, current: IntArray | None, *, is_loaded: bool) -> str:
    """Return how many rows it has, and how many of them are selected now."""
    run = state.run(pool, settings)
    if run is None:
        return "not measured"
    try:
        rows = live_selection.select(pool, run, state.recipe(pool, settings)).rows
    except WinnowError as error:
        return escape_markdown(error)
    if is_loaded:
        return f"{format_rows(len(rows))}, the current selection"
    if current is None:
        return format_rows(len(rows))
    return f"{format_rows(len(rows))}, {len(np.intersect1d(rows, current)):,} of them in the current selection"


def _rename_form(name: str, key: str) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        new_name = st.text_input("New name", name, key=f"{key}.other")
        if st.button("Rename", key=f"{key}.renamed"):
            _apply(lambda: state.rename_saved(name, new_name))


def _delete_form(name: str, key: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text("Delete this selection permanently?", width="stretch")
        if st.button(show.on_primary("Delete"), key=f"{key}.deleted", type="primary"):
            _apply(lambda: state.delete_saved(name))
        if st.button("Cancel", key=f"{key}.kept"):
            _apply(lambda: None)
