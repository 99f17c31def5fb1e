"""Task confidence: rows per task by 1 / c, by hand; nested, exact, and with as many seats as rows."""

import numpy as np
import pytest

from core.methods.task_confidence import NO_TASK, TaskConfidence
from core.schema import Measured
from core.selection.used_rows import UsedRows, order_rows

NAN = np.nan


def pool(task, confidence, responses=None, nll=None) -> Measured:
    n = len(task)
    columns = {
        "task_code": np.array(task),
        "response_tokens": np.full(n, 3) if responses is None else np.array(responses),
        "confidence": np.array(confidence, np.float32),
    }
    return Measured("p", columns | ({"nll": np.array(nll, np.float32)} if nll is not None else {}))


# Three tasks of 6, 6 and 2 rows; mean confidence 0.2, 0.4, 0.8, so weights 4 : 2 : 1
TASK = [0] * 6 + [1] * 6 + [2] * 2
THREE = pool(TASK, [0.1, 0.3, NAN, NAN, NAN, NAN, 0.4, NAN, NAN, NAN, NAN, NAN, 0.8, 0.8])
ALL = np.ones(14, bool)


def rows_by_task(order, budget: int) -> list[int]:
    return np.bincount(THREE.columns["task_code"][order.rows[:budget]], minlength=3).tolist()


def test_seats_follow_the_weights():
    order = TaskConfidence().order(THREE, ALL, seed=0)
    assert rows_by_task(order, 7) == [4, 2, 1]
    assert rows_by_task(order, 14) == [6, 6, 2]
    assert [rows_by_task(order, b) for b in (1, 2, 3, 4)] == [[1, 0, 0], [1, 1, 0], [2, 1, 0], [2, 1, 1]]


def test_rows_that_a_task_lacks_go_to_the_others():
    assert rows_by_task(TaskConfidence().order(THREE, ALL, seed=0), 12) == [6, 4, 2]


def test_even_is_round_robin():
    order = TaskConfidence(allocation="even").order(THREE, ALL, seed=0)
    assert [rows_by_task(order, b) for b in (3, 6, 8, 10)] == [[1, 1, 1], [2, 2, 2], [3, 3, 2], [4, 4, 2]]


def test_every_budget_is_spent_to_the_row_and_nested():
    order = TaskConfidence().order(THREE, ALL, seed=0)
    counts = np.array([rows_by_task(order, b) for b in range(15)])
    assert counts.sum(axis=1).tolist() == list(range(15))
    assert (np.diff(counts, axis=0) >= 0).all()


def test_rows_inside_a_task_follow_the_seed_and_a_filter_moves_none():
    one, other = (TaskConfidence().order(THREE, ALL, seed=s).rows.tolist() for s in (0, 1))
    assert one != other
    some = ALL.copy()
    some[2] = False
    filtered = TaskConfidence().order(THREE, some, seed=0).rows
    first = [row for row in one if TASK[row] == 0 and row != 2]
    assert [row for row in filtered.tolist() if TASK[row] == 0] == first


def test_scores_are_the_tasks_mean_and_its_share_of_the_weights():
    scores = TaskConfidence().scores(THREE)
    np.testing.assert_allclose(scores["task_confidence"], np.repeat([0.2, 0.4, 0.8], [6, 6, 2]), rtol=1e-6)
    np.testing.assert_allclose(scores["task_weight"], np.repeat([4 / 7, 2 / 7, 1 / 7], [6, 6, 2]), rtol=1e-6)


def test_the_error_of_a_mean_needs_two_prompts():
    mean, error, asked = TaskConfidence().confidence_by_task(THREE)
    np.testing.assert_allclose(mean, [0.2, 0.4, 0.8], rtol=1e-6)
    np.testing.assert_allclose(error, [0.1, NAN, 0], atol=1e-6)
    assert asked.tolist() == [2, 1, 2]


def test_the_likelihood_of_responses_needs_no_continuations():
    method = TaskConfidence(confidence="response")
    table = pool([0, 0, 1, 1], [NAN] * 4, nll=np.log([2, 4, 5, 5]))
    assert method.needs == ("tokens", "tasks", "base")
    scores = method.scores(table)
    np.testing.assert_allclose(scores["response_confidence"], [1 / 2, 1 / 4, 1 / 5, 1 / 5], rtol=1e-6)
    np.testing.assert_allclose(scores["task_confidence"], [3 / 8, 3 / 8, 1 / 5, 1 / 5], rtol=1e-6)


def test_a_task_without_a_confidence_is_excluded_with_the_reason():
    order = TaskConfidence().order(pool([0, 1, -1, 1], [0.5, NAN, 0.5, NAN]), np.ones(4, bool), seed=0)
    assert order.rows.tolist() == [0]
    assert {why: rows.tolist() for why, rows in order.excluded.items()} == {NO_TASK: [2], "not measured": [1, 3]}


def test_a_pool_without_any_response_is_ordered_too():
    bare = pool([0, 0, 1], [0.5, NAN, 0.25], responses=[0, 0, 0])
    assert sorted(TaskConfidence().order(bare, np.ones(3, bool), seed=0).rows.tolist()) == [0, 1, 2]


@pytest.mark.parametrize("text", ["all-MiniLM-L6-v2", ""])
def test_embeddings_are_named_by_any_text(text):
    assert TaskConfidence(embeddings=text).embeddings == text


def test_used_rows_hold_the_first_seats_of_their_tasks():
    """Weights 4 : 2 : 1; after three rows of task 0 the seats of 7, [4, 2, 1], lack one, two and one row."""
    used = np.array([0, 1, 2])
    order = TaskConfidence().order(THREE, ALL, seed=0, used=used).rows
    left = order[~np.isin(order, used)]
    assert np.bincount(THREE.columns["task_code"][left[:4]], minlength=3).tolist() == [1, 2, 1]
    only_two = np.where(np.arange(14) < 3, False, ALL)  # whether used rows are eligible changes nothing
    assert TaskConfidence().order(THREE, only_two, seed=0, used=used).rows.tolist() == order.tolist()


def test_a_row_that_repeats_a_used_one_takes_no_seat():
    """Prices (k + ½) / weight of task 0 after row 0: .375; of task 1 .25 .75; of task 2 .5: row 5 is second."""
    order = order_rows(TaskConfidence(), THREE, ALL, seed=0, used=UsedRows(np.array([0]), np.array([1, 2, 3, 4])))
    assert order.rows[1] == 5
