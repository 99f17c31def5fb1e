"""The baselines, on arrays small enough to see."""

import numpy as np

from core.methods.baselines import HighestNLL, Longest, LowestNLL, Random
from core.schema import Measured

NAN = np.nan


def five() -> Measured:
    return Measured(
        "five", {"response_tokens": np.array([4, 9, 0, 4, 7]), "nll": np.float32([2.0, 0.5, NAN, NAN, 2.0])}
    )


ALL = np.ones(5, bool)


def test_longest_puts_more_tokens_first_and_ties_go_to_the_earlier_row():
    order = Longest().order(five(), ALL, seed=0)
    assert order.rows.tolist() == [1, 4, 0, 3]
    assert order.excluded["no response"].tolist() == [2]


def test_lowest_and_highest_nll_break_ties_the_same_way_and_exclude_unmeasured_rows():
    low, high = (cls().order(five(), ALL, seed=0) for cls in (LowestNLL, HighestNLL))
    assert low.rows.tolist() == [1, 0, 4]
    assert high.rows.tolist() == [0, 4, 1]
    assert low.excluded["not measured"].tolist() == [3]


def test_a_filter_removes_rows_from_the_random_order_and_reorders_none():
    measured = Measured("many", {"response_tokens": np.full(200, 3)})
    eligible = np.arange(200) % 7 != 0
    whole = Random().order(measured, np.ones(200, bool), seed=5).rows
    part = Random().order(measured, eligible, seed=5).rows
    assert part.tolist() == [row for row in whole if eligible[row]]


def test_random_follows_its_seed():
    measured = Measured("many", {"response_tokens": np.full(200, 3)})
    everyone = np.ones(200, bool)
    orders = [Random().order(measured, everyone, seed=seed).rows.tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(200))


def test_random_favours_no_position():
    measured = Measured("many", {"response_tokens": np.full(100, 3)})
    everyone = np.ones(100, bool)
    first = [Random().order(measured, everyone, seed=seed).rows[:10] for seed in range(400)]
    counts = np.bincount(np.concatenate(first), minlength=100)
    assert abs(counts - 40).max() < 6 * np.sqrt(400 * 0.1 * 0.9)  # each row's count is binomial(400, 0.1)


def test_random_orders_prompts_if_no_row_has_a_response():
    measured = Measured("prompts", {"response_tokens": np.zeros(5, int)})
    order = Random().order(measured, ALL, seed=0)
    assert sorted(order.rows.tolist()) == [0, 1, 2, 3, 4]
    assert not order.excluded
