"""A list of rows to look through; each one opens to be read, and can be included or excluded always."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.measurement.runs import Run
from core.pool.pools import read_rows
from core.schema import IntArray, Method, Pool, Row
from core.selection.selection import Selection
from pages.ui.charts.scales import format_number
from pages.ui.data import live_selection
from pages.ui.data.grouping import Grouping, find_grouping
from pages.ui.row import duplicates, inspector
from pages.ui.row.pins import SIDES, pin_controls, undo_button
from pages.ui.row.place import Place, checksum, find_place, keep_place, place_of
from pages.ui.shell import show, state
from pages.ui.words import display_column, meaning, shorten

PAGE = 100  # rows in the table at once
HEIGHT = 480
ROW_HEIGHT = 34  # pixels of a line
NOTHING: dict[str, Any] = {"selection": {"cells": []}}


def reader(
    pool: Pool, run: Run, rows: IntArray, *, key: str, method: Method, selection: Selection, note: str = ""
) -> None:
    """Draw a table of `rows` in the order given, one page at a time, and the open row in full.

    `note`: a description of these rows. `run`: gives their scores and tasks, and the answers to the open row.
    """
    if not len(rows):
        st.caption(f"{note} No rows." if note else "No rows.")
        return
    if note:
        st.caption(note)
    place, listed = find_place(rows, place_of(key))
    keep_place(key, place)
    groups, columns = find_grouping(pool, run), live_selection.columns_by(run, method, selection.order)
    page = min(place.position, len(rows) - 1) // PAGE
    shown = rows[PAGE * page : PAGE * (page + 1)]
    _choose_page(rows, page, key)
    opened = read_rows(pool, shown.tolist())
    left, right = st.columns([11, 9])
    with left:
        line = place.position - PAGE * page if listed else None
        show.pick_row(
            _table(opened, shown, method, selection, columns, groups),
            **_bind_table(rows, PAGE * page, line, key),
            height=min(HEIGHT, ROW_HEIGHT * (len(shown) + 1) + 3),
            row_height=ROW_HEIGHT,
            column_config=_column_styles(method, groups),
            alt="Rows, one per line",
        )
    row = opened[line] if line is not None else read_rows(pool, [place.row])[0]
    stay = partial(keep_place, key, replace(place, rows=None, picked=True))
    with right, st.container(height=HEIGHT, border=True):
        pin_controls(row, key, before=stay)
        marks = [*_list_marks(row.index, method, selection, columns), *duplicates.duplicate_marks(pool, row.index)]
        show.row(row, task=groups.names[groups.codes[row.index]], marks=marks)
    with st.container(horizontal=True, vertical_alignment="center"):
        first, last, gone = PAGE * page + 1, PAGE * page + len(shown), "" if listed else " The open row left the list."
        st.caption(f"Rows {first:,}–{last:,} of {len(rows):,}. Click a row to open it.{gone}", width="stretch")
        undo_button(key, stay)
        _step_buttons(rows, place.position, key, listed=listed)
    next_rows, picked = rows[place.position + listed : last].tolist(), place.picked or len(rows) == 1
    inspector.inspect(pool, run, row, key=key, selection=selection, next_rows=next_rows, picked=picked)


def _step_buttons(rows: IntArray, position: int, key: str, *, listed: bool) -> None:
    """Draw the buttons for the previous and the next row; K and J press them."""
    steps = (("Previous", "up", "K", position - 1), ("Next", "down", "J", position + listed))
    for name, way, shortcut, target in steps:
        icon, options = f"keyboard_arrow_{way}", {"shortcut": shortcut, "disabled": not 0 <= target < len(rows)}
        show.action(f"{name} row", icon, f"{key}.{name.lower()}", _open_row, rows, target, key, **options)


def _open_row(rows: IntArray, position: int, key: str) -> None:
    """Open the row at this position of the list, on whichever page it is."""
    keep_place(key, Place(int(rows[position]), position, checksum(rows)))


def _choose_page(rows: IntArray, page: int, key: str) -> None:
    """Draw the choice of a page, if there are several; another page opens at its first row."""
    pages = -(-len(rows) // PAGE)

    def turn(chosen: int) -> None:
        _open_row(rows, PAGE * (chosen - 1), key)

    if pages > 1:
        show.choose_page(pages, **state.bind(f"{key}.page.{pages}", page + 1, turn))


def _bind_table(rows: IntArray, start: int, line: int | None, key: str) -> dict[str, Any]:
    """Select the open line of the table. Return the arguments of its widget: a click on another line opens it."""
    table = f"{key}.rows"
    cells = (state.session_value(table) or NOTHING)["selection"]["cells"]
    if [cell[0] for cell in cells] != ([] if line is None else [line]):
        cells = [] if line is None else [(line, "Prompt")]

    def open_line(event: Any) -> None:
        if event["selection"]["cells"]:
            _open_row(rows, start + event["selection"]["cells"][0][0], key)

    bound = state.bind(table, {"selection": {"rows": [], "columns": [], "cells": cells}}, open_line)
    return {"key": bound["key"], "on_select": bound["on_change"]}


def _table(
    opened: list[Row],
    shown: IntArray,
    method: Method,
    selection: Selection,
    columns: Mapping[str, Any],
    groups: Grouping,
) -> pd.DataFrame:
    selected = np.isin(shown, selection.rows)
    pins = {pin.id: pin for pin in state.settings().pins}
    scores, has_responses = columns.get(display_column(method)), columns["response_tokens"].any()
    states = ["selected" if is_selected else "unselected" for is_selected in selected]
    table: dict[str, Any] = {
        "State": [SIDES[pins[row.id].side] if row.id in pins else s for row, s in zip(opened, states, strict=True)],
        "Score": scores[shown] if scores is not None else None,
        "Task": [groups.names[code] or "" for code in groups.codes[shown]],
        "Prompt": [shorten(row.prompt) for row in opened],
        "Response": [shorten(row.response or "") for row in opened],
        "Tokens": columns["response_tokens" if has_responses else "prompt_tokens"][shown],
        "Id": [row.id for row in opened],
    }
    if scores is None or display_column(method) == "response_tokens":
        del table["Score"]
    if not has_responses:
        del table["Response"]
    return pd.DataFrame(table)


def _column_styles(method: Method, groups: Grouping) -> dict[str, Any]:
    about, tokens_help = meaning(display_column(method)), "Of the response, or of the prompt if no row has a response"
    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    return {
        "State": text(width=90),
        "Score": number(about.label, width=75, format="%.4f", help=about.title),
        "Task": text(groups.noun.capitalize(), width=105),
        "Prompt": text(width=170),
        "Response": text(width=170),
        "Tokens": number(width=65, format="%d", help=tokens_help),
        "Id": text(width=90),
    }


# The open row


def _list_marks(index: int, method: Method, selection: Selection, columns: Mapping[str, Any]) -> list[str]:
    """Return in words the row's rank in the order, or why it has none, and its scores."""
    ranks = np.flatnonzero(selection.order.rows == index)
    if len(ranks):
        marks = [f"rank {ranks[0] + 1:,} of {len(selection.order.rows):,} eligible"]
    else:
        marks = [why for why, rows in selection.order.excluded.items() if index in rows]
    for name in dict.fromkeys((display_column(method), "delta_nll", "nll", "entropy", "confidence")):
        if name in columns and np.isfinite(columns[name][index]):
            marks.append(f"{meaning(name).label} {format_number(float(columns[name][index]))}")
    return marks
