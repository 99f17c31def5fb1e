"""A table of the composition of each selection, the pool and random selections."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.algorithms.activation_clusters import cluster_diversity
from core.analysis.comparison import total_variation
from core.analysis.composition import Composition, RandomBand
from core.analysis.coverage_curve import PoolCoverage
from core.measurement.runs import Run
from core.schema import BoolArray, IntArray, Pool
from pages.ui import glossary
from pages.ui.charts.overlap import HIGHLIGHTED
from pages.ui.compare import entries
from pages.ui.compare.entries import Comparison, Entry
from pages.ui.data import cached, live_selection
from pages.ui.data.cached import find_coverage_run
from pages.ui.data.grouping import find_grouping
from pages.ui.shell import show, state
from pages.ui.words import escape_markdown

QUICK_LIMITS = (8_000, 4_000_000)  # rows, activations: counted at every move in about 100 ms; beyond, on request
COVERAGE_SELECTIONS = 5  # random selections whose coverage is counted
COVERAGE_KEY = "compare.coverage"
SHIFT = "share of rows you would need to reassign to match the pool's distribution (total variation distance)."
HELP = {
    "Tokens": "Response tokens.",
    "Median length": "In tokens.",
    "Length shift": SHIFT.capitalize(),
    "Clusters": "Clusters of similar activations that contain a selected row.",
    "Coverage": "Share of the neurons the whole pool activates (weighted by f) that the selected rows cover. "
    f"The range is that of {COVERAGE_SELECTIONS} random selections.",
    "Duplicates": "Rows that repeat another row of the same selection word for word.",
    "Highlighted": "Highlighted rows in the selection.",
    "Bad rows": "Known bad rows of the demo pool.",
}


@dataclass(frozen=True, eq=False)
class Compositions:
    """Composition of every selection, of the highlighted rows, of the pool and of random selections."""

    names: Sequence[str]  # of the subsets: the contenders, and the highlighted rows if any are
    base: Entry  # tokens and tasks are those of its run
    reference: Entry  # random selections have its size and its eligible rows
    subsets: Sequence[IntArray]
    of_subsets: Sequence[Composition]
    of_pool: Composition
    band: RandomBand
    random_subsets: Sequence[IntArray]  # the same random selections, as rows

    def of_each(self, compute: Callable[[IntArray], float]) -> tuple[list[float], list[float]]:
        """Return a figure of every selection, and of the random ones."""
        return [compute(rows) for rows in self.subsets], [compute(rows) for rows in self.random_subsets]


def compute_compositions(
    pool: Pool, comparison: Comparison, reference: Entry, highlight: BoolArray | None
) -> Compositions:
    """Compute the compositions at the current budget. `highlight`: (N,) the highlighted rows, if any are."""
    base = entries.base_entry(comparison.entries)
    subsets = [comparison.rows(k) for k in range(len(comparison.entries))]
    names = list(comparison.labels)
    if highlight is not None:
        subsets.append(np.flatnonzero(highlight))
        names.append(HIGHLIGHTED)
    selection = comparison.selection(reference)
    orders = live_selection.random_orders(base.run, selection.order)
    return Compositions(
        names,
        base,
        reference,
        subsets,
        live_selection.compositions_of(pool, base.run, subsets),
        live_selection.pool_composition(pool, base.run),
        live_selection.chance_band(pool, base.run, selection),
        [order[: len(selection.rows)] for order in orders],
    )


# Table


def figures_table(pool: Pool, compositions: Compositions) -> pd.DataFrame:
    """Return a line for each selection, for random ones and for the pool: sizes, and shift from the pool."""
    subsets, band, of_pool = compositions.of_subsets, compositions.band, compositions.of_pool
    tokens, medians = [m.response_tokens for m in subsets], [m.quantiles[2] for m in subsets]
    columns = {
        "Rows": _format_column([m.rows for m in subsets], band.rows, of_pool.rows),
        "Tokens": _format_column(tokens, band.response_tokens, of_pool.response_tokens),
        "Median length": _format_column(medians, _random_medians(compositions), of_pool.quantiles[2]),
        "Length shift": _format_distances([m.lengths for m in subsets], band.lengths, of_pool.lengths),
    }
    if len(of_pool.tasks) > 1:
        tasks = f"{find_grouping(pool, compositions.base.run).title.removesuffix('s')} shift"
        columns[tasks] = _format_distances([m.tasks for m in subsets], band.tasks, of_pool.tasks)
    columns |= _activation_columns(pool, compositions)
    if cached.count_duplicates(pool):
        repeats, random_repeats = compositions.of_each(lambda rows: _count_repeats(pool, rows))
        columns["Duplicates"] = _format_column(repeats, random_repeats, cached.count_duplicates(pool))
    if band.marked:
        faults, random_faults = [sum(m.marked.values()) for m in subsets], sum(band.marked.values())
        columns["Bad rows"] = _format_column(faults, random_faults, sum(of_pool.marked.values()))
    if compositions.names[-1] == HIGHLIGHTED:
        lit = compositions.subsets[-1]
        counts = compositions.of_each(lambda rows: len(np.intersect1d(rows, lit, assume_unique=True)))
        columns["Highlighted"] = _format_column(*counts, len(lit))
    return pd.DataFrame({"Selection": [*compositions.names, "Chance range", "Pool"]} | columns)


def _random_medians(compositions: Compositions) -> list[float]:
    tokens = cached.measurements(compositions.base.run).need(live_selection.length_column(compositions.base.run))
    return [float(np.sort(tokens[rows])[(len(rows) - 1) // 2]) for rows in compositions.random_subsets if len(rows)]


def _format_column(
    subsets: Sequence[float],
    random: Any,
    of_pool: float = np.nan,
    format_value: Callable[[float], str] = show.format_count,
) -> list[str]:
    """Format one column: each selection, the chance range, and the pool."""
    draws = np.asarray(random, np.float64)
    ends = [format_value(float(draws.min())), format_value(float(draws.max()))] if len(draws) else [""]
    chance = ends[0] if len(set(ends)) == 1 else "–".join(ends)
    *finite, last = [format_value(float(value)) if np.isfinite(value) else "" for value in (*subsets, of_pool)]
    return [*finite, chance, last]


def _format_share(value: float) -> str:
    return f"{100 * value:.1f}%"


def _format_distances(subsets: Sequence[IntArray], random: IntArray, of_pool: IntArray) -> list[str]:
    """Format the total variation distance of counts by group from those of the pool."""
    moved, random_moved = ([total_variation(c, of_pool) for c in counts] for counts in (subsets, random))
    return _format_column(moved, random_moved, format_value=_format_share)


def _count_repeats(pool: Pool, rows: IntArray) -> int:
    """Count the rows that repeat another row of the same selection."""
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
        few = replace(compositions, random_subsets=compositions.random_subsets[:COVERAGE_SELECTIONS])
        shares = few.of_each(lambda rows: coverage.share(coverage.active.counts(rows)))
        columns["Coverage"] = _format_column(*shares, 1.0, _format_share)
    return columns


def is_coverage_counted(pool: Pool, compositions: Compositions) -> bool:
    """Return whether the coverage of each selection is counted: if that is quick, or on request."""
    return _is_quick(pool, compositions) or bool(state.session_value(COVERAGE_KEY))


def _is_quick(pool: Pool, compositions: Compositions) -> bool:
    source = find_coverage_run(pool, compositions.base.run)
    if source is None:
        return True
    rows = sum(map(len, (*compositions.subsets, *compositions.random_subsets[:COVERAGE_SELECTIONS])))
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


def section(pool: Pool, compositions: Compositions) -> None:
    """Draw the table of all selections."""
    st.subheader("Composition", anchor=False)
    table = figures_table(pool, compositions)
    columns = {name: st.column_config.TextColumn(help=HELP.get(name)) for name in table.columns}
    st.dataframe(table, hide_index=True, column_config=columns, height="content", alt="Composition of every selection")
    chance_range, shift = glossary.link("chance_range"), glossary.link("shift")
    st.markdown(
        f":small[{chance_range}: 95% range for random selections of the same size, drawn from the rows that are "
        f"eligible for {escape_markdown(compositions.reference.label)}. {shift}: {SHIFT}]"
    )
    if not _is_quick(pool, compositions):
        st.toggle("Show coverage (slows down every change)", key=COVERAGE_KEY, persist_state="session")
