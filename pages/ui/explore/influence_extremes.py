"""Rows at the two ends of an influence score, side by side: most helpful and most harmful."""

from typing import Any

import numpy as np
import streamlit as st

from core.measurement.runs import Run
from core.pool.pools import read_rows
from core.schema import IntArray, Method, Pool
from pages.ui.charts.scales import format_number
from pages.ui.data import cached
from pages.ui.data.grouping import find_grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore.influence import SCORE, ScoredInfluence
from pages.ui.row.pins import pin_controls
from pages.ui.shell import show, state

ROWS_PER_END = 50  # rows of each end
HEIGHT = 460


@cached.keep()
def find_extreme_rows(run: Run, method: Method) -> tuple[IntArray, IntArray]:
    """Return the most helpful rows, best first, and the most harmful ones, worst first; no row is in both."""
    values = cached.columns(run, method)[SCORE]
    rows = np.flatnonzero(np.isfinite(values))
    ascending = rows[np.argsort(values[rows], kind="stable")]
    each = min(ROWS_PER_END, len(rows) - len(rows) // 2)
    return ascending[::-1][:each], ascending[: min(each, len(rows) // 2)]


def draw_ends(pool: Pool, scored: ScoredInfluence, live: LiveSelection) -> None:
    """Draw both ends of the current score."""
    values = scored.columns[SCORE]
    best, worst = find_extreme_rows(scored.run, scored.method)
    most = "Most helpful" if len(best) and values[best[0]] > 0 else "Least harmful"
    least = "Most harmful" if len(worst) and values[worst[0]] < 0 else "Least helpful"
    left, right = st.columns(2, gap="medium")
    with left:
        _draw_end(pool, scored, live, best, most, "best")
    with right:
        _draw_end(pool, scored, live, worst, least, "worst")


@st.fragment
def _draw_end(pool: Pool, scored: ScoredInfluence, live: LiveSelection, rows: IntArray, title: str, side: str) -> None:
    """Draw one row of an end, with buttons for the previous and next one."""
    if not len(rows):
        st.subheader(title, anchor=False)
        st.caption("No row has a score.")
        return
    key = f"explore.influence.{side}"
    at = min(_open_index(scored, key), len(rows) - 1)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(title, anchor=False, width="stretch")
        st.caption(f"{at + 1} of {len(rows)}")
        for name, icon, step in (("Previous", "chevron_left", -1), ("Next", "chevron_right", 1)):
            look = {"icon": f":material/{icon}:", "disabled": not 0 <= at + step < len(rows)}
            args = (scored, key, at + step)
            st.button(name, key=f"{key}.{name.lower()}", on_click=_open_row, args=args, **look)
    row = read_rows(pool, [int(rows[at])])[0]
    groups = find_grouping(pool, scored.run)
    with st.container(height=HEIGHT, border=True):
        pin_controls(row, key)
        show.row(row, task=groups.names[groups.codes[row.index]], marks=_list_marks(scored, live, row.index))


def _open_index(scored: ScoredInfluence, key: str) -> int:
    """Return the index of the open row; it restarts at 0 for another score."""
    noted: Any = state.session_value(f"{key}.at")
    return int(noted[1]) if noted and noted[0] == _score_id(scored) else 0


def _open_row(scored: ScoredInfluence, key: str, at: int) -> None:
    state.set_widget(f"{key}.at", (_score_id(scored), at))


def _score_id(scored: ScoredInfluence) -> tuple[str, str]:
    return scored.run.id, cached.method_key(scored.method)


def _list_marks(scored: ScoredInfluence, live: LiveSelection, row: int) -> list[str]:
    """List score, length, sub-task with the highest score, and whether the row is selected."""
    method = scored.method
    marks = [f"influence {format_number(float(scored.columns[SCORE][row]))}"]
    marks += [f"{scored.columns['response_tokens'][row]:,} response tokens"]
    subtasks = scored.subtasks[scored.target]
    if len(subtasks) > 1:
        by_subtask = cached.measurements(scored.run).need("influences").of(scored.target, method.objective)[row]
        marks.append(f"highest for {subtasks[int(np.argmax(by_subtask))]}")
    return [*marks, "selected" if row in live.selection.rows else "unselected"]
