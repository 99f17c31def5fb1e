"""Comparison of orders: small cases by hand, expectations against simulation, and symmetries."""

import numpy as np
import pytest

from core.analysis.comparison import (
    Membership,
    compute_overlap,
    disagreements,
    normalised_ranks,
    rank_correlation_matrix,
    total_variation,
)
from core.schema import Order


def ranks(rows: list[int], n: int = 6) -> np.ndarray:
    return Order(np.array(rows, np.int64)).rank(n)


A, B = ranks([0, 1, 2, 3, 4, 5]), ranks([1, 0, 4, 5, 2, 3])
SIZES = np.arange(7)


def test_overlap_at_every_budget():
    overlap = compute_overlap(A, B, SIZES, SIZES)
    # {0}{1}; {0,1}{1,0}; +2/+4; +3/+5; +4/+2; all
    assert overlap.shared.tolist() == [0, 0, 2, 2, 2, 4, 6]
    np.testing.assert_allclose(overlap.jaccard, [np.nan, 0, 1, 2 / 4, 2 / 6, 4 / 6, 1])


def test_expected_overlap_is_that_of_random_subsets_of_these_sizes():
    # 3 of 6 and 2 of 6: on average 1 row in common, 5 - 1 = 4 in the union
    overlap = compute_overlap(A, B, np.array([3]), np.array([2]))
    assert overlap.expected[0] == pytest.approx(1 / 4)


def test_orders_of_different_rows_at_different_sizes():
    short = ranks([5, 0])  # four rows are unranked
    overlap = compute_overlap(A, short, np.array([1, 2, 6]), np.array([1, 5, 5]))  # {0}{5}; {0,1}{5,0}; all {5,0}
    assert overlap.shared.tolist() == [0, 1, 2]
    np.testing.assert_allclose(overlap.jaccard, [0, 1 / 3, 2 / 6])
    assert (
        overlap.expected[2] == overlap.low[2] == overlap.high[2] == pytest.approx(2 / 6)
    )  # whole orders: the range is one point


def test_orders_without_common_rows_do_not_overlap():
    overlap = compute_overlap(ranks([0, 1, 2]), ranks([3, 4, 5]), SIZES, SIZES)
    assert not overlap.shared.any()
    assert overlap.jaccard[1:].tolist() == overlap.high[1:].tolist() == [0] * 6


@pytest.mark.parametrize("apart", [False, True], ids=["same rows", "rows of their own"])
def test_the_band_holds_95_percent_of_random_draws(apart):
    rng, n = np.random.default_rng(0), 400
    own_a, own_b = (np.arange(300), np.arange(60, 400)) if apart else (np.arange(n),) * 2
    sizes = (np.array([60]), np.array([90]))
    jaccards = []
    for _ in range(2000):
        a, b = (Order(rng.permutation(own)).rank(n) for own in (own_a, own_b))
        overlap = compute_overlap(a, b, *sizes)
        jaccards.append(overlap.jaccard[0])
    assert np.mean(jaccards) == pytest.approx(overlap.expected[0], rel=0.02)
    inside = np.mean((np.array(jaccards) >= overlap.low[0]) & (np.array(jaccards) <= overlap.high[0]))
    assert inside == pytest.approx(0.95, abs=0.03)


def test_overlap_is_symmetric():
    rng = np.random.default_rng(1)
    a, b = (Order(rng.permutation(500)[:400]).rank(500) for _ in range(2))
    one, other = (compute_overlap(*pair, np.arange(0, 501, 50), np.arange(0, 501, 50)) for pair in ((a, b), (b, a)))
    np.testing.assert_array_equal(one.shared, other.shared)
    np.testing.assert_allclose(one.expected, other.expected)
    brute = [len(set(np.flatnonzero((a >= 0) & (a < k))) & set(np.flatnonzero((b >= 0) & (b < k)))) for k in (50, 250)]
    assert one.shared[[1, 5]].tolist() == brute


# Membership in subsets

SETS = Membership.from_subsets([np.array([0, 1, 2]), np.array([1, 2, 3]), np.array([2, 5])], 6)


def test_every_row_is_in_one_exact_combination():
    assert SETS.pattern_counts() == [(1, 1), (2, 1), (3, 1), (4, 1), (7, 1)]
    assert SETS.counts.sum() == 6
    assert SETS.rows(1).tolist() == [0]  # only the first subset
    assert SETS.rows(7).tolist() == [2]  # all of them
    assert SETS.rows(0).tolist() == [4]  # none
    assert SETS.members(3) == [0, 1]


def test_pairwise_overlaps_follow_from_the_combinations():
    assert SETS.shared().tolist() == [[3, 2, 1], [2, 3, 1], [1, 1, 2]]
    np.testing.assert_allclose(SETS.jaccard()[0], [1, 2 / 4, 1 / 4])
    assert np.isnan(Membership.from_subsets([np.array([], int)] * 2, 3).jaccard()).all()


# Similarity of whole orders


def test_correlation_uses_the_rows_that_both_orders_rank():
    rho = rank_correlation_matrix([A, ranks([5, 4, 3, 2, 1, 0]), ranks([0, 2, 1])])
    assert rho[0, 1] == pytest.approx(-1)
    assert rho[0, 2] == rho[2, 0] == pytest.approx(0.5)  # 0 1 2 against 0 2 1: 1 - 6 · 2 / 24
    assert np.isnan(rank_correlation_matrix([A, ranks([0, 1])])[0, 1])


def test_the_strongest_disagreements_come_first():
    # normalised ranks in A are 1, 5/6, ...; in B row 2 has rank 4 and row 3 rank 5
    np.testing.assert_allclose(normalised_ranks(A), 1 - np.arange(6) / 6)
    assert disagreements(A, B, 9).tolist() == [2, 3, 0]  # lower in B by two, two and one ranks; ties to the earlier row
    assert disagreements(B, A, 2).tolist() == [4, 5]
    assert disagreements(A, ranks([0]), 9).tolist() == []  # row 0 is first in both, the others are unranked in B


def test_total_variation_is_the_share_of_rows_that_would_have_to_move():
    assert total_variation(np.array([5, 5]), np.array([1, 1])) == 0
    assert total_variation(np.array([1, 0]), np.array([0, 3])) == 1
    assert total_variation(np.array([3, 1]), np.array([1, 1])) == pytest.approx(0.25)
    assert np.isnan(total_variation(np.array([0, 0]), np.array([1, 1])))
