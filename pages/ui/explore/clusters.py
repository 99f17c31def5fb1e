"""Activation clusters in the Coverage section: how many rows of each cluster a selection contains."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from core.algorithms.activation_clusters import cluster_diversity
from core.measurement.runs import Run
from core.schema import IntArray
from pages.ui.charts import coverage, figures, html_bars
from pages.ui.data import bins, cached
from pages.ui.data.bins import Values
from pages.ui.data.grouping import Grouping

MAX_BARS = 40  # more clusters are combined into the last bar


@dataclass(frozen=True, eq=False)
class ClusterCounts:
    """Selected rows of each cluster, largest first; clusters beyond the limit share the last entry. All (T,)."""

    names: tuple[str, ...]
    codes: IntArray  # (N,) index into `names`; −1: no cluster
    sizes: IntArray
    subset: IntArray
    low: IntArray  # fewest and most rows in random subsets of the same size
    high: IntArray
    clusters: int  # before combining
    touches: tuple[int, float]  # clusters with a selected row, evenness of their shares
    random: Values  # (S, 2) the same for random subsets


def count_by_cluster(labels: IntArray, rows: IntArray, random: Sequence[IntArray]) -> ClusterCounts:
    """Count selected and random rows by cluster; labels (N,), 0 is the largest cluster, −1 none."""
    count = int(labels.max(initial=-1)) + 1
    codes = np.minimum(labels, MAX_BARS - 1) if count > MAX_BARS else labels
    names = tuple(bins.fold_names([str(k + 1) for k in range(count)], MAX_BARS))

    def counted(some: IntArray) -> IntArray:
        inside = codes[some]
        return np.bincount(inside[inside >= 0], minlength=len(names))

    draws = np.array([counted(some) for some in random]).reshape(-1, len(names))
    return ClusterCounts(
        names,
        codes,
        counted(np.arange(len(labels))),
        counted(rows),
        draws.min(axis=0, initial=len(labels)) if len(draws) else np.zeros(len(names), np.int64),
        draws.max(axis=0, initial=0),
        count,
        cluster_diversity(labels, rows, count),
        np.array([cluster_diversity(labels, some, count) for some in random]).reshape(-1, 2),
    )


def describe(known: ClusterCounts) -> str:
    """Compare the number of clusters and their evenness with random subsets, in markdown."""
    some, even = known.touches
    said = f"The subset touches **{some} of {known.clusters}** clusters"
    if not np.isfinite(even):
        return said + "."
    said += f", evenness **{even:.2f}**"
    if not len(known.random):
        return said + "."
    (least, low), (most, high) = known.random.min(axis=0), known.random.max(axis=0)
    numbers = f"{least:.0f}" if least == most else f"{least:.0f} to {most:.0f}"
    evenness = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
    return f"{said}; random rows touch {numbers}, evenness {evenness}."


def draw_bars(run: Run, known: ClusterCounts, tasks: Grouping | None) -> tuple[IntArray, str] | None:
    """Draw the clusters; return the rows of a clicked one with a description."""
    share = float(known.subset.sum() / max(int((known.codes >= 0).sum()), 1))
    *others, (line, colour) = coverage.CLUSTER_COLOURS.items()
    st.html(html_bars.legend({**dict(others), f"{coverage.format_share(share)} {line}": colour}))
    figure = coverage.cluster_shares(
        known.names,
        known.sizes,
        known.subset,
        known.low,
        known.high,
        share=share,
        hover=main_tasks(known.codes, tasks) if tasks is not None and len(tasks.names) > 1 else None,
        height=coverage.HEIGHT - 20,
    )
    event = st.plotly_chart(
        figure,
        key="explore.clusters",
        config=figures.CONFIG,
        on_select="rerun",
        selection_mode="points",
        alt="Share of each activation cluster that the subset takes; click a bar to read its rows",
    )
    clicked = [point["point_index"] for point in event["selection"]["points"]]
    if not clicked:
        return None
    place = clicked[0]
    rows = np.flatnonzero(known.codes == place)
    gains = cached.measurements(run).need("coverage_gain")
    return bins.sort_by_value(rows, -gains), f"activation cluster {known.names[place]}, most coverage gain first"


def main_tasks(codes: IntArray, tasks: Grouping) -> list[str]:
    """Name the most frequent task of each cluster, with its share."""
    count = int(codes.max(initial=-1)) + 1
    both = np.zeros((count, len(tasks.names)), np.int64)
    inside = codes >= 0
    np.add.at(both, (codes[inside], tasks.codes[inside]), 1)
    most = both.argmax(axis=1)
    share = both.max(axis=1) / np.maximum(both.sum(axis=1), 1)
    return [f"{100 * s:.0f} % {tasks.labels[k]}" for s, k in zip(share, most, strict=True)]
