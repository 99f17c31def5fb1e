"""Rows to read on the Compare page: what only one contender selects, what all select, and disagreements of two."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.analysis.comparison import disagreements
from core.pool.pools import read_rows
from core.schema import IntArray, Pool
from core.selection.selection import Selection
from pages.ui.compare import contenders
from pages.ui.compare.entries import Comparison, Entry
from pages.ui.data import cached
from pages.ui.row import reader
from pages.ui.shell import show
from pages.ui.words import escape_markdown, format_rows, shorten

MAX_DISAGREEMENTS = 60  # disagreements listed
CELL_LENGTH = 120  # characters of a text in a table cell; two tables share the width
HEIGHT = 300
DISAGREEMENTS = "Where two part most"


def section(pool: Pool, comparison: Comparison, first: Entry, clicked: int | None) -> None:
    """Draw the choice of rows to read, and those rows."""
    st.subheader("Read the rows", anchor=False)
    codes = _combinations(comparison, clicked)
    picked = st.selectbox(
        "Rows to read",
        [DISAGREEMENTS, *codes],
        key=f"compare.rows.{clicked}.{contenders.names_digest(comparison.labels)}",
        index=1 if clicked is not None and codes else 0,
        label_visibility="collapsed",
    )
    if picked == DISAGREEMENTS:
        _draw_disagreements(pool, comparison, first)
    else:
        _draw_combination(pool, comparison, first, codes[str(picked)])


def _combinations(comparison: Comparison, clicked: int | None) -> Mapping[str, int]:
    """Return label -> code of each combination: the clicked one, all, each alone, then the others."""
    count, everyone = len(comparison.entries), (1 << len(comparison.entries)) - 1
    combinations = [*([clicked] if clicked is not None else []), everyone, *(1 << c for c in range(count))]
    combinations += [code for code, _ in comparison.patterns.pattern_counts()]
    return {_combination_label(comparison, code): code for code in dict.fromkeys(combinations)}


def _combination_label(comparison: Comparison, code: int) -> str:
    names = [comparison.labels[k] for k in comparison.patterns.members(code)]
    who = "All take" if len(names) == len(comparison.entries) else f"Only {' and '.join(names)}"
    return f"{who} · {format_rows(int(comparison.patterns.counts[code]))}"


def _draw_combination(pool: Pool, comparison: Comparison, first: Entry, code: int) -> None:
    """Draw the rows of one combination, in the order of its first contender."""
    members = comparison.patterns.members(code)
    leader = comparison.entries[members[0]]
    rows = comparison.patterns.rows(code)
    rows = rows[np.argsort(leader.ranks[rows], kind="stable")]
    selected = comparison.rows(members[0])
    tokens = cached.measurements(first.run).need("response_tokens")
    selection = Selection(pool.fingerprint, selected, 0, int(tokens[selected].sum()), leader.order)
    reader.reader(pool, leader.run, rows, key="compare", method=leader.method, selection=selection)


# Disagreements of two


def _draw_disagreements(pool: Pool, comparison: Comparison, first: Entry) -> None:
    """Draw the strongest disagreements of two orders: rows high in one and low in the other, both ways."""
    others = {entry.label: entry for entry in comparison.entries if entry is not first}
    key = f"compare.beside.{contenders.names_digest([first.label, *others])}"
    other = others[show.choose(f"{first.label} beside", list(others), key)]
    for place, (high, low) in zip(st.columns(2, gap="medium"), ((first, other), (other, first)), strict=True):
        with place:
            rows = disagreements(high.ranks, low.ranks, MAX_DISAGREEMENTS)
            st.markdown(f"**{escape_markdown(high.label)} places high, {escape_markdown(low.label)} low**")
            _draw_side(pool, rows, (high, low), key=f"compare.side.{'first' if high is first else 'other'}")


def _draw_side(pool: Pool, rows: IntArray, pair: Sequence[Entry], *, key: str) -> None:
    """Draw a short table of rows with their ranks in both orders, and the ticked row in full."""
    if not len(rows):
        st.caption("No row.")
        return
    opened = read_rows(pool, rows.tolist())
    table = pd.DataFrame(
        {
            "Prompt": [shorten(row.prompt, CELL_LENGTH) for row in opened],
            "Response": [shorten(row.response or "", CELL_LENGTH) for row in opened],
        }
        | {f"In {entry.label}": 100 * (entry.ranks[rows] + 1) / len(entry.order.rows) for entry in pair}
    )
    styles: dict[str, Any] = {name: st.column_config.TextColumn(width=120) for name in table.columns[:2]}
    top = st.column_config.NumberColumn(format="top %.1f %%", width=95, help="Share of the order up to this row.")
    ticked = show.pick_row(
        table,
        key=f"{key}.{contenders.names_digest([entry.key for entry in pair])}",
        height=HEIGHT,
        column_config=styles | {name: top for name in table.columns[2:]},
        alt="Rows that two orders place furthest apart",
    )
    with st.container(height=HEIGHT + 60, border=True):
        show.row(opened[ticked or 0])
