"""A table of what each subset is made of, next to the pool and to random subsets."""

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

QUICK_LIMITS = (8_000, 4_000_000)  # rows, activations: counted at every move in about 100 ms; beyond, on request
RANDOM_SUBSETS = 5  # random subsets whose neurons, clusters and repeats are counted
COVERAGE_KEY = "compare.coverage"
MOVED_COLUMN = "{} moved"  # title of a column: distance from the pool
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
    """Composition of every subset, of the pool and of random subsets."""

    base: Entry  # random rows pass its filters; tokens are those of its run
    subsets: Sequence[IntArray]
    of_subsets: Sequence[Composition]
    of_pool: Composition
    band: RandomBand
    random_subsets: Sequence[IntArray]  # the first RANDOM_SUBSETS of them

    def of_each(self, compute: Callable[[IntArray], float]) -> tuple[list[float], list[float]]:
        """Return a figure of every subset, and of the random ones."""
        return [compute(rows) for rows in self.subsets], [compute(rows) for rows in self.random_subsets]


def compute_compositions(pool: Pool, comparison: Comparison) -> Compositions:
    """Compute the compositions at the budget in use."""
    base = entries.base_entry(comparison.entries)
    subsets = [comparison.rows(k) for k in range(len(comparison.entries))]
    band = live_selection.chance_band(pool, base.run, base.recipe, comparison.budget)
    orders = live_selection.random_orders(pool, base.run, base.recipe)[:RANDOM_SUBSETS]
    return Compositions(
        base,
        subsets,
        live_selection.compositions_of(pool, base.run, subsets),
        live_selection.pool_composition(pool, base.run),
        band,
        [order[:size] for order, size in zip(orders, band.rows.tolist(), strict=False)],
    )


# Table


def figures_table(pool: Pool, comparison: Comparison, compositions: Compositions) -> pd.DataFrame:
    """Return a line for each subset, for random ones and for the pool: sizes, and distance from the pool."""
    subsets, band, of_pool = compositions.of_subsets, compositions.band, compositions.of_pool
    tokens, medians = [m.response_tokens for m in subsets], [m.quantiles[2] for m in subsets]
    columns = {
        "Rows": _format_column([m.rows for m in subsets], band.rows, of_pool.rows),
        "Tokens": _format_column(tokens, band.response_tokens, of_pool.response_tokens),
        "Median length": _format_column(medians, _random_medians(compositions), of_pool.quantiles[2]),
        "Lengths moved": _format_distances([m.lengths for m in subsets], band.lengths, of_pool.lengths),
    }
    if len(of_pool.tasks) > 1:
        tasks = MOVED_COLUMN.format(find_grouping(pool, compositions.base.run).title)
        columns[tasks] = _format_distances([m.tasks for m in subsets], band.tasks, of_pool.tasks)
    columns |= _activation_columns(pool, compositions)
    if cached.count_duplicates(pool):
        repeats, random_repeats = compositions.of_each(lambda rows: _count_repeats(pool, rows))
        columns["Repeats"] = _format_column(repeats, random_repeats, cached.count_duplicates(pool))
    if band.marked:
        faults, random_faults = [sum(m.marked.values()) for m in subsets], sum(band.marked.values())
        columns["Planted faults"] = _format_column(faults, random_faults, sum(of_pool.marked.values()))
    return pd.DataFrame({"Subset": [*comparison.labels, f"random rows, {len(band.rows)} seeds", "the pool"]} | columns)


def _random_medians(compositions: Compositions) -> list[float]:
    tokens = cached.measurements(compositions.base.run).need(live_selection.length_column(compositions.base.run))
    return [float(np.sort(tokens[rows])[(len(rows) - 1) // 2]) for rows in compositions.random_subsets if len(rows)]


def _format_column(
    subsets: Sequence[float],
    random: Any,
    of_pool: float = np.nan,
    format_value: Callable[[float], str] = show.format_count,
) -> list[str]:
    """Format one column: each subset, the least and greatest of the random ones, and the pool."""
    draws = np.asarray(random, np.float64)
    ends = [format_value(float(draws.min())), format_value(float(draws.max()))] if len(draws) else [""]
    chance = ends[0] if len(set(ends)) == 1 else " to ".join(ends)
    *finite, last = [format_value(float(value)) if np.isfinite(value) else "" for value in (*subsets, of_pool)]
    return [*finite, chance, last]


def _format_share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _format_distances(subsets: Sequence[IntArray], random: IntArray, of_pool: IntArray) -> list[str]:
    """Format the total variation distance of counts by group from those of the pool."""
    moved, random_moved = ([total_variation(c, of_pool) for c in counts] for counts in (subsets, random))
    return _format_column(moved, random_moved, format_value=_format_share)


def _count_repeats(pool: Pool, rows: IntArray) -> int:
    """Count the rows that repeat another row of the same subset."""
    duplicate_of = cached.integer_column(pool, "duplicate_of")[rows]
    return len(rows) - len(np.unique(np.where(duplicate_of < 0, rows, duplicate_of)))


def _activation_columns(pool: Pool, compositions: Compositions) -> dict[str, list[str]]:
    """Return clusters touched, and coverage if it is counted; nothing if activations are not measured."""
    source = find_coverage_run(pool, compositions.base.run)
    if source is None:
        return {}
    labels = cluster_labels(source)
    count = int(labels.max(initial=-1)) + 1
    touched = compositions.of_each(lambda rows: cluster_diversity(labels, rows, count)[0])
    columns = {"Clusters": _format_column(*touched, count)}
    if is_coverage_counted(pool, compositions):
        coverage = _load_coverage(source)
        shares = compositions.of_each(lambda rows: coverage.share(coverage.active.counts(rows)))
        columns["Coverage"] = _format_column(*shares, 1.0, _format_share)
    return columns


def is_coverage_counted(pool: Pool, compositions: Compositions) -> bool:
    """Return whether the coverage of each subset is counted: by itself if that is quick, else on request."""
    return _is_quick(pool, compositions) or bool(state.session_value(COVERAGE_KEY))


def _is_quick(pool: Pool, compositions: Compositions) -> bool:
    source = find_coverage_run(pool, compositions.base.run)
    if source is None:
        return True
    rows = sum(map(len, (*compositions.subsets, *compositions.random_subsets)))
    activations = rows * len(_load_coverage(source).active.indices) / len(pool)
    return rows <= QUICK_LIMITS[0] and activations <= QUICK_LIMITS[1]


def cluster_labels(source: Run) -> IntArray:
    """Return the activation cluster of each row, (N,): 0 = the largest, −1 = none."""
    labels: IntArray = cached.measurements(source).need("activation_cluster")
    return labels


@cached.keep(cached.MAX_POOLS)
def _load_coverage(source: Run) -> PoolCoverage:
    params = source.method["params"]
    return PoolCoverage.of(cached.measurements(source).need("activations"), params["growth"], params["tau"])


def section(pool: Pool, comparison: Comparison, compositions: Compositions) -> None:
    """Draw the table of all subsets."""
    st.subheader("How each subset differs from the pool, and from chance", anchor=False)
    table = figures_table(pool, comparison, compositions)
    columns = {name: st.column_config.TextColumn(help=HELP.get(name)) for name in table.columns}
    st.dataframe(table, hide_index=True, column_config=columns, height="content", alt="Figures of every subset")
    st.caption("Moved: share of the rows that would have to change group for the subset to be made up as the pool is.")
    if not _is_quick(pool, compositions):
        st.toggle("Count coverage too, which takes a moment at every move", key=COVERAGE_KEY, persist_state="session")
