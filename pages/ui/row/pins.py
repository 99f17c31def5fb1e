"""Pins of rows: always included or excluded, each with a reason."""

import streamlit as st

from core.schema import Row
from core.selection.selection import Pin
from pages.ui.shell import show, state

SIDES = {"in": "always included", "out": "always excluded"}
BUTTONS = {  # side -> label, icon, tooltip
    "in": ("Always include", "keep", "Rank this row first, at every budget."),
    "out": ("Always exclude", "block", "Never select this row."),
}
REASON = "Reason (optional, saved in the manifest)"


def find_pin(row_id: str) -> Pin | None:
    """Return the pin of a row; None if it has none."""
    return next((pin for pin in state.settings().pins if pin.id == row_id), None)


def toggle(row_id: str, side: str) -> None:
    """Pin a row on this side, with the reason that it has; remove its pin if it is on this side already."""
    pin = find_pin(row_id)
    if pin is not None and pin.side == side:
        state.remove_pin(row_id)
    else:
        state.add_pin(row_id, side, pin.reason if pin is not None else "")


def draw_reason(row: Row, pin: Pin, key: str) -> None:
    """Draw the field of the reason of a pin."""

    def set_reason(words: str) -> None:
        state.add_pin(row.id, pin.side, words.strip())

    bound = state.bind(f"{key}.reason", pin.reason, set_reason)
    st.text_input(REASON, placeholder=REASON, label_visibility="collapsed", **bound)


def pin_controls(row: Row, key: str) -> None:
    """Draw the buttons for the pin of a row, and its reason."""
    pin = find_pin(row.id)
    with st.container(horizontal=True):
        for side, (label, icon, help) in BUTTONS.items():
            if pin is not None and pin.side == side:
                show.action("Remove pin", "keep_off", f"{key}.unpin", _toggle, row.id, side)
            else:
                show.action(label, icon, f"{key}.pin.{side}", _toggle, row.id, side, help=help)
    if pin is not None:
        draw_reason(row, pin, key)


def _toggle(row_id: str, side: str) -> None:
    toggle(row_id, side)
    st.rerun()  # the whole app: the page shows the selection with this pin
