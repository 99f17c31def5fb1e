"""The part of the Compare page where rows are read: what only one takes, what all take, where two part most."""

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
from pages.ui.data.bins import Values
from pages.ui.data.grouping import find_grouping
from pages.ui.row import answers, reader
from pages.ui.shell import show
from pages.ui.words import escape_markdown, format_rows

MAX_DISAGREEMENTS = 60  # disagreements that are listed
CELL_LENGTH = 120  # characters of a text in a cell
HEIGHT = 300
DISAGREEMENTS = "Where two part most"


def section(pool: Pool, known: Comparison, first: Entry, clicked: int | None) -> None:
    """Which rows to read, and those."""
    st.subheader("Read the rows", anchor=False)
    codes = _codes(known, clicked)
    picked = st.selectbox(
        "Rows to read",
        [DISAGREEMENTS, *codes],
        key=f"compare.rows.{clicked}.{contenders.names_digest(known.labels)}",
        index=1 if clicked is not None and codes else 0,
        label_visibility="collapsed",
    )
    if picked == DISAGREEMENTS:
        _apart(pool, known, first)
    else:
        _list(pool, known, first, codes[str(picked)])


def _codes(known: Comparison, clicked: int | None) -> Mapping[str, int]:
    """What to read -> code: the clicked combination, all, each alone, then the other combinations."""
    count, every = len(known.entries), (1 << len(known.entries)) - 1
    wanted = [*([clicked] if clicked is not None else []), every, *(1 << c for c in range(count))]
    wanted += [code for code, _ in known.patterns.pattern_counts()]
    return {_said(known, code): code for code in dict.fromkeys(wanted)}


def _said(known: Comparison, code: int) -> str:
    places = known.patterns.members(code)
    names = [known.labels[place] for place in places]
    rows = format_rows(int(known.patterns.counts[code]))
    if len(places) == len(known.entries):
        return f"All take · {rows}"
    return f"Only {' and '.join(names)} · {rows}"


def _list(pool: Pool, known: Comparison, first: Entry, code: int) -> None:
    """One list of rows, in the order of the first contender that takes them."""
    places = known.patterns.members(code)
    lead = known.entries[places[0]]
    rows = known.patterns.rows(code)
    rows = rows[np.argsort(lead.ranks[rows], kind="stable")]
    chosen = known.rows(places[0])
    tokens = cached.measurements(first.run).need("response_tokens")
    reader.reader(
        pool,
        rows,
        key="compare",
        method=lead.method,
        selection=Selection(pool.fingerprint, chosen, 0, int(tokens[chosen].sum()), lead.order),
        columns=_columns(lead),
        groups=find_grouping(pool, lead.run),
        draw_answers=answers.answers_drawer(pool, lead.run),
    )


def _columns(entry: Entry) -> Mapping[str, Values]:
    """Every numeric column; the one that is ranked by as the order has it."""
    known = cached.columns(entry.run, entry.method)
    return known if entry.order.values is None else {**known, entry.method.ranks_by: entry.order.values}


# Two beside each other


def _apart(pool: Pool, known: Comparison, first: Entry) -> None:
    """The strongest disagreements of two orders: what one places high and the other low, and the other way round."""
    others = {entry.label: entry for entry in known.entries if entry is not first}
    picked = st.segmented_control(
        f"{first.label} beside",
        list(others),
        default=next(iter(others)),
        required=True,
        key=f"compare.beside.{contenders.names_digest([first.label, *others])}",
    )
    other = others[str(picked)]
    for place, (high, low) in zip(st.columns(2, gap="medium"), ((first, other), (other, first)), strict=True):
        with place:
            rows = disagreements(high.ranks, low.ranks, MAX_DISAGREEMENTS)
            st.markdown(f"**{escape_markdown(high.label)} places high, {escape_markdown(low.label)} low**")
            _side(pool, rows, (high, low), key=f"compare.side.{'first' if high is first else 'other'}")


def _side(pool: Pool, rows: IntArray, pair: Sequence[Entry], *, key: str) -> None:
    """A short table of rows with their places in both orders, and the ticked one in full."""
    if not len(rows):
        st.caption("No row.")
        return
    opened = read_rows(pool, rows.tolist())
    table = pd.DataFrame(
        {"Prompt": [_start(row.prompt) for row in opened], "Response": [_start(row.response or "") for row in opened]}
        | {f"In {entry.label}": 100 * (entry.ranks[rows] + 1) / len(entry.order.rows) for entry in pair}
    )
    looks: dict[str, Any] = {name: st.column_config.TextColumn(width=120) for name in table.columns[:2]}
    top = st.column_config.NumberColumn(format="top %.1f %%", width=95, help="Share of the order up to this row.")
    event = st.dataframe(
        table,
        key=f"{key}.{contenders.names_digest([entry.key for entry in pair])}",
        height=HEIGHT,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        column_config=looks | {name: top for name in table.columns[2:]},
        alt="Rows that two orders place furthest apart",
    )
    ticked = event["selection"]["rows"]
    with st.container(height=HEIGHT + 60, border=True):
        show.row(opened[int(ticked[0]) if ticked else 0])


def _start(text: str) -> str:
    return " ".join(text[:CELL_LENGTH].split()) + ("…" if len(text) > CELL_LENGTH else "")
