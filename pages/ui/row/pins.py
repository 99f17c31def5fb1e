"""Buttons that include or exclude a row always, with a reason, and that undo it."""

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


def pin_controls(row: Row, key: str) -> None:
    """Draw the buttons for the pin of a row, and its reason. I and X press them."""
    pin = next((pin for pin in state.settings().pins if pin.id == row.id), None)
    reason = f"{key}.reason.{row.index}"
    with st.container(horizontal=True):
        for side in BUTTONS:
            _pin_button(row, side, pin, key, reason)
        _undo_button(key)
    if pin is None:
        st.text_input(REASON, key=reason, placeholder=REASON, label_visibility="collapsed", on_change="ignore")
    else:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(SIDES[pin.side].capitalize(), icon=":material/keep:", color="violet")
            st.text(pin.reason or "No reason given", width="stretch")


def _undo_button(key: str) -> None:
    """Draw the button that undoes the last change, whatever it was; U presses it."""
    words = state.undo_words()
    label = f"Undo: {escape_markdown(words)}" if words else "Undo"
    show.action(label, "undo", f"{key}.undo", _undo, shortcut="U", disabled=not words)


def _undo() -> None:
    state.undo()
    st.rerun()  # the whole app: the step may have changed anything


def _pin_button(row: Row, side: str, pin: Pin | None, key: str, reason: str) -> None:
    label, icon, shortcut, help = BUTTONS[side]
    if pin is not None and pin.side == side:
        show.action("Remove pin", "keep_off", f"{key}.unpin", _remove_pin, row.id, shortcut=shortcut)
        return
    keep = pin.reason if pin is not None else None
    show.action(label, icon, f"{key}.pin.{side}", _add_pin, row.id, side, keep, reason, help=help, shortcut=shortcut)


def _remove_pin(row_id: str) -> None:
    state.remove_pin(row_id)
    st.rerun()


def _add_pin(row_id: str, side: str, reason: str | None, reason_key: str) -> None:
    state.add_pin(row_id, side, state.widget_value(reason_key).strip() if reason is None else reason)
    st.rerun()  # the whole app: the page shows the selection with this pin
