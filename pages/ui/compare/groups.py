"""The part of the Compare page that holds each subset against the pool by group: tasks, lengths, clusters, faults."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import streamlit as st

from core.schema import IntArray, Pool
from pages.ui.charts import overlap_tables
from pages.ui.charts.overlap import Look
from pages.ui.compare.difference import Compositions, cluster_labels
from pages.ui.compare.entries import Comparison
from pages.ui.data.bins import Values
from pages.ui.data.cached import find_coverage_run
from pages.ui.data.grouping import find_grouping
from pages.ui.select import subset
from pages.ui.words import task_label

MAX_GROUPS = 16  # that are drawn, the largest ones; the table has all
CAPTION = "Share of each subset's rows in each group: a mark beyond the band of random subsets is the method's doing."
LENGTHS, CLUSTERS, FAULTS = "Lengths", "Clusters", "Planted faults"


def section(pool: Pool, known: Comparison, here: Compositions, looks: Sequence[Look]) -> None:
    """By what to group, and the shares of every subset in each group."""
    kinds = available_groups(pool, here)
    kind = st.segmented_control(
        "By", kinds, default=kinds[0], required=True, key="compare.by", label_visibility="collapsed"
    )
    draw_groups(pool, known, here, looks, str(kind))


def available_groups(pool: Pool, here: Compositions) -> list[str]:
    """What subsets can be held against the pool by."""
    named = find_grouping(pool, here.base.run)
    found = [named.title] if len(named.names) > 1 else []
    found.append(LENGTHS)
    found += [CLUSTERS] if find_coverage_run(pool, here.base.run) is not None else []
    return [*found, *([FAULTS] if here.band.marked else [])]


def draw_groups(pool: Pool, known: Comparison, here: Compositions, looks: Sequence[Look], kind: str) -> None:
    """The shares of every subset in each group: a picture, and the same as a table."""
    names, subsets, whole, random = _counted(pool, here, kind)
    shares = [counts / max(m.rows, 1) for counts, m in zip(subsets, here.of_subsets, strict=True)]
    sizes = np.array([len(rows) for rows in here.random_subsets]) if kind == CLUSTERS else here.band.rows
    drawn = random / np.maximum(sizes, 1)[:, None]
    pooled = whole / max(here.of_pool.rows, 1)
    low, high = (drawn.min(axis=0), drawn.max(axis=0)) if len(drawn) else (pooled, pooled)
    label = f"Share of each subset's rows by {kind.lower()}, with the pool and random subsets"
    st.html(overlap_tables.legend(looks, overlap_tables.RANDOM_ROWS, overlap_tables.POOL))
    marks = [(look, own[:MAX_GROUPS]) for look, own in zip(looks, shares, strict=True)]
    drawn_of = (pooled[:MAX_GROUPS], low[:MAX_GROUPS], high[:MAX_GROUPS])
    st.html(overlap_tables.group_shares(names[:MAX_GROUPS], marks, *drawn_of, label=label))
    largest = (
        f" Drawn are the {MAX_GROUPS} largest of {len(names)}; the table has all." if len(names) > MAX_GROUPS else ""
    )
    st.caption(f"{CAPTION}{largest}")
    with st.expander("The same as a table", icon=":material/table:"):
        columns: Mapping[str, Values] = dict(zip(known.labels, shares, strict=True))
        table = pd.DataFrame({kind: names} | {n: 100 * v for n, v in columns.items()} | {"the pool": 100 * pooled})
        percent = st.column_config.NumberColumn(format="%.1f %%")
        st.dataframe(table, hide_index=True, column_config={n: percent for n in table.columns[1:]}, alt="Shares")


GroupCounts = tuple[list[str], list[IntArray], IntArray, IntArray]


def _counted(pool: Pool, here: Compositions, kind: str) -> GroupCounts:
    """Names of the groups, and how many rows of every subset, of the pool and of random subsets are in each."""
    if kind == LENGTHS:
        used = np.flatnonzero(here.of_pool.lengths)
        held = slice(used[0], used[-1] + 1) if len(used) else slice(0, 1)
        names = subset.length_labels()[held]
        return names, [m.lengths[held] for m in here.of_subsets], here.of_pool.lengths[held], here.band.lengths[:, held]
    if kind == FAULTS:
        kinds = list(here.of_pool.marked)
        own = [np.array([m.marked[k] for k in kinds]) for m in here.of_subsets]
        whole = np.array([here.of_pool.marked[k] for k in kinds])
        random = np.stack([here.band.marked[k] for k in kinds], axis=1)
        return [k.replace("_", " ") for k in kinds], own, whole, random
    if kind == CLUSTERS:
        return _by_cluster(pool, here)
    named = find_grouping(pool, here.base.run)
    names = [task_label(name) for name in named.names]
    return names, [m.tasks for m in here.of_subsets], here.of_pool.tasks, here.band.tasks


def _by_cluster(pool: Pool, here: Compositions) -> GroupCounts:
    source = find_coverage_run(pool, here.base.run)
    assert source is not None
    labels = cluster_labels(source)
    count = int(labels.max(initial=-1)) + 1

    def counted(rows: IntArray | slice) -> IntArray:
        inside = labels[rows]
        return np.bincount(inside[inside >= 0], minlength=count)

    random = np.array([counted(rows) for rows in here.random_subsets]).reshape(-1, count)
    names = [f"cluster {k + 1}" for k in range(count)]
    return names, [counted(rows) for rows in here.subsets], counted(slice(None)), random
