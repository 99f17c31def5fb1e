"""The part of the Compare page that holds each subset against the pool and against random rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.algorithms.activation_clusters import cluster_diversity
from core.analysis.comparison import total_variation
from core.analysis.composition import Composition, RandomBand
from core.analysis.coverage_curve import PoolCoverage
from core.measurement.runs import Run
from core.schema import IntArray, Pool
from pages.ui.compare import entries
from pages.ui.compare.entries import Comparison, Entry
from pages.ui.data import cached, live_selection
from pages.ui.data.cached import find_coverage_run
from pages.ui.data.grouping import find_grouping
from pages.ui.shell import show, state

QUICK_LIMITS = (
    8_000,
    4_000_000,
)  # rows and neurons on that are counted at every move: some 100 ms; more only if asked for
RANDOM_SUBSETS = 5  # random subsets in which neurons, clusters and repeats are counted
COVERAGE_KEY = "compare.coverage"
MOVED_COLUMN = "{} moved"  # column: how far from the pool
HELP = {
    "Tokens": "Of the responses.",
    "Lengths moved": "Share of the rows that would need another length for the subset to be made up as the pool is.",
    "Clusters": "Groups of rows with like neurons on that the subset touches.",
    "Coverage": "Of all that the pool's rows switch on in the model, how much these rows reach.",
    "Repeats": "Rows that repeat another row of the same subset word for word.",
    "Planted faults": "Rows of the demo pool that are known to be bad.",
}


@dataclass(frozen=True, eq=False)
class Compositions:
    """What every subset is made of, and what the pool and random rows are."""

    base: Entry  # whose filters random rows are drawn under, and whose tokens are counted
    subsets: Sequence[IntArray]
    of_subsets: Sequence[Composition]
    of_pool: Composition
    band: RandomBand
    random_subsets: Sequence[IntArray]  # a few random subsets


def compute_compositions(pool: Pool, known: Comparison) -> Compositions:
    """Counted for the budget in use."""
    base = entries.base_entry(known.entries)
    subsets = [known.rows(place) for place in range(len(known.entries))]
    band = live_selection.chance_band(pool, base.run, base.recipe, known.budget)
    orders = live_selection.random_orders(pool, base.run, base.recipe)[:RANDOM_SUBSETS]
    return Compositions(
        base,
        subsets,
        live_selection.compositions_of(pool, base.run, subsets),
        live_selection.pool_composition(pool, base.run),
        band,
        [order[:size] for order, size in zip(orders, band.rows.tolist(), strict=False)],
    )


# In figures


def figures_table(pool: Pool, known: Comparison, here: Compositions) -> pd.DataFrame:
    """A line for each subset, for random ones and for the pool: sizes, and how far each is from the pool."""
    made, band, whole = here.of_subsets, here.band, here.of_pool
    found = {
        "Rows": _line([m.rows for m in made], band.rows, whole.rows, show.format_count),
        "Tokens": _line(
            [m.response_tokens for m in made], band.response_tokens, whole.response_tokens, show.format_count
        ),
        "Median length": _line([m.quantiles[2] for m in made], _medians(here), whole.quantiles[2], show.format_count),
        "Lengths moved": _moved([m.lengths for m in made], band.lengths, whole.lengths),
    }
    if len(whole.tasks) > 1:
        tasks = MOVED_COLUMN.format(find_grouping(pool, here.base.run).title)
        found[tasks] = _moved([m.tasks for m in made], band.tasks, whole.tasks)
    found |= _reached(pool, here)
    if cached.count_duplicates(pool):
        repeats = [_repeats(pool, rows) for rows in (*here.subsets, *here.random_subsets)]
        found["Repeats"] = _line(
            repeats[: len(made)], repeats[len(made) :], cached.count_duplicates(pool), show.format_count
        )
    if band.marked:
        kept, drawn = [sum(m.marked.values()) for m in made], sum(band.marked.values())
        found["Planted faults"] = _line(kept, drawn, sum(whole.marked.values()), show.format_count)
    return pd.DataFrame({"Subset": [*known.labels, f"random rows, {len(band.rows)} seeds", "the pool"]} | found)


def _medians(here: Compositions) -> list[float]:
    tokens = cached.measurements(here.base.run).need(live_selection.length_column(here.base.run))
    return [float(np.sort(tokens[rows])[(len(rows) - 1) // 2]) for rows in here.random_subsets if len(rows)]


def _line(subsets: Sequence[float], random: Any, whole: float | None, word: Callable[[float], str]) -> list[str]:
    """One column: a word for each subset, the least and most of random ones, and the pool."""
    draws = np.asarray(random, np.float64)
    ends = [word(float(draws.min())), word(float(draws.max()))] if len(draws) else [""]
    chance = ends[0] if len(set(ends)) == 1 else " to ".join(ends)
    return [*(_word(value, word) for value in subsets), chance, "" if whole is None else _word(whole, word)]


def _word(value: float, word: Callable[[float], str]) -> str:
    return word(float(value)) if np.isfinite(value) else ""


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _moved(subsets: Sequence[IntArray], random: IntArray, whole: IntArray) -> list[str]:
    """How far counts by group are from the pool's."""
    return _line(
        [total_variation(c, whole) for c in subsets], [total_variation(c, whole) for c in random], None, _share
    )


def _repeats(pool: Pool, rows: IntArray) -> int:
    """Rows that repeat another one of these."""
    of = cached.integer_column(pool, "duplicate_of")[rows]
    return len(rows) - len(np.unique(np.where(of < 0, rows, of)))


def _reached(pool: Pool, here: Compositions) -> dict[str, list[str]]:
    """Clusters touched, and coverage where it is quickly counted; nothing where activations are not measured."""
    source = find_coverage_run(pool, here.base.run)
    if source is None:
        return {}
    labels, every = cluster_labels(source), (*here.subsets, *here.random_subsets)
    count, n = int(labels.max(initial=-1)) + 1, len(here.subsets)
    spread = [cluster_diversity(labels, rows, count)[0] for rows in every]
    found = {"Clusters": _line(spread[:n], spread[n:], count, show.format_count)}
    if is_coverage_counted(pool, here):
        yard = _yardstick(source.id, str(cached.workspace().root), source)
        shares = [yard.share(yard.states.counts(rows)) for rows in every]
        found["Coverage"] = _line(shares[:n], shares[n:], 1.0, _share)
    return found


def is_coverage_counted(pool: Pool, here: Compositions) -> bool:
    """Is it counted how much of the model's neurons each subset reaches? At once where that is quick, else if asked."""
    return _quick(pool, here) or bool(state.session_value(COVERAGE_KEY))


def _quick(pool: Pool, here: Compositions) -> bool:
    source = find_coverage_run(pool, here.base.run)
    if source is None:
        return True
    yard = _yardstick(source.id, str(cached.workspace().root), source)
    rows = sum(map(len, (*here.subsets, *here.random_subsets)))
    return rows <= QUICK_LIMITS[0] and rows * len(yard.states.indices) / len(pool) <= QUICK_LIMITS[1]


def cluster_labels(source: Run) -> IntArray:
    """(N,) activation cluster of each row, 0 = the largest; −1: none."""
    return _loaded(source.id, str(cached.workspace().root), source)


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_POOLS)
def _loaded(run_id: str, root: str, _run: Run) -> IntArray:
    labels: IntArray = cached.measurements(_run).need("activation_cluster")
    return labels


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_POOLS)
def _yardstick(run_id: str, root: str, _run: Run) -> PoolCoverage:
    params = _run.method["params"]
    return PoolCoverage.of(cached.measurements(_run).need_states(), params["growth"], params["tau"])


def section(pool: Pool, known: Comparison, here: Compositions) -> None:
    """The table of all subsets."""
    st.subheader("How each subset differs from the pool, and from chance", anchor=False)
    table = figures_table(pool, known, here)
    columns = {name: st.column_config.TextColumn(help=HELP.get(name)) for name in table.columns}
    st.dataframe(table, hide_index=True, column_config=columns, height="content", alt="Figures of every subset")
    st.caption("Moved: share of the rows that would have to change group for the subset to be made up as the pool is.")
    if not _quick(pool, here):
        st.toggle("Count coverage too, which takes a moment at every move", key=COVERAGE_KEY, persist_state="session")
