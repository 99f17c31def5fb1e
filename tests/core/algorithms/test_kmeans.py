"""k-means: planted clusters are found, numbered by size, identical on every run and any number of threads."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from core.algorithms import vector_blocks
from core.algorithms.kmeans import count_distinct, number_by_size, unit_vectors
from core.algorithms.kmeans import kmeans as kmeans_of_blocks
from core.algorithms.vector_blocks import VectorBlocks


def kmeans(vectors, clusters, *, seed, size=1 << 14, **options):
    return kmeans_of_blocks(VectorBlocks.of(vectors, size), clusters, seed=seed, **options).labels


def planted(sizes, width=8, spread=0.05, seed=0):
    """Return clouds around the axes, rows mixed."""
    draw = np.random.default_rng(seed)
    truth = draw.permutation(np.repeat(np.arange(len(sizes)), sizes))
    noise = draw.normal(0, spread, (len(truth), width))
    return np.float32(np.eye(width)[truth] + noise), truth


def test_clouds_far_apart_are_the_clusters_numbered_by_size():
    vectors, truth = planted([10, 40, 20])
    assert kmeans(vectors, 3, seed=0).tolist() == np.array([2, 0, 1])[truth].tolist()


def test_on_a_line_by_hand():
    line = np.float32([[0], [1], [10], [11], [12], [30]])
    assert kmeans(line, 3, seed=0).tolist() == [1, 1, 0, 0, 0, 2]
    assert kmeans(line, 1, seed=0).tolist() == [0] * 6


def test_groups_are_numbered_by_size_and_then_by_where_they_begin():
    assert number_by_size(np.array([7, 3, 3, 5, 5, 3, 5, 1])).tolist() == [2, 0, 0, 1, 1, 0, 1, 3]
    assert number_by_size(np.array([2, 1])).tolist() == [0, 1]
    assert number_by_size(np.empty(0, np.int64)).tolist() == []


@pytest.mark.parametrize("whole", [1 << 23, 0])  # Lloyd, and by batches
def test_the_same_seed_gives_the_same_labels_on_any_number_of_threads(monkeypatch, whole):
    monkeypatch.setattr("core.algorithms.kmeans.MAX_FULL_PASS", whole)
    cloud = np.random.default_rng(0).normal(size=(5000, 16)).astype(np.float32)  # no clusters: every border is open
    result = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads):
            result.append(kmeans(cloud, 12, seed=3).tolist())
    assert result[0] == result[1] == result[2]
    assert result[0] != kmeans(cloud, 12, seed=4).tolist()


def test_batches_find_the_same_clouds(monkeypatch):
    vectors, truth = planted([300, 200, 100])
    monkeypatch.setattr("core.algorithms.kmeans.MAX_FULL_PASS", 0)
    assert kmeans(vectors, 3, seed=0).tolist() == truth.tolist()


def test_another_order_of_rows_gives_the_same_clouds():
    """Only for clouds far apart: where borders are open, the starts decide, and they depend on the order."""
    vectors, _ = planted([30, 25, 20, 15])
    order = np.random.default_rng(1).permutation(len(vectors))
    assert kmeans(vectors[order], 4, seed=0).tolist() == kmeans(vectors, 4, seed=0)[order].tolist()


@pytest.mark.parametrize("whole", [1 << 23, 0])
def test_fewer_distinct_vectors_than_clusters_give_fewer_clusters(monkeypatch, whole):
    monkeypatch.setattr("core.algorithms.kmeans.MAX_FULL_PASS", whole)
    twice = np.float32([[0, 0], [1, 1], [-0.0, 0], [1, 1], [1, 1]])
    assert kmeans(twice, 4, seed=0).tolist() == [1, 0, 1, 0, 0]
    assert kmeans(np.zeros((4, 2), np.float32), 3, seed=0).tolist() == [0] * 4
    assert kmeans(np.eye(3, dtype=np.float32), 9, seed=0).tolist() == [0, 1, 2]


def test_vectors_that_differ_only_by_rounding_give_no_warning():
    near = np.float32(1) + np.arange(4, dtype=np.float32)[:, None] * np.finfo(np.float32).eps
    labels = kmeans(np.repeat(near, 3, axis=0), 4, seed=0)
    assert sorted(set(labels.tolist())) == list(range(labels.max() + 1))


def test_no_vectors_have_no_labels():
    assert kmeans(np.empty((0, 3), np.float32), 2, seed=0).tolist() == []


def test_a_seed_may_be_of_any_size():
    vectors, truth = planted([10, 5])
    assert kmeans(vectors, 2, seed=2**63).tolist() == truth.tolist()


def test_half_precision_suffices():
    vectors, _ = planted([10, 5])
    assert kmeans(vectors.astype(np.float16), 2, seed=0).tolist() == kmeans(vectors, 2, seed=0).tolist()


def test_distinct_vectors_are_counted_up_to_enough():
    vectors = np.float32([[1], [1], [2], [3]])
    assert [count_distinct(vectors, enough) for enough in (0, 1, 2, 3, 9)] == [0, 1, 2, 3, 3]


def test_unit_vectors_by_hand():
    assert unit_vectors(np.float32([[3, 4], [0, 0], [0, -2]])) == pytest.approx(
        np.float32([[0.6, 0.8], [0, 0], [0, -1]])
    )


def test_many_bins_are_found_in_batches(monkeypatch):
    monkeypatch.setattr("core.algorithms.kmeans.MAX_FULL_PASS", 0)
    vectors, truth = planted([50] * 200, width=200, spread=0.02)
    assert adjusted_rand_score(truth, kmeans(vectors, 200, seed=0)) > 0.9


# Vectors in blocks


def in_blocks(vectors, size, order):
    """Return blocks of `size` rows, the rows in this order."""
    blocks = [order[k : k + size] for k in range(0, len(order), size)]
    return VectorBlocks(len(vectors), lambda: ((rows, vectors[rows]) for rows in blocks))


def cloud(n=300, width=7):
    """Return vectors without clusters, so that every border is open; two of them are missing."""
    vectors = np.random.default_rng(2).normal(1, 1, (n, width)).astype(np.float16)
    vectors[[0, n // 2], [3, 1]] = np.nan
    return vectors


@pytest.mark.parametrize("sample", [1 << 20, 60])  # all rows, and a sample of them
@pytest.mark.parametrize("directions", [False, True])
@settings(deadline=None, max_examples=12)
@given(size=st.integers(1, 301), order=st.permutations(range(300)))
def test_labels_are_the_same_for_blocks_of_any_size_and_order(sample, directions, size, order):
    vectors, options = cloud(), {"seed": 1, "directions": directions}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_blocks, "MAX_SAMPLE_ROWS", sample)
        patch.setattr("core.algorithms.kmeans.ASSIGNED_ROWS", 32)
        whole = kmeans_of_blocks(VectorBlocks.of(vectors, 300), 9, **options)
        parts = kmeans_of_blocks(in_blocks(vectors, size, np.array(order)), 9, **options)
    assert parts.labels.tolist() == whole.labels.tolist()
    assert (parts.centres == whole.centres).all()
    assert np.flatnonzero(whole.labels < 0).tolist() == [0, 150]


def test_all_rows_join_the_nearest_centre_of_a_sample(monkeypatch):
    monkeypatch.setattr(vector_blocks, "MAX_SAMPLE_ROWS", 80)
    vectors = cloud()
    result = kmeans_of_blocks(VectorBlocks.of(vectors), 6, seed=4)
    there = np.flatnonzero(result.labels >= 0)
    apart = ((vectors[there].astype(np.float64)[:, None] - result.centres) ** 2).sum(axis=2)
    assert len(there) == 298 and apart.argmin(axis=1).tolist() == result.labels[there].tolist()
    sizes = np.bincount(result.labels[there])
    assert len(sizes) == len(result.centres) == 6 and (np.diff(sizes) <= 0).all()
    assert result.labels.tolist() != kmeans(vectors, 6, seed=5).tolist()  # another sample, other centres


def test_a_sample_gives_the_same_labels_on_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(vector_blocks, "MAX_SAMPLE_ROWS", 500)
    result = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads):
            result.append(kmeans(cloud(3000, 40), 30, seed=0, size=700).tolist())
    assert result[0] == result[1] == result[2]


def test_a_sample_of_clouds_finds_the_clouds_of_all_rows(monkeypatch):
    monkeypatch.setattr(vector_blocks, "MAX_SAMPLE_ROWS", 60)
    vectors, truth = planted([300, 200, 100])
    assert kmeans(vectors, 3, seed=0).tolist() == truth.tolist()
    assert kmeans(np.ones((200, 3), np.float32), 3, seed=0).tolist() == [0] * 200


def test_memory_holds_the_sample_and_not_all_vectors(monkeypatch):
    monkeypatch.setattr(vector_blocks, "MAX_SAMPLE_NUMBERS", 1 << 18)  # 1 MiB, such as 1,024 of these vectors
    draw = np.random.default_rng(0)
    some = draw.normal(size=(500, 256)).astype(np.float16)
    blocks = VectorBlocks(
        20_000, lambda: ((np.arange(k, k + 500), some + np.float16(k)) for k in range(0, 20_000, 500))
    )
    kmeans_of_blocks(VectorBlocks.of(some), 5, seed=0)  # imports
    tracemalloc.start()
    labels = kmeans_of_blocks(blocks, 5, seed=0, directions=True).labels
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(labels.tolist()) == set(range(5))
    assert peak < 8e6  # all vectors: 10 MB in half precision, 20 MB in single
