"""Semantic bins: planted clouds are found, merged by Ward's criterion, nested at every number of bins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster import hierarchy
from sklearn.metrics import adjusted_rand_score

from core.algorithms.semantic_bins import BinTree, default_bin_count, ward_merges
from core.algorithms.semantic_bins import build_bin_tree as build_from_blocks
from core.algorithms.vector_blocks import VectorBlocks
from core.errors import MethodError

# Bins of 4, 2, 2 and 1 rows at 0, 10, 11 and 30 on a line. Δ of neighbours: 4·2/6·100, 2·2/4·1, 2·1/3·361
LINE = np.float64([[0], [10], [11], [30]])
SIZES = np.array([4, 2, 2, 1])
FINE = np.repeat([0, 1, 2, 3], SIZES)


def build_bin_tree(embeddings, bins, *, seed):
    return build_from_blocks(VectorBlocks.of(embeddings), bins, seed=seed)


def tree(sizes=SIZES, centres=LINE):
    return BinTree(np.repeat(np.arange(len(sizes)), sizes), ward_merges(centres, np.array(sizes)))


def planted(sizes, width=12, spread=0.05, seed=0):
    draw = np.random.default_rng(seed)
    truth = draw.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return np.float32(np.eye(width)[truth] + draw.normal(0, spread, (len(truth), width))), truth


def within_spread(values, labels):
    """Return the sum of squared distances to the mean of each bin."""
    return sum(((values[labels == b] - values[labels == b].mean(axis=0)) ** 2).sum() for b in np.unique(labels))


def test_merges_on_a_line_by_hand():
    """1 and 2 first (Δ 1). Then 4 rows at 10.5: with 0 4·4/8 · 110.25 = 220.5, with 30 4·1/5 · 380.25 = 304.2."""
    assert ward_merges(LINE, SIZES).tolist() == [[1, 2], [0, 4], [3, 5]]


def test_the_sizes_of_bins_decide_which_are_merged():
    """0, 10 and 21, of 9, 9 and 1 rows: the far bin is light and merges first: 9/10 · 121 = 108.9, not 81/18 · 100."""
    line = np.float64([[0], [10], [21]])
    assert ward_merges(line, np.array([9, 9, 1])).tolist() == [[1, 2], [0, 3]]
    assert ward_merges(line, np.array([1, 1, 1])).tolist() == [[0, 1], [2, 3]]


def test_of_equal_merges_the_earliest_is_first():
    assert ward_merges(np.float64([[0], [1], [2], [3]]), np.ones(4, np.int64)).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert ward_merges(np.zeros((3, 2)), np.ones(3, np.int64)).tolist() == [[0, 1], [2, 3]]


def test_cuts_by_hand_numbered_by_size():
    assert tree().cut(4).tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 3]
    assert tree().cut(3).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]  # of equal size the one that begins earlier
    assert tree().cut(2).tolist() == [0] * 8 + [1]
    assert tree().cut(1).tolist() == [0] * 9
    assert tree([1, 1, 2, 9]).cut(2).tolist() == [1] * 4 + [0] * 9  # {0, 10, 11} and {30}: 9 rows are the largest


def test_more_bins_than_exist_gives_all_of_them():
    assert tree().cut(99).tolist() == FINE.tolist()


def test_fewer_than_one_bin_is_refused():
    with pytest.raises(MethodError, match="0 bins"):
        tree().cut(0)


def test_an_inconsistent_tree_is_refused():
    with pytest.raises(MethodError, match="1 merges for 4 bins"):
        BinTree(FINE, np.array([[0, 1]]))


def test_rows_without_an_embedding_are_in_no_bin_at_any_number():
    vectors, truth = planted([30, 20, 10])
    vectors[[4, 7]] = np.nan
    result = build_bin_tree(vectors, 3, seed=0)
    there = np.setdiff1d(np.arange(60), [4, 7])
    assert adjusted_rand_score(truth[there], result.fine[there]) == 1
    for bins in (1, 2, 3):
        labels = result.cut(bins)
        assert labels[[4, 7]].tolist() == [-1, -1]
        assert sorted(set(labels[there].tolist())) == list(range(bins))


def test_clouds_near_each_other_are_merged_first():
    """Two kinds of three clouds each: cut into two, the kinds remain."""
    draw = np.random.default_rng(3)
    kind, cloud = np.arange(240) % 2, np.arange(240) // 2 % 3
    vectors = np.eye(8)[kind] + 0.3 * np.eye(8)[2 + 3 * kind + cloud] + draw.normal(0, 0.02, (240, 8))
    result = build_bin_tree(vectors.astype(np.float16), 6, seed=1)
    assert adjusted_rand_score(kind, result.cut(2)) == 1
    assert adjusted_rand_score(2 * cloud + kind, result.cut(6)) == 1


def test_the_finest_cut_is_that_of_k_means():
    vectors, _ = planted([30, 20, 10, 5])
    result = build_bin_tree(vectors, 4, seed=0)
    np.testing.assert_array_equal(result.cut(4), result.fine)
    assert result.merges.shape == (3, 2)


def test_same_seed_same_tree():
    cloud = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)
    one, same, other = (build_bin_tree(cloud, 20, seed=s) for s in (5, 5, 6))
    np.testing.assert_array_equal(one.fine, same.fine)
    np.testing.assert_array_equal(one.merges, same.merges)
    assert one.fine.tolist() != other.fine.tolist()


@pytest.mark.parametrize("embeddings", [np.zeros((0, 3)), np.full((4, 3), np.nan), np.zeros((4, 3))])
def test_equal_rows_give_one_bin_at_most(embeddings):
    result = build_bin_tree(embeddings.astype(np.float32), 3, seed=0)
    assert result.merges.shape == (0, 2)
    assert result.cut(2).tolist() == result.fine.tolist()
    assert result.fine.tolist() == [0 if np.isfinite(row).all() else -1 for row in embeddings]


some_bins = st.tuples(st.integers(0, 10_000), st.integers(2, 12), st.integers(1, 4)).map(
    lambda sample: (
        np.random.default_rng(sample[0]).normal(size=(sample[1], sample[2])),
        np.random.default_rng(sample[0] + 1).integers(1, 6, sample[1]),
    )
)


@settings(deadline=None)
@given(some_bins)
def test_merges_are_those_of_ward_over_every_single_row(sample):
    centres, sizes = sample
    rows, result = np.repeat(centres, sizes, axis=0), tree(sizes, centres)
    linkage = hierarchy.ward(rows)
    for bins in range(1, len(sizes) + 1):
        assert adjusted_rand_score(hierarchy.fcluster(linkage, bins, "maxclust"), result.cut(bins)) == 1


@settings(deadline=None)
@given(some_bins)
def test_bins_nest_and_no_other_merge_of_two_adds_less(sample):
    centres, sizes = sample
    rows, result = np.repeat(centres, sizes, axis=0), tree(sizes, centres)
    for bins in range(len(sizes) - 1, 0, -1):
        finer, labels = result.cut(bins + 1), result.cut(bins)
        assert len({*zip(finer.tolist(), labels.tolist(), strict=True)}) == bins + 1  # each finer bin is in exactly one
        least = min(
            within_spread(rows, np.where(finer == b, a, finer)) for a in range(bins + 1) for b in range(a + 1, bins + 1)
        )
        assert within_spread(rows, labels) == pytest.approx(least)
        counts = np.bincount(labels)
        assert (np.diff(counts) <= 0).all()


def test_the_default_number_of_bins():
    assert [default_bin_count(n) for n in (0, 1, 99, 100, 149, 5_000, 49_999, 52_002, 1_000_000)] == [
        *(1, 1, 1, 2, 2, 100, 999, 1000, 1000)
    ]
