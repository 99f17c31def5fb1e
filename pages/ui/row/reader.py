"""The reader: the open row in full, docked at the right of every page.

Its buttons are keys of the keyboard. A change of a pin, a filter, a budget or the page leaves the row open.
"""

from typing import Any

import numpy as np
import streamlit as st

from core.errors import WinnowError
from core.measurement.runs import Run
from core.pool.pools import read_rows
from core.schema import IntArray, Pool, Row
from core.selection.selection import Selection
from pages.ui.charts.scales import format_number
from pages.ui.data import live_selection
from pages.ui.data.grouping import find_grouping
from pages.ui.row import duplicates, inspector, keys, pins, tags
from pages.ui.shell import open_row, show, state
from pages.ui.shell.open_row import READER, STALE, OpenRow
from pages.ui.words import display_column, escape_markdown, meaning

SHOWN_SCORES = ("delta_nll", "nll", "entropy", "confidence")  # besides the one that the method is shown by
KEY = "reader"
HALF, TWO_THIRDS = (1, 1), (1, 2)  # widths of page and reader


def widths() -> tuple[int, int]:
    """Return the widths of the page and of the reader."""
    return TWO_THIRDS if keys.is_wide() else HALF


def draw_opener(pool: Pool) -> None:
    """Draw the button that opens the reader: at the row that was open last, else at the first of the page's rows."""
    help = "Read rows beside the page, one by one (J). A click on a row or a dot opens it as well."
    _button(pool, "right_panel_open", "j", "Read", help=help, key=f"{KEY}.open")


@st.fragment(key=READER)
def draw(pool: Pool) -> None:
    """Draw the open row."""
    opened, st.session_state[STALE] = state.find_open(), False
    if opened is None:
        return
    run = state.run(pool)
    selection = _find_selection(pool, run)
    rows, position = _find_list(pool, opened, selection)
    open_row.place_row(rows, position)
    row = read_rows(pool, [opened.row])[0]
    with st.container(key=f"{KEY}.head", gap="small"):
        _draw_place(pool, row, len(rows), position, can_go_back=opened.back is not None)
        _draw_decision(pool, row)
    task = row.task
    if run is not None and selection is not None:
        groups = find_grouping(pool, run)
        task = groups.names[groups.codes[row.index]]
    _draw_marks(pool, run, selection, row, task)
    _draw_tags(pool, row)
    inspector.inspect(pool, run, row, key=KEY, selection=selection, next_rows=_next(rows, position))


def _draw_place(pool: Pool, row: Row, n: int, position: int, *, can_go_back: bool) -> None:
    """Draw where the row stands in its list, with buttons that open another one, or close the reader."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if can_go_back:
            _button(pool, "arrow_back", "b")
        _button(pool, "keyboard_arrow_up", "k", disabled=position == 0)
        _button(pool, "keyboard_arrow_down", "j", disabled=position + 1 >= n)
        st.caption(f"{position + 1:,} of {n:,}" if n > 1 else "1 row", width="content")
        st.text(row.id, width="stretch")
        _button(pool, "close_fullscreen" if keys.is_wide() else "open_in_full", "w", type="tertiary")
        _button(pool, "close", "Escape", type="tertiary")


def _button(pool: Pool, icon: str, press: str, label: str = "", **options: Any) -> None:
    """Draw a button that does what the key `press` does. Without a label it is an icon."""
    name, does = keys.HELP[press]
    options = {"help": f"{does} ({name})", "key": f"{KEY}.{press.lower()}", **options}
    st.button(f":material/{icon}: {label}", on_click=keys.press, args=(pool, press), **options)


def _draw_decision(pool: Pool, row: Row) -> None:
    """Draw the buttons for the pin of the row, and its reason once it has one."""
    pin, undone = pins.find_pin(row.id), state.undo_words()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for side, icon, key, label in (("in", "keep", "i", "Include"), ("out", "block", "x", "Exclude")):
            pinned = pin is not None and pin.side == side
            _button(pool, "keep_off" if pinned else icon, key, "Remove pin" if pinned else label)
        help = f"Undo: {escape_markdown(undone)} (U)" if undone else "Nothing to undo"
        _button(pool, "undo", "u", "Undo", help=help, disabled=not undone, type="tertiary")
    if pin is not None:
        pins.draw_reason(row, pin, KEY)


def _draw_tags(pool: Pool, row: Row) -> None:
    """Draw the choice of a tag, the button that adds it or removes it, and the tags of the row."""
    own = state.tags_of([row.id]).get(row.id, [])
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        name = tags.choose_tag(KEY)
        icon, label = ("label_off", "Remove tag") if name in own else ("new_label", "Add tag")
        _button(pool, icon, "t", label, disabled=not name)
        for one in own:
            show.badge(one, icon=":material/label:", color="violet")


def _draw_marks(pool: Pool, run: Run | None, selection: Selection | None, row: Row, task: str | None) -> None:
    """Draw in short the state of the row with its rank and scores, and where it comes from."""
    pin = pins.find_pin(row.id)
    marks = [] if run is None or selection is None else list_marks(run, selection, row.index)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if pin is not None:
            st.badge(pins.SIDES[pin.side].capitalize(), icon=":material/keep:", color="violet")
        if marks and (pin is None or marks[0] != pins.SIDES[pin.side]):
            st.badge(escape_markdown(marks[0]), color="blue" if marks[0].startswith("selected") else "gray")
        for mark in duplicates.duplicate_marks(pool, row.index):
            st.badge(escape_markdown(mark), color="orange")
        st.caption(escape_markdown(" · ".join([*marks[1:], task or "no task", row.place])))


def _find_selection(pool: Pool, run: Run | None) -> Selection | None:
    """Return the selection of the present settings; None without a run, or if they cannot be applied."""
    try:
        return None if run is None else live_selection.select(pool, run, state.recipe(pool))
    except WinnowError:  # the page shows it
        return None


def _find_list(pool: Pool, opened: OpenRow, selection: Selection | None) -> tuple[IntArray, int]:
    """Return the list that the row stands in, and its position.

    A row of a link stands in the first of these that has it: the rows that the page is about, the method's ranking,
    the pool.
    """
    if opened.rows is not None:
        return opened.rows, opened.position
    for rows in (open_row.listed_rows(), selection.order.rows if selection is not None else None):
        if rows is not None and len(found := np.flatnonzero(rows == opened.row)):
            return rows, int(found[0])
    return np.arange(len(pool)), opened.row


def _next(rows: IntArray, position: int) -> list[int]:
    """Return the rows that will probably be read next."""
    return [int(row) for row in rows[position + 1 : position + 100]]


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
