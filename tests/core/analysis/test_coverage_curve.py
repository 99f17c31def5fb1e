"""Coverage curves: exact at every length, from counts stored at a few."""

import numpy as np
import pytest

from core.analysis import coverage_curve as curves
from tests.core.algorithms.test_active_neurons import states_of
from tests.core.algorithms.test_greedy_coverage import clustered, f

ROOT2 = 2**0.5


def by_definition(states, rows, at, g="sqrt", tau=1):
    return [f(states, rows[:k], g, tau) / f(states, range(len(states)), g, tau) for k in at]


def test_two_rows_with_the_same_neuron_cover_less_than_two_with_different_ones():
    coverage = curves.PoolCoverage.of(states_of([[0], [0], [1]], 2), "sqrt", 8)
    assert coverage.total == pytest.approx(ROOT2 + 1)
    same, other = (
        curves.trace_curve(coverage, np.array(rows), curves.curve_lengths(3)) for rows in ([0, 1, 2], [0, 2, 1])
    )
    assert same.share_at(2) == pytest.approx(ROOT2 / (ROOT2 + 1))
    assert other.share_at(2) == pytest.approx(2 / (ROOT2 + 1))
    assert same.share_at(0) == 0
    assert same.share_at(3) == other.share_at(3) == pytest.approx(1)


@pytest.mark.parametrize("growth", ["sqrt", "once", "capped"])
def test_shares_are_exact_between_stored_lengths(growth):
    states, rows = clustered(60), np.random.default_rng(3).permutation(60)[:47]
    curve = curves.trace_curve(curves.PoolCoverage.of(states, growth, 3), rows, curves.curve_lengths(47, 5))
    lengths = np.arange(1, 48)
    values = [curve.share_at(int(k)) for k in lengths]
    np.testing.assert_allclose(values, by_definition(states, rows, lengths, growth, 3), atol=1e-7)
    np.testing.assert_allclose(curve.shares, by_definition(states, rows, curve.lengths, growth, 3), atol=1e-7)


def test_random_orders_are_counted_as_any_order():
    states, at = clustered(40), curves.curve_lengths(40, 6)
    orders = [np.random.default_rng(seed).permutation(40) for seed in range(3)]
    values = curves.random_curves(curves.PoolCoverage.of(states, "sqrt", 1), orders, at)
    np.testing.assert_allclose(values, [by_definition(states, rows, at) for rows in orders], atol=1e-7)


def test_without_active_neurons_the_share_is_nan():
    coverage = curves.PoolCoverage.of(states_of([[], []], 3), "sqrt", 8)
    assert np.isnan(curves.trace_curve(coverage, np.arange(2), curves.curve_lengths(2)).share_at(1))


def test_no_rows_reach_zero():
    curve = curves.trace_curve(
        curves.PoolCoverage.of(states_of([[0], [1]], 2), "sqrt", 8), np.empty(0, np.int64), curves.curve_lengths(0)
    )
    assert curve.share_at(0) == 0
    assert curves.random_curves(curve.coverage, [curve.rows], curve.lengths).shape == (0, 0)


def test_lengths_are_denser_for_small_budgets_and_end_with_all_rows():
    at = curves.curve_lengths(10_000)
    assert len(at) == curves.MAX_LENGTHS and at[-1] == 10_000
    assert (np.diff(at) > 0).all() and (np.diff(at, 2) >= -1).all()
    assert curves.curve_lengths(3).tolist() == [1, 2, 3]
    assert curves.curve_lengths(0).tolist() == []


def test_large_pools_count_fewer_random_orders_but_at_least_some():
    assert curves.count_affordable_orders(1_000) == curves.MAX_ORDERS
    assert curves.count_affordable_orders(curves.MAX_ACTIVE_NEURONS // 8) == 8
    assert curves.count_affordable_orders(curves.MAX_ACTIVE_NEURONS * 8) == curves.MIN_ORDERS
    assert curves.count_affordable_orders(1_000, limit=2) == 2


def test_a_square_root_curve_is_interpolated_exactly():
    at = np.array([4, 16, 100])
    shares = np.stack([np.sqrt(at) / 10, np.sqrt(at) / 20])
    assert curves.interpolate(at, shares, 9).tolist() == pytest.approx([0.3, 0.15])
    assert curves.interpolate(at, shares, 0).tolist() == [0, 0]
    assert curves.find_length(at, shares[0], 0.3) == pytest.approx(9)
    assert np.isnan(curves.find_length(at, shares[1], 0.6))  # the curve never reaches it
