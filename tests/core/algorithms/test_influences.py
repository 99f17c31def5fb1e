"""Influences by target and sub-task, and the merging of several orders."""

import numpy as np
import pytest

from core.algorithms.influences import Influences, round_robin

TWO = Influences(
    {"a": ("x", "y"), "b": ("z",)},
    np.array([[0.1, 0.3, -0.5], [0.2, 0.0, 0.5], [np.nan] * 3], np.float32),
    np.array([[1, 2, 3], [4, 5, 6], [np.nan] * 3], np.float32),
)


def test_a_target_has_its_own_subtasks():
    assert TWO.targets == ("a", "b")
    np.testing.assert_allclose(TWO.of("a", "preference"), [[0.1, 0.3], [0.2, 0.0], [np.nan, np.nan]], rtol=1e-6)
    np.testing.assert_allclose(TWO.of("b", "sft"), [[3], [6], [np.nan]])
    with pytest.raises(KeyError):
        TWO.of("c", "sft")


def test_the_best_subtask_counts_and_missing_stays_missing():
    np.testing.assert_allclose(TWO.best("a", "preference"), [0.3, 0.2, np.nan], rtol=1e-6)
    np.testing.assert_allclose(TWO.best("a", "sft"), [2, 5, np.nan])


def test_orders_contribute_their_best_remaining_row_in_turn():
    # first gives 3, second 1 (3 is placed), first 0 (1 is placed), second 2
    assert round_robin([np.array([3, 1, 0, 2]), np.array([3, 1, 2, 0])]).tolist() == [3, 1, 0, 2]
    assert round_robin([np.array([4, 9])]).tolist() == [4, 9]
    assert round_robin([]).tolist() == round_robin([np.empty(0, np.int64)]).tolist() == []


@pytest.mark.parametrize("seed", range(5))
def test_every_row_comes_once(seed):
    rng = np.random.default_rng(seed)
    rows = rng.choice(100, 40, replace=False)
    merged = round_robin([rng.permutation(rows) for _ in range(3)])
    assert sorted(merged.tolist()) == sorted(rows.tolist())
