"""Which prompts are sampled, and their confidence per task: numbers worked by hand."""

from itertools import pairwise

import numpy as np
import pytest

from core.methods.task_confidence import mean_by_task, sample_prompts

NAN = np.nan


def test_means_and_standard_errors_worked_by_hand():
    # task 0: 0.2 0.4 0.6 -> 0.4, s² = 0.08 / 2, s / √3 = 0.2 / √3;  task 1: 0.5 0.7 -> 0.6, s² = 0.02, 0.1
    confidence = np.float32([0.2, 0.5, 0.4, 0.7, 0.6])
    mean, error, count = mean_by_task(confidence, np.array([0, 1, 0, 1, 0]), 2)
    np.testing.assert_allclose(mean, [0.4, 0.6], rtol=1e-6)
    np.testing.assert_allclose(error, [0.2 / 3**0.5, 0.1], rtol=1e-6)
    assert count.tolist() == [3, 2]
    assert (mean.dtype, error.dtype, count.dtype) == (np.float64, np.float64, np.int64)


def test_missing_confidences_are_ignored_and_not_counted():
    confidence = np.float32([0.5, NAN, 0.9, NAN, 0.1, np.inf])
    mean, error, count = mean_by_task(confidence, np.array([0, 0, -1, 1, 3, 3]), 4)
    np.testing.assert_allclose(mean, [0.5, NAN, NAN, 0.1], rtol=1e-6)
    np.testing.assert_array_equal(error, [NAN] * 4)  # one value gives no spread
    assert count.tolist() == [1, 0, 0, 1]


def test_equal_confidences_have_no_error():
    _, error, count = mean_by_task(np.full(9, 0.25, np.float32), np.repeat([0, 1, 2], 3), 3)
    assert error.tolist() == [0, 0, 0] and count.tolist() == [3, 3, 3]


def test_sums_are_in_float64():
    confidence = np.full(1_000_001, 0.1, np.float32)
    mean, _, _ = mean_by_task(confidence, np.zeros(len(confidence), np.int64), 1)
    assert mean[0] == pytest.approx(float(np.float32(0.1)), rel=1e-12)


@pytest.mark.parametrize("tasks", [0, 2])
def test_without_rows_every_mean_is_missing(tasks):
    mean, error, count = mean_by_task(np.empty(0, np.float32), np.empty(0, np.int64), tasks)
    assert np.isnan(mean).tolist() == np.isnan(error).tolist() == [True] * tasks
    assert count.tolist() == [0] * tasks and mean.dtype == error.dtype == np.float64


# --- which rows are sampled

TASK = np.random.default_rng(0).integers(-1, 4, 200)
USABLE = np.random.default_rng(1).random(200) < 0.8


def ask(per_task, seed=7, usable=USABLE):
    return sample_prompts(TASK, 4, per_task, seed, usable)


@pytest.mark.parametrize("per_task", [0, 1, 10, 1000])
def test_up_to_so_many_usable_rows_are_sampled_per_task(per_task):
    rows = ask(per_task)
    assert rows.dtype == np.int64 and (np.diff(rows) > 0).all() and USABLE[rows].all()
    have = np.bincount(TASK[USABLE & (TASK >= 0)], minlength=4)
    assert np.bincount(TASK[rows], minlength=4).tolist() == np.minimum(have, per_task).tolist()


def test_a_larger_sample_contains_the_smaller_one():
    sets = [set(ask(per_task).tolist()) for per_task in (1, 5, 6, 30)]
    assert all(a < b for a, b in pairwise(sets))


def test_an_unusable_row_is_replaced_by_one_of_its_task():
    rows = ask(10)
    without = USABLE.copy()
    without[rows[0]] = False
    gone, come = np.setdiff1d(rows, ask(10, usable=without)), np.setdiff1d(ask(10, usable=without), rows)
    assert gone.tolist() == [rows[0]] and len(come) == 1 and TASK[come[0]] == TASK[rows[0]]


def test_the_same_seed_samples_the_same_rows():
    np.testing.assert_array_equal(ask(10), ask(10))
    assert set(ask(10)) != set(ask(10, seed=8))


@pytest.mark.parametrize(("task", "tasks"), [([], 0), ([], 3), ([-1, -1], 2)])
def test_without_rows_of_any_task_nothing_is_sampled(task, tasks):
    rows = sample_prompts(np.array(task, np.int64), tasks, 64, 0, np.ones(len(task), np.bool_))
    assert rows.tolist() == [] and rows.dtype == np.int64
