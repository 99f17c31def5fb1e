"""Activation clusters: rows with similar active neurons share a cluster; they measure a subset's diversity."""

import tracemalloc
from math import log

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from core.algorithms.activation_clusters import activation_clusters, cluster_diversity
from core.algorithms.active_neurons import ActiveNeurons


def states_of(rows, neurons):
    ends = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return ActiveNeurons(ends, np.array([n for row in rows for n in row], np.uint32), neurons)


def planted(n, groups, *, on=60, width=20, own=0.3, seed=0):
    """Return rows with one active neuron per block of `width`: the group's own with probability `own`, else any."""
    draw = np.random.default_rng(seed)
    truth = draw.permutation(np.arange(n) % groups)
    favourite = draw.integers(0, width, (groups, on))
    place = np.where(draw.random((n, on)) < own, favourite[truth], draw.integers(0, width, (n, on)))
    table = (np.arange(on) * width + place).astype(np.uint32)
    return ActiveNeurons.from_table(table, on * width), truth


def test_rows_with_the_same_active_neurons_are_a_cluster():
    states = states_of([[0, 1], [5, 6], [0, 1], [], [5, 6], [5, 6], [9]], 10)
    rows = np.array([0, 1, 2, 4, 5, 6])
    assert activation_clusters(states, rows, 3, seed=0).tolist() == [1, 0, 1, -1, 0, 0, 2]
    assert activation_clusters(states, rows[:3], 3, seed=0).tolist() == [0, 1, 0, -1, -1, -1, -1]


def test_a_row_with_many_active_neurons_does_not_weigh_more():
    few, many = list(range(4)), list(range(400))
    states = states_of([few, few, many, many, [500, 501], [500, 501, 502]], 600)
    labels = activation_clusters(states, np.arange(6), 3, seed=0)
    assert labels[4] == labels[5] and labels[0] == labels[1] and labels[2] == labels[3]


@pytest.mark.parametrize("sample", [20_000, 300])
def test_planted_clusters_are_found(monkeypatch, sample):
    monkeypatch.setattr("core.algorithms.activation_clusters.MAX_SAMPLE_ROWS", sample)
    states, truth = planted(2000, 8)
    labels = activation_clusters(states, np.arange(2000), 8, seed=0)
    assert adjusted_rand_score(truth, labels) > 0.97
    assert (np.diff(np.bincount(labels)) <= 0).all()


def test_neurons_never_active_in_the_sample_are_harmless(monkeypatch):
    monkeypatch.setattr("core.algorithms.activation_clusters.MAX_SAMPLE_ACTIVE", 200)  # 50 of these rows
    states = states_of([[0, 1, 10 + i] if i % 2 else [2, 3, 10 + i] for i in range(400)], 500)
    labels = activation_clusters(states, np.arange(400), 2, seed=0)
    assert labels.tolist() == [0, 1] * 200


@pytest.mark.parametrize("chunk", [1, 7000, 1 << 21])
def test_the_chunk_size_changes_nothing(monkeypatch, chunk):
    states, _ = planted(300, 4)
    whole = activation_clusters(states, np.arange(300), 4, seed=0)
    monkeypatch.setattr("core.algorithms.activation_clusters.CHUNK", chunk)
    calls = []
    result = activation_clusters(states, np.arange(300), 4, seed=0, on_part=lambda *at: calls.append(at))
    assert result.tolist() == whole.tolist()
    assert calls[-1] == (300, 300) and calls == sorted(calls)


def test_the_same_seed_gives_the_same_labels_on_any_number_of_threads():
    states, _ = planted(1500, 3, own=0.1)
    result = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads):
            result.append(activation_clusters(states, np.arange(1500), 10, seed=5).tolist())
    assert result[0] == result[1] == result[2]


def test_the_order_of_the_given_rows_changes_nothing():
    states, _ = planted(400, 5, own=0.1)
    rows = np.random.default_rng(0).permutation(400)[:300]
    result = activation_clusters(states, rows, 6, seed=0)
    assert result.tolist() == activation_clusters(states, np.sort(rows), 6, seed=0).tolist()


def test_another_order_of_the_pool_gives_the_same_groups_if_they_are_clear():
    states, _ = planted(600, 4, own=0.6)
    order = np.random.default_rng(1).permutation(600)
    before = activation_clusters(states, np.arange(600), 4, seed=0)
    after = activation_clusters(states.take(order), np.arange(600), 4, seed=0)
    assert adjusted_rand_score(before[order], after) == 1


@pytest.mark.parametrize("rows", [[[3]], [[3], [3], [3]], [[0], [1]], [[0, 1, 2]] * 5, [[], [1], []]])
def test_few_or_equal_rows_give_few_clusters(rows):
    on = np.array([i for i, row in enumerate(rows) if row])
    labels = activation_clusters(states_of(rows, 4), on, 3, seed=0)
    assert labels[on].max() + 1 == len({tuple(row) for row in rows if row})


def test_without_rows_no_row_is_in_a_cluster():
    assert activation_clusters(states_of([[], []], 4), np.empty(0, np.int64), 3, seed=0).tolist() == [-1, -1]


def test_memory_grows_with_rows_not_active_neurons(monkeypatch):
    monkeypatch.setattr("core.algorithms.activation_clusters.MAX_SAMPLE_ACTIVE", 1 << 16)
    monkeypatch.setattr("core.algorithms.activation_clusters.CHUNK", 1 << 16)
    states, _ = planted(8000, 4, on=200)  # 1.6 M active neurons: 12 MiB as a sparse matrix of float32
    tracemalloc.start()
    activation_clusters(states, np.arange(8000), 4, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20  # 3 x (N, 32) float32 are 3 MiB; the sample and a chunk 1 MiB each


def test_evenness_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 2, -1])
    assert cluster_diversity(labels, np.array([0, 3, 5]), 3) == (3, pytest.approx(1))
    assert cluster_diversity(labels, np.array([0, 3]), 3) == (2, pytest.approx(log(2) / log(3)))
    entropy = 0.75 * log(4 / 3) + 0.25 * log(4)
    assert cluster_diversity(labels, np.array([0, 1, 2, 3]), 3) == (2, pytest.approx(entropy / log(3)))


def test_all_of_one_cluster_is_evenness_zero():
    count, evenness = cluster_diversity(np.array([1, 1, 0]), np.array([0, 1]), 2)
    assert (count, evenness, np.signbit(evenness)) == (1, 0, False)


def test_rows_without_a_cluster_are_ignored():
    labels = np.array([-1, 0, 1])
    assert (
        cluster_diversity(labels, np.array([0, 1, 2]), 2)
        == cluster_diversity(labels, np.array([1, 2]), 2)
        == (2, pytest.approx(1))
    )


@pytest.mark.parametrize(("rows", "clusters", "count"), [([], 3, 0), ([0], 3, 0), ([1, 2], 1, 1), ([], 0, 0)])
def test_evenness_of_nothing_is_not_a_number(rows, clusters, count):
    result, evenness = cluster_diversity(np.array([-1, 0, 0]), np.array(rows, np.int64), clusters)
    assert result == count and np.isnan(evenness)
