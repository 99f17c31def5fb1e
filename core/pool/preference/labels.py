"""Labels that name the better of two responses, in the fields output_1 and output_2 for example.

    1, 2                      the first, the second; 1.7 the nearer one, as AlpacaEval writes the mean of judges
    output_2, model_b, b      by a field's name or ending
    0, 1.5, tie, both, none   equally good: the row gives no pair and is counted

Fields that end in 0 and 1 have labels 0 and 1. For others a label without a 2 is refused after all rows: 0 and 1 may
count the responses from 0, or be ties and wins of the first.
"""

import re
from collections.abc import Mapping
from typing import Any

from core.errors import PoolError
from core.pool.turns import UnusableRow

NO_LABEL = "no label"
TIED = "the label marks the answers as equally good"
NAMES_NEITHER = "the label names neither answer"
TIES = ("tie", "tied", "draw", "equal", "same", "both", "neither", "none")
_ENDING = re.compile(r"(?:[a-z]+[\s_-])?([a-z]|\d)|[a-z]+(\d)")


class LabelReader:
    """Reader of one label field for two fields of responses, over all rows of a source."""

    def __init__(self, label: str, fields: tuple[str, str]) -> None:
        self._label, self._fields = label, fields
        self._ends = tuple(_ending(field.casefold()) for field in fields)
        self._low = 0 if self._ends == ("0", "1") else 1  # the number of the first response
        self._numbers: set[float] = set()  # seen, of 0, 1 and 2; 2 also stands for what lies between 1 and 2

    def better_first(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the two fields, that of the better response first; UnusableRow with the reason if there is none."""
        return self._fields[::-1] if self._side(row.get(self._label)) else self._fields

    def _side(self, value: Any) -> int:
        text = " ".join(str("" if value is None else value).casefold().split())
        if not text:
            raise UnusableRow(NO_LABEL)
        number = _to_number(text)
        if number is not None:
            return self._side_of_number(number)
        if _ending(text) in self._ends:
            return self._ends.index(_ending(text))
        raise UnusableRow(TIED if re.split(r"\W|_", text)[0] in TIES else NAMES_NEITHER)

    def _side_of_number(self, number: float) -> int:
        if 0 <= number <= 2:
            self._numbers.add(number if number <= 1 else 2)
        offset = number - self._low
        if offset == 0.5 or (number == 0 and self._low == 1):
            raise UnusableRow(TIED)
        if not 0 <= offset <= 1:
            raise UnusableRow(NAMES_NEITHER)
        return int(offset > 0.5)

    def check(self) -> None:
        """Raise PoolError if the numbers seen may mean something else than was read."""
        names = " or ".join(self._fields)
        if self._low == 1 and self._numbers and 2 not in self._numbers:
            seen = " and ".join(f"{number:g}" for number in sorted(self._numbers))
            raise PoolError(
                f"its label '{self._label}' holds {seen} but no 2, so it may count the answers from 0 or from 1. "
                f"Write the name of the better answer in it, {names}."
            )
        if self._low == 0 and 2 in self._numbers:
            raise PoolError(
                f"its label '{self._label}' holds a 2, but the answers are counted from 0 ({names}). "
                "Write the name of the better answer in it."
            )


def _ending(name: str) -> str:
    """Return the digit or letter that a name ends with: 1 for output_1 and output1, a for model_a; else the name."""
    match = _ENDING.fullmatch(name)
    return (match[1] or match[2]) if match else name


def _to_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
