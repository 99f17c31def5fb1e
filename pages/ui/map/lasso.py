"""Actions for the rows inside a lasso on the map: read, pin, filter, compare."""

from collections.abc import Callable

import numpy as np
import streamlit as st

from core.analysis.maps import EmbeddingSource
from core.measurement.runs import Run
from core.schema import IntArray, Pool, Row
from core.selection.filters import Filter
from core.selection.selection import Pin
from pages.ui.data import bins, live_selection
from pages.ui.data.grouping import find_grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.map import lasso_compare
from pages.ui.row import table
from pages.ui.shell import show, state
from pages.ui.words import display_column, escape_markdown, format_rows, meaning, preferred_end

READ, PIN, FILTER, COMPARE = "Read", "Pin", "Filter", "Compare"
MAX_BY_HAND = 1_000  # rows to pin or filter by hand at once; each is in the recipe by its id
REASON_KEY = "explore.map.reason"


def choose_action(live: LiveSelection, rows: IntArray, *, clear: Callable[[], None]) -> str:
    """Count the rows inside the lasso and let the user choose an action."""
    selected = int(np.isin(rows, live.selection.rows).sum())
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{format_rows(len(rows))}** inside · {selected:,} selected, {len(rows) - selected:,} unselected")
        text = "Double-click outside to clear. Click the outline to move it or drag its corners."
        st.button("Clear", icon=":material/close:", key="explore.map.clear", on_click=clear, help=text)
    actions, look = (READ, PIN, FILTER, COMPARE), {"label_visibility": "collapsed", "persist_state": "session"}
    return show.choose("Action", actions, "explore.map.do", **look)


def draw_action(
    action: str, pool: Pool, run: Run, live: LiveSelection, source: EmbeddingSource, rows: IntArray
) -> None:
    """Draw the chosen action."""
    if not len(rows):
        st.caption("No row lies inside the lasso.")
    elif action == READ:
        _draw_reader(pool, run, live, rows)
    elif action == COMPARE:
        columns = live_selection.numbers(run, live)
        lasso_compare.draw_comparison(pool, rows, columns, find_grouping(pool, run), text_of=_text_of(source))
    elif len(rows) > MAX_BY_HAND:
        st.caption(
            f"At most {MAX_BY_HAND:,} rows can be pinned or filtered at once, because the recipe lists each id. "
            "Lasso fewer rows, or compare them with the rest to find a task, a score or a word to filter by on the "
            "Select page."
        )
    elif action == PIN:
        _draw_pins(pool, rows)
    else:
        _draw_filters(pool, rows)


def _text_of(source: EmbeddingSource) -> Callable[[Row], str]:
    """Return the accessor of the text that the map embeds."""
    if source.kind == "prompt":
        return lambda row: row.prompt
    return lambda row: row.response or ""


def _draw_reader(pool: Pool, run: Run, live: LiveSelection, rows: IntArray) -> None:
    column = display_column(live.method)
    values = live_selection.columns(run, live).get(column)
    if values is not None:
        rows = bins.sort_by_value(rows, -values if preferred_end(live.method) == "high" else values)
    note = f"Sorted by {escape_markdown(meaning(column).label)}, best first."
    table.draw(pool, run, rows, key="explore.map", method=live.method, selection=live.selection, note=note)


def row_ids(pool: Pool, rows: IntArray) -> list[str]:
    """Return the ids of rows, as in the user's data."""
    column = pool.rows["id"]
    return [column[row].as_py() for row in rows.tolist()]


def _draw_pins(pool: Pool, rows: IntArray) -> None:
    """Draw buttons that pin all rows with one reason, as one undo step."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        look = {"placeholder": "Reason (optional, saved in the manifest)", "label_visibility": "collapsed"}
        st.text_input("Reason", key=REASON_KEY, on_change="ignore", **look)
        for side, icon, description in (
            ("in", ":material/keep:", "Selected first, whatever their rank. They count towards the budget."),
            ("out", ":material/block:", "Never selected."),
        ):
            label = f"Always {'include' if side == 'in' else 'exclude'} ({len(rows):,})"
            if st.button(label, icon=icon, key=f"explore.map.all.{side}", help=description):
                state.add_pins([Pin(i, side, state.widget_value(REASON_KEY).strip()) for i in row_ids(pool, rows)])  # type: ignore[arg-type]
                st.rerun()
        _draw_undo()


def _draw_filters(pool: Pool, rows: IntArray) -> None:
    """Draw buttons that filter by id, replacing an earlier filter by id."""
    with st.container(horizontal=True, vertical_alignment="center"):
        for label, exclude, description in (
            ("Keep only these", False, "Excludes every other row before rows are ranked."),
            ("Exclude these", True, "Excludes these rows before rows are ranked."),
        ):
            if st.button(label, icon=":material/filter_alt:", key=f"explore.map.filter.{exclude}", help=description):
                other_filters = [existing for existing in state.settings().filters if existing.column != "id"]
                state.change(filters=(*other_filters, Filter("id", values=tuple(row_ids(pool, rows)), exclude=exclude)))
                st.rerun()
        _draw_undo()
        if any(existing.column == "id" for existing in state.settings().filters):
            st.caption("This replaces the current filter by id.")


def _draw_undo() -> None:
    if st.button("Undo", icon=":material/undo:", key="explore.map.undo", disabled=not state.undo_words()):
        state.undo()
        st.rerun()
