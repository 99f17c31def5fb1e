"""Groups of vectors in nearly the same direction, each with the row that is kept of it. Arrays only.

    similarity(a, b) = cos(x_a − m, x_b − m)        m: the mean of all vectors; −1..1, 1 = the same direction

1. The mean is removed because all hidden states of a language model share one large direction: without it, the nearest
   rows of any two pools are similar (Ethayarajh 2019, https://arxiv.org/abs/1909.00512).
2. Rows are decided in the pool's order: a row is kept unless it is similar to an earlier kept row, and then it repeats
   the first such row. So a row is similar to the one it repeats, no two kept rows are similar, and a chain of small
   steps joins nothing. Connected components, as of near-duplicates, would join it: in dense regions, most of a pool.
3. Compared are the rows of each cluster of k-means, and rows of two clusters that are near the plane half-way between
   the centres. Similar rows are at most δ = √(2 − 2 · similarity) apart: compared within δ of that plane, no pair is
   missed. Within REACH · δ nearly none is (docs/methods.md), at a quarter of the work. Fewer than 2 · CLUSTER_ROWS rows
   are one cluster.
4. Equal vectors are compared once, as the first of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.algorithms.kmeans import kmeans, nearest_centres, one_thread, unit_vectors
from core.algorithms.vector_blocks import VectorBlocks, has_vector
from core.schema import BoolArray, FloatArray, IntArray, Progress, ignore_progress

CLUSTER_ROWS = 1000  # rows of a cluster, on average
MAX_CLUSTERS = 1024
SAMPLE_ROWS = 64  # rows per cluster that k-means is fitted to
REACH = 0.5  # how far from the plane between two clusters rows are compared, in δ
TOLERANCE = 1e-5  # of a similarity: equal directions differ by rounding
BATCH_ROWS = 1024  # rows assigned to centres at once
QUERY_ROWS = 256  # rows compared at once
BLOCK_NUMBERS = 1 << 24  # numbers of the vectors that they are compared with: 64 MiB
UNDECIDED, KEPT, REPEATS = 0, 1, 2

Scratch = Callable[[tuple[int, int], np.dtype[Any]], NDArray[Any]]  # makes an array, such as one on disk


@dataclass(frozen=True, eq=False)
class SimilarRows:
    """Which row each of N rows repeats."""

    repeats: IntArray  # (N,) the kept row that it is similar to; −1: it is kept itself, or has no vector
    similarity: FloatArray  # (N,) to that row; NaN: none


def find_similar_rows(
    vectors: VectorBlocks,
    similarity: float,
    *,
    clusters: int | None = None,
    scratch: Scratch = np.empty,
    on_progress: Progress = ignore_progress,
) -> SimilarRows:
    """Return which earlier row each row repeats. All but VectorBlocks' order of rows is seeded and fixed.

    `clusters`: by default as many as have CLUSTER_ROWS rows each. `scratch` makes the array that all distinct vectors
    are sorted into, in their own type. In memory besides: two blocks of vectors, k-means' sample, some 60 bytes a row,
    and one bit a row and cluster.
    """
    twins, middle = _find_equal(vectors)
    rows = np.flatnonzero(twins == np.arange(vectors.n))
    with one_thread():
        count = min(MAX_CLUSTERS, len(rows) // CLUSTER_ROWS) if clusters is None else clusters
        centres = _find_centres(vectors, rows, middle, count)
        table = _sort_by_cluster(vectors, rows, middle, centres, scratch)
        comparison = _Comparison(table, similarity, _find_near(table, centres, REACH * np.sqrt(2 - 2 * similarity)))
        comparison.run(on_progress)
    return comparison.result(twins)


@dataclass(frozen=True, eq=False)
class _Table:
    """Distinct vectors by cluster, and within one by row."""

    values: NDArray[np.floating]  # (n, d) as given
    rows: IntArray  # (n,)
    ends: IntArray  # (k + 1,) where each cluster begins, and the last ends
    middle: FloatArray  # (d,)

    def take(self, places: Any) -> FloatArray:
        """Return the unit vectors at these places."""
        return unit_vectors(self.values[places].astype(np.float32) - self.middle)

    def cluster(self, number: int) -> IntArray:
        """Return the places of one cluster."""
        return np.arange(self.ends[number], self.ends[number + 1])


def _find_equal(vectors: VectorBlocks) -> tuple[IntArray, FloatArray]:
    """Return the first row with the same vector as each row (N,), −1 without one, and the mean of all vectors (d,)."""
    keys, total = np.zeros(vectors.n, np.uint64), np.zeros(vectors.width)
    present = np.zeros(vectors.n, np.bool_)
    for rows, block in vectors.read():
        there = has_vector(block)
        keys[rows], present[rows] = _hash_rows(block), there
        total += block[there].sum(axis=0, dtype=np.float64)
    rows = np.flatnonzero(present)
    _, first, group = np.unique(keys[rows], return_index=True, return_inverse=True)
    twins = np.full(vectors.n, -1, np.int64)
    twins[rows] = rows[first[group]]
    return twins, (total / max(1, len(rows))).astype(np.float32)


def _hash_rows(block: NDArray[np.floating]) -> NDArray[np.uint64]:
    """Return one number per row (n,), equal if all its numbers are equal; unequal rows collide once in 2^64."""
    words = np.ascontiguousarray(block + block.dtype.type(0)).view(f"u{block.dtype.itemsize}")  # −0 becomes 0
    key = np.zeros(len(words), np.uint64)
    for column in words.T:
        key = (key ^ column) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(32)
    return key


def _find_centres(vectors: VectorBlocks, rows: IntArray, middle: FloatArray, count: int) -> FloatArray:
    """Return the centres of clusters (k, d), found in a seeded sample of the rows."""
    if count < 2:
        return np.zeros((1, vectors.width), np.float32)
    size = min(len(rows), count * SAMPLE_ROWS)
    some = np.sort(np.random.default_rng(0).choice(rows, size, replace=False))
    sample = unit_vectors(vectors.take(some) - middle)
    return kmeans(VectorBlocks.of(sample), count, seed=0).centres.astype(np.float32)


def _sort_by_cluster(
    vectors: VectorBlocks, rows: IntArray, middle: FloatArray, centres: FloatArray, scratch: Scratch
) -> _Table:
    """Sort the vectors of these rows by their nearest centre."""
    labels = np.zeros(vectors.n, np.int64)
    if len(centres) > 1:
        for some, batch in vectors.batches(BATCH_ROWS):
            labels[some] = nearest_centres(unit_vectors(batch - middle), centres)[: len(some)]
    rows = rows[np.argsort(labels[rows], kind="stable")]
    place = np.full(vectors.n, -1, np.int64)
    place[rows] = np.arange(len(rows))
    values = np.empty((0, vectors.width), np.float32)
    for block_rows, block in vectors.read():
        if len(values) < len(rows):
            values = scratch((len(rows), vectors.width), block.dtype)
        places = place[block_rows]
        values[places[places >= 0]] = block[places >= 0]
    return _Table(values, rows, np.searchsorted(labels[rows], np.arange(len(centres) + 1)), middle)


def _find_near(table: _Table, centres: FloatArray, reach: float) -> NDArray[np.uint8]:
    """Return as bits, (k / 8, n), which other clusters each row is near: the plane between them is within `reach`."""
    near = np.zeros(((len(centres) + 7) // 8, len(table.rows)), np.uint8)
    half = np.vecdot(centres, centres) / 2
    for own in range(len(centres) if len(centres) > 1 else 0):
        apart = np.maximum(np.linalg.norm(centres - centres[own], axis=1), np.float32(1e-9))
        for places in _split(table.cluster(own), BATCH_ROWS):
            distance = half - table.take(places) @ centres.T  # half the squared one, up to a constant
            is_near = distance - distance[:, [own]] <= reach * apart
            is_near[:, own] = False
            near[:, places] = np.packbits(is_near, axis=1).T
    return near


def _split(places: IntArray, size: int) -> Iterator[IntArray]:
    return (places[start : start + size] for start in range(0, len(places), size))


class _Comparison:
    """Decides for every row of a table whether it is kept. What is decided depends on no order of work."""

    def __init__(self, table: _Table, similarity: float, near: NDArray[np.uint8]) -> None:
        self.table, self.floor, self.near = table, similarity - TOLERANCE, near
        self.state = np.full(len(table.rows), UNDECIDED, np.int8)
        self.first = np.full(len(table.rows), -1, np.int64)  # place of the row that one repeats
        self.similarity = np.full(len(table.rows), np.nan, np.float32)

    def run(self, on_progress: Progress) -> None:
        """Compare until all rows are decided: those that wait for rows of other clusters, in a later round."""
        while (self.state == UNDECIDED).any():
            for number in range(len(self.table.ends) - 1):
                places = self.table.cluster(number)
                queries = places[self.state[places] == UNDECIDED]
                if len(queries):
                    self._compare(queries, self._candidates(number, places))
                    on_progress(int((self.state != UNDECIDED).sum()), len(self.state))

    def _candidates(self, number: int, places: IntArray) -> IntArray:
        """Return the places that rows of a cluster are compared with, by row: its own, and those near it."""
        bit = np.uint8(128 >> number % 8)
        places = np.concatenate([places, np.flatnonzero(self.near[number // 8] & bit)])
        places = places[self.state[places] != REPEATS]
        return places[np.argsort(self.table.rows[places])]

    def _compare(self, queries: IntArray, candidates: IntArray) -> None:
        """Decide the queries that repeat a kept candidate, and those that are similar to none before them."""
        size = max(QUERY_ROWS, BLOCK_NUMBERS // max(1, len(self.table.middle)))
        rows = self.table.rows[candidates]
        whole = self.table.take(candidates) if len(candidates) <= size else None
        for some in _split(queries, QUERY_ROWS):
            own = np.searchsorted(rows, self.table.rows[some])
            before = candidates[: own[-1] + 1]
            vectors, similar = self.table.take(some), np.empty((len(some), len(before)), np.bool_)
            for start in range(0, len(before), size):
                part = slice(start, start + size)
                others = self.table.take(before[part]) if whole is None else whole[: len(before)]
                similar[:, part] = vectors @ others.T >= self.floor
            similar &= self.state[before] != REPEATS
            similar[np.arange(len(some)), own] = True
            self._decide(some, before, own, similar)

    def _decide(self, queries: IntArray, candidates: IntArray, own: IntArray, similar: BoolArray) -> None:
        """Decide each query by the first candidate that it is similar to, once that one is decided.

        `own`: where each query is among the candidates. `similar`: (Q, C).
        """
        left = np.arange(len(queries))
        while len(left):
            first = similar[left].argmax(axis=1)
            kept = first == own[left]
            repeats = ~kept & (self.state[candidates[first]] == KEPT)
            if not (kept | repeats).any():
                break
            self.state[queries[left[kept]]] = KEPT
            found, similar[:, own[left[repeats]]] = queries[left[repeats]], False
            self.state[found], self.first[found] = REPEATS, candidates[first[repeats]]
            self.similarity[found] = np.vecdot(self.table.take(found), self.table.take(self.first[found]))
            left = left[~(kept | repeats)]

    def result(self, twins: IntArray) -> SimilarRows:
        """Return the result for all rows; `twins`: (N,) the first row with the same vector, −1: none."""
        table, found = self.table, np.flatnonzero(self.state == REPEATS)
        repeats, similarity = np.full(len(twins), -1, np.int64), np.full(len(twins), np.nan, np.float32)
        repeats[table.rows[found]] = table.rows[self.first[found]]
        similarity[table.rows[found]] = np.clip(self.similarity[found], -1, 1)
        later = np.flatnonzero((twins >= 0) & (twins != np.arange(len(twins))))
        same = twins[later]
        repeats[later] = np.where(repeats[same] < 0, same, repeats[same])
        similarity[later] = np.where(repeats[same] < 0, np.float32(1), similarity[same])
        return SimilarRows(repeats, similarity)
