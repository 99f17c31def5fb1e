"""The reader: the open row in full, docked at the right of every page.

J and K step through the list that the row was opened from. A change of a pin or a budget leaves the row open.
"""

from functools import partial

import numpy as np
import streamlit as st

from core.errors import WinnowError
from core.measurement.runs import Run
from core.pool.pools import read_rows
from core.schema import IntArray, Pool
from core.selection.selection import Selection
from pages.ui.charts.scales import format_number
from pages.ui.data import live_selection
from pages.ui.data.grouping import find_grouping
from pages.ui.row import duplicates, inspector
from pages.ui.row.pins import pin_controls
from pages.ui.row.tags import row_tags
from pages.ui.shell import show, state
from pages.ui.shell.open_row import READER, OpenRow
from pages.ui.words import display_column, meaning

SHOWN_SCORES = ("delta_nll", "nll", "entropy", "confidence")  # besides the one that the method is shown by
KEY = "reader"


@st.fragment(key=READER)
def draw(pool: Pool) -> None:
    """Draw the open row."""
    opened = state.find_open()
    if opened is None:
        return
    run = state.run(pool)
    selection = _find_selection(pool, run)
    rows, position = _find_list(opened, selection)
    row = read_rows(pool, [opened.row])[0]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(_describe_place(rows, position), width="stretch")
        _step_buttons(pool, rows, position)
        show.action("Close", "close", f"{KEY}.close", state.close_row, type="tertiary")
    pin_controls(row, KEY)
    row_tags(row, KEY)
    marks, task = duplicates.duplicate_marks(pool, row.index), row.task
    if run is not None and selection is not None:
        groups = find_grouping(pool, run)
        task = groups.names[groups.codes[row.index]]
        marks = [*list_marks(run, selection, row.index), *marks]
    inspector.inspect(
        pool, run, row, key=KEY, task=task, marks=marks, selection=selection, next_rows=_next(rows, position)
    )


def _find_selection(pool: Pool, run: Run | None) -> Selection | None:
    """Return the selection of the present settings; None without a run, or if they cannot be applied."""
    try:
        return None if run is None else live_selection.select(pool, run, state.recipe(pool))
    except WinnowError:  # the page shows it
        return None


def _find_list(opened: OpenRow, selection: Selection | None) -> tuple[IntArray, int]:
    """Return the list that the row stands in, and its position: a row of a link stands in the method's ranking."""
    if opened.rows is not None:
        return opened.rows, opened.position
    ranked = selection.order.rows if selection is not None else np.empty(0, np.int64)
    found = np.flatnonzero(ranked == opened.row)
    return (ranked, int(found[0])) if len(found) else (np.array([opened.row]), 0)


def _describe_place(rows: IntArray, position: int) -> str:
    return f"Row {position + 1:,} of {len(rows):,}" if len(rows) > 1 else "1 row"


def _next(rows: IntArray, position: int) -> list[int]:
    """Return the rows that will probably be read next."""
    return [int(row) for row in rows[position + 1 : position + 100]]


def _step_buttons(pool: Pool, rows: IntArray, position: int) -> None:
    """Draw the buttons for the previous and the next row; K and J press them."""
    steps = (("Previous", "up", "K", position - 1), ("Next", "down", "J", position + 1))
    for name, way, shortcut, target in steps:
        options = {"shortcut": shortcut, "disabled": not 0 <= target < len(rows)}
        step = partial(state.open_row, pool, rows, target)
        show.action(name, f"keyboard_arrow_{way}", f"{KEY}.{name.lower()}", step, **options)


def list_marks(run: Run, selection: Selection, row: int) -> list[str]:
    """Return in words a row's rank in the order, or why it has none, and its scores."""
    method, order = state.method(), selection.order
    ranks = np.flatnonzero(order.rows == row)
    if len(ranks):
        chosen = "selected" if ranks[0] < len(selection.rows) else "unselected"
        marks = [f"{chosen}, rank {ranks[0] + 1:,} of {len(order.rows):,} eligible"]
    else:
        marks = [why for why, rows in order.excluded.items() if row in rows]
    columns = live_selection.columns_by(run, method, order)
    for name in dict.fromkeys((display_column(method), *SHOWN_SCORES)):
        if name in columns and np.isfinite(columns[name][row]):
            marks.append(f"{meaning(name).label} {format_number(float(columns[name][row]))}")
    return marks
