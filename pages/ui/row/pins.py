"""Pins of rows: always included or excluded, each with a reason."""

import streamlit as st

from core.schema import Row
from core.selection.selection import Pin
from pages.ui.shell import state

SIDES = {"in": "always included", "out": "always excluded"}
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

    bound = state.bind(f"{key}.reason.{row.index}", pin.reason, set_reason)  # of this row, however late it arrives
    st.text_input(REASON, placeholder=REASON, label_visibility="collapsed", **bound)
