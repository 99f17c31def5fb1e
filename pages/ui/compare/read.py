"""Rows on the Compare page: those selected by one contender only, by all, by some, and disagreements of two."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.analysis.comparison import disagreements
from core.pool.pools import read_rows
from core.schema import IntArray, Pool
from pages.ui.compare import sets
from pages.ui.compare.entries import Comparison, Entry
from pages.ui.controls import contenders
from pages.ui.row import table
from pages.ui.shell import show, state
from pages.ui.words import escape_markdown, shorten

MAX_DISAGREEMENTS = 60  # disagreements listed
CELL_LENGTH = 120  # characters of a text in a table cell; two tables share the width
HEIGHT = 300
DISAGREEMENTS = 0  # in place of the code of a set


def section(pool: Pool, comparison: Comparison, first: Entry) -> None:
    """Draw the choice of a set of rows, and its rows."""
    codes = [DISAGREEMENTS, *sets.list_codes(comparison)]
    code = st.selectbox(
        "Rows",
        codes,
        format_func=lambda code: sets.describe(comparison, code) if code else "Biggest disagreements",
        **state.view_choice("rows", codes, _key(comparison)),
    )
    if code == DISAGREEMENTS:
        _draw_disagreements(pool, comparison, first)
    else:
        _draw_set(pool, comparison, code)


def choose_set(comparison: Comparison, code: int) -> None:
    """Show the rows of this set whenever the tab is open."""
    state.choose_view(_key(comparison), code)


def _key(comparison: Comparison) -> str:
    """Return the key of the choice of a set: codes depend on what is compared."""
    return f"compare.set.{contenders.names_digest(comparison.labels)}"


def _draw_set(pool: Pool, comparison: Comparison, code: int) -> None:
    """Draw the rows of one set, in the order of its first contender."""
    members = comparison.patterns.members(code)
    leader = comparison.entries[members[0]]
    rows = comparison.patterns.rows(code)
    rows = rows[np.argsort(leader.ranks[rows], kind="stable")]
    selection = comparison.selection(leader)
    table.draw(pool, leader.run, rows, key="compare", method=leader.method, selection=selection)


# Disagreements of two


def _draw_disagreements(pool: Pool, comparison: Comparison, first: Entry) -> None:
    """Draw the strongest disagreements of two orders: rows high in one and low in the other, both ways."""
    others = {entry.label: entry for entry in comparison.entries if entry is not first}
    bound = state.view_choice("other", list(others), f"compare.other.{contenders.names_digest([first.label, *others])}")
    with_whom = f"Disagreements of {escape_markdown(first.label)} with"
    look: dict[str, Any] = {"required": True, "wrap": True, "format_func": escape_markdown}
    other = others[str(st.segmented_control(with_whom, list(others), **look, **bound))]
    for place, (high, low) in zip(st.columns(2, gap="medium"), ((first, other), (other, first)), strict=True):
        with place:
            rows = disagreements(high.ranks, low.ranks, MAX_DISAGREEMENTS)
            st.markdown(f"**{escape_markdown(high.label)} ranks high, {escape_markdown(low.label)} ranks low**")
            _draw_side(pool, rows, (high, low), key=f"compare.side.{'first' if high is first else 'other'}")


def _draw_side(pool: Pool, rows: IntArray, pair: Sequence[Entry], *, key: str) -> None:
    """Draw a short table of rows with their positions in both orders, and the picked row in full."""
    if not len(rows):
        st.caption("No rows.")
        return
    opened = read_rows(pool, rows.tolist())
    table = pd.DataFrame(
        {
            "Prompt": [shorten(row.prompt, CELL_LENGTH) for row in opened],
            "Response": [shorten(row.response or "", CELL_LENGTH) for row in opened],
        }
        | {"Ranks": [" · ".join(_format_position(entry, row) for entry in pair) for row in rows]}
    )
    styles: dict[str, Any] = {name: st.column_config.TextColumn(width=125) for name in table.columns[:2]}
    help = f"Position in the order of {pair[0].label} · {pair[1].label}"
    styles["Ranks"] = st.column_config.TextColumn(width=150, help=escape_markdown(help))
    ticked = show.pick_row(
        table,
        key=f"{key}.{contenders.names_digest([entry.key for entry in pair])}",
        height=HEIGHT,
        column_config=styles,
        alt="Rows on which two orders disagree most",
    )
    with st.container(height=HEIGHT + 60, border=True):
        show.row(opened[ticked or 0])


def _format_position(entry: Entry, row: int) -> str:
    """Return where an order ranks a row: "top 2.0%", or "bottom 2.0%" for its second half."""
    above, count = int(entry.ranks[row]), len(entry.order.rows)
    side, part = ("top", above + 1) if 2 * above < count else ("bottom", count - above)
    return f"{side} {100 * part / count:.1f}%"
