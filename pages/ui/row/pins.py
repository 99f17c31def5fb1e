"""Buttons that include or exclude a row always, with a reason, and that undo it."""

from collections.abc import Callable

import streamlit as st

from core.schema import Row
from core.selection.selection import Pin
from pages.ui.shell import show, state
from pages.ui.words import escape_markdown

SIDES = {"in": "always included", "out": "always excluded"}
BUTTONS = {  # side -> label, icon, key on the keyboard, tooltip
    "in": ("Always include", "keep", "I", "Rank this row first, at every budget."),
    "out": ("Always exclude", "block", "X", "Never select this row."),
}
REASON = "Reason (optional, saved in the manifest)"


def pin_controls(row: Row, key: str, *, before: Callable[[], None] | None = None) -> None:
    """Draw the buttons for the pin of a row, and its reason.

    `before`: called before a change, so that a reader keeps its place; the buttons then have keys.
    """
    pin = next((pin for pin in state.settings().pins if pin.id == row.id), None)
    reason = f"{key}.reason.{row.index}"
    with st.container(horizontal=True):
        for side in BUTTONS:
            _pin_button(row, side, pin, key, reason, before)
    if pin is None:
        st.text_input(REASON, key=reason, placeholder=REASON, label_visibility="collapsed", on_change="ignore")
    else:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(SIDES[pin.side].capitalize(), icon=":material/keep:", color="violet")
            st.text(pin.reason or "No reason given", width="stretch")


def undo_button(key: str, before: Callable[[], None]) -> None:
    """Draw the button that undoes the last change, whatever it was; U presses it. `before`: as of `pin_controls`."""
    words = state.undo_words()
    label = f"Undo: {escape_markdown(words)}" if words else "Undo"
    show.action(label, "undo", f"{key}.undo.pin", _call, before, state.undo, shortcut="U", disabled=not words)


def _pin_button(row: Row, side: str, pin: Pin | None, key: str, reason: str, before: Callable[[], None] | None) -> None:
    label, icon, shortcut, help = BUTTONS[side]
    options = {"shortcut": shortcut} if before is not None else {}
    if pin is not None and pin.side == side:
        show.action("Remove pin", "keep_off", f"{key}.unpin", _call, before, state.remove_pin, row.id, **options)
        return
    keep = pin.reason if pin is not None else None
    show.action(
        label, icon, f"{key}.pin.{side}", _call, before, _add_pin, row.id, side, keep, reason, help=help, **options
    )


def _call(before: Callable[[], None] | None, change: Callable[..., None], *args: object) -> None:
    if before is not None:
        before()
    change(*args)


def _add_pin(row_id: str, side: str, reason: str | None, reason_key: str) -> None:
    state.add_pin(row_id, side, state.widget_value(reason_key).strip() if reason is None else reason)
