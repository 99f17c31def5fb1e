"""What the contenders share: the verdict, and tables of pairs."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import streamlit as st

from core.analysis.comparison import expected_overlap, jaccard
from core.schema import BoolArray
from core.selection.selection import describe_shortfall
from pages.ui import glossary
from pages.ui.charts import overlap, overlap_tables
from pages.ui.charts.overlap import Look
from pages.ui.compare.entries import Comparison, Entry, order_correlations
from pages.ui.controls import pick_bars
from pages.ui.data.bins import Values
from pages.ui.shell import show, state
from pages.ui.shell.terms import Sets
from pages.ui.words import escape_markdown, format_rows, join_words

MAX_NARROW = 5  # entries whose two tables of pairs fit side by side


def looks(entries: Sequence[Entry]) -> list[Look]:
    """Return the look of each contender, the same in every figure."""
    methods = [e.contender.method if e.contender.params is None else "" for e in entries]
    return overlap.looks([e.label for e in entries], methods)


def overlaps_and_chance(comparison: Comparison) -> tuple[Values, Values, Values, Values]:
    """Return the overlaps at the budget, and their mean and 95 % range expected by chance; (C, C) each."""
    eligible, sizes = comparison.eligible.shared(), comparison.sizes
    n, a, b = np.diag(eligible), sizes[:, None], sizes[None, :]
    chance = expected_overlap(eligible, n[:, None], n[None, :], *np.broadcast_arrays(a, b))
    return jaccard(comparison.patterns.shared(), a, b), *chance


def _overlaps_of(comparison: Comparison, first: Entry) -> tuple[list[Values], list[int]]:
    """Return the overlaps of one entry and their chance, (C,) each; and the other entries that select rows."""
    reference = list(comparison.entries).index(first)
    values = [matrix[reference] for matrix in overlaps_and_chance(comparison)]
    return values, [k for k in np.flatnonzero(comparison.sizes).tolist() if k != reference]


def headline(comparison: Comparison, first: Entry) -> str:
    """Return the verdict: the contender closest to the reference, and the overlap expected by chance."""
    (share, chance, _, high), others = _overlaps_of(comparison, first)
    at = f"At {show.format_budget(comparison.budget)}"
    if not comparison.selection(first).rows.size:
        return f"{at}, {first.label} selects no rows."
    if not others:
        return f"{at}, only {first.label} selects rows."
    nearest = max(others, key=lambda k: share[k] - chance[k])
    other, alone = comparison.labels[nearest], len(comparison.entries) == 2
    actual, by_chance = _format_percent(share[nearest]), f"expected by chance: {_format_percent(chance[nearest])}"
    if share[nearest] > high[nearest]:
        verb = "overlaps with" if alone else "overlaps most with"
        return f"{at}, {first.label} {verb} {other}: {actual} ({by_chance})."
    if alone:
        return f"{at}, {first.label} overlaps with {other} no more than chance: {actual} ({by_chance})."
    return f"{at}, {first.label} overlaps with no other method more than chance: at most {actual} ({by_chance})."


def _format_percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.0995 or share == 0 else f"{100 * share:.1f}%"


def summary(comparison: Comparison, first: Entry) -> str:
    """Return, as markdown, how the reference overlaps with all others, and how many rows all of them select."""
    if not comparison.selection(first).rows.size:
        return "Raise the budget, or loosen the filters or settings of this method, to compare it."
    (share, _, low, high), others = _overlaps_of(comparison, first)
    groups = {
        "above": [k for k in others if share[k] > high[k]],
        "within": [k for k in others if low[k] <= share[k] <= high[k]],
        "below": [k for k in others if share[k] < low[k]],
    }
    present = [(where, _names(comparison, places)) for where, places in groups.items() if places]
    parts = [f"{where} {'it' if k else 'the chance range'} with {names}" for k, (where, names) in enumerate(present)]
    sentences = [f"The overlap of **{escape_markdown(first.label)}** is {'; '.join(parts)}."] if parts else []
    empty = np.flatnonzero(comparison.sizes == 0).tolist()
    if empty:
        sentences += [f"{_names(comparison, empty)} {'selects' if len(empty) == 1 else 'select'} no rows."]
    else:
        shared = int(comparison.patterns.counts[-1])
        rows = f"{format_rows(shared)} {'is' if shared == 1 else 'are'}" if shared else "No row is"
        sentences += [f"{rows} selected by every method."]
    return " ".join(sentences)


def _names(comparison: Comparison, places: Sequence[int]) -> str:
    return escape_markdown(join_words([comparison.labels[k] for k in places]))


def shortfalls(comparison: Comparison, n: int) -> list[str]:
    """Return a sentence for each entry that does not fill the budget; one for all of them if it is the same."""
    sentences: dict[str, list[str]] = {}
    for entry in comparison.entries:
        sentence = describe_shortfall(comparison.selection(entry), comparison.budget, n)
        if sentence is not None:
            sentences.setdefault(sentence, []).append(entry.label)
    return [f"{join_words(names)}: {sentence}" for sentence, names in sentences.items()]


def pair_tables(comparison: Comparison, highlight: BoolArray | None) -> None:
    """Draw two tables: overlap at the budget, with the highlighted rows of each, and rank correlation of whole orders.

    `highlight`: (N,) the highlighted rows, if any are.
    """
    wide, large = len(comparison.entries) > MAX_NARROW, state.find_open() is None
    left, right = (st.container(), st.container()) if wide else show.columns([3, 2], gap="medium")
    counts = None if highlight is None else [int(highlight.sum()), *comparison.count_selected(highlight).tolist()]
    with left:
        st.markdown(f"**Overlap at {escape_markdown(show.format_budget(comparison.budget))} (%)**")
        matrix = overlap_tables.overlap_table(comparison.labels, *overlaps_and_chance(comparison), counts, large=large)
        pick_bars.draw(matrix, "compare.matrix", partial(_pick_pair, comparison))
        by_chance = glossary.link("expected_by_chance", "expected by chance")
        chance_range = glossary.link("chance_range", "chance range")
        colours = f"Blue: above, grey: within, red: below the {chance_range}."
        where = f"Brackets: {by_chance}." if large else f"Hover over a cell for the overlap {by_chance}."
        st.markdown(f":small[{where} {colours} Click a cell to highlight the rows that both select.]")
    with right:
        st.markdown("**Rank correlation**")
        st.html(overlap_tables.correlation_table(comparison.labels, order_correlations(comparison.entries)))
        correlation = glossary.link("rank_correlation", "Spearman correlation")
        st.markdown(
            f":small[{correlation} over the rows that both rank: 1 = same order, 0 = unrelated, −1 = reversed.]"
        )


def _pick_pair(comparison: Comparison, pair: str) -> None:
    """Highlight the rows that both methods of a pair select, whoever else does."""
    places = [int(number) for number in pair.split(".")]
    both = tuple(comparison.entries[place].contender for place in places)
    state.pick(Sets(both, words=f"selected by {join_words([comparison.labels[place] for place in places])}"))


def comparison_terms(entries: Sequence[Entry]) -> str:
    """Return in words under which filters and pins the methods are compared."""
    filters = len(state.settings().filters)
    words = f"with {filters} active filter{'s' if filters > 1 else ''}" if filters else "over the whole pool"
    saved = any(entry.contender.saved for entry in entries)
    more = " Saved selections keep their own filters and pins, at the same budget." if saved else ""
    random = any(entry.contender.method == "random" for entry in entries)
    more += " Random uses its own seed." if random else ""
    return f"Methods are compared {words}, without pins.{more}"
