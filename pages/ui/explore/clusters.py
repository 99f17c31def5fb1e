"""Activation clusters in the Coverage section: how many rows of each cluster a selection contains."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from core.algorithms.activation_clusters import cluster_diversity
from core.schema import IntArray
from core.selection.filters import Filter
from pages.ui import theme
from pages.ui.charts import coverage, html_bars
from pages.ui.data import bins
from pages.ui.data.bins import Values
from pages.ui.data.grouping import Grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore.picks import clickable
from pages.ui.shell import state
from pages.ui.shell.terms import Match
from pages.ui.words import join_range

COLUMN = "activation_cluster"
MAX_BARS = 40  # more clusters are combined into the last bar


@dataclass(frozen=True, eq=False)
class ClusterCounts:
    """Selected rows of each cluster, largest first; clusters beyond the limit share the last entry. All (T,)."""

    names: tuple[str, ...]
    codes: IntArray  # (N,) index into `names`; −1: no cluster
    sizes: IntArray
    subset: IntArray
    random_low: IntArray  # fewest and most rows in random subsets of the same size
    random_high: IntArray
    clusters: int  # before combining
    touched: tuple[int, float]  # clusters with a selected row, evenness of their shares
    random_touched: Values  # (S, 2) the same for random subsets


def count_by_cluster(labels: IntArray, rows: IntArray, random: Sequence[IntArray]) -> ClusterCounts:
    """Count selected and random rows by cluster; labels (N,), 0 is the largest cluster, −1 none."""
    count = int(labels.max(initial=-1)) + 1
    codes = np.minimum(labels, MAX_BARS - 1) if count > MAX_BARS else labels
    names = tuple(bins.fold_names([str(k + 1) for k in range(count)], MAX_BARS))
    draws = np.array([bins.count_codes(codes[sample], len(names)) for sample in random]).reshape(-1, len(names))
    return ClusterCounts(
        names,
        codes,
        bins.count_codes(codes, len(names)),
        bins.count_codes(codes[rows], len(names)),
        draws.min(axis=0, initial=len(labels)) if len(draws) else np.zeros(len(names), np.int64),
        draws.max(axis=0, initial=0),
        count,
        cluster_diversity(labels, rows, count),
        np.array([cluster_diversity(labels, sample, count) for sample in random]).reshape(-1, 2),
    )


def describe(counts: ClusterCounts) -> str:
    """Compare the number of clusters and their evenness with random subsets, in markdown."""
    touched_clusters, subset_evenness = counts.touched
    text = f"The selection has rows from **{touched_clusters} of {counts.clusters}** clusters"
    if not np.isfinite(subset_evenness):
        return text + "."
    text += f" (evenness **{subset_evenness:.2f}**)"
    if not len(counts.random_touched):
        return text + "."
    (least, low), (most, high) = counts.random_touched.min(axis=0), counts.random_touched.max(axis=0)
    numbers, evenness = join_range(f"{least:.0f}", f"{most:.0f}"), join_range(f"{low:.2f}", f"{high:.2f}")
    return f"{text}; random selections have rows from {numbers} (evenness {evenness})."


def draw_bars(counts: ClusterCounts, tasks: Grouping, live: LiveSelection) -> None:
    """Draw the clusters; the rows of a clicked one are highlighted."""
    share = float(counts.subset.sum() / max(int((counts.codes >= 0).sum()), 1))
    lit = None if live.highlight is None else bins.count_codes(counts.codes[live.highlight], len(counts.names))
    *others, (line, colour) = coverage.CLUSTER_COLOURS.items()
    entries = {**dict(others), f"{coverage.format_share(share)} {line}": colour}
    st.html(html_bars.legend(entries | ({} if lit is None else {"highlighted": theme.HIGHLIGHT})))
    figure = coverage.cluster_shares(
        counts.names,
        counts.sizes,
        counts.subset,
        counts.random_low,
        counts.random_high,
        share=share,
        hover=main_tasks(counts.codes, tasks) if len(tasks.names) > 1 else (),
        highlight=lit,
    )
    alt = "Selected share of each activation cluster; click a bar to highlight its rows"
    clickable(figure, "explore.clusters", alt, take=lambda point: state.pick(term_of(counts, point["point_index"])))


def term_of(counts: ClusterCounts, place: int) -> Match:
    """Return the term of one bar; the last one may stand for several clusters."""
    if place == MAX_BARS - 1 < counts.clusters - 1:
        return Match(Filter(COLUMN, low=place), words=f"{counts.names[place]} activation clusters")
    return Match(Filter(COLUMN, values=(place,)), words=f"activation cluster {counts.names[place]}")


def main_tasks(codes: IntArray, tasks: Grouping) -> list[str]:
    """Name the most frequent task of each cluster, with its share."""
    count = int(codes.max(initial=-1)) + 1
    both = np.zeros((count, len(tasks.names)), np.int64)
    inside = codes >= 0
    np.add.at(both, (codes[inside], tasks.codes[inside]), 1)
    most = both.argmax(axis=1)
    share = both.max(axis=1) / np.maximum(both.sum(axis=1), 1)
    return [f"{100 * s:.0f}% {tasks.labels[k]}" for s, k in zip(share, most, strict=True)]
