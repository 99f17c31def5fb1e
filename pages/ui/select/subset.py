"""What a selection is: its size, its composition, and the rows that the last change added or removed."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import streamlit as st

from core.analysis.composition import LENGTH_EDGES, Composition, RandomBand
from core.errors import WinnowError
from core.measurement.runs import Run
from core.schema import IntArray, Pool
from core.selection.selection import describe_excluded, describe_shortfall
from pages.ui import glossary, theme
from pages.ui.charts import html_bars, scales
from pages.ui.data import cached, distribution, live_selection
from pages.ui.data.live_selection import LiveSelection
from pages.ui.row import table
from pages.ui.shell import show, state
from pages.ui.words import best_of_each_group, display_column, escape_markdown, format_rows, meaning

MAX_GROUPS = 16  # groups named in a sentence
CUTOFF_ROWS = 10  # rows shown on either side of the cutoff
TOP_ROWS = 200  # best rows to look through
HIGHLIGHTED = "Highlighted"
VIEW = "select.view"  # key of the choice of a set of rows
SEEN = "select.lit"  # key of the highlight that this tab has seen
CHANCE_HELP = (
    f"{glossary.link('chance_range')}: 95% range for random selections of the same size, from the same eligible rows."
)


# Size


def headline(pool: Pool, live: LiveSelection) -> str:
    """Return the verdict: how many rows are selected."""
    n = len(live.selection.rows)
    are = "is" if n == 1 else "are"
    spent = live.selection.spent.rows
    besides = f", besides {spent:,} used already" if spent else ""
    return f"{n:,} of {format_rows(len(pool))} {are} selected ({100 * n / max(len(pool), 1):.1f}%){besides}."


def metrics(pool: Pool, run: Run, live: LiveSelection, band: RandomBand) -> None:
    """Draw the size of the selection in figures, each next to its chance range or to the pool's."""
    if len(live.selection.rows):  # else `explain_empty` says why
        show.note(describe_shortfall(live.selection, state.budget(), len(pool)))
    of_pool, noun = live_selection.pool_composition(pool, run), length_noun(run)
    tokens = live.subset.response_tokens
    share = 100 * tokens / max(of_pool.response_tokens, 1)
    with st.grid(3 + bool(band.marked), min_column_width=200):
        show.metric(
            f"{noun.capitalize()} tokens",
            show.format_count(tokens),
            f"chance range {_format_range(band.response_tokens)}",
            f"{share:.1f}% of the pool's {noun} tokens. {CHANCE_HELP}",
        )
        median, median_of_pool = _format_median(live.subset), f"pool {_format_median(of_pool)}"
        show.metric(f"Median {noun} length", median, median_of_pool, f"Half of the selected {noun}s are shorter.")
        _cutoff_metric(live)
        if band.marked:
            show.metric(
                "Bad rows kept",
                f"{sum(live.subset.marked.values()):,} of {sum(of_pool.marked.values()):,}",
                f"chance range {_format_range(sum(band.marked.values()))}",
                f"The demo pool contains known bad rows: swapped, truncated, gibberish, duplicates. {CHANCE_HELP}",
            )
    _fixed_rule_note(run, live)
    _group_note(run, live)


def _fixed_rule_note(run: Run, live: LiveSelection) -> None:
    """Draw how many of the rows a rule for one budget selected, if the order has such a rule."""
    order, rows = live.selection.order, live.selection.rows
    if order.fixed is not None:
        facts = live.method.facts(cached.measurements(run), order, rows)
        st.caption(" ".join(live.method.facts_in_words(facts)))


def _group_note(run: Run, live: LiveSelection) -> None:
    """Draw how many rows of each group are selected, if the method ranks each group by itself."""
    if getattr(live.method, "per", ""):
        groups = live.method.facts(cached.measurements(run), live.selection.order, live.selection.rows)["groups"]
        words = [f"{escape_markdown(g['group'])} {g['selected']:,} of {g['rows']:,}" for g in groups[:MAX_GROUPS]]
        more = f" and {len(groups) - MAX_GROUPS:,} more" if len(groups) > MAX_GROUPS else ""
        st.caption(f"Selected rows by group: {', '.join(words)}{more}.")


def length_noun(run: Run) -> str:
    """Return whose lengths are shown: response, or prompt if no row has a response."""
    return live_selection.length_column(run).removesuffix("_tokens")


def _cutoff_metric(live: LiveSelection) -> None:
    """Draw the score of the last selected row, and how many rows were eligible."""
    about, eligible = meaning(live.method.ranks_by), f"{len(live.selection.order.rows):,}"
    eligible_rows = glossary.link("eligible", "eligible rows")
    note = f"Filters, pins and the method's own requirements determine the {eligible_rows}."
    if live.cutoff is None:
        in_groups = display_column(live.method) != live.method.ranks_by
        comparison = best_of_each_group(live.method) if in_groups else "no cutoff"
        show.metric("Eligible rows", eligible, comparison, note)
        return
    unit = f", in {about.unit}" if about.unit else ""
    show.metric(
        f"{about.label} at the cutoff",
        scales.format_number(live.cutoff),
        f"{eligible} eligible rows",
        f"{glossary.link('cutoff')}: score of the last selected row{unit}. {about.help} {note}",
    )


def _format_range(draws: Any) -> str:
    low, high = show.format_count(draws.min()), show.format_count(draws.max())
    return low if low == high else f"{low}–{high}"


def _format_median(composition: Composition) -> str:
    median = composition.quantiles[2]
    return "none" if np.isnan(median) else f"{median:,.0f} tokens"


# Composition


def score_histogram(run: Run, live: LiveSelection) -> None:
    """Draw the cutoff in the histogram of the score that the method ranks by."""
    column = display_column(live.method)
    if column not in cached.columns(run, live.method):
        st.caption(escape_markdown(live.method.unscored or f"{live.method.label} has no score."))
        return
    by_score = column == live.method.ranks_by
    rule = "rows beyond the cutoff are not selected" if by_score else f"{best_of_each_group(live.method)} are selected"
    lit = {} if live.highlight is None else {"highlighted": theme.HIGHLIGHT}
    st.html(html_bars.legend({**scales.LAYERS, **lit}, f"Histogram of scores; {rule}."))
    st.html(html_bars.histogram(**histogram_layers(run, live, column)))


def histogram_layers(run: Run, live: LiveSelection, column: str) -> dict[str, Any]:
    """Return the arguments of a histogram: selected, other eligible and ineligible rows; quantiles; cutoff."""
    binned = distribution.bins(run, live, column)
    selected = live.selection.rows
    counts = {
        "selected": binned.counts(selected),
        "unselected": binned.counts(live.selection.order.rows[len(selected) :]),
    }
    counts["excluded"] = binned.counts() - counts["selected"] - counts["unselected"]
    return {
        "edges": binned.edges,
        "layers": counts,
        "title": meaning(column).title,
        "marks": distribution.quantiles(run, live, column),
        "cut": live.cutoff if column == live.method.ranks_by else None,
        "log": binned.log,
        "highlight": None if live.highlight is None else binned.counts(live.highlight),
    }


# names of groups, and the rows in each: of every subset, of the pool, of the random subsets (S, T)
GroupCounts = tuple[list[str], list[IntArray], IntArray, IntArray]


def count_lengths(subsets: Sequence[Composition], of_pool: Composition, band: RandomBand) -> GroupCounts:
    """Count rows by length, from the shortest to the longest that the pool has."""
    occupied = np.flatnonzero(of_pool.lengths)
    shown = slice(occupied[0], occupied[-1] + 1) if len(occupied) else slice(0, 1)
    counts = [m.lengths[shown] for m in subsets]
    return length_labels()[shown], counts, of_pool.lengths[shown], band.lengths[:, shown]


def length_labels() -> list[str]:
    """Return the label of each bin of lengths, in tokens."""
    between = (f"{low:,}–{high - 1:,}" for low, high in pairwise(LENGTH_EDGES[1:]))
    return ["none", *between, f"{LENGTH_EDGES[-1]:,} or more"]


def count_faults(subsets: Sequence[Composition], of_pool: Composition, band: RandomBand) -> GroupCounts:
    """Count known bad rows by kind."""
    kinds = list(of_pool.marked)
    of_each = [np.array([m.marked[k] for k in kinds]) for m in (*subsets, of_pool)]
    random = np.stack([band.marked[k] for k in kinds], axis=1)
    return [k.replace("_", " ") for k in kinds], of_each[:-1], of_each[-1], random


# Rows to read


def row_sets(pool: Pool, live: LiveSelection) -> dict[str, IntArray]:
    """Return sets of rows worth reading, by label: highlighted, near the cutoff, top, added and removed, pinned."""
    selected, order = live.selection.rows, live.selection.order.rows
    k = len(selected)
    pins = {pin.id for pin in state.settings().pins}
    sets = {} if live.highlight is None else {HIGHLIGHTED: best_first(live, live.highlighted)}
    sets |= {"Near the cutoff": order[max(0, k - CUTOFF_ROWS) : k + CUTOFF_ROWS], "Top ranked": selected[:TOP_ROWS]}
    change = last_change(pool, live)
    if change is not None:
        sets["Newly added"], sets["Removed"] = change
    if pins:
        sets["Pinned"] = live_selection.rows_with_ids(pool, pins)
    return sets


def best_first(live: LiveSelection, rows: IntArray) -> IntArray:
    """Sort rows by the order of the selection; those that it does not rank come last."""
    order = live.selection.order.rows
    ranks = np.full(int(max(rows.max(initial=0), order.max(initial=0))) + 1, len(order))
    ranks[order] = np.arange(len(order))
    return rows[np.argsort(ranks[rows], kind="stable")]


def last_change(pool: Pool, live: LiveSelection) -> tuple[IntArray, IntArray] | None:
    """Return the rows that the last change added and those it removed, best first; None before any change."""
    before = state.previous_settings()
    run = state.run(pool, before) if before is not None else None
    if before is None or run is None:
        return None
    try:
        previous = live_selection.select(pool, run, state.recipe(pool, before)).rows
    except WinnowError:  # settings that were an error then, and shown as one
        return None
    now = live.selection.rows
    return now[~np.isin(now, previous)], previous[~np.isin(previous, now)]


def rows_section(pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw the choice of a set of rows, and its rows; at first none, which keeps the sliders quick."""
    sets = row_sets(pool, live)
    st.subheader("Rows", anchor=False)
    _follow_highlight()
    with st.container(horizontal=True, vertical_alignment="center"):
        choice = st.container(width="content")
        if live.highlight is not None and _only_highlighted():
            sets = {name: rows[live.highlight[rows]] for name, rows in sets.items()}
    picked = choice.segmented_control(
        "Rows",
        list(sets),
        format_func=lambda name: f"{name} · {len(sets[name]):,}",
        key=VIEW,
        wrap=True,
        label_visibility="collapsed",
        persist_state="session",
    )
    if picked in sets:
        table.draw(pool, run, sets[picked], key="select", method=live.method, selection=live.selection)


def _follow_highlight() -> None:
    """Choose the highlighted rows whenever others are highlighted, and no set when none are any more."""
    now = state.settings().highlight
    if now != (state.session_value(SEEN) or ()):
        state.set_widget(SEEN, now)
        if now or state.session_value(VIEW) == HIGHLIGHTED:
            state.set_widget(VIEW, HIGHLIGHTED if now else None)


def _only_highlighted() -> bool:
    help = "Leave out of every set the rows that are not highlighted."
    return st.toggle("Only highlighted", help=help, **state.view_choice("only", (False, True), "select.only"))


def explain_empty(pool: Pool, live: LiveSelection) -> None:
    """Explain why no row is selected."""
    if live.selection.spent.rows:
        show.note(describe_shortfall(live.selection, state.budget(), len(pool)))
    reasons = describe_excluded(live.selection.order)
    st.warning(
        "No rows are selected. Raise the budget, loosen the score limit or remove a filter."
        + (f" Excluded rows: {escape_markdown(reasons)}." if reasons else ""),
        icon=":material/filter_alt_off:",
    )
