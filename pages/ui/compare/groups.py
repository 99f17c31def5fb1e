"""Shares of each selection by task, length, activation cluster or kind of known bad row, next to the pool's."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from core.schema import IntArray, Pool
from core.selection.filters import Filter
from pages.ui.charts import overlap, overlap_tables
from pages.ui.charts.overlap import Look
from pages.ui.compare.difference import Compositions, cluster_labels
from pages.ui.controls import pick_bars
from pages.ui.data.cached import find_coverage_run
from pages.ui.data.grouping import find_grouping
from pages.ui.select import composition, subset
from pages.ui.select.subset import GroupCounts
from pages.ui.shell import state
from pages.ui.shell.terms import Match, Term
from pages.ui.words import task_label

MAX_GROUPS = 16  # largest groups in the figure; the table has all
CAPTION = (
    "Share of each selection's rows by group. A mark outside the chance range is rarely due to chance. "
    "Click a line to highlight the rows of the group."
)
LENGTHS, CLUSTERS, FAULTS = "Lengths", "Clusters", "Known bad rows"


def section(pool: Pool, compositions: Compositions, looks: Sequence[Look]) -> None:
    """Draw the choice of a grouping, and the shares of every selection and of the highlighted rows by group."""
    kinds = available_groups(pool, compositions)
    kind = str(
        st.segmented_control("Group by", kinds, required=True, **state.view_choice("group", kinds, "compare.by"))
    )
    lit = [overlap.highlight_look()] if len(compositions.names) > len(looks) else []
    draw_groups(pool, compositions, [*looks, *lit], kind)


def available_groups(pool: Pool, compositions: Compositions) -> list[str]:
    """Return the groupings by which subsets can be compared with the pool."""
    grouping = find_grouping(pool, compositions.base.run)
    kinds = {
        grouping.title: len(grouping.names) > 1,
        LENGTHS: True,
        CLUSTERS: find_coverage_run(pool, compositions.base.run) is not None,
        FAULTS: bool(compositions.band.marked),
    }
    return [kind for kind, available in kinds.items() if available]


def draw_groups(pool: Pool, compositions: Compositions, looks: Sequence[Look], kind: str) -> None:
    """Draw the shares of every selection by group: a figure and a table."""
    names, subsets, of_pool, random = _count_groups(pool, compositions, kind)
    shares = [counts / max(m.rows, 1) for counts, m in zip(subsets, compositions.of_subsets, strict=True)]
    pool_shares = of_pool / max(compositions.of_pool.rows, 1)
    chance = random / np.maximum(compositions.band.rows, 1)[:, None]
    label = f"Share of each selection's rows by {kind.lower()}, with the pool and the chance range"
    st.html(overlap_tables.legend(looks, overlap_tables.CHANCE_RANGE, overlap_tables.POOL))
    marks = [(look, subset_shares[:MAX_GROUPS]) for look, subset_shares in zip(looks, shares, strict=True)]
    reference = (values[:MAX_GROUPS] for values in (pool_shares, chance.min(axis=0), chance.max(axis=0)))
    figure = overlap_tables.group_shares(names[:MAX_GROUPS], marks, *reference, label=label)
    pick_bars.draw(figure, "compare.groups", lambda line: state.pick(make_term(pool, compositions, kind, int(line))))
    largest = f" The figure shows the {MAX_GROUPS} largest of {len(names)} groups; the table lists all."
    st.caption(CAPTION + (largest if len(names) > MAX_GROUPS else ""))
    with st.expander("Show as table", icon=":material/table:"):
        columns = dict(zip([*compositions.names, "Pool"], [*shares, pool_shares], strict=True))
        table = pd.DataFrame({kind: names} | {name: 100 * values for name, values in columns.items()})
        percent = st.column_config.NumberColumn(format="%.1f%%")
        st.dataframe(table, hide_index=True, column_config={n: percent for n in table.columns[1:]}, alt="Shares")


def make_term(pool: Pool, compositions: Compositions, kind: str, line: int) -> Term:
    """Return the rows of the group at a line as a term of the highlight."""
    if kind == LENGTHS:
        return composition.length_term(compositions.base.run, compositions.of_pool, line)
    if kind == FAULTS:
        return composition.fault_term(pool, list(compositions.of_pool.marked)[line])
    if kind == CLUSTERS:
        return Match(Filter("activation_cluster", values=(line,)), words=f"activation cluster {line + 1}")
    return Match(find_grouping(pool, compositions.base.run).filter(line))


def _count_groups(pool: Pool, compositions: Compositions, kind: str) -> GroupCounts:
    """Return group names, and the rows in each group of every selection, of the pool and of random selections."""
    if kind == LENGTHS:
        return subset.count_lengths(compositions.of_subsets, compositions.of_pool, compositions.band)
    if kind == FAULTS:
        return subset.count_faults(compositions.of_subsets, compositions.of_pool, compositions.band)
    if kind == CLUSTERS:
        return _count_clusters(pool, compositions)
    grouping = find_grouping(pool, compositions.base.run)
    names = [task_label(name) for name in grouping.names]
    return names, [m.tasks for m in compositions.of_subsets], compositions.of_pool.tasks, compositions.band.tasks


def _count_clusters(pool: Pool, compositions: Compositions) -> GroupCounts:
    source = find_coverage_run(pool, compositions.base.run)
    assert source is not None
    labels = cluster_labels(source)
    count = int(labels.max(initial=-1)) + 1

    def count_rows(rows: IntArray | slice) -> IntArray:
        clusters = labels[rows]
        return np.bincount(clusters[clusters >= 0], minlength=count)

    random = np.array([count_rows(rows) for rows in compositions.random_subsets]).reshape(-1, count)
    names = [f"Cluster {k + 1}" for k in range(count)]
    return names, [count_rows(rows) for rows in compositions.subsets], count_rows(slice(None)), random
