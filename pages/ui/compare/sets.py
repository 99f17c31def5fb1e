"""Sets of rows by exactly which contenders select them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from core.schema import BoolArray
from pages.ui.charts import figures, overlap
from pages.ui.charts.overlap import Look
from pages.ui.compare.entries import Comparison
from pages.ui.controls import contenders
from pages.ui.shell import show, state
from pages.ui.shell.state import Contender
from pages.ui.shell.terms import Sets
from pages.ui.words import format_rows, join_words, lower_first


def draw(comparison: Comparison, looks: Sequence[Look], highlight: BoolArray | None) -> None:
    """Draw the number of rows by exactly who selects them; a click highlights the rows of a set."""
    if not comparison.sizes.any():
        st.caption("No rows are selected.")
        return
    key = f"compare.sets.{contenders.names_digest(comparison.labels)}"

    def pick_clicked() -> None:
        event: Any = state.widget_value(key)
        codes = [point["customdata"][0] for point in event["selection"]["points"] if point.get("customdata")]
        if codes:
            state.pick(make_term(comparison, int(codes[0])))

    patterns = comparison.patterns
    counts = None if highlight is None else np.bincount(patterns.code[highlight], minlength=len(patterns.counts))
    show.chart(
        overlap.exclusive_sets(patterns, looks, counts),
        key=key,
        config=figures.CONFIG,
        on_select=pick_clicked,
        selection_mode="points",
        alt="Number of rows by the methods that select them; the tab Rows lists the same sets",
    )
    count, most = len(patterns.pattern_counts()), overlap.MAX_COMBINATIONS
    rest = f" The figure shows the {most} largest of {count} sets." if count > most else ""
    st.caption(f"Each row counts once, in the set of methods that select it. Click a bar to highlight its rows.{rest}")


def make_term(comparison: Comparison, code: int) -> Sets:
    """Return the rows of a set as a term of the highlight."""
    members = comparison.patterns.members(code)
    sides: tuple[list[Contender], list[Contender]] = ([], [])
    for place, entry in enumerate(comparison.entries):
        sides[place not in members].append(entry.contender)
    return Sets(
        *map(tuple, sides), words=f"{lower_first(_name_set(comparison, code))}, of {len(comparison.entries)} methods"
    )


def list_codes(comparison: Comparison) -> list[int]:
    """Return the codes of the sets that can be listed: all, each contender alone, then the others, largest first."""
    everyone = (1 << len(comparison.entries)) - 1
    alone = [1 << c for c in range(len(comparison.entries))]
    return list(dict.fromkeys([everyone, *alone, *(code for code, _ in comparison.patterns.pattern_counts())]))


def describe(comparison: Comparison, code: int) -> str:
    """Return in words who selects the rows of a set, and how many there are."""
    return f"{_name_set(comparison, code)} · {format_rows(int(comparison.patterns.counts[code]))}"


def _name_set(comparison: Comparison, code: int) -> str:
    names = [comparison.labels[k] for k in comparison.patterns.members(code)]
    return "Selected by all" if len(names) == len(comparison.entries) else f"Only {join_words(names)}"
