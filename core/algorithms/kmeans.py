"""k-means with reproducible labels, numbered by size. Arrays only.

    minimise Σ_i |x_i − c(i)|²      Lloyd's algorithm from k-means++ starts; mini-batches where a pass is large

To cluster by direction, pass unit vectors: |x − y|² = 2 − 2 cos(x, y).

Vectors that do not fit in memory are read in blocks (core.algorithms.vector_blocks): k-means is fitted to a seeded
sample of them, and every row joins the nearest centre. Where the sample is all rows, nothing changes.
"""

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from core.algorithms.vector_blocks import VectorBlocks, sample_size
from core.schema import Float64Array, FloatArray, IntArray

# distances to centres in one pass; mini-batches beyond it, such as 52 k vectors and 160 clusters
MAX_FULL_PASS = 1 << 23
STARTS = 3  # seeded starts, the best wins; one for mini-batches, where more gain nothing
BATCH_ROWS = 4096
ASSIGNED_ROWS = 1024  # rows assigned to centres at once
CENTRED_ROWS = 4096  # vectors centred at once

# Threads add their partial sums in the order in which they finish, so the last bits of a centre, and the cluster of a
# vector half-way between two, may differ between runs. One thread is also the fastest where cores are shared.
one_thread = partial(threadpool_limits, 1)


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters of N rows."""

    labels: IntArray  # (N,) 0 = the largest of B; −1: the row has no vector
    centres: Float64Array  # (B, d) the mean of each cluster; the centre that k-means found, where it saw a sample


def kmeans(vectors: VectorBlocks, clusters: int, *, seed: int, directions: bool = False) -> Clusters:
    """Cluster vectors; ties in size go to the cluster that begins earlier.

    `directions`: cluster them by their direction from the mean, as unit vectors. This removes the direction that all
    hidden states of a language model share. Every label up to the last is used. There are fewer clusters than requested
    if there are fewer distinct vectors, and possibly a few fewer when hundreds are requested. The same seed gives the
    same labels for blocks of any size and on any number of threads. In memory: the sample, which mean and centres are
    computed from, once more for k-means, and a block.
    """
    rows, values = vectors.sample(seed=seed)
    labels = np.full(vectors.n, -1, np.int64)
    if not len(rows):
        return Clusters(labels, np.empty((0, vectors.width)))
    middle = centre_directions(values) if directions else None
    found, centres = _fit(values, clusters, seed)
    if not vectors.n > len(rows) == sample_size(vectors.n, vectors.width):  # the sample is all rows
        labels[rows] = found = number_by_size(found)
        return Clusters(labels, _means(values, found))
    del values
    with one_thread():
        for some, batch in vectors.batches(ASSIGNED_ROWS):
            values = batch if middle is None else unit_vectors(batch - middle)
            labels[some] = nearest_centres(values, centres)[: len(some)]
    there = np.flatnonzero(labels >= 0)
    used, first = np.unique(labels[there], return_index=True)
    labels[there] = number_by_size(labels[there])
    return Clusters(labels, centres[used[np.argsort(labels[there[first]])]].astype(np.float64))


def nearest_centres(vectors: FloatArray, centres: FloatArray) -> IntArray:
    """Return (n,) the nearest of the centres (B, d); of equally near ones the first."""
    return np.asarray((np.vecdot(centres, centres) / 2 - vectors @ centres.T).argmin(axis=1))


def _fit(vectors: NDArray[np.floating], clusters: int, seed: int) -> tuple[IntArray, FloatArray]:
    """Return the cluster of each vector, (N,), and the centres (B, d)."""
    values = np.ascontiguousarray(vectors, np.float32)
    clusters = min(clusters, count_distinct(values, clusters))
    if clusters < 2:
        return np.zeros(len(values), np.int64), values[:clusters].copy()
    from sklearn.exceptions import ConvergenceWarning

    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # centres coincide where vectors differ by rounding only
        estimator = _estimator(len(values), clusters, seed).fit(values)
    return np.asarray(estimator.labels_, np.int64), np.asarray(estimator.cluster_centers_, np.float32)


def number_by_size(labels: IntArray) -> IntArray:
    """Renumber the groups, (N,), 0, 1, ... by size, the largest first; ties go to the group that begins earlier."""
    _, first, group, size = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    place = np.empty(len(size), np.int64)
    place[np.lexsort((first, -size))] = np.arange(len(size))
    return place[group]


def count_distinct(vectors: FloatArray, enough: int) -> int:
    """Count distinct vectors, up to `enough` and no further: mostly the first few suffice."""
    seen: set[bytes] = set()
    for vector in vectors:
        if len(seen) >= enough:
            break
        seen.add((vector + 0).tobytes())  # −0 becomes 0
    return len(seen)


def unit_vectors(vectors: FloatArray) -> FloatArray:
    """Return (N, d) each vector divided by its length; a zero vector is unchanged."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, np.float32(1e-30)))


def centre_directions(values: FloatArray) -> FloatArray:
    """Replace (N, d) vectors by unit vectors from their mean, in place; return the mean (d,)."""
    middle: FloatArray = values.mean(axis=0, dtype=np.float64).astype(np.float32)
    for start in range(0, len(values), CENTRED_ROWS):
        some = values[start : start + CENTRED_ROWS]
        some[:] = unit_vectors(some - middle)
    return middle


def _means(values: FloatArray, labels: IntArray) -> Float64Array:
    """Return (B, d) the mean of the vectors of each label 0..B − 1."""
    grouped = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels))
    return np.stack([values[members].mean(axis=0, dtype=np.float64) for members in np.split(grouped, ends[:-1])])


def random_state(seed: int) -> np.random.RandomState:
    """Return sklearn's generator for a seed of any size (sklearn itself accepts 32 bits only)."""
    return np.random.RandomState(np.random.MT19937(seed))


def _estimator(n: int, clusters: int, seed: int) -> Any:
    from sklearn.cluster import KMeans, MiniBatchKMeans  # takes a second, which the arithmetic above does not need

    state = random_state(seed)
    if n * clusters <= MAX_FULL_PASS:
        return KMeans(clusters, n_init=STARTS, random_state=state)
    return MiniBatchKMeans(clusters, n_init=1, batch_size=BATCH_ROWS, random_state=state)
