"""k-means: planted clusters are found, numbered by size, identical on every run and any number of threads."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from core.algorithms.kmeans import count_distinct, kmeans, number_by_size, unit_vectors


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
