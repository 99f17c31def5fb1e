"""Changes of the settings: each is one step of undo, written to the workspace and to the address bar."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import streamlit as st

from core.selection.selection import Pin
from pages.ui.shell.address import write_address
from pages.ui.shell.differences import describe_change
from pages.ui.shell.open_row import STALE
from pages.ui.shell.saved_files import selection_part
from pages.ui.shell.settings import FILE_STAMP, SETTINGS, VIEW, Settings, refresh_settings, settings, store_settings
from pages.ui.shell.terms import Term

PAST, FUTURE = "winnow.past", "winnow.future"
NARROW = "winnow.narrow"  # key of the switch that lets a pick narrow the highlight
MAX_UNDO = 100  # steps remembered


def change(**changed: Any) -> None:
    """Change settings, written to the workspace and to the address bar: one step of undo, except for the highlight."""
    refresh_settings()  # another tab may have changed others of them
    before = settings()
    after = replace(before, **changed)
    if after == before:
        return
    if replace(after, highlight=before.highlight) != before:
        st.session_state[PAST] = (*st.session_state[PAST], before)[-MAX_UNDO:]
        st.session_state[FUTURE] = ()
    _store(after)


def open_view(**changed: Any) -> None:
    """Change settings for this tab only, as a link does; nothing is stored until `keep_view`."""
    after = replace(settings(), **changed)
    if after != settings():
        st.session_state[VIEW] = True
        _store(after)


def keep_view() -> None:
    """Make the settings of the view the visitor's own, as one step of undo."""
    seen = settings()
    leave_view()
    change(**{f.name: getattr(seen, f.name) for f in fields(Settings)})
    st.session_state[STALE] = False  # the whole page is drawn again


def leave_view() -> None:
    """Return from the view to the visitor's own settings."""
    st.session_state[VIEW] = False
    st.session_state[PAST] = st.session_state[FUTURE] = ()
    st.session_state[SETTINGS], st.session_state[FILE_STAMP] = Settings(), 0
    refresh_settings()
    write_address()


def is_view() -> bool:
    """Return whether the settings came with a link and are not stored."""
    return bool(st.session_state[VIEW])


def set_params(params: Mapping[str, Any], *, of: str = "", **changed: Any) -> None:
    """Change parameters of a method ("": the current one), and in the same step other settings."""
    now, name = settings(), of or settings().method
    change(params={**now.params, name: {**now.params.get(name, {}), **params}}, **changed)


def set_param(name: str, value: Any, **changed: Any) -> None:
    """Change one parameter as `set_params` does. None, the value of an emptied widget, changes nothing."""
    if value is not None:
        set_params({name: value}, **changed)


# Pins


def add_pin(row_id: str, side: str, reason: str = "") -> None:
    """Pin one row in or out; replaces an earlier pin of the same row."""
    others = tuple(pin for pin in _latest().pins if pin.id != row_id)
    change(pins=(*others, Pin(row_id, side, reason)))  # type: ignore[arg-type]


def add_pins(pins: Sequence[Pin]) -> None:
    """Pin many rows in or out as one step of undo; replaces earlier pins of the same rows."""
    pinned_ids = {pin.id for pin in pins}
    change(pins=(*(pin for pin in _latest().pins if pin.id not in pinned_ids), *pins))


def remove_pin(row_id: str) -> None:
    """Remove the pin of one row."""
    change(pins=tuple(pin for pin in _latest().pins if pin.id != row_id))


def _latest() -> Settings:
    """Return the settings with what another tab has changed since, such as its pins."""
    refresh_settings()
    return settings()


def _store(now: Settings) -> None:
    st.session_state[STALE] = True
    store_settings(now)
    write_address()


# Highlight


def pick(*terms: Term) -> None:
    """Highlight the rows that match all of these terms; or narrow the highlight by them, if that is switched on."""
    others = settings().highlight if st.session_state.get(NARROW) else ()
    change(highlight=(*(one for one in others if one not in terms), *terms))


def negate_term(term: Term) -> None:
    """Replace a term of the highlight by its opposite."""
    opposite = replace(term, exclude=not term.exclude)
    change(highlight=tuple(opposite if one == term else one for one in settings().highlight))


def remove_term(term: Term) -> None:
    """Remove a term from the highlight."""
    change(highlight=tuple(one for one in settings().highlight if one != term))


def replace_term(old: Term | None, new: Term | None) -> None:
    """Replace a term of the highlight by another, or add one; None: there is none."""
    now = tuple(new if term == old else term for term in settings().highlight)
    if old is None:
        now = (*now, new)
    change(highlight=tuple(term for term in now if term is not None))


def clear_highlight() -> None:
    """Highlight no rows."""
    change(highlight=())


# Undo


def undo() -> None:
    """Restore the settings before the last change."""
    past = st.session_state[PAST]
    if past:
        st.session_state[FUTURE] = (settings(), *st.session_state[FUTURE])
        st.session_state[PAST] = past[:-1]
        _store(replace(past[-1], highlight=settings().highlight))


def redo() -> None:
    """Reapply the change that was undone last."""
    future = st.session_state[FUTURE]
    if future:
        st.session_state[PAST] = (*st.session_state[PAST], settings())
        st.session_state[FUTURE] = future[1:]
        _store(replace(future[0], highlight=settings().highlight))


def undo_words() -> str:
    """Return what undo reverts, such as "budget 10% → 20%"; empty if there is nothing to undo."""
    past = st.session_state[PAST]
    return describe_change(past[-1], settings()) if past else ""


def redo_words() -> str:
    """Return what redo applies again; empty if there is nothing to redo."""
    future = st.session_state[FUTURE]
    return describe_change(settings(), future[0]) if future else ""


def previous_settings() -> Settings | None:
    """Return the settings before the last change that concerns the selection, as a tag that no filter names does not.

    None if there was no such change in this tab.
    """
    past: tuple[Settings, ...] = st.session_state[PAST]
    now = selection_part(settings())
    return next((before for before in reversed(past) if selection_part(before) != now), None)
