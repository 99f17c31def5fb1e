"""The row that is open in the reader, and the list of rows that it steps through."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from core.errors import RecipeError
from core.schema import IntArray, Pool
from pages.ui.data import live_selection
from pages.ui.words import shorten

OPEN = "winnow.open"  # the open row, or None
FOLLOWER = "winnow.follower"  # key of the fragment of the page that shows which row is open; None: no view does
READER, TABLE, PAGE = "reader", "rows", "page"  # keys of fragments: the reader, a table of rows, all below the title


@dataclass(frozen=True, eq=False)
class OpenRow:
    """The open row, and where it stands in a list of rows."""

    id: str
    row: int  # its number in the pool
    rows: IntArray | None = None  # the list that it was opened from; None: a link named it
    position: int = 0  # in that list


def find_open() -> OpenRow | None:
    """Return the open row; None if there is none."""
    opened: OpenRow | None = st.session_state.get(OPEN)
    return opened


def open_row(pool: Pool, rows: IntArray | Sequence[int], position: int = 0) -> None:
    """Open a row of a list in the reader; for callbacks. Only the reader and what follows it are drawn again."""
    listed = np.asarray(rows, np.int64)
    row = int(listed[position])
    was_open = find_open() is not None
    _set(OpenRow(pool.rows["id"][row].as_py(), row, listed, position))
    if was_open:
        follower = st.session_state.get(FOLLOWER)
        st.rerun([READER, follower] if follower else READER)
    st.rerun()  # the whole page: the reader takes a part of its width


def close_row() -> None:
    """Close the reader; for callbacks."""
    _set(None)
    st.rerun()


def view_row(pool: Pool, row_id: str) -> None:
    """Open the row that a link names. Raise RecipeError if the pool has none with this id."""
    found = live_selection.rows_with_ids(pool, [row_id])
    if not len(found):
        raise RecipeError(f"The link names a row that this pool does not have, '{shorten(row_id, 40)}'.")
    st.session_state[OPEN] = OpenRow(row_id, int(found[0]))


def forget_row() -> None:
    """Close the reader without drawing anything; for another pool."""
    st.session_state[OPEN] = None


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
