"""How far an order reaches: exact at every length, from counts kept at a few."""

import numpy as np
import pytest

from core.algorithms.greedy_coverage import coverage_curve
from core.analysis import coverage_curve as climb
from tests.core.algorithms.test_active_neurons import states_of
from tests.core.algorithms.test_greedy_coverage import clustered

ROOT2 = 2**0.5


def test_two_rows_with_the_same_neuron_reach_less_than_two_rows_with_two():
    yard = climb.PoolCoverage.of(states_of([[0], [0], [1]], 2), "sqrt", 8)
    assert yard.whole == pytest.approx(ROOT2 + 1)
    same, other = (climb.trace_curve(yard, np.array(rows), climb.curve_lengths(3)) for rows in ([0, 1, 2], [0, 2, 1]))
    assert same.reached(2) == pytest.approx(ROOT2 / (ROOT2 + 1))
    assert other.reached(2) == pytest.approx(2 / (ROOT2 + 1))
    assert same.reached(0) == 0
    assert same.reached(3) == other.reached(3) == pytest.approx(1)


@pytest.mark.parametrize("growth", ["sqrt", "once", "capped"])
def test_between_the_knots_it_is_as_exact_as_on_them(growth):
    states, rows = clustered(60), np.random.default_rng(3).permutation(60)[:47]
    known = climb.trace_curve(climb.PoolCoverage.of(states, growth, 3), rows, climb.curve_lengths(47, 5))
    lengths = np.arange(1, 48)
    found = [known.reached(int(k)) for k in lengths]
    np.testing.assert_allclose(found, coverage_curve(states, rows, lengths, g=growth, tau=3))
    np.testing.assert_allclose(known.shares, coverage_curve(states, rows, known.at, g=growth, tau=3))


def test_random_orders_are_counted_as_any_other():
    states, at = clustered(40), climb.curve_lengths(40, 6)
    orders = [np.random.default_rng(seed).permutation(40) for seed in range(3)]
    found = climb.random_curves(climb.PoolCoverage.of(states, "sqrt", 1), orders, at)
    np.testing.assert_allclose(found, [coverage_curve(states, rows, at) for rows in orders])


def test_no_neurons_on_is_no_share_and_no_crash():
    yard = climb.PoolCoverage.of(states_of([[], []], 3), "sqrt", 8)
    assert np.isnan(climb.trace_curve(yard, np.arange(2), climb.curve_lengths(2)).reached(1))


def test_no_rows_reach_nothing():
    known = climb.trace_curve(
        climb.PoolCoverage.of(states_of([[0], [1]], 2), "sqrt", 8), np.empty(0, np.int64), climb.curve_lengths(0)
    )
    assert known.reached(0) == 0
    assert climb.random_curves(known.yard, [known.rows], known.at).shape == (0, 0)


def test_knots_are_denser_where_budgets_are_small_and_end_with_all():
    at = climb.curve_lengths(10_000)
    assert len(at) == climb.MAX_LENGTHS and at[-1] == 10_000
    assert (np.diff(at) > 0).all() and (np.diff(at, 2) >= -1).all()
    assert climb.curve_lengths(3).tolist() == [1, 2, 3]
    assert climb.curve_lengths(0).tolist() == []


def test_of_a_large_pool_fewer_random_orders_are_counted_but_never_none():
    assert climb.count_affordable_orders(1_000) == climb.MAX_ORDERS
    assert climb.count_affordable_orders(climb.MAX_ACTIVE_NEURONS // 8) == 8
    assert climb.count_affordable_orders(climb.MAX_ACTIVE_NEURONS * 8) == climb.MIN_ORDERS
    assert climb.count_affordable_orders(1_000, most=2) == 2


def test_between_two_lengths_a_root_is_met_exactly():
    at = np.array([4, 16, 100])
    shares = np.stack([np.sqrt(at) / 10, np.sqrt(at) / 20])
    assert climb.interpolate(at, shares, 9).tolist() == pytest.approx([0.3, 0.15])
    assert climb.interpolate(at, shares, 0).tolist() == [0, 0]
    assert climb.find_length(at, shares[0], 0.3) == pytest.approx(9)
    assert np.isnan(climb.find_length(at, shares[1], 0.6))  # it never gets there
