"""Filters: which rows pass, how missing values behave, and which filters are refused."""

import numpy as np
import pyarrow as pa
import pytest

from core.errors import RecipeError
from core.selection.filters import Filter, apply_filters, duplicates_filter

NAN = np.nan
COLUMNS = {
    "nll": np.float32([0.5, 1.0, 2.0, NAN, 3.0]),
    "truncated": np.array([False, True, False, False, True]),
    "duplicate_of": np.array([NAN, NAN, 0.0, NAN, 1.0]),
    "task": np.array(["qa", "code", None, "qa", "Ähnlich"], object),
    "prompt": np.array(["What is 2 + 2?", "WRITE code", "", "écrire", None], object),
}


def passed(*filters: Filter) -> list[int]:
    return np.flatnonzero(apply_filters(filters, COLUMNS)).tolist()


def test_a_range_includes_both_ends_and_no_missing_value():
    assert passed(Filter("nll", low=1.0, high=3.0)) == [1, 2, 4]
    assert passed(Filter("nll", low=1.0)) == [1, 2, 4]
    assert passed(Filter("nll", high=1.0)) == [0, 1]


def test_an_excluded_range_excludes_exactly_the_rows_in_it():
    assert passed(Filter("nll", low=1.0, high=2.0, exclude=True)) == [0, 3, 4]


def test_near_duplicates_once_is_an_excluded_range():
    assert passed(Filter("duplicate_of", low=0, exclude=True)) == [0, 1, 3]


def test_values_of_text_match_exactly_and_may_be_missing():
    assert passed(Filter("task", values=("qa", "math"))) == [0, 3]
    assert passed(Filter("task", values=("qa",), exclude=True)) == [1, 2, 4]
    assert passed(Filter("task", values=(None,))) == [2]
    assert passed(Filter("task", values=())) == []


def test_values_of_numbers_may_come_as_text_from_a_recipe():
    assert passed(Filter("nll", values=("0.5", 3))) == [0, 4]
    assert passed(Filter("truncated", values=("true",))) == [1, 4]
    assert passed(Filter("truncated", values=(False,))) == [0, 2, 3]
    assert passed(Filter("nll", values=(None,))) == [3]


def test_contained_text_ignores_case_in_any_script():
    assert passed(Filter("prompt", contains="CODE")) == [1]
    assert passed(Filter("prompt", contains="É")) == [3]
    assert passed(Filter("task", contains="ähn")) == [4]
    assert passed(Filter("prompt", contains="code", exclude=True)) == [0, 2, 3, 4]
    assert passed(Filter("prompt", contains="+ 2?")) == [0]  # text, not a pattern


def test_a_pattern_matches_anywhere_and_is_case_sensitive():
    assert passed(Filter("prompt", matches="code")) == [1]
    assert passed(Filter("prompt", matches="write")) == []
    assert passed(Filter("prompt", matches="(?i)^write .*e$")) == [1]
    assert passed(Filter("prompt", matches=r"\d \+ \d\?$")) == [0]
    assert passed(Filter("prompt", matches=".", exclude=True)) == [2, 4]
    assert passed(Filter("prompt", matches="^É|^é")) == [3]


@pytest.mark.parametrize(
    "about",
    [
        {"column": "nll", "low": 1.0},
        {"column": "nll", "values": (None,)},
        {"column": "task", "values": ("qa", None)},
        {"column": "prompt", "contains": "e"},
        {"column": "prompt", "matches": "[a-z]$"},
        {"column": "duplicate_of", "low": 0},
    ],
)
def test_a_filter_and_its_complement_partition_the_rows(about):
    passing, excluded = passed(Filter(**about)), passed(Filter(**about, exclude=True))
    assert sorted(passing + excluded) == [0, 1, 2, 3, 4]
    assert 0 < len(passing) < 5


def test_text_in_arrow_or_in_an_array_gives_the_same():
    arrow = pa.chunked_array([["What is 2 + 2?", "WRITE code"], ["", "écrire", None]])
    for about in ({"contains": "CODE"}, {"matches": "^."}, {"values": ("", None)}, {"contains": "e", "exclude": True}):
        f = Filter("prompt", **about)
        np.testing.assert_array_equal(apply_filters([f], {"prompt": arrow}), apply_filters([f], COLUMNS))


def test_several_conditions_and_several_filters_must_all_hold():
    assert passed(Filter("task", values=("qa", "code"), contains="q")) == [0, 3]
    assert passed(Filter("task", values=("qa",)), Filter("nll", high=1)) == [0]
    assert passed() == [0, 1, 2, 3, 4]


def test_a_filter_does_not_change_the_columns():
    before = COLUMNS["nll"].copy()
    passed(Filter("nll", low=1.0))
    np.testing.assert_array_equal(COLUMNS["nll"], before)


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ({"column": "nll"}, "has no condition"),
        ({"column": "nll", "low": 2, "high": 1}, "low 2 is above high 1"),
        ({"column": "nll", "low": NAN}, "not a finite number"),
        ({"column": "task", "matches": "("}, r"pattern '\(' is not valid: missing \)"),
    ],
)
def test_a_meaningless_filter_is_refused(about, reason):
    with pytest.raises(RecipeError, match=reason):
        Filter(**about)


@pytest.mark.parametrize(
    ("filter", "reason"),
    [
        (Filter("entropy", low=1), "no column 'entropy'.*duplicate_of, nll, prompt, task, truncated"),
        (Filter("task", low=1), "'task' holds text"),
        (Filter("nll", contains="1"), "'nll' holds numbers"),
        (Filter("nll", matches="1"), "'nll' holds numbers"),
        (Filter("nll", values=("high",)), "value 'high' never matches"),
    ],
)
def test_a_filter_that_does_not_fit_its_column_is_refused(filter, reason):
    with pytest.raises(RecipeError, match=reason):
        passed(filter)


@pytest.mark.parametrize(
    ("filter", "words"),
    [
        (Filter("nll", low=0.5, high=2), "nll from 0.5 to 2"),
        (Filter("nll", low=0.5), "nll at least 0.5"),
        (Filter("nll", high=2, exclude=True), "except nll at most 2"),
        (Filter("task", values=("qa", None)), "task is qa or missing"),
        (Filter("prompt", contains="sum"), "prompt contains 'sum'"),
        (Filter("prompt", matches="^a", exclude=True), "except prompt matches '^a'"),
        (duplicates_filter("duplicate_of"), "one row of each exact duplicate"),
        (duplicates_filter("near_duplicate_of@0.75"), "one row of each near-duplicate group (similarity ≥ 0.75)"),
    ],
)
def test_a_filter_describes_itself(filter, words):
    assert str(filter) == words


def test_lists_from_a_recipe_make_the_same_filter():
    assert Filter("task", values=["qa"]) == Filter("task", values=("qa",))
    assert len({Filter("task", values=["qa"]), Filter("task", values=("qa",))}) == 1
