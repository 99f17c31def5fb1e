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
    assert headline_of([0.5, 0.25], [0.01, 0.01]) == (
        r"The model is least confident on words (0.25) and most confident on su\_ms (0.50)."
    )


def test_tasks_within_their_errors_are_not_distinguished():
    assert (
        headline_of([0.50, 0.45], [0.03, 0.04]) == "The model is about equally confident on every task (0.45 to 0.50)."
    )
    assert headline_of([0.56, 0.45], [0.03, 0.04]).startswith(
        "The model is least confident on words"
    )  # more than 2 · 0.05 apart


def test_an_unknown_error_hides_no_difference():
    assert headline_of([0.50, 0.45], [0.03, np.nan]).startswith("The model is least confident on words")


def test_a_derived_task_is_named_by_its_number():
    groups = Grouping("derived", ("derived 1: a, b", "derived 2: c"), np.array([0, 0, 1]), by="some model")
    assert "least confident on derived 2 (0.20) and most" in headline_of([0.5, 0.2], [0.01, 0.01], groups)
    assert groups.origin.startswith("Tasks are derived") and NAMES.origin == ""


class _Same:
    greedy = current = None
    used = 0


@pytest.mark.parametrize(
    ("own", "title", "verdict"), [(0.384, "38%", "above"), (0.315, "31.5%", "within"), (0.2, "20%", "below")]
)
def test_coverage_is_compared_with_chance_and_more_precise_near_it(own, title, verdict):
    point = CoverageAtBudget(0.1, own, (0.311, 0.318), own, 0.16)
    assert headline(point) == f"10% of the rows cover {title} of the neurons that the pool activates."
    assert describe(point, _Same()).startswith(f"This is {verdict} the [chance range]")
    assert ", **31.1 to 31.8%**." in describe(point, _Same())
    assert ("need **16%**" in describe(point, _Same())) == (own > 0.318)
