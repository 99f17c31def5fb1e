"""Clusters of a map by density: HDBSCAN (Campello, Moulavi, Sander 2013) on the positions of a fixed sample of rows.

HDBSCAN needs no number of clusters and leaves sparse rows in none. Every other row has the cluster of the nearest
sampled row, or none with it. At a million rows this takes seconds, and memory for the sample and two numbers per row.

McInnes, Healy, Astels 2017, https://doi.org/10.21105/joss.00205
"""

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree
from sklearn.cluster import HDBSCAN

from core.analysis.projection import count_in_cells, sample_by_group
from core.schema import FloatArray, IntArray

MAX_SAMPLE = 10_000  # rows that HDBSCAN sees
MIN_SHARE = 1 / 50  # least share of the sample in a cluster
MIN_ROWS = 10  # least rows in a cluster; also the neighbours that make a place dense
PEAK_CELLS = 32  # cells per side of the grid in which a cluster's densest place is found


def density_clusters(xy: FloatArray, *, seed: int) -> IntArray:
    """Return each row's cluster, (N,), 0 = the most rows; −1: in none, or without a position.

    `xy` (N, 2) positions, NaN without one. Same seed, same clusters. Fewer than 2 · MIN_ROWS rows have no cluster.
    """
    codes = np.full(len(xy), -1, np.int64)
    placed = np.flatnonzero(np.isfinite(xy).all(axis=1))
    if len(placed) < 2 * MIN_ROWS:
        return codes
    sample = placed[sample_by_group(np.zeros(len(placed), np.int64), MAX_SAMPLE, seed=seed)]
    search = HDBSCAN(min_cluster_size=max(MIN_ROWS, int(MIN_SHARE * len(sample))), min_samples=MIN_ROWS, copy=True)
    found = search.fit(xy[sample]).labels_
    nearest = cKDTree(xy[sample]).query(xy[placed])[1] if len(sample) < len(placed) else np.arange(len(placed))
    codes[placed] = np.maximum(found, -1)[nearest]
    return number_by_size(codes)


def number_by_size(codes: IntArray) -> IntArray:
    """Renumber clusters (N,) so that 0 has the most rows, ties by the earlier number; −1 stays."""
    sizes = np.bincount(codes[codes >= 0])
    order = np.argsort(-sizes, kind="stable")
    rank = np.empty(len(sizes) + 1, np.int64)
    rank[order], rank[-1] = np.arange(len(sizes)), -1
    return rank[codes]


def densest_places(xy: FloatArray, codes: IntArray, clusters: Sequence[int]) -> FloatArray:
    """Return (C, 2) the mean position in each cluster's fullest cell of a grid over it: where its name belongs.

    Unlike the mean of all, it lies among the cluster's rows whatever the shape.
    """
    places = np.full((len(clusters), 2), np.nan)
    for line, cluster in zip(places, clusters, strict=True):
        some = xy[(codes == cluster) & np.isfinite(xy).all(axis=1)].astype(np.float64)
        if len(some):
            (left, low), (right, high) = some.min(axis=0), some.max(axis=0)
            frame = (left, right + 1e-9, low, high + 1e-9)
            counts = count_in_cells(some, frame, PEAK_CELLS)
            cell = np.array(np.unravel_index(_smoothed(counts).argmax(), counts.shape))[::-1]
            middle = np.array([left, low]) + (cell + 0.5) / PEAK_CELLS * np.array([right - left, high - low])
            reach = 1.5 / PEAK_CELLS * np.array([right - left, high - low]) + 1e-9
            line[:] = some[(np.abs(some - middle) <= reach).all(axis=1)].mean(axis=0)
    return places


def _smoothed(counts: IntArray) -> IntArray:
    """Sum each cell with its eight neighbours."""
    padded = np.pad(counts, 1)
    size = range(3)
    return sum(padded[i : i + len(counts), j : j + len(counts)] for i in size for j in size)  # type: ignore[return-value]
