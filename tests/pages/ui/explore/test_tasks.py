"""Descriptions of tasks, on numbers small enough to see."""

import numpy as np
import pytest

from core.methods.task_confidence import TaskConfidence
from pages.ui.data.grouping import Grouping
from pages.ui.explore import tasks
from pages.ui.explore.coverage import CoverageAtBudget, describe, headline

NAMES = Grouping("labels", ("su_ms", "words"), np.array([0, 0, 1]))


def headline_of(mean, error, groups=NAMES):
    confidences = tasks.ConfidenceByTask(None, TaskConfidence(), np.array(mean), np.array(error), np.array([9, 9]))
    return tasks.headline(groups, confidences, None, 3)


def test_the_tasks_of_lowest_and_highest_confidence_are_named_and_escaped():
    assert headline_of([0.5, 0.25], [0.01, 0.01]) == r"Least sure of words (0.25), surest of su\_ms (0.50)"


def test_tasks_within_their_errors_are_not_distinguished():
    assert headline_of([0.50, 0.45], [0.03, 0.04]) == "About as sure of one task as of another (0.45 to 0.50)"
    assert headline_of([0.56, 0.45], [0.03, 0.04]).startswith("Least sure of words")  # more than 2 · 0.05 apart


def test_an_unknown_error_hides_no_difference():
    assert headline_of([0.50, 0.45], [0.03, np.nan]).startswith("Least sure of words")


def test_a_derived_task_is_named_by_its_number():
    groups = Grouping("derived", ("derived 1: a, b", "derived 2: c"), np.array([0, 0, 1]), by="some model")
    assert headline_of([0.5, 0.2], [0.01, 0.01], groups) == "Least sure of derived 2 (0.20), surest of derived 1 (0.50)"
    assert groups.origin.startswith("Tasks are derived") and NAMES.origin == ""


class _Same:
    greedy = current = None


@pytest.mark.parametrize(
    ("own", "title", "verdict"),
    [(0.384, "38 %", "More than chance"), (0.315, "31.5 %", "No more than"), (0.2, "20 %", "Less than chance")],
)
def test_coverage_is_compared_with_chance_and_more_precise_near_it(own, title, verdict):
    point = CoverageAtBudget(0.1, own, (0.311, 0.318), own, 0.16)
    assert headline(point) == f"10 % of the rows reach {title} of what the whole pool switches on"
    assert describe(point, _Same()).startswith(verdict)
    assert "random rows reach **31.1 to 31.8 %**" in describe(point, _Same())
    assert ("need **16 %**" in describe(point, _Same())) == (own > 0.318)
