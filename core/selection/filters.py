"""Filters: which rows are eligible, decided before any method orders them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.columns import EXACT_DUPLICATES, TAG_PREFIX, duplicates_of
from core.errors import RecipeError
from core.schema import BoolArray
from core.selection.text_search import check_pattern, contains_text, is_one_of, is_unicode, matches_pattern

_BOOLS = {"true": True, "false": False}

MAX_VALUES_SHOWN = 12  # values listed in a description


@dataclass(frozen=True)
class Filter:
    """One condition on one column: a range, a list of values, a piece of text, a pattern, or several at once (and).

    A missing value (NaN, null) is in no range and contains no text; it equals only None in `values`. `exclude` takes
    the complement: it excludes exactly the rows that match, so a row without a value stays.
    """

    column: str
    low: float | None = None  # inclusive
    high: float | None = None  # inclusive
    values: tuple[str | float | bool | None, ...] | None = None
    exclude: bool = False
    contains: str | None = None  # anywhere in the text, ignoring case
    matches: str | None = None  # a regular expression (RE2) anywhere in the text; case counts unless (?i) is given

    def __post_init__(self) -> None:
        if self.values is not None:
            object.__setattr__(self, "values", tuple(self.values))
        subject = f"The filter on '{self.column}'"
        if all(c is None for c in (self.low, self.high, self.values, self.contains, self.matches)):
            raise RecipeError(f"{subject} has no condition: give low, high, values, contains or matches.")
        if any(c is not None and not isfinite(c) for c in (self.low, self.high)):
            raise RecipeError(f"{subject} has a limit that is not a finite number. Remove it, or write: is missing.")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise RecipeError(f"{subject} excludes every row: low {self.low:g} is above high {self.high:g}.")
        texts = (self.column, self.contains, self.matches, *(self.values or ()))
        if not is_unicode("".join(text for text in texts if isinstance(text, str))):
            raise RecipeError(f"{subject} contains half a character, which is not valid text. Write it again.")
        if self.matches is not None:
            check_pattern(self.matches)

    def __str__(self) -> str:
        """Describe the filter: 'nll from 0.5 to 2', 'except task is closed_qa', 'exact duplicates once'."""
        words = _usual_words(self)
        if words:
            return words
        clauses = []
        if self.low is not None and self.high is not None:
            clauses.append(f"from {self.low:g} to {self.high:g}")
        elif self.low is not None:
            clauses.append(f"at least {self.low:g}")
        elif self.high is not None:
            clauses.append(f"at most {self.high:g}")
        if self.values is not None:
            shown = ["missing" if v is None else str(v) for v in self.values]
            few = len(shown) <= MAX_VALUES_SHOWN
            clauses.append(f"is {' or '.join(shown)}" if few else f"is one of {len(shown):,} values")
        if self.contains is not None:
            clauses.append(f"contains '{self.contains}'")
        if self.matches is not None:
            clauses.append(f"matches '{self.matches}'")
        return f"{'except ' if self.exclude else ''}{self.column} {' and '.join(clauses)}"


def _usual_words(f: Filter) -> str:
    """Return the words of a filter that is usual for its column; "" for any other."""
    tag = f.column.removeprefix(TAG_PREFIX)
    if f == tag_filter(tag, exclude=f.exclude):
        return f"{'not ' if f.exclude else ''}tagged '{tag}'"
    if f != duplicates_filter(f.column):
        return ""
    kind = duplicates_of(f.column)
    if kind is None:
        return "one row of each exact duplicate"
    return f"one row of each {kind.name} group ({kind.limit(f.column)})"


def tag_filter(name: str, *, exclude: bool = False) -> Filter:
    """Return the filter on the rows with a tag, or on those without it."""
    return Filter(TAG_PREFIX + name, values=("1",), exclude=exclude)


def duplicates_filter(column: str) -> Filter | None:
    """Return the filter that keeps the earliest row of each group of duplicates; None for any other column.

    It ignores the order, because filters apply before there is one.
    """
    is_of_duplicates = column == EXACT_DUPLICATES or duplicates_of(column) is not None
    return Filter(column, low=0, exclude=True) if is_of_duplicates else None


def apply_filters(filters: Sequence[Filter], columns: Mapping[str, Any]) -> BoolArray:
    """Return (N,) a mask of rows that pass every filter. Columns of text are Arrow's, or NumPy arrays of str and None.

    Raises RecipeError for an unknown column, for a range on text or text in numbers, and for a search that takes too
    long (core.selection.text_search).
    """
    n = len(next(iter(columns.values())))
    passing = np.ones(n, np.bool_)
    for f in filters:
        if f.column not in columns:
            raise RecipeError(f"There is no column '{f.column}' to filter by. There are {', '.join(sorted(columns))}.")
        column = columns[f.column]
        is_text = not isinstance(column, np.ndarray) or column.dtype.kind in "OUST"
        passing &= (_text_matches if is_text else _number_matches)(f, column) ^ f.exclude
    return passing


def _text_matches(f: Filter, column: Any) -> BoolArray:
    if f.low is not None or f.high is not None:
        raise RecipeError(f"'{f.column}' holds text: filter it by values or by what it contains, not by a range.")
    match = np.ones(len(column), np.bool_)
    if f.values is not None:
        match &= is_one_of(column, [v if v is None else str(v) for v in f.values])
    if f.contains is not None:
        match &= contains_text(column, f.contains)
    if f.matches is not None:
        match &= matches_pattern(column, f.matches)
    return match


def _number_matches(f: Filter, column: NDArray[Any]) -> BoolArray:
    if f.contains is not None or f.matches is not None:
        raise RecipeError(f"'{f.column}' holds numbers: filter it by a range or by values, not by text.")
    match = np.ones(len(column), np.bool_)
    if f.low is not None:
        match &= column >= f.low
    if f.high is not None:
        match &= column <= f.high
    if f.values is not None:
        match &= np.isin(column, [_number(v, f.column) for v in f.values if v is not None])
        if None in f.values and column.dtype.kind == "f":
            match |= np.isnan(column)
    return match


def _number(value: str | float | bool, name: str) -> float:
    """Convert a value for a column of numbers; recipes write every value as text."""
    if isinstance(value, str) and value.lower() in _BOOLS:
        return float(_BOOLS[value.lower()])
    try:
        return float(value)
    except ValueError:
        raise RecipeError(f"'{name}' holds numbers, so the filter's value '{value}' never matches.") from None
