"""k-means with reproducible labels, numbered by size. Arrays only.

    minimise Σ_i |x_i − c(i)|²      Lloyd's algorithm from k-means++ starts; mini-batches where a pass is large

To cluster by direction, pass unit vectors: |x − y|² = 2 − 2 cos(x, y).
"""

import warnings
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from core.schema import FloatArray, IntArray

# distances to centres in one pass; mini-batches beyond it, such as 52 k vectors and 160 clusters
MAX_FULL_PASS = 1 << 23
STARTS = 3  # seeded starts, the best wins; one for mini-batches, where more gain nothing
BATCH_ROWS = 4096

# Threads add their partial sums in the order in which they finish, so the last bits of a centre, and the cluster of a
# vector half-way between two, may differ between runs. One thread is also the fastest where cores are shared.
one_thread = partial(threadpool_limits, 1)


def kmeans(vectors: FloatArray, clusters: int, *, seed: int) -> IntArray:
    """Return (N,) the cluster of each vector of (N, d), 0 = the largest; ties go to the one that begins earlier.

    Every number up to the last is used. There are fewer clusters than requested if there are fewer distinct vectors,
    and possibly a few fewer when hundreds are requested. All values must be finite. In memory besides `vectors`: one
    copy.
    """
    values = np.ascontiguousarray(vectors, np.float32)
    clusters = min(clusters, count_distinct(values, clusters))
    if clusters < 2:
        return np.zeros(len(values), np.int64)
    from sklearn.exceptions import ConvergenceWarning

    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # centres coincide where vectors differ by rounding only
        return number_by_size(np.asarray(_estimator(len(values), clusters, seed).fit_predict(values), np.int64))


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


def centred_unit_vectors(embeddings: NDArray[np.floating]) -> FloatArray:
    """Return (N, d) unit vectors relative to the mean of all: the direction shared by all hidden states is removed."""
    values = embeddings.astype(np.float32)
    values -= values.mean(axis=0, dtype=np.float64).astype(np.float32)
    return unit_vectors(values)


def random_state(seed: int) -> np.random.RandomState:
    """Return sklearn's generator for a seed of any size (sklearn itself accepts 32 bits only)."""
    return np.random.RandomState(np.random.MT19937(seed))


def _estimator(n: int, clusters: int, seed: int) -> Any:
    from sklearn.cluster import KMeans, MiniBatchKMeans  # takes a second, which the arithmetic above does not need

    state = random_state(seed)
    if n * clusters <= MAX_FULL_PASS:
        return KMeans(clusters, n_init=STARTS, random_state=state)
    return MiniBatchKMeans(clusters, n_init=1, batch_size=BATCH_ROWS, random_state=state)
