"""Filters: which rows may be chosen at all, decided before any method orders them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import RecipeError
from core.schema import BoolArray, Columns

_BOOLS = {"true": True, "false": False}


@dataclass(frozen=True)
class Filter:
    """One condition on one column: a range, a list of values, a piece of text, or several at once (and).

    A missing value (NaN, null) is in no range and holds no text; it equals only None in `values`. `exclude` takes
    the complement: it leaves out exactly the rows that match, so a row without a value stays.
    """

    column: str
    low: float | None = None  # inclusive
    high: float | None = None  # inclusive
    values: tuple[str | float | bool | None, ...] | None = None
    exclude: bool = False
    contains: str | None = None  # anywhere in the text, upper and lower case alike

    def __post_init__(self) -> None:
        if self.values is not None:
            object.__setattr__(self, "values", tuple(self.values))
        if all(c is None for c in (self.low, self.high, self.values, self.contains)):
            raise RecipeError(f"The filter on '{self.column}' says nothing: give low, high, values or contains.")
        if any(c is not None and isnan(c) for c in (self.low, self.high)):
            raise RecipeError(f"The filter on '{self.column}' has a limit that is no number.")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise RecipeError(
                f"The filter on '{self.column}' lets nothing pass: low {self.low:g} is above high {self.high:g}."
            )

    def __str__(self) -> str:
        """In words: 'nll from 0.5 to 2', 'except task is closed_qa'."""
        said = []
        if self.low is not None and self.high is not None:
            said.append(f"from {self.low:g} to {self.high:g}")
        elif self.low is not None:
            said.append(f"at least {self.low:g}")
        elif self.high is not None:
            said.append(f"at most {self.high:g}")
        if self.values is not None:
            said.append("is " + " or ".join("missing" if v is None else str(v) for v in self.values))
        if self.contains is not None:
            said.append(f"contains '{self.contains}'")
        return f"{'except ' if self.exclude else ''}{self.column} {' and '.join(said)}"


def apply_filters(filters: Sequence[Filter], columns: Columns) -> BoolArray:
    """(N,) which rows pass every filter. Text columns are object arrays of str and None.

    RecipeError for a column that is not there and for a range on text or text in numbers.
    """
    n = len(next(iter(columns.values())))
    passed = np.ones(n, np.bool_)
    for f in filters:
        if f.column not in columns:
            raise RecipeError(f"There is no column '{f.column}' to filter by. There are {', '.join(sorted(columns))}.")
        passed &= _matches(f, columns[f.column]) ^ f.exclude
    return passed


def _matches(f: Filter, column: NDArray[Any]) -> BoolArray:
    is_text = column.dtype.kind in "OUST"
    if is_text and (f.low is not None or f.high is not None):
        raise RecipeError(f"'{f.column}' holds text: filter it by values or by what it contains, not by a range.")
    if not is_text and f.contains is not None:
        raise RecipeError(f"'{f.column}' holds numbers: filter it by a range or by values, not by text.")
    match = np.ones(len(column), np.bool_)
    if f.low is not None:
        match &= column >= f.low
    if f.high is not None:
        match &= column <= f.high
    if f.values is not None:
        match &= _is_one_of(column, f.values, is_text, f.column)
    if f.contains is not None:
        wanted = f.contains.casefold()
        found = (isinstance(text, str) and wanted in text.casefold() for text in column)
        match &= np.fromiter(found, np.bool_, len(column))
    return match


def _is_one_of(
    column: NDArray[Any], values: Sequence[str | float | bool | None], is_text: bool, name: str
) -> BoolArray:
    if is_text:
        wanted = {v if v is None else str(v) for v in values}
        return np.fromiter((text in wanted for text in column), np.bool_, len(column))
    numbers = [_number(v, name) for v in values if v is not None]
    match = np.isin(column, numbers)
    if None in values and column.dtype.kind == "f":
        match |= np.isnan(column)
    return match


def _number(value: str | float | bool, name: str) -> float:
    """A value for a column of numbers; recipes write every value as text."""
    if isinstance(value, str) and value.lower() in _BOOLS:
        return float(_BOOLS[value.lower()])
    try:
        return float(value)
    except ValueError:
        raise RecipeError(f"'{name}' holds numbers, so the filter's value '{value}' never matches.") from None
