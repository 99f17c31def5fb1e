"""Rows of each task among the first rows of an order."""

import numpy as np
import pytest

from core.analysis import allocation

CODES = np.array([0, 1, 1, -1, 2, 0])
NAN = np.nan


def test_rows_are_counted_by_task_at_every_length():
    allocation_counts = allocation.count_allocation(np.array([1, 0, 2, 4]), CODES, 3, np.array([1, 2, 4]))
    assert allocation_counts.counts.tolist() == [[0, 1, 1], [1, 1, 2], [0, 0, 1]]
    assert allocation_counts.shares[:, 2].tolist() == [0.25, 0.5, 0.25]


def test_rows_without_a_task_are_in_no_share():
    allocation_counts = allocation.count_allocation(np.array([3, 1]), CODES, 3, np.array([1, 2]))
    assert np.isnan(allocation_counts.shares[:, 0]).all()
    assert allocation_counts.shares[:, 1].tolist() == [0, 1, 0]


@pytest.mark.parametrize("length", [1, 7, 59, 2_000])
def test_shares_of_any_order_add_up_to_one_and_counts_never_fall(length):
    random = np.random.default_rng(0)
    at = allocation.budget_lengths(length)
    allocation_counts = allocation.count_allocation(random.permutation(length), random.integers(0, 5, length), 5, at)
    np.testing.assert_allclose(allocation_counts.shares.sum(axis=0), 1)
    assert (np.diff(allocation_counts.counts, axis=1) >= 0).all()
    assert allocation_counts.counts[:, -1].sum() == length == at[-1]


def test_an_order_without_rows_has_no_budgets():
    at = allocation.budget_lengths(0)
    assert allocation.count_allocation(np.empty(0, np.int64), CODES, 3, at).counts.shape == (3, 0)


def test_the_task_of_lowest_value_is_first_and_one_without_value_last():
    stacked = allocation.stack_bands(["a", "b", "c"], CODES, np.array([0.9, NAN, 0.2]))
    assert stacked.names == ("c", "a", "b")
    assert stacked.codes.tolist() == [1, 2, 2, -1, 0, 1]
    assert stacked.ranked == 2


def test_without_values_tasks_keep_their_order():
    stacked = allocation.stack_bands(["a", "b", "c"], CODES)
    assert stacked.names == ("a", "b", "c")
    assert stacked.codes.tolist() == CODES.tolist()
    assert stacked.ranked == 3


def test_tasks_beyond_the_limit_are_one_band_at_the_top():
    stacked = allocation.stack_bands(["a", "b", "c"], CODES, np.array([0.9, 0.1, 0.2]), limit=2)
    assert stacked.names == ("a", "2 more")
    assert stacked.codes.tolist() == [0, 1, 1, -1, 1, 0]
    assert stacked.ranked == 1
