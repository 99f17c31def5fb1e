"""The steps of a training: worked by hand, and laws on random rows."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.models.training import schedule
from core.models.training.schedule import TrainSpec, plan_steps

ROW_TOKENS = st.lists(st.integers(1, 40), min_size=1, max_size=30).map(lambda counts: np.array(counts, np.int64))


def steps_of(spec, tokens):
    return [rows.tolist() for rows in plan_steps(spec, np.array(tokens, np.int64))]


def in_order(monkeypatch):
    """Let every pass go through the rows in their order, then backwards, then in their order."""
    monkeypatch.setattr(schedule, "_order", lambda _spec, epoch, n: np.arange(n)[:: -1 if epoch % 2 else 1])


def test_steps_of_rows_begin_anew_with_every_pass(monkeypatch):
    in_order(monkeypatch)
    assert steps_of(TrainSpec(epochs=2, batch_size=2), [1, 1, 1]) == [[0, 1], [2], [2, 1], [0]]
    assert steps_of(TrainSpec(epochs=9, batch_size=2, steps=3), [1, 1, 1]) == [[0, 1], [2], [2, 1]]


def test_a_step_ends_where_the_tokens_so_far_are_nearest_to_their_goal(monkeypatch):
    in_order(monkeypatch)
    # 4 5 3 4 | 4 3 5 4 and their sums 4 9 12 16 | 20 23 28 32; goals 10 20 30: nearest are 9, 20, and 28 before 32
    spec = TrainSpec(steps=3, response_tokens=10)
    assert steps_of(spec, [4, 5, 3, 4]) == [[0, 1], [2, 3, 3], [2, 1]]


def test_epochs_of_tokens_have_every_row_of_every_pass(monkeypatch):
    in_order(monkeypatch)
    spec = TrainSpec(epochs=2, response_tokens=10)  # 32 tokens: three steps, the last with what is left
    assert steps_of(spec, [4, 5, 3, 4]) == [[0, 1], [2, 3, 3], [2, 1, 0]]
    assert steps_of(TrainSpec(epochs=1, response_tokens=1000), [4, 5]) == [[0, 1]]


def test_a_row_longer_than_several_steps_is_followed_by_steps_of_one_row(monkeypatch):
    in_order(monkeypatch)
    assert steps_of(TrainSpec(steps=4, response_tokens=2), [9, 1, 1]) == [[0], [1], [2], [2]]
    assert steps_of(TrainSpec(steps=3, response_tokens=10), [2]) == [[0] * 5] * 3  # fewer rows than a step has


@given(ROW_TOKENS, st.integers(1, 12), st.integers(40, 90), st.integers(0, 5))
def test_equal_steps_are_equal_response_tokens_to_within_half_a_row(tokens, steps, goal, seed):
    plan = plan_steps(TrainSpec(steps=steps, response_tokens=goal, seed=seed), tokens)
    sums = np.cumsum([tokens[rows].sum() for rows in plan])
    assert len(plan) == steps
    assert (abs(sums - goal * np.arange(1, steps + 1)) <= tokens.max() / 2).all()
    counts = np.bincount(np.concatenate(plan), minlength=len(tokens))
    assert counts.max() - counts.min() <= 1  # a pass begins where the one before ends


@given(ROW_TOKENS, st.integers(1, 4), st.integers(1, 90), st.integers(1, 7), st.booleans())
def test_epochs_are_whole_passes(tokens, epochs, goal, batch, by_tokens):
    spec = TrainSpec(epochs=epochs, batch_size=batch, response_tokens=goal if by_tokens else 0)
    plan = plan_steps(spec, tokens)
    assert all(len(rows) for rows in plan)
    passes = np.concatenate(plan).reshape(epochs, len(tokens))
    assert (np.sort(passes, axis=1) == np.arange(len(tokens))).all()


@given(ROW_TOKENS, st.integers(1, 30), st.integers(1, 90))
def test_every_step_has_a_row_however_few_tokens_it_may_have(tokens, steps, goal):
    plan = plan_steps(TrainSpec(steps=steps, response_tokens=goal), tokens)
    assert len(plan) == steps and all(len(rows) for rows in plan)


def test_passes_and_seeds_have_orders_of_their_own():
    tokens = np.full(50, 10)
    orders = [
        np.concatenate(plan_steps(TrainSpec(steps=10, response_tokens=50, seed=seed), tokens)) for seed in range(4)
    ]
    assert all((one != other).any() for one, other in pairwise(orders))
    one, two = np.concatenate(plan_steps(TrainSpec(steps=20, response_tokens=50), tokens)).reshape(2, 50)
    assert (one != two).any()
