"""The row that is open in the reader, and the list of rows that it steps through.

A list stays as it was when its row was opened: a pin or a new budget does not move the rows that come next.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st

from core.errors import RecipeError
from core.schema import IntArray, Pool
from pages.ui.data import live_selection
from pages.ui.words import shorten

OPEN = "winnow.open"  # the open row, or None
CLOSED = "winnow.closed"  # the row that was open before the reader was closed, or None
STALE = "winnow.stale"  # whether settings have changed since the reader was drawn
LISTED = "winnow.listed"  # the rows that the page is about: what a row without a list stands in
FOLLOWER = "winnow.follower"  # key of the fragment of the page that shows which row is open; None: no view does
HAS_READER = "winnow.has_reader"  # whether the reader is drawn: a fragment that is not cannot be asked for
HAS_PAGE = "winnow.has_page"  # whether the page has a fragment with the key PAGE
READER, TABLE, PAGE = "reader", "rows", "page"  # keys of fragments: the reader, a table of rows, all below the title


@dataclass(frozen=True, eq=False)
class OpenRow:
    """The open row, and where it stands in a list of rows."""

    id: str
    row: int  # its number in the pool
    rows: IntArray | None = None  # the list that it was opened from; None: a link named it
    position: int = 0  # in that list
    back: "OpenRow | None" = None  # the row from which it was opened as a similar one


def find_open() -> OpenRow | None:
    """Return the open row; None if there is none."""
    opened: OpenRow | None = st.session_state.get(OPEN)
    return opened


def open_row(pool: Pool, rows: IntArray | Sequence[int], position: int = 0, *, similar: bool = False) -> None:
    """Open a row of a list in the reader; for callbacks. `similar`: `go_back` returns to the present row."""
    was_open = find_open()
    show_row(pool, np.asarray(rows, np.int64), position, back=was_open if similar else None)
    draw_again(whole=was_open is None)


def show_row(pool: Pool, rows: IntArray, position: int, **more: Any) -> None:
    """Open a row of a list without drawing anything."""
    row = int(rows[position])
    _set(OpenRow(pool.rows["id"][row].as_py(), row, rows, position, **more))


def place_row(rows: IntArray, position: int) -> None:
    """Let the open row, which a link named, stand in this list."""
    opened = find_open()
    if opened is not None:
        st.session_state[OPEN] = replace(opened, rows=rows, position=position)


def go_back() -> None:
    """Open the row from which the open one was opened as a similar one, without drawing anything."""
    opened = find_open()
    if opened is not None and opened.back is not None:
        _set(opened.back)


def close_row() -> None:
    """Close the reader without drawing anything."""
    st.session_state[CLOSED] = find_open()
    _set(None)


def reopen_row() -> bool:
    """Open the row that was closed last, without drawing anything. Return whether there is one."""
    _set(st.session_state.get(CLOSED))
    return find_open() is not None


def view_row(pool: Pool, row_id: str) -> None:
    """Open the row that a link names. Raise RecipeError if the pool has none with this id."""
    found = live_selection.rows_with_ids(pool, [row_id])
    if not len(found):
        raise RecipeError(f"The link names a row that this pool does not have, '{shorten(row_id, 40)}'.")
    st.session_state[OPEN] = OpenRow(row_id, int(found[0]))


def forget_row() -> None:
    """Close the reader for another pool, without drawing anything."""
    st.session_state[OPEN] = st.session_state[CLOSED] = st.session_state[LISTED] = None


def list_rows(rows: IntArray) -> None:
    """Record the rows that the page is about: the highlighted ones, else the ranking."""
    st.session_state[LISTED] = rows


def listed_rows() -> IntArray | None:
    """Return the rows that the page, or the one before it, is about; None if no page has recorded any."""
    rows: IntArray | None = st.session_state.get(LISTED)
    return rows


def draw_again(*, page: bool = False, whole: bool = False) -> None:
    """Draw the reader and what follows it again, or the page too, or all with the sidebar; the end of a callback."""
    if whole or not st.session_state.get(HAS_READER) or (page and not st.session_state.get(HAS_PAGE)):
        st.rerun()
    if page:
        st.rerun([READER, PAGE])
    follower = st.session_state.get(FOLLOWER)
    st.rerun([READER, follower] if follower else READER)


def draw_reader_too() -> None:
    """Draw the open row again, beside the page, if settings have changed; the end of a callback of the page."""
    if st.session_state.get(STALE) and all(map(st.session_state.get, (HAS_PAGE, HAS_READER))):
        st.rerun([PAGE, READER])


def write_row() -> None:
    """Write the open row into the address bar, or remove it there."""
    opened = find_open()
    if opened is None:
        st.query_params.pop("row", None)
    elif st.query_params.get("row") != opened.id:
        st.query_params["row"] = opened.id


def _set(opened: OpenRow | None) -> None:
    st.session_state[OPEN] = opened
    write_row()
