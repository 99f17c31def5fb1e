"""A list of rows to look through; each one opens to be read, and can be pinned in or out."""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.measurement.runs import Run
from core.pool.pools import read_rows
from core.schema import IntArray, Method, Pool, Row
from core.selection.selection import Pin, Selection
from pages.ui.charts.scales import format_number
from pages.ui.data import live_selection
from pages.ui.data.grouping import Grouping, find_grouping
from pages.ui.row import duplicates, inspector
from pages.ui.shell import show, state
from pages.ui.words import display_column, format_rows, meaning, shorten

PAGE = 100  # rows in the table at once
HEIGHT = 440
ROW_HEIGHT = 34  # pixels of a line
SIDES = {"in": "pinned in", "out": "pinned out"}


def reader(
    pool: Pool, run: Run, rows: IntArray, *, key: str, method: Method, selection: Selection, note: str = ""
) -> None:
    """Draw a table of `rows` in the order given, one page at a time, and the ticked row in full.

    `note`: a description of these rows. `run`: gives their scores and tasks, and the answers to the open row.
    """
    if not len(rows):
        st.caption(f"{note} No rows." if note else "No rows.")
        return
    if note:
        st.caption(note)
    groups, columns = find_grouping(pool, run), live_selection.columns_by(run, method, selection.order)
    start = PAGE * show.choose_page(-(-len(rows) // PAGE), key=_page_key(rows, key))
    shown = rows[start : start + PAGE]
    opened = read_rows(pool, shown.tolist())
    left, right = st.columns([7, 5])
    with left:
        ticked = show.pick_row(
            _table(opened, shown, method, selection, columns, groups),
            key=_table_key(shown, key),
            height=min(HEIGHT, ROW_HEIGHT * (len(shown) + 1) + 3),
            row_height=ROW_HEIGHT,
            column_config=_column_styles(method, groups),
            alt="Rows, one per line",
        )
    position, row = start + (ticked or 0), opened[ticked or 0]
    with right, st.container(height=HEIGHT, border=True):
        pin_controls(row, key)
        marks = [*_list_marks(row.index, method, selection, columns), *duplicates.duplicate_marks(pool, row.index)]
        show.row(row, task=groups.names[groups.codes[row.index]], marks=marks)
    with st.container(horizontal=True, vertical_alignment="center"):
        caption = f"{start + 1:,} to {start + len(shown):,} of {format_rows(len(rows))}. Tick a row to read it."
        st.caption(caption, width="stretch")
        _step_buttons(rows, position, key)
    next_rows, picked = rows[position + 1 : start + PAGE].tolist(), ticked is not None or len(rows) == 1
    inspector.inspect(pool, run, row, key=key, selection=selection, next_rows=next_rows, picked=picked)


def _step_buttons(rows: IntArray, position: int, key: str) -> None:
    """Draw the buttons for the previous and the next row; K and J press them."""
    for name, way, shortcut, target in (("Previous", "up", "K", position - 1), ("Next", "down", "J", position + 1)):
        icon, options = f"keyboard_arrow_{way}", {"shortcut": shortcut, "disabled": not 0 <= target < len(rows)}
        show.action(f"{name} row", icon, f"{key}.{name.lower()}", _open_row, rows, target, key, **options)


def _open_row(rows: IntArray, position: int, key: str) -> None:
    """Tick the row at this position of the list, on whichever page it is."""
    page, line = divmod(position, PAGE)
    if len(rows) > PAGE:
        state.set_widget(_page_key(rows, key), page + 1)
    ticked = {"selection": {"rows": [line], "columns": [], "cells": []}}
    state.set_widget(_table_key(rows[PAGE * page : PAGE * (page + 1)], key), ticked)


def _table_key(shown: IntArray, key: str) -> str:
    """Return a key that changes with the rows, so that a table of other rows has none ticked."""
    return f"{key}.rows.{zlib.crc32(np.ascontiguousarray(shown).tobytes())}"


def _page_key(rows: IntArray, key: str) -> str:
    return f"{key}.page.{-(-len(rows) // PAGE)}"


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
    states = ["selected" if is_selected else "not selected" for is_selected in selected]
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
    about, tokens_help = meaning(display_column(method)), "Of the response; of the prompt, where no row has one"
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
        marks = [f"place {ranks[0] + 1:,} of {len(selection.order.rows):,}"]
    else:
        marks = [why for why, rows in selection.order.excluded.items() if index in rows]
    for name in dict.fromkeys((display_column(method), "delta_nll", "nll", "entropy", "confidence")):
        if name in columns and np.isfinite(columns[name][index]):
            marks.append(f"{meaning(name).label} {format_number(float(columns[name][index]))}")
    return marks


def pin_controls(row: Row, key: str) -> None:
    """Draw the buttons that pin this row in or out, with a reason, or that remove its pin."""
    pinned = next((pin for pin in state.settings().pins if pin.id == row.id), None)
    if pinned is not None:
        _draw_pin(pinned, key)
        return
    reason = f"{key}.reason.{row.index}"
    st.text_input(
        "Reason for a pin",
        key=reason,
        placeholder="Why? Kept with the pin, and in the manifest.",
        label_visibility="collapsed",
        on_change="ignore",
    )
    with st.container(horizontal=True):
        for side, icon, help in (("in", "keep", "Always chosen, first in line."), ("out", "block", "Never chosen.")):
            show.action(f"Pin {side}", icon, f"{key}.pin.{side}", _add_pin, row.id, side, reason, help=help)


def _draw_pin(pin: Pin, key: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(SIDES[pin.side], icon=":material/keep:", color="violet")
        st.text(pin.reason or "no reason given", width="stretch")
        show.action("Remove the pin", "keep_off", f"{key}.unpin", state.remove_pin, pin.id)


def _add_pin(row_id: str, side: str, reason: str) -> None:
    state.add_pin(row_id, side, state.widget_value(reason).strip())
