"""The parts of the Select page that say what a selection is: its size, its make-up, what the last move did."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import streamlit as st

from core.analysis.composition import LENGTH_EDGES, Composition, RandomBand
from core.errors import WinnowError
from core.measurement.runs import Run
from core.schema import IntArray, Pool
from pages.ui import theme
from pages.ui.charts import html_bars, scales
from pages.ui.data import bins, cached, distribution, live_selection
from pages.ui.data.bins import Values
from pages.ui.data.grouping import find_grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.row import answers, reader
from pages.ui.shell import show, state
from pages.ui.words import best_of_each_group, display_column, escape_markdown, meaning, task_label

MAX_TASKS = 16  # lines before the rest is put together
CUTOFF_ROWS = 10  # rows shown on either side of the cut
TOP_ROWS = 200  # rows to look through from the top
UNSCORED = {  # methods that rank by no column
    "random": "Random has no score: its order is drawn from the seed.",
    "task_confidence": "Task confidence shares rows out over tasks; inside a task they are drawn from the seed.",
}
LEGEND = {
    "subset": theme.SELECTED,
    "subset, no other than chance": theme.faint(theme.SELECTED, 0.45),
    "random subsets of the same budget": theme.faint(theme.RANDOM, 0.38),
    "pool": theme.REST,
}


# How much


def headline(pool: Pool, answer: LiveSelection) -> str:
    """The answer: how many rows."""
    n = len(answer.selection.rows)
    return f"{n:,} of {len(pool):,} rows, {100 * n / max(len(pool), 1):.1f} %"


def metrics(pool: Pool, run: Run, answer: LiveSelection, band: RandomBand) -> None:
    """The size of the subset in figures, each beside what random rows or the pool give."""
    whole, of = live_selection.pool_composition(pool, run), length_noun(run)
    tokens = answer.subset.response_tokens
    share = 100 * tokens / max(whole.response_tokens, 1)
    with st.grid(3 + bool(band.marked), min_column_width=150):
        _number(
            f"{of.capitalize()} tokens",
            show.format_count(tokens),
            f"random {_range(band.response_tokens)}",
            f"{share:.1f} % of the pool's {of} tokens.",
        )
        _number(
            f"Median {of}",
            _median(answer.subset),
            f"pool {_median(whole)}",
            f"Half of the {of}s are shorter.",
        )
        _cut(answer)
        if band.marked:
            _number(
                "Planted faults kept",
                f"{sum(answer.subset.marked.values()):,} of {sum(whole.marked.values()):,}",
                f"random {_range(sum(band.marked.values()))}",
                "The demo pool holds known faults: swapped, truncated, gibberish, duplicates.",
            )


def length_noun(run: Run) -> str:
    """Of what lengths are shown: response, or prompt where no row has a response."""
    return live_selection.length_column(run).removesuffix("_tokens")


def _number(label: str, value: str, beside: str, help: str) -> None:
    st.metric(label, value, beside, delta_color="off", delta_arrow="off", border=True, help=help)


def _cut(answer: LiveSelection) -> None:
    """The score of the last row taken, and how many rows there were to choose from."""
    about, free = meaning(answer.method.ranks_by), f"{len(answer.selection.order.rows):,}"
    why = "Filters, pins and what the method needs decide which rows there are to choose from."
    if answer.cutoff is None:
        beside = (
            "no score" if display_column(answer.method) == answer.method.ranks_by else best_of_each_group(answer.method)
        )
        _number("Rows to choose from", free, beside, why)
        return
    _number(
        f"{about.label} at the cut",
        scales.format_number(answer.cutoff),
        f"{free} rows to choose from",
        f"Of the last row taken, in {about.unit}. {about.help} {why}",
    )


def _range(draws: Any) -> str:
    low, high = show.format_count(draws.min()), show.format_count(draws.max())
    return low if low == high else f"{low} to {high}"


def _median(made: Composition) -> str:
    middle = made.quantiles[2]
    return "none" if np.isnan(middle) else f"{middle:,.0f} tokens"


# What it is made of


def score_histogram(run: Run, answer: LiveSelection) -> None:
    """Where the cut lies in the score that the method ranks by."""
    column = display_column(answer.method)
    if column not in cached.columns(run, answer.method):
        st.caption(escape_markdown(UNSCORED.get(answer.method.name, f"{answer.method.label} has no score.")))
        return
    rule = (
        "beyond the cut none is taken"
        if column == answer.method.ranks_by
        else f"{best_of_each_group(answer.method)} are taken"
    )
    st.html(html_bars.legend(scales.LAYERS, f"Rows by score; {rule}."))
    st.html(html_bars.histogram(**histogram_layers(run, answer, column)))


def histogram_layers(run: Run, answer: LiveSelection, column: str) -> dict[str, Any]:
    """What a histogram of one column needs: rows chosen, rows that could be, rows that cannot; quantiles; the cut."""
    binned = distribution.bins(run, answer, column)
    chosen = answer.selection.rows
    counts = {
        "selected": binned.counts(chosen),
        "not selected": binned.counts(answer.selection.order.rows[len(chosen) :]),
    }
    counts["not eligible"] = binned.counts() - counts["selected"] - counts["not selected"]
    return {
        "edges": binned.edges,
        "layers": counts,
        "title": meaning(column).title,
        "marks": distribution.quantiles(run, answer, column),
        "cut": answer.cutoff if column == answer.method.ranks_by else None,
        "log": binned.log,
    }


def composition_panels(pool: Pool, run: Run, answer: LiveSelection, band: RandomBand) -> None:
    """Tasks, lengths and planted faults of the subset, against the pool and against chance."""
    st.html(html_bars.legend(LEGEND, "Share of the subset's rows."))
    groups = find_grouping(pool, run)
    panels = {groups.title: _tasks(groups.names, pool, run, answer, band)} if len(groups.names) > 1 else {}
    panels[f"{length_noun(run).capitalize()} length, in tokens"] = _lengths(pool, run, answer, band)
    if band.marked:
        panels["Planted faults"] = _faults(pool, run, answer, band)
    for place, (title, shares) in zip(st.columns(len(panels)), panels.items(), strict=True):
        with place:
            st.markdown(f"**{title}**")
            st.html(html_bars.share_bars(*shares, label=f"{title}: share of the subset's rows"))
    if groups.origin:
        st.caption(groups.origin)


Shares = tuple[Sequence[str], Values, Values, Values, Values]


def _tasks(names: Sequence[str | None], pool: Pool, run: Run, answer: LiveSelection, band: RandomBand) -> Shares:
    whole = live_selection.pool_composition(pool, run)
    labels = bins.fold_names([task_label(n) for n in names], MAX_TASKS)
    counts = [bins.fold(c, MAX_TASKS) for c in (answer.subset.tasks, whole.tasks, band.tasks)]
    return _against(labels, answer.subset.rows, whole.rows, band.rows, *counts)


def _lengths(pool: Pool, run: Run, answer: LiveSelection, band: RandomBand) -> Shares:
    whole = live_selection.pool_composition(pool, run)
    used = np.flatnonzero(whole.lengths)
    held = slice(used[0], used[-1] + 1) if len(used) else slice(0, 1)
    counts = (answer.subset.lengths[held], whole.lengths[held], band.lengths[:, held])
    return _against(length_labels()[held], answer.subset.rows, whole.rows, band.rows, *counts)


def length_labels() -> list[str]:
    """What the bins of lengths hold, in tokens."""
    names = ["none"]
    for low, high in pairwise(LENGTH_EDGES[1:]):
        names.append(f"{low:,} to {high - 1:,}")
    return [*names, f"{LENGTH_EDGES[-1]:,} and more"]


def _faults(pool: Pool, run: Run, answer: LiveSelection, band: RandomBand) -> Shares:
    whole = live_selection.pool_composition(pool, run)
    kinds = list(whole.marked)
    subset = np.array([answer.subset.marked[k] for k in kinds])
    everything = np.array([whole.marked[k] for k in kinds])
    draws = np.stack([band.marked[k] for k in kinds], axis=1)
    names = [k.replace("_", " ") for k in kinds]
    return _against(names, answer.subset.rows, whole.rows, band.rows, subset, everything, draws)


def _against(
    names: Sequence[str],
    n_subset: int,
    n_pool: int,
    n_random: IntArray,
    subset: IntArray,
    pool: IntArray,
    random: IntArray,
) -> Shares:
    """Counts (T,), (T,) and (S, T) as shares of their sets."""
    chance: Values = random / np.maximum(n_random, 1)[:, None]
    return (names, subset / max(n_subset, 1), pool / max(n_pool, 1), chance.min(axis=0), chance.max(axis=0))


# Rows to look at


def row_sets(pool: Pool, answer: LiveSelection) -> Mapping[str, IntArray]:
    """Sets of rows worth reading, by name: at the cut, best, and what the last move let in and put out."""
    chosen, order = answer.selection.rows, answer.selection.order.rows
    k = len(chosen)
    pins = {pin.id for pin in state.settings().pins}
    found = {
        "At the cut": order[max(0, k - CUTOFF_ROWS) : k + CUTOFF_ROWS],
        "First taken": chosen[:TOP_ROWS],
    }
    moved = last_change(pool, answer)
    if moved is not None:
        found["Entered"], found["Left"] = moved
    if pins:
        found["Pinned"] = live_selection.rows_with_ids(pool, pins)
    return found


def last_change(pool: Pool, answer: LiveSelection) -> tuple[IntArray, IntArray] | None:
    """Rows that the last change brought in and those it put out, best first; None before any change."""
    before = state.previous_settings()
    run = state.run(pool, before) if before is not None else None
    if before is None or run is None:
        return None
    try:
        earlier = live_selection.select(pool, run, state.recipe(pool, before)).rows
    except WinnowError:  # settings that this page could not follow, and said so then
        return None
    now = answer.selection.rows
    return now[~np.isin(now, earlier)], earlier[~np.isin(earlier, now)]


def rows_section(pool: Pool, run: Run, answer: LiveSelection) -> None:
    """Which rows to read, and those; at first none, which keeps the sliders quick."""
    found = row_sets(pool, answer)
    st.subheader("Rows to read", anchor=False)
    picked = st.segmented_control(
        "Rows to read",
        list(found),
        format_func=lambda name: f"{name} · {len(found[name]):,}",
        key="select.view",
        label_visibility="collapsed",
        persist_state="session",
    )
    if picked in found:
        reader.reader(
            pool,
            found[picked],
            key="select",
            method=answer.method,
            selection=answer.selection,
            columns=live_selection.columns(run, answer),
            groups=find_grouping(pool, run),
            draw_answers=answers.answers_drawer(pool, run),
        )


def explain_empty(answer: LiveSelection) -> None:
    """Nothing is left: why, as far as it is known."""
    out = answer.selection.order.excluded
    reasons = ", ".join(f"{why} {len(rows):,}" for why, rows in out.items())
    st.warning(
        "No row is chosen. Raise the budget, loosen the score limit or remove a filter; Undo takes back "
        "the last change." + (f" Left out: {reasons}." if reasons else ""),
        icon=":material/filter_alt_off:",
    )
