"""Changes of the settings: each one step of undo, written to the workspace and to the address bar."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from core.selection.selection import Pin
from pages.ui.shell.address import write_address
from pages.ui.shell.settings import Settings, refresh_settings, settings, store_settings

PAST, FUTURE = "winnow.past", "winnow.future"
MAX_UNDO = 100  # steps remembered


def change(**changed: Any) -> None:
    """Change some settings: remembered for undo, saved in the workspace, shown in the address bar."""
    refresh_settings()  # another tab may have changed others of them
    before = settings()
    after = replace(before, **changed)
    if after == before:
        return
    st.session_state[PAST] = (*st.session_state[PAST], before)[-MAX_UNDO:]
    st.session_state[FUTURE] = ()
    _store(after)


def set_params(**params: Any) -> None:
    """Change parameters of the chosen method."""
    now = settings()
    change(params={**now.params, now.method: {**now.params.get(now.method, {}), **params}})


# Pins


def add_pin(row_id: str, side: str, reason: str = "") -> None:
    """Put one row in or out by hand; a later pin of the same row replaces the earlier one."""
    others = tuple(one for one in settings().pins if one.id != row_id)
    change(pins=(*others, Pin(row_id, side, reason)))  # type: ignore[arg-type]


def add_pins(pins: Sequence[Pin]) -> None:
    """Put many rows in or out by hand, as one step of undo; earlier pins of the same rows are replaced."""
    again = {one.id for one in pins}
    change(pins=(*(one for one in settings().pins if one.id not in again), *pins))


def remove_pin(row_id: str) -> None:
    """Leave one row to the method again."""
    change(pins=tuple(one for one in settings().pins if one.id != row_id))


def _store(now: Settings) -> None:
    store_settings(now)
    write_address()


# Undo


def undo() -> None:
    """Back to the settings before the last change."""
    past = st.session_state[PAST]
    if past:
        st.session_state[FUTURE] = (settings(), *st.session_state[FUTURE])
        st.session_state[PAST] = past[:-1]
        _store(past[-1])


def redo() -> None:
    """Forward again after an undo."""
    future = st.session_state[FUTURE]
    if future:
        st.session_state[PAST] = (*st.session_state[PAST], settings())
        st.session_state[FUTURE] = future[1:]
        _store(future[0])


def can_undo() -> bool:
    """Is there anything to go back to?"""
    return bool(st.session_state[PAST])


def can_redo() -> bool:
    """Is there anything to go forward to?"""
    return bool(st.session_state[FUTURE])


def previous_settings() -> Settings | None:
    """All settings as they were before the last change; None when there was none in this tab."""
    past: tuple[Settings, ...] = st.session_state[PAST]
    return past[-1] if past else None
