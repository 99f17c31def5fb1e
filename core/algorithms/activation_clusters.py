"""Activation clusters: rows of a pool with similar active neurons. Arrays only.

1. A row is a binary vector over the neurons, scaled to unit length: rows with more active neurons do not weigh more.
2. Truncated SVD, fitted to a seeded sample of rows (Halko, Martinsson, Tropp 2011, https://arxiv.org/abs/0909.4061),
   gives the directions in which neurons are active together. Neurons never active in the sample are ignored.
3. Every row, projected and scaled to unit length again, is assigned to a cluster by k-means (core.algorithms.kmeans).

In memory at once: the sample, a chunk of rows, and the vectors that k-means is fitted to, WIDTH numbers each, twice.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from core.algorithms.active_neurons import ActiveNeurons, gather_slices
from core.algorithms.kmeans import kmeans, one_thread, random_state, unit_vectors
from core.algorithms.vector_blocks import Block, VectorBlocks
from core.schema import FloatArray, IntArray, Progress, ignore_progress

WIDTH = 32  # directions of the SVD
MAX_SAMPLE_ROWS = 20_000  # maximum number of rows they are fitted to
MAX_SAMPLE_ACTIVE = 1 << 23  # and of active neurons in those rows, approximately: 64 MiB
POWER_ITERATIONS = 4
CHUNK = 1 << 21  # active neurons projected at once


def activation_clusters(
    states: ActiveNeurons, rows: IntArray, clusters: int, *, seed: int, on_part: Progress = ignore_progress
) -> IntArray:
    """Return (N,) the cluster of each of `rows`, 0 = the largest; −1 for the rest of the pool.

    Each of `rows` needs an active neuron; their order does not matter. Ties in size go to the cluster whose first row
    is earlier. There are fewer clusters than requested if fewer rows differ. Same seed, same labels on any number of
    threads. `on_part` receives the number of rows projected, and of all; again for each time that k-means reads them.
    """
    labels = np.full(len(states), -1, np.int64)
    rows = np.unique(rows)
    if len(rows):
        vectors = VectorBlocks(len(rows), projector(states, rows, seed, on_part))
        labels[rows] = kmeans(vectors, clusters, seed=seed).labels
    return labels


def cluster_diversity(labels: IntArray, rows: IntArray, clusters: int) -> tuple[int, float]:
    """Return how many clusters these rows reach, and how evenly: Pielou's J = −Σ_k p_k ln p_k / ln K.

    p_k = share of cluster k among those rows that are in a cluster; K = `clusters`, reached or not. 1: equally many of
    each, 0: all of one. NaN for no rows and for K < 2.
    """
    row_labels = labels[rows]
    counts = np.bincount(row_labels[row_labels >= 0], minlength=clusters)
    share = counts[counts > 0] / max(1, counts.sum())
    if len(share) == 0 or clusters < 2:
        return len(share), float("nan")
    return len(share), float(abs((share * np.log(share)).sum()) / np.log(clusters))  # abs avoids −0


def projector(
    states: ActiveNeurons, rows: IntArray, seed: int, on_part: Progress = ignore_progress
) -> Callable[[], Iterator[Block]]:
    """Return a function that yields unit vectors of `rows`, (K, ≤ WIDTH), in blocks; numbers are places in `rows`."""
    with one_thread():
        column, directions = _directions(states, rows, seed)
    size = max(1, CHUNK * len(states) // len(states.indices))

    def read() -> Iterator[Block]:
        for start in range(0, len(rows), size):
            chunk = rows[start : start + size]
            vectors = unit_vectors(_unit_rows(states, chunk, column, len(directions)) @ directions)
            yield np.arange(start, start + len(chunk)), vectors
            on_part(start + len(chunk), len(rows))

    return read


def _directions(states: ActiveNeurons, rows: IntArray, seed: int) -> tuple[NDArray[np.int32], FloatArray]:
    """Return each neuron's column, (neurons,), and the direction each column contributes, (columns, d).

    Column 0 is shared by all neurons never active in the sample; its direction is 0.
    """
    from sklearn.utils.extmath import randomized_svd  # half a second, which reading stored activations does not need

    sample = _sample(states, rows, seed)
    in_sample = states.counts(sample) > 0
    column = np.where(in_sample, np.cumsum(in_sample), 0).astype(np.int32)
    matrix = _unit_rows(states, sample, column, int(in_sample.sum()) + 1)
    width = min(WIDTH, *matrix.shape)
    _, _, components = randomized_svd(matrix, width, n_iter=POWER_ITERATIONS, random_state=random_state(seed))
    directions = np.ascontiguousarray(components.T, np.float32)
    directions[0] = 0
    return column, directions


def _sample(states: ActiveNeurons, rows: IntArray, seed: int) -> IntArray:
    """Sample the rows to fit to, ascending: all of them if there are few."""
    active = int((states.indptr[rows + 1] - states.indptr[rows]).sum())
    size = min(MAX_SAMPLE_ROWS, max(1, MAX_SAMPLE_ACTIVE * len(rows) // active))
    if len(rows) <= size:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))


def _unit_rows(states: ActiveNeurons, rows: IntArray, column: NDArray[np.int32], columns: int) -> csr_array:
    """Return (K, columns) the rows as unit vectors: 1/√n in the column of each of the n active neurons."""
    counts = np.diff(states.indptr)[rows]
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    indices = column[gather_slices(states.indices, states.indptr, rows)]
    values = np.repeat((1 / np.sqrt(counts)).astype(np.float32), counts)
    return csr_array((values, indices, ends), shape=(len(rows), columns))
