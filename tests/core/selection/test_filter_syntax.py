"""A filter as one line: user input is parsed, and formatted filters parse back unchanged."""

import pytest

from core.errors import RecipeError
from core.selection.filter_syntax import format_filter, parse_filter
from core.selection.filters import Filter, duplicates_filter


@pytest.mark.parametrize(
    ("line", "filter"),
    [
        ("nll<=2", Filter("nll", high=2)),
        ("nll >= -.5", Filter("nll", low=-0.5)),
        ("response_tokens in 10..200", Filter("response_tokens", low=10, high=200)),
        ("not nll in 1e-3 .. 2.5", Filter("nll", low=0.001, high=2.5, exclude=True)),
        ("task=closed_qa|qa", Filter("task", values=("closed_qa", "qa"))),
        ("task!=closed qa", Filter("task", values=("closed qa",), exclude=True)),
        ("nll is missing", Filter("nll", values=(None,))),
        ("nll is not missing", Filter("nll", values=(None,), exclude=True)),
        ("prompt contains sum of", Filter("prompt", contains="sum of")),
        ("not prompt contains a<=b", Filter("prompt", contains="a<=b", exclude=True)),
        ("prompt~^(Write|Compose)", Filter("prompt", matches="^(Write|Compose)")),
        ("prompt!~a=b", Filter("prompt", matches="a=b", exclude=True)),
        ("duplicates once", duplicates_filter("duplicate_of")),
        ("near duplicates once", duplicates_filter("near_duplicate_of@0.8")),
        ("not near_duplicate_of@0.9>=0", duplicates_filter("near_duplicate_of@0.9")),
        ('{"column": "a b", "low": 1}', Filter("a b", low=1)),
    ],
)
def test_lines_are_parsed_and_formatted_again(line, filter):
    assert parse_filter(line) == filter
    assert parse_filter(format_filter(filter)) == filter


@pytest.mark.parametrize(
    "filter",
    [
        Filter("task", values=(None, "a")),
        Filter("task", values=()),
        Filter("task", values=("a|b",)),
        Filter("task", values=("",)),
        Filter("task", values=(" a ",)),
        Filter("n", values=(1, 2.5, True)),
        Filter("p", contains=" x "),
        Filter("p", contains="line\nbreak"),
        Filter("p", matches="~"),
        Filter("n", low=1, values=("a",), exclude=True),
        Filter("n", low=0.1 + 0.2, high=1e300),
        Filter("a column of theirs", low=1),
        Filter("not", low=1),
        Filter("not a", values=("b",)),
        Filter("duplicates once", contains="x"),
    ],
)
def test_every_filter_can_be_written_as_a_line(filter):
    assert parse_filter(format_filter(filter)) == filter


def test_the_plain_form_is_used_if_there_is_one():
    assert format_filter(Filter("nll", high=2)) == "nll<=2"
    assert format_filter(Filter("task", values=("a", "b"), exclude=True)) == "not task=a|b"
    assert format_filter(duplicates_filter("duplicate_of")) == "duplicates once"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nll<2", "a range includes its ends. Write <= or >="),
        ("", "is not valid. Write nll<=2"),
        ("nll", "is not valid"),
        ("nll<=two", "is not valid"),
        ("nll in 3..1", "low 3 is above high 1"),
        ("prompt~(", "is not valid: missing"),
        ("{", "is not a JSON object"),
        ('{"colum": "a"}', "column is missing. A filter has column, low"),
        ('{"column": "a", "low": 1, "extra": 1}', "extra is unknown"),
        ('{"column": "a", "low": "x"}', "low must be a valid number"),
        ('{"column": "a"', "is not a JSON object"),
        ("prompt~\udcff", "contains half a character"),
        ("prompt contains \udcff", "contains half a character"),
        ("task=a|\udcff", "contains half a character"),
    ],
)
def test_a_line_that_cannot_be_parsed_gives_one_sentence(line, reason):
    with pytest.raises(RecipeError, match=reason) as caught:
        parse_filter(line)
    assert "\n" not in str(caught.value)
