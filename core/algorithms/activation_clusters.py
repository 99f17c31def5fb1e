"""Activation clusters: rows of a pool in which about the same neurons are on. Arrays only.

1. A row is a binary vector over the neurons, scaled to unit length: rows with more of them on do not weigh more.
2. Truncated SVD, fitted to a seeded sample of rows (Halko, Martinsson, Tropp 2011, https://arxiv.org/abs/0909.4061):
   the directions in which neurons go together. Neurons that the sample never has on have no part in them.
3. Every row, projected and scaled to unit length again, goes to a cluster by k-means (core.algorithms.kmeans).

In memory at once: the sample, a chunk of rows, and (N, WIDTH) numbers, of which k-means makes one copy.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.utils.extmath import randomized_svd

from core.algorithms.active_neurons import ActiveNeurons, gather_slices
from core.algorithms.kmeans import kmeans, one_thread, random_state, unit_vectors
from core.schema import FloatArray, IntArray, Progress, ignore_progress

WIDTH = 32  # directions kept
MAX_SAMPLE_ROWS = 20_000  # rows they are fitted to, at most
MAX_SAMPLE_ACTIVE = 1 << 23  # and neurons on in those rows together, about: 64 MiB
POWER_ITERATIONS = 4  # power iterations
CHUNK = 1 << 21  # neurons on that are projected at once


def activation_clusters(
    states: ActiveNeurons, rows: IntArray, clusters: int, *, seed: int, on_part: Progress = ignore_progress
) -> IntArray:
    """(N,) cluster of each of `rows`, 0 = the largest; −1 for the rest of the pool.

    `rows` need a neuron on each; in which order they come does not matter. Ties in size go to the cluster whose first
    row is earlier. Fewer clusters than asked for where fewer rows differ. Same seed, same labels on any number of
    threads. `on_part` is told how many rows are projected, out of how many.
    """
    labels = np.full(len(states), -1, np.int64)
    rows = np.unique(rows)
    if len(rows):
        labels[rows] = kmeans(project_active_neurons(states, rows, seed, on_part), clusters, seed=seed)
    return labels


def cluster_diversity(labels: IntArray, rows: IntArray, clusters: int) -> tuple[int, float]:
    """How many of the clusters these rows touch, and how evenly: Pielou's J = −Σ_k p_k ln p_k / ln K.

    p_k = share of cluster k among those rows that are in one; K = `clusters`, touched or not. 1: equally many of each,
    0: all of one. NaN for no rows and for K < 2.
    """
    inside = labels[rows]
    counts = np.bincount(inside[inside >= 0], minlength=clusters)
    share = counts[counts > 0] / max(1, counts.sum())
    if len(share) == 0 or clusters < 2:
        return len(share), float("nan")
    return len(share), float(abs((share * np.log(share)).sum()) / np.log(clusters))  # abs: no −0


def project_active_neurons(states: ActiveNeurons, rows: IntArray, seed: int, on_part: Progress) -> FloatArray:
    """(K, ≤ WIDTH) unit vectors of `rows`, in their order."""
    with one_thread():
        column, directions = _directions(states, rows, seed)
        found = np.empty((len(rows), directions.shape[1]), np.float32)
        size = max(1, CHUNK * len(states) // len(states.indices))
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            found[start : start + size] = _scaled(states, some, column, len(directions)) @ directions
            on_part(start + len(some), len(rows))
        return unit_vectors(found)


def _directions(states: ActiveNeurons, rows: IntArray, seed: int) -> tuple[NDArray[np.int32], FloatArray]:
    """The column of each neuron, (neurons,), and what each column adds to the projection, (columns, d).

    Column 0 stands for all neurons that the sample never has on; it adds nothing.
    """
    sample = _sample(states, rows, seed)
    on = states.counts(sample) > 0
    column = np.where(on, np.cumsum(on), 0).astype(np.int32)
    matrix = _scaled(states, sample, column, int(on.sum()) + 1)
    width = min(WIDTH, *matrix.shape)
    _, _, found = randomized_svd(matrix, width, n_iter=POWER_ITERATIONS, random_state=random_state(seed))
    directions = np.ascontiguousarray(found.T, np.float32)
    directions[0] = 0
    return column, directions


def _sample(states: ActiveNeurons, rows: IntArray, seed: int) -> IntArray:
    """Rows to fit to, ascending: all of them if they are few."""
    on = int((states.indptr[rows + 1] - states.indptr[rows]).sum())
    size = min(MAX_SAMPLE_ROWS, max(1, MAX_SAMPLE_ACTIVE * len(rows) // on))
    if len(rows) <= size:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))


def _scaled(states: ActiveNeurons, rows: IntArray, column: NDArray[np.int32], columns: int) -> csr_array:
    """(K, columns) the rows as unit vectors: 1/√n in the column of each of the n neurons on."""
    counts = np.diff(states.indptr)[rows]
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    indices = column[gather_slices(states.indices, states.indptr, rows)]
    values = np.repeat((1 / np.sqrt(counts)).astype(np.float32), counts)
    return csr_array((values, indices, ends), shape=(len(rows), columns))
