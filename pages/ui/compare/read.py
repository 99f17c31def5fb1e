"""Rows on the Compare page: those selected by exactly some contenders, and those on which two disagree most."""

from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import streamlit as st

from core.analysis.comparison import disagreements
from core.schema import BoolArray, IntArray, Pool
from pages.ui.compare import sets
from pages.ui.compare.entries import Comparison, Entry
from pages.ui.controls import contenders
from pages.ui.row import table
from pages.ui.shell import state
from pages.ui.words import escape_markdown, format_rows

NONE: table.Columns = MappingProxyType({})
MAX_DISAGREEMENTS = 60  # disagreements listed
DISAGREEMENTS, HIGHLIGHTED = 0, -1  # in place of the code of a set


def section(pool: Pool, comparison: Comparison, first: Entry, highlight: BoolArray | None) -> None:
    """Draw the choice of a set of rows, and its rows; of these the highlighted ones, (N,), if any are."""
    names = {} if highlight is None else {HIGHLIGHTED: f"Highlighted · {format_rows(int(highlight.sum()))}"}
    names |= {DISAGREEMENTS: "Biggest disagreements"}
    names |= {code: sets.describe(comparison, code) for code in sets.list_codes(comparison)}
    bound = state.view_choice("rows", list(names), f"compare.set.{contenders.names_digest(comparison.labels)}")
    code = st.selectbox("Rows", list(names), format_func=names.__getitem__, **bound)
    if code == DISAGREEMENTS:
        _draw_disagreements(pool, comparison, first, highlight)
    elif code == HIGHLIGHTED:
        _draw_rows(pool, comparison, first, np.flatnonzero(highlight), columns=_selected_by(comparison))
    else:
        _draw_set(pool, comparison, code, highlight)


def _selected_by(comparison: Comparison) -> table.Columns:
    """Return a column with the contenders that select a row."""
    patterns = comparison.patterns

    def names(row: int) -> str:
        return ", ".join(comparison.labels[k] for k in patterns.members(int(patterns.code[row])))

    return {"Selected by": names}


def _draw_set(pool: Pool, comparison: Comparison, code: int, highlight: BoolArray | None) -> None:
    """Draw the rows of one set."""
    every = comparison.patterns.rows(code)
    rows = every if highlight is None else every[highlight[every]]
    note = "" if highlight is None else f"**{len(rows):,} highlighted** of {format_rows(len(every))}"
    _draw_rows(pool, comparison, comparison.entries[comparison.patterns.members(code)[0]], rows, note=note)


def _draw_rows(
    pool: Pool, comparison: Comparison, leader: Entry, rows: IntArray, *, note: str = "", columns: table.Columns = NONE
) -> None:
    """Draw rows in the order of one contender; those that it does not rank are last."""
    ranks = leader.ranks[rows]
    rows = rows[np.argsort(np.where(ranks < 0, len(pool), ranks), kind="stable")]
    how: dict[str, Any] = {"method": leader.method, "selection": comparison.selection(leader)}
    table.draw(pool, leader.run, rows, key="compare", note=note, first=columns, **how)


# Disagreements of two


def _draw_disagreements(pool: Pool, comparison: Comparison, first: Entry, highlight: BoolArray | None) -> None:
    """Draw the strongest disagreements of two orders: rows high in one and low in the other, one way at a time."""
    others = {entry.label: entry for entry in comparison.entries if entry is not first}
    key = contenders.names_digest([first.label, *others])
    look: dict[str, Any] = {"required": True, "wrap": True, "format_func": escape_markdown}
    bound = state.view_choice("other", list(others), f"compare.other.{key}")
    with_whom = f"Disagreements of {escape_markdown(first.label)} with"
    other = others[str(st.segmented_control(with_whom, list(others), **look, **bound))]
    ways = {
        f"{high.label} ranks high, {low.label} ranks low": (high, low) for high, low in ((first, other), (other, first))
    }
    bound = state.view_choice("way", list(ways), f"compare.way.{key}.{other.label}")
    picked = st.segmented_control("Which disagree", list(ways), label_visibility="collapsed", **look, **bound)
    high, low = ways[str(picked)]
    rows = disagreements(high.ranks, low.ranks, MAX_DISAGREEMENTS, highlight)
    how: dict[str, Any] = {"method": first.method, "selection": comparison.selection(first)}
    positions = {entry.label: partial(_format_position, entry) for entry in (high, low)}
    note = "" if highlight is None else "Among the highlighted rows."
    table.draw(pool, first.run, rows, key="compare", note=note, first=positions, **how)


def _format_position(entry: Entry, row: int) -> str:
    """Return where an order ranks a row: "top 2.0%", or "bottom 2.0%" for its second half."""
    above, count = int(entry.ranks[row]), len(entry.order.rows)
    side, part = ("top", above + 1) if 2 * above < count else ("bottom", count - above)
    return f"{side} {100 * part / count:.1f}%"
