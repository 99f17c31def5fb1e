"""Seats are those of Webster's method at every budget, and one order holds all of them."""

from fractions import Fraction

import numpy as np
import pytest
from apportionpy.methods.webster import calculate_webster
from hypothesis import given
from hypothesis import strategies as st

from core.algorithms.apportionment import (
    apportion_seats,
    interleave_by_seats,
    seat_order,
    seats_at_budgets,
    shuffle_by_task,
)
from core.errors import MethodError

PLENTY = 1000


def by_hand(weights, caps, house):
    """Compute seats singly, in fractions: highest weight / (seats + 1/2) below its cap, ties to the earlier task."""
    got = [0] * len(caps)
    for _ in range(min(house, sum(caps))):
        able = [t for t in range(len(caps)) if got[t] < caps[t]]
        worth = {t: (weights[t] > 0, Fraction(weights[t] or 1) / (got[t] + Fraction(1, 2))) for t in able}
        got[max(able, key=lambda t: (worth[t], -t))] += 1
    return got


parties = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), min_size=1, max_size=7)


def split(some):
    return [w for w, _ in some], [c for _, c in some]


# --- seats


@pytest.mark.parametrize(
    ("house", "expected"),
    # 53 24 23 | 17.7 8 7.7 | 10.6 4.8 4.6 | 7.6 3.4 3.3: votes over 1, 3, 5, 7
    [(0, [0, 0, 0]), (1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 1]), (5, [3, 1, 1]), (7, [3, 2, 2]), (8, [4, 2, 2])],
)
def test_seats_worked_by_hand(house, expected):
    assert apportion_seats([53_000, 24_000, 23_000], [PLENTY] * 3, house).tolist() == expected


def test_a_full_task_leaves_its_share_to_the_others_by_their_weights():
    """60 : 30 : 10 with one row in the first: 9 seats over 30 : 10 are 7 and 2 (price 6.5/30 before 2.5/10)."""
    assert apportion_seats([60, 30, 10], [1, PLENTY, PLENTY], 10).tolist() == [1, 7, 2]
    assert apportion_seats([30, 10], [PLENTY] * 2, 9).tolist() == [7, 2]


def test_a_larger_budget_takes_no_seat_away_unlike_largest_remainders():
    """Weights 6 : 6 : 2. Largest remainders give 4 4 2 of ten seats and 5 5 1 of eleven."""
    result = seats_at_budgets(seat_order([6, 6, 2], [PLENTY] * 3), 3, [9, 10, 11, 12])
    assert result.tolist() == [[4, 4, 1], [5, 4, 1], [5, 5, 1], [5, 5, 2]]


def test_weights_are_followed_as_closely_as_whole_rows_can():
    result = apportion_seats([0.5, 0.3, 0.2], [PLENTY] * 3, 100)
    assert result.tolist() == [50, 30, 20]


def test_ties_go_to_the_earlier_task():
    assert seat_order([1, 3], [2, 6])[:4].tolist() == [1, 0, 1, 1]  # 3/.5, then 1/.5 = 3/1.5
    assert apportion_seats([5, 5, 5], [9] * 3, 4).tolist() == [2, 1, 1]


def test_equal_weights_are_round_robin():
    assert seat_order([2.5] * 3, [1, 3, 2]).tolist() == [0, 1, 2, 1, 2, 1]


def test_tasks_of_weight_zero_come_last_and_in_turn():
    assert seat_order([0, 2, 0], [2, 3, 1]).tolist() == [1, 1, 1, 0, 2, 0]
    assert seat_order([0, 0], [2, 2]).tolist() == [0, 1, 0, 1]


def test_one_task_gets_all_seats_and_no_tasks_none():
    assert apportion_seats([0.01], [7], 5).tolist() == [5]
    assert apportion_seats([0.01], [7], 50).tolist() == [7]
    assert apportion_seats([], [], 5).tolist() == []
    assert apportion_seats([1, 1], [0, 0], 5).tolist() == [0, 0]


@given(parties, st.integers(0, 90))
def test_seats_equal_those_computed_one_by_one_in_fractions(some, house):
    weights, caps = split(some)
    assert apportion_seats(weights, caps, house).tolist() == by_hand(weights, caps, house)


def test_seats_are_those_that_another_library_finds_by_its_search_for_a_divisor():
    votes = [53_123, 24_011, 23_456, 9_001]  # no two of them tie
    for house in range(1, 200):
        assert apportion_seats(votes, [PLENTY] * 4, house).tolist() == calculate_webster(house, votes)[1]


@given(parties, st.integers(0, 90))
def test_the_sum_is_exact_and_no_cap_is_exceeded(some, house):
    weights, caps = split(some)
    result = apportion_seats(weights, caps, house)
    assert result.sum() == min(house, sum(caps))
    assert (result <= caps).all()
    assert (result >= 0).all()


@given(parties)
def test_each_larger_budget_adds_exactly_one_seat(some):
    weights, caps = split(some)
    result = seats_at_budgets(seat_order(weights, caps), len(caps), range(sum(caps) + 1))
    steps = np.diff(result, axis=0)
    assert (steps >= 0).all()
    assert (steps.sum(axis=1) == 1).all()
    assert all(apportion_seats(weights, caps, house).tolist() == row.tolist() for house, row in enumerate(result))


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=6), st.data())
def test_no_seat_would_be_better_placed_elsewhere(weights, data):
    """Property of Webster's method: no task below its cap has a stronger claim than the weakest seat given."""
    caps = data.draw(st.lists(st.integers(0, 15), min_size=len(weights), max_size=len(weights)))
    result = apportion_seats(weights, caps, data.draw(st.integers(0, 60)))
    claims = [w / (s + 0.5) for w, s, cap in zip(weights, result, caps, strict=True) if s < cap]
    granted = [w / (s - 0.5) for w, s in zip(weights, result, strict=True) if s > 0]
    assert max(claims, default=0) <= min(granted, default=np.inf) * (1 + 1e-12)


@given(st.permutations(range(5)), st.integers(0, 60))
def test_the_order_of_tasks_does_not_matter_if_none_are_equal(moved, house):
    weights, caps = np.sqrt([2.0, 3.0, 5.0, 7.0, 11.0]), np.array([9, 2, 30, 5, 11])
    straight, other = apportion_seats(weights, caps, house), apportion_seats(weights[moved], caps[moved], house)
    assert straight[moved].tolist() == other.tolist()


@given(parties, st.sampled_from([2.0, 0.5, 1024.0]))
def test_only_the_proportions_of_weights_count(some, factor):
    weights, caps = split(some)
    assert seat_order(np.array(weights) * factor, caps).tolist() == seat_order(weights, caps).tolist()


@pytest.mark.parametrize("weight", [np.nan, np.inf, -1.0])
def test_an_invalid_weight_is_refused(weight):
    with pytest.raises(MethodError, match="weight of task number 1 is"):
        apportion_seats([1, weight], [3, 3], 2)


def test_weights_and_caps_must_match():
    with pytest.raises(MethodError, match="2 weights for 3 tasks"):
        apportion_seats([1, 1], [1, 1, 1], 2)
    with pytest.raises(MethodError, match="Task number 1 has a negative"):
        seat_order([1, 1], [1, -1])


# --- one order for all budgets


def rows_of(caps, seed=0):
    """Return own orders of the tasks, the rows of all tasks mixed."""
    mixed = np.random.default_rng(seed).permutation(sum(caps))
    return np.split(mixed, np.cumsum(caps)[:-1])


@given(parties)
def test_every_prefix_holds_the_seats_of_its_length_from_the_head_of_each_task(some):
    weights, caps = split(some)
    own = rows_of(caps)
    order = interleave_by_seats(own, weights)
    assert sorted(order.tolist()) == list(range(sum(caps)))
    for house in range(sum(caps) + 1):
        expected = [row for rows, n in zip(own, by_hand(weights, caps, house), strict=True) for row in rows[:n]]
        assert sorted(order[:house].tolist()) == sorted(expected)


def test_an_order_worked_by_hand():
    order = interleave_by_seats([np.array([7, 3]), np.array([0, 9, 4]), np.array([5])], [1, 2, 1])
    # prices: 0.5 1.5 | 0.25 0.75 1.25 | 0.5
    assert order.tolist() == [0, 7, 5, 9, 4, 3]


def test_rows_inside_a_task_keep_their_order():
    own = rows_of([40, 25, 60])
    order = interleave_by_seats(own, [3.0, 0.2, 1.0])
    for rows in own:
        assert order[np.isin(order, rows)].tolist() == rows.tolist()


def test_no_tasks_give_no_rows():
    assert interleave_by_seats([], []).tolist() == []
    assert interleave_by_seats([np.empty(0, np.int64)] * 2, [1, 1]).tolist() == []


# --- random order inside tasks


TASK = np.random.default_rng(3).integers(-1, 4, 200)


def test_each_row_is_sampled_once_from_its_own_task():
    result = shuffle_by_task(TASK, 5, seed=1)
    assert len(result) == 5
    for t, rows in enumerate(result):
        assert sorted(rows.tolist()) == [i for i, own in enumerate(TASK) if own == t]
        assert rows.dtype == np.int64


def test_a_draw_depends_only_on_its_seed():
    same, other = shuffle_by_task(TASK, 4, seed=1), shuffle_by_task(TASK, 4, seed=2)
    assert [r.tolist() for r in shuffle_by_task(TASK, 4, seed=1)] == [r.tolist() for r in same]
    assert [r.tolist() for r in other] != [r.tolist() for r in same]
    assert all(np.any(np.diff(rows) < 0) for rows in same)  # not simply in the order of the pool


def test_a_filter_removes_rows_and_moves_no_other():
    keep = np.random.default_rng(0).random(200) < 0.6
    for whole, part in zip(
        shuffle_by_task(TASK, 4, seed=1), shuffle_by_task(np.where(keep, TASK, -1), 4, seed=1), strict=True
    ):
        assert whole[keep[whole]].tolist() == part.tolist()


def test_every_row_of_a_task_is_as_likely_to_come_first():
    task = np.zeros(4, np.int64)
    first = np.bincount([shuffle_by_task(task, 1, seed=s)[0][0] for s in range(2000)], minlength=4)
    assert (np.abs(first - 500) < 100).all()  # five standard deviations
