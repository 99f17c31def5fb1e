"""Descriptions of influence, and agreement of orders."""

import numpy as np
import pytest

from core.analysis.comparison import rank_correlation_matrix
from core.schema import Order
from pages.ui.explore import influence, influence_agreement
from pages.ui.explore.influence import MAX_TARGETS
from pages.ui.explore.influence_agreement import Agreement


def agreement(*orders, pool=20, names="abc"):
    arrays = tuple(np.array(order) for order in orders)
    rho = rank_correlation_matrix([Order(order).rank(pool) for order in arrays])
    return Agreement(tuple(names[: len(orders)]), arrays, rho, pool)


def test_a_shared_start_is_compared_with_chance():
    one = np.arange(10)
    result = agreement(one, np.concatenate([[1, 0], one[2:]]))
    assert influence_agreement.describe(result, (0, 1), 2).endswith(
        "share **2** (overlap 100%, expected by chance 11%)."
    )
    # two random sets of 2 out of 10 share 0.4 on average: 0.4 / 3.6
    assert result.expected_overlap(2)[0] == pytest.approx(0.4 / 3.6)
    assert result.top(1).shared()[0, 1] == 0


def test_a_reversed_order_has_correlation_minus_one():
    result = agreement(np.arange(10), np.arange(10)[::-1])
    assert result.rho[0, 1] == pytest.approx(-1)
    assert "Spearman **−1.00**" in influence_agreement.describe(result, (0, 1), 3)


def test_too_few_rows_have_no_correlation():
    result = agreement([4, 7], [7, 4])
    assert influence_agreement.describe(result, (0, 1), 0) == "a and b: rank correlation undefined."
    assert influence_agreement.describe(result, (0, 1), 2).startswith(
        "a and b: rank correlation undefined; their top 2 rows"
    )


def test_unchanged_accuracy_is_stated_once():
    text = {"name": "t", "pairs": 12, "unused": 2, "accuracy": [0.5, 0.6, 0.5], "margin_accuracy": [0.4, 0.6]}
    assert "in 50% of 10 pairs before warm-up training and after." in influence_agreement.describe_accuracy(text)
    moved = influence_agreement.describe_accuracy(text | {"accuracy": [0.5, 0.6]})
    assert "in 50% of 10 pairs before warm-up training, 60% after." in moved


def test_of_many_targets_the_current_one_is_always_shown():
    names = [f"t{k}" for k in range(12)]
    assert influence.limit_targets(names, "t11") == [*names[: MAX_TARGETS - 1], "t11"]
    assert influence.limit_targets(names, "t2") == names[:MAX_TARGETS]
    assert influence.limit_targets(names[:3], "t0") == names[:3]
