"""Correlations are those worked by hand, and their intervals contain the truth as often as they say."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from core.algorithms.correlation import correlate


def test_pearson_and_spearman_by_hand():
    a, b = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 10.0])
    # means 2.5 and 4; products 4.5 + 1 - 0.5 + 9 = 14; squares 5 and 9 + 4 + 1 + 36 = 50
    assert correlate(a, b, ranks=False).value == pytest.approx(14 / np.sqrt(5 * 50))
    assert correlate(a, b, ranks=True).value == pytest.approx(1)
    assert correlate(a, -b, ranks=True).value == pytest.approx(-1)


def test_ties_share_their_mean_rank():
    a, b = np.array([1.0, 1.0, 2.0, 3.0, 5.0]), np.array([2.0, 4.0, 4.0, 3.0, 9.0])
    assert correlate(a, b, ranks=True).value == pytest.approx(spearmanr(a, b).statistic)
    assert correlate(a, b, ranks=False).value == pytest.approx(pearsonr(a, b).statistic)


def test_the_same_pairs_give_the_same_interval_and_their_order_does_not_matter_to_the_value():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=20), rng.normal(size=20)
    assert correlate(a, b, ranks=True, seed=1) == correlate(a, b, ranks=True, seed=1)
    turn = rng.permutation(20)
    assert correlate(a[turn], b[turn], ranks=True).value == pytest.approx(correlate(a, b, ranks=True).value)


@pytest.mark.parametrize("ranks", [True, False])
def test_intervals_of_independent_pairs_seldom_leave_out_zero(ranks):
    rng = np.random.default_rng(3)
    shown = [correlate(*rng.normal(size=(2, 20)), ranks=ranks).is_shown for _ in range(200)]
    assert np.mean(shown) <= 0.10  # a percentile interval of 20 pairs is a little short of 95%


def test_a_strong_relation_is_shown():
    rng = np.random.default_rng(4)
    found = []
    for _ in range(50):
        a = rng.normal(size=20)
        found.append(correlate(a, a + 0.5 * rng.normal(size=20), ranks=True))
    assert all(one.is_shown and one.low > 0 for one in found)


def test_a_constant_side_has_no_correlation():
    found = correlate(np.ones(5), np.arange(5.0), ranks=True)
    assert np.isnan([found.value, found.low, found.high]).all()
    assert not found.is_shown


def test_too_few_pairs_and_other_lengths_are_refused():
    for a, b in ((np.ones(2), np.ones(2)), (np.ones(4), np.ones(3))):
        with pytest.raises(ValueError, match="need at least 3 pairs"):
            correlate(a, b, ranks=True)
