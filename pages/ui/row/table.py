"""A table of rows, one page at a time; a click on a row opens it in the reader."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.measurement.runs import Run
from core.pool.pools import read_rows
from core.schema import IntArray, Method, Pool, Row
from core.selection.selection import Selection
from pages.ui.data import live_selection
from pages.ui.data.grouping import Grouping, find_grouping
from pages.ui.row import keys
from pages.ui.row.pins import SIDES
from pages.ui.shell import show, state
from pages.ui.shell.open_row import FOLLOWER, TABLE, draw_again
from pages.ui.words import display_column, meaning, shorten

PAGE = 100  # rows in the table at once
HEIGHT = 480
ROW_HEIGHT = 34  # pixels of a line
Columns = Mapping[str, Callable[[int], str]]  # name -> text in the line of a row
NOTHING: dict[str, Any] = {"selection": {"cells": []}}


def draw(
    pool: Pool,
    run: Run,
    rows: IntArray,
    *,
    key: str,
    method: Method,
    selection: Selection,
    note: str = "",
    first: Columns = MappingProxyType({}),
) -> None:
    """Draw a table of `rows` in the order given. `note`: markdown, what they are. `run`: their scores and tasks.

    `first`: columns before the others, each by a function of the row.
    """
    if not len(rows):
        st.caption(f"{note} No rows." if note else "No rows.")
        return
    if note:
        st.caption(note)
    st.session_state[FOLLOWER] = st.session_state.get(FOLLOWER) or TABLE
    _table(pool, run, rows, key, method, selection, first)


@st.fragment(key=TABLE)
def _table(
    pool: Pool, run: Run, rows: IntArray, key: str, method: Method, selection: Selection, first: Columns
) -> None:
    line = _find_line(rows)
    page = _choose_page(rows, line, key)
    shown = rows[PAGE * page : PAGE * (page + 1)]
    groups, columns = find_grouping(pool, run), live_selection.columns_by(run, method, selection.order)
    start = PAGE * page
    show.pick_row(
        _frame(read_rows(pool, shown.tolist()), shown, method, selection, columns, groups, first),
        **_bind(pool, rows, start, None if line is None or line // PAGE != page else line - start, key),
        height=min(HEIGHT, ROW_HEIGHT * (len(shown) + 1) + 3),
        row_height=ROW_HEIGHT,
        column_config=_column_styles(method, groups),
        alt="Rows, one per line",
    )
    st.caption(f"Rows {start + 1:,}–{start + len(shown):,} of {len(rows):,}. Click a row to open it.")


def _find_line(rows: IntArray) -> int | None:
    """Return where the open row stands in the list; None if it is not in it."""
    opened = state.find_open()
    found = np.flatnonzero(rows == opened.row) if opened is not None else ()
    return int(found[0]) if len(found) else None


def _choose_page(rows: IntArray, line: int | None, key: str) -> int:
    """Draw the choice of a page, if there are several; it follows the open row."""
    pages = -(-len(rows) // PAGE)
    if pages == 1:
        return 0
    chosen, followed = f"{key}.page.{pages}", f"{key}.followed"
    if line is not None and state.session_value(followed) != line:
        state.set_widget(chosen, line // PAGE + 1)
    state.set_widget(followed, line)
    now = state.session_value(chosen) or 1
    state.set_widget(chosen, min(now, pages))
    return show.choose_page(pages, key=chosen)


def _bind(pool: Pool, rows: IntArray, start: int, line: int | None, key: str) -> dict[str, Any]:
    """Select the open line of the table. Return the arguments of its widget: a click on another line opens it."""
    table = f"{key}.rows"
    cells = (state.session_value(table) or NOTHING)["selection"]["cells"]
    if [cell[0] for cell in cells] != ([] if line is None else [line]):
        cells = [] if line is None else [(line, "Prompt")]

    def open_line(event: Any) -> None:
        if keys.are_pressed():  # the browser repeats an earlier line: it has not heard of the latest one
            draw_again()
        if event["selection"]["cells"]:
            state.open_row(pool, rows, start + event["selection"]["cells"][0][0])

    keys.forget_pressed()
    bound = state.bind(table, {"selection": {"rows": [], "columns": [], "cells": cells}}, open_line)
    return {"key": bound["key"], "on_select": bound["on_change"]}


def _frame(
    opened: list[Row],
    shown: IntArray,
    method: Method,
    selection: Selection,
    columns: Mapping[str, Any],
    groups: Grouping,
    first: Columns,
) -> pd.DataFrame:
    selected = np.isin(shown, selection.rows)
    pins = {pin.id: pin for pin in state.settings().pins}
    tags = state.tags_of([row.id for row in opened])
    scores, has_responses = columns.get(display_column(method)), columns["response_tokens"].any()
    states = ["selected" if is_selected else "unselected" for is_selected in selected]
    table: dict[str, Any] = {name: [value(int(row)) for row in shown] for name, value in first.items()}
    table |= {
        "State": [SIDES[pins[row.id].side] if row.id in pins else s for row, s in zip(opened, states, strict=True)],
        "Score": scores[shown] if scores is not None else None,
        "Task": [groups.names[code] or "" for code in groups.codes[shown]],
        "Prompt": [shorten(row.prompt) for row in opened],
        "Response": [shorten(row.response or "") for row in opened],
        "Tags": [", ".join(tags.get(row.id, ())) for row in opened],
        "Tokens": columns["response_tokens" if has_responses else "prompt_tokens"][shown],
        "Id": [row.id for row in opened],
    }
    if scores is None or display_column(method) == "response_tokens":
        del table["Score"]
    if not has_responses:
        del table["Response"]
    if not state.settings().tags:
        del table["Tags"]
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
        "Tags": text(width=105),
        "Tokens": number(width=65, format="%d", help=tokens_help),
        "Id": text(width=90),
    }
