"""Sets of rows by exactly which contenders select them."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from pages.ui.charts import figures, overlap
from pages.ui.charts.overlap import Look
from pages.ui.compare.entries import Comparison
from pages.ui.controls import contenders
from pages.ui.shell import show, state
from pages.ui.words import format_rows, join_words


def draw(comparison: Comparison, looks: Sequence[Look], pick: Callable[[int], None]) -> None:
    """Draw the number of rows by exactly who selects them. A click calls `pick` with the code of the set."""
    if not comparison.sizes.any():
        st.caption("No rows are selected.")
        return
    key = f"compare.sets.{contenders.names_digest(comparison.labels)}"

    def read_click() -> None:
        event: Any = state.widget_value(key)
        codes = [point["customdata"][0] for point in event["selection"]["points"] if point.get("customdata")]
        if codes:
            pick(int(codes[0]))

    show.chart(
        overlap.exclusive_sets(comparison.patterns, looks),
        key=key,
        config=figures.CONFIG,
        on_select=read_click,
        selection_mode="points",
        alt="Number of rows by the methods that select them; the tab Rows lists the same sets",
    )
    count, most = len(comparison.patterns.pattern_counts()), overlap.MAX_COMBINATIONS
    rest = f" The figure shows the {most} largest of {count} sets." if count > most else ""
    st.caption(f"Each row counts once, in the set of methods that select it. Click a bar to list its rows.{rest}")


def list_codes(comparison: Comparison) -> list[int]:
    """Return the codes of the sets that can be listed: all, each contender alone, then the others, largest first."""
    everyone = (1 << len(comparison.entries)) - 1
    alone = [1 << c for c in range(len(comparison.entries))]
    return list(dict.fromkeys([everyone, *alone, *(code for code, _ in comparison.patterns.pattern_counts())]))


def describe(comparison: Comparison, code: int) -> str:
    """Return in words who selects the rows of a set, and how many there are."""
    names = [comparison.labels[k] for k in comparison.patterns.members(code)]
    who = "Selected by all" if len(names) == len(comparison.entries) else f"Only {join_words(names)}"
    return f"{who} · {format_rows(int(comparison.patterns.counts[code]))}"
