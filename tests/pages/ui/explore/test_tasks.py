"""What is said of tasks, from numbers that can be seen."""

import numpy as np
import pytest

from core.methods.task_confidence import TaskConfidence
from pages.ui.data.grouping import Grouping
from pages.ui.explore import tasks
from pages.ui.explore.coverage import CoverageAtBudget, describe, headline

NAMES = Grouping("labels", ("su_ms", "words"), np.array([0, 0, 1]))


def said(mean, error, groups=NAMES):
    known = tasks.ConfidenceByTask(None, TaskConfidence(), np.array(mean), np.array(error), np.array([9, 9]))
    return tasks.headline(groups, known, None, 3)


def test_the_least_and_the_surest_task_are_named_and_names_are_no_markdown():
    assert said([0.5, 0.25], [0.01, 0.01]) == r"Least sure of words (0.25), surest of su\_ms (0.50)"


def test_tasks_within_their_errors_are_not_told_apart():
    assert said([0.50, 0.45], [0.03, 0.04]) == "About as sure of one task as of another (0.45 to 0.50)"
    assert said([0.56, 0.45], [0.03, 0.04]).startswith("Least sure of words")  # more than 2 · 0.05 apart


def test_an_error_that_is_not_known_hides_no_difference():
    assert said([0.50, 0.45], [0.03, np.nan]).startswith("Least sure of words")


def test_a_derived_task_is_named_by_its_number():
    groups = Grouping("derived", ("derived 1: a, b", "derived 2: c"), np.array([0, 0, 1]), by="some model")
    assert said([0.5, 0.2], [0.01, 0.01], groups) == "Least sure of derived 2 (0.20), surest of derived 1 (0.50)"
    assert groups.origin.startswith("Tasks are derived") and NAMES.origin == ""


class _Same:
    greedy = own = None


@pytest.mark.parametrize(
    ("own", "title", "verdict"),
    [(0.384, "38 %", "More than chance"), (0.315, "31.5 %", "No more than"), (0.2, "20 %", "Less than chance")],
)
def test_coverage_is_held_against_chance_and_said_more_finely_near_it(own, title, verdict):
    here = CoverageAtBudget(0.1, own, (0.311, 0.318), own, 0.16)
    assert headline(here) == f"10 % of the rows reach {title} of what the whole pool switches on"
    assert describe(here, _Same()).startswith(verdict)
    assert "random rows reach **31.1 to 31.8 %**" in describe(here, _Same())
    assert ("need **16 %**" in describe(here, _Same())) == (own > 0.318)
