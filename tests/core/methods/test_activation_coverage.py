"""Activation coverage: the stored order, and a new search if a filter excludes rows."""

import numpy as np
import pytest

from core.algorithms.active_neurons import ActiveNeurons
from core.errors import MethodError
from core.methods.activation_coverage import ActivationCoverage
from core.schema import Measured, Order

# Active neurons: row 0 {0 1}, row 1 {0 1 2}, row 2 {3}, row 3 none, row 4 {0 1 2}
ON = [[0, 1], [0, 1, 2], [3], [], [0, 1, 2]]


def measured(growth="once", on=ON, responses=(5, 5, 5, 5, 5)) -> Measured:
    method = ActivationCoverage(growth=growth)
    states = ActiveNeurons(np.cumsum([0, *map(len, on)]), np.array([n for row in on for n in row], np.uint32), 4)
    columns = {"response_tokens": np.array(responses)}
    rows = method.candidates(states, Measured("p", columns))
    return Measured("p", columns | {"coverage_gain": method.gains(states, rows)}, {"activations": states})


def order(pool: Measured, eligible=(1, 1, 1, 1, 1), growth="once"):
    return ActivationCoverage(growth=growth).order(pool, np.array(eligible, bool), seed=0)


def test_each_row_gains_what_it_adds_to_those_before_it():
    pool = measured()
    np.testing.assert_array_equal(pool.columns["coverage_gain"], [0, 3, 1, np.nan, 0])
    assert order(pool).rows.tolist() == [1, 2, 0, 4]
    assert order(pool).excluded["not measured"].tolist() == [3]


def test_with_square_root_growth_a_second_similar_row_still_counts():
    pool = measured("sqrt")
    second = np.sqrt(2) - 1
    np.testing.assert_allclose(
        pool.columns["coverage_gain"], [2 * (np.sqrt(3) - np.sqrt(2)), 3, 1, np.nan, 3 * second], rtol=1e-8
    )
    assert order(pool, growth="sqrt").rows.tolist() == [1, 4, 2, 0]  # 3, 1.24, 1, 0.64


def test_a_filter_restarts_the_search():
    result = order(measured(), eligible=(1, 0, 1, 1, 1))
    assert result.rows.tolist() == [4, 2, 0]
    np.testing.assert_array_equal(result.values, [0, np.nan, 1, np.nan, 3])


def test_a_filter_that_removes_only_rows_without_active_neurons_changes_nothing():
    result = order(measured(), eligible=(1, 1, 1, 0, 1))
    assert result.values is None
    assert result.rows.tolist() == order(measured()).rows.tolist()


def test_the_coverage_of_the_selected_rows_is_f_by_hand():
    """Neurons 0 to 2 twice and 3 once: f = 3√2 + 1 with √; of the pool 0 and 1 are on in three rows, 2 in two."""
    pool = measured("sqrt")
    method, ranked = ActivationCoverage(growth="sqrt"), order(pool, growth="sqrt")
    facts = method.facts(pool, ranked, ranked.rows[:3])
    part, whole = 3 * np.sqrt(2) + 1, 2 * np.sqrt(3) + np.sqrt(2) + 1
    assert facts == pytest.approx({"coverage": part, "coverage_of_pool": whole, "coverage_share": part / whole})
    assert facts["coverage"] == pytest.approx(pool.columns["coverage_gain"][ranked.rows[:3]].sum())
    (sentence,) = method.facts_in_words(facts)
    assert sentence == "The rows reach 89.2% of the pool's coverage: f(S) = 5.2 of f(pool) = 5.9."
    pinned = method.facts(pool, ranked, np.array([3, 2]))  # no prefix of the order
    assert pinned["coverage"] == 1


def test_a_pool_without_active_neurons_has_no_share():
    pool = measured(on=[[], []], responses=(5, 5))
    facts = ActivationCoverage().facts(pool, order(pool, (1, 1)), np.array([0]))
    assert facts == {"coverage": 0, "coverage_of_pool": 0, "coverage_share": None}
    assert ActivationCoverage().facts_in_words(facts) == []


def test_rows_without_a_response_are_selectable_only_if_no_row_has_one():
    some = measured(responses=(5, 0, 5, 5, 5))
    assert order(some).excluded["no response"].tolist() == [1]
    assert order(some).rows.tolist() == [4, 2, 0]
    assert order(measured(responses=(0, 0, 0, 0, 0))).rows.tolist() == [1, 2, 0, 4]


def test_a_filtered_order_needs_the_active_neurons():
    bare = Measured("p", measured().columns)
    with pytest.raises(MethodError, match="'activations', which is not measured"):
        order(bare, eligible=(1, 0, 1, 1, 1))


def test_the_search_begins_with_what_used_rows_cover():
    """Row 1 covers neurons 0 to 2, also if a filter or a missing response excludes it: only row 2 adds one."""
    for pool, eligible in (
        (measured(), [1, 1, 1, 1, 1]),
        (measured(), [1, 0, 1, 1, 1]),
        (measured(responses=(5, 0, 5, 5, 5)), [1] * 5),
    ):
        result = ActivationCoverage(growth="once").order(pool, np.array(eligible, bool), seed=0, used=np.array([1]))
        assert result.rows.tolist() == [1, 2, 0, 4]
        np.testing.assert_array_equal(result.values, [0, np.nan, 1, np.nan, 0])


def test_the_coverage_reached_is_that_of_used_and_selected_rows_together():
    pool, method = measured(), ActivationCoverage(growth="once")
    order = Order(np.array([2, 0, 4]), used=np.array([1]))
    facts = method.facts(pool, order, order.rows[:1])
    assert (facts["coverage"], facts["coverage_share"], facts["with_used"]) == (4, 1, 1)
    assert method.facts_in_words(facts)[0].startswith("The rows, with the 1 used already, reach 100.0%")
