"""The rows of the pool, a page at a time: searched, of one task, ticked; each of which makes the highlight."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import streamlit as st

from core.pool import pools
from core.schema import BoolArray, IntArray, Pool, Row
from core.selection.filters import Filter
from core.workspace.folder import content_key
from pages.ui.charts import pool as charts
from pages.ui.data import cached
from pages.ui.shell import show, state
from pages.ui.shell.open_row import FOLLOWER, TABLE
from pages.ui.shell.terms import Match, Rows, Search, Term
from pages.ui.words import task_label

PAGE = 100  # rows of the table sent to the browser at once
CELL_LENGTH = 300  # characters of a text in the table
HEIGHT, ROW_HEIGHT = 520, 34  # pixels
FIRST = "highlighted"
SORTS = {  # key -> words, column, whether the highest is first
    "file": ("file order", None, False),
    FIRST: ("highlighted rows first", None, False),
    "longest": ("longest responses first", "response_chars", True),
    "shortest": ("shortest responses first", "response_chars", False),
    "long_prompt": ("longest prompts first", "prompt_chars", True),
    "short_prompt": ("shortest prompts first", "prompt_chars", False),
}


def draw(pool: Pool, highlight: BoolArray | None, listed: BoolArray | None) -> None:
    """Draw the rows. `highlight`: (N,) the highlighted rows; `listed`: those, whether ticked or not. None: all."""
    prefix = f"browse.{pool.fingerprint[:8]}"  # another pool starts afresh
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _search(prefix)
        _task(pool, prefix)
        orders = [name for name in SORTS if name != FIRST or highlight is not None]
        order = st.selectbox("Order", orders, key=f"{prefix}.sort", format_func=lambda one: SORTS[one][0])
        number = st.container(width=130)
    rows = order_rows(pool, order, listed, highlight)
    if not len(rows):
        st.caption("No rows match. Change the search or the task, or clear the highlight.")
        return
    pages = -(-len(rows) // PAGE)
    terms = [term for term in state.settings().highlight if term != find_ticked()]
    view = f"{prefix}.{content_key({'terms': str(terms), 'order': order})}"  # another view starts on page 1
    start = PAGE * (number.number_input("Page", 1, pages, key=f"{view}.page", disabled=pages == 1) - 1)
    st.session_state[FOLLOWER] = TABLE
    _table(pool, rows, start, f"{view}.{start}")
    last = min(start + PAGE, len(rows))
    st.caption(f"Rows {start + 1:,}–{last:,} of {len(rows):,}. Click a row to open it, or tick rows to highlight them.")


def order_rows(pool: Pool, order: str, listed: BoolArray | None, highlight: BoolArray | None) -> IntArray:
    """Return the listed rows in an order of SORTS."""
    _, column, descending = SORTS[order]
    rows = np.arange(len(pool)) if column is None else cached.sorted_rows(pool, column, descending=descending)
    if order == FIRST and highlight is not None:
        rows = np.concatenate([np.flatnonzero(highlight), np.flatnonzero(~highlight)])
    return rows if listed is None else rows[listed[rows]]


# Search and task: each is a term of the highlight, next to the others


def _search(prefix: str) -> None:
    now = next((term for term in state.settings().highlight if isinstance(term, Search)), None)

    def take(text: str) -> None:
        state.replace_term(now, Search(text.strip()) if text.strip() else None)

    bound = state.bind(f"{prefix}.text", now.text if now else "", take)
    st.text_input("Search prompts and responses", icon=":material/search:", **bound)


def _task(pool: Pool, prefix: str) -> None:
    names, _ = cached.tasks(pool)
    shown = {task_term(names, k): k for k in range(len(names))}
    now = next((term for term in state.settings().highlight if term in shown), None)

    def take(number: Any) -> None:
        state.replace_term(now, None if number == "all" else task_term(names, number))

    st.selectbox(
        "Task",
        ["all", *range(len(names))],
        format_func=lambda one: "all" if one == "all" else task_label(names[one]),
        **state.bind(f"{prefix}.task", "all" if now is None else shown[now], take),
    )


def task_term(names: Sequence[str | None], number: int) -> Term:
    """Return the rows of a task, by its number."""
    return Match(Filter("task", values=(names[number],)))


def bar_term(names: Sequence[str | None], line: int) -> Term:
    """Return the rows of a line of the bars of tasks: of a task, or at the last of all that have no line."""
    if line < charts.MAX_TASKS:
        return task_term(names, line)
    others = Filter("task", values=tuple(names[: charts.MAX_TASKS]), exclude=True)
    return Match(others, words=charts.count_rest(names))


# Ticks: the rows that are highlighted one by one


def find_ticked() -> Rows | None:
    """Return the term of the rows that are ticked in the table; None if none are."""
    terms = state.settings().highlight
    return next((t for t in terms if isinstance(t, Rows) and not t.words and not t.exclude), None)


def _tick(shown: Sequence[str], ticked: Sequence[str]) -> None:
    """Highlight the ticked rows of the page that is shown, with those that are ticked on other pages."""
    now, here = find_ticked(), set(shown)
    ids = [one for one in (now.ids if now else ()) if one not in here] + list(ticked)
    state.replace_term(now, replace(now or Rows(()), ids=tuple(ids)) if ids else None)
    st.rerun()  # the whole page: the figures show the highlight


@st.fragment(key=TABLE)
def _table(pool: Pool, rows: IntArray, start: int, key: str) -> None:
    """Draw one page of rows. A click opens a row in the reader; the line of the open row has the cursor."""
    shown = rows[start : start + PAGE]
    opened, ids = state.find_open(), pool.rows["id"].take(pa.array(shown)).to_pylist()
    term = find_ticked()
    chosen = set(term.ids) if term else set()
    ticked = [k for k, one in enumerate(ids) if one in chosen]
    cells = [(int(k), "prompt") for k in np.flatnonzero(shown == opened.row)] if opened is not None else []

    def take(event: Any) -> None:
        now = event["selection"]
        if sorted(now["rows"]) != ticked:
            _tick(ids, [ids[k] for k in sorted(now["rows"])])
        elif now["cells"]:
            state.open_row(pool, rows, start + now["cells"][0][0])

    bound = state.bind(key, {"selection": {"rows": ticked, "columns": [], "cells": cells}}, take)
    _draw_table(pools.read_rows(pool, shown.tolist()), key=bound["key"], on_select=bound["on_change"])


def _draw_table(rows: Sequence[Row], **bound: Any) -> None:
    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    lines = [
        {
            "file": row.file,
            "line": row.line,
            "task": row.task,
            "prompt": row.prompt[:CELL_LENGTH],
            "response": row.response and row.response[:CELL_LENGTH],
            "characters": len(row.prompt) + len(row.response or ""),
        }
        for row in rows
    ]
    show.pick_row(
        lines,
        alt="Rows of the pool",
        height=HEIGHT,
        selection_mode=["multi-row", "single-cell"],
        row_height=ROW_HEIGHT,
        column_order=[name for name in lines[0] if name not in ("file", "task") or any(one[name] for one in lines)],
        column_config={
            "file": text(width=90),
            "line": number(format="%d", width=50),
            "task": text(width=105),
            "prompt": text(width=180),
            "response": text(width=180),
            "characters": number(format="localized", width=80),
        },
        **bound,
    )
