"""Budgets: how many leading rows of an order may be selected, by rows, percent, tokens or a threshold. Arrays only."""

import re
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import RecipeError
from core.schema import IntArray

_BUDGET = re.compile(r"(\d+(?:[,_]\d{3})*(?:\.\d+)?)\s*(%|tok|ktok|mtok|rows?)?", re.ASCII | re.IGNORECASE)
Unit = Literal["rows", "percent", "tokens"]  # percent of the pool's rows; tokens of responses
_UNITS: dict[str, tuple[int, Unit]] = {"%": (1, "percent")}
_UNITS |= {"tok": (1, "tokens"), "ktok": (1_000, "tokens"), "mtok": (1_000_000, "tokens")}


@dataclass(frozen=True)
class Budget:
    """How much may be selected, written the same everywhere: `500`, `10%`, `200ktok`, `1.5Mtok`."""

    amount: float
    unit: Unit

    def __post_init__(self) -> None:
        if self.unit not in ("rows", "percent", "tokens"):
            raise RecipeError(f"A budget is in rows, percent or tokens, not in {self.unit!r}.")
        if not isfinite(self.amount) or self.amount < 0:
            raise RecipeError(f"A budget cannot be {self.amount} {self.unit}.")
        if self.unit == "percent" and self.amount > 100:
            raise RecipeError(f"A budget of {self.amount:g}% is more than the whole pool. Write 100% or less.")
        if self.unit != "percent" and self.amount != int(self.amount):
            raise RecipeError(
                f"A budget of {self.amount:g} {self.unit} is not a whole number. "
                f"For a share of the pool write a percentage, such as 10%."
            )
        object.__setattr__(self, "amount", float(self.amount))  # 500 and 500.0 are one budget

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Parse a budget; `str` gives the text back. Thousands may be grouped: `1,500`."""
        match = _BUDGET.fullmatch(text.strip())
        if match is None:
            raise RecipeError(
                f"The budget '{text}' is not valid. Write rows (500), a share of the pool (10%) or response tokens "
                "(200ktok, 1.5Mtok)."
            )
        factor, unit = _UNITS.get((match[2] or "rows").lower(), (1, "rows"))
        return cls(float(Decimal(re.sub("[,_]", "", match[1])) * factor), unit)

    def __str__(self) -> str:
        if self.unit == "percent":
            return f"{_plain(Decimal(str(self.amount)))}%"
        if self.unit == "rows":
            return str(int(self.amount))
        tokens = int(self.amount)
        if tokens >= 1_000_000 and tokens % 1_000 == 0:
            return f"{_plain(Decimal(tokens) / 1_000_000)}Mtok"
        if tokens >= 1_000 and tokens % 100 == 0:
            return f"{_plain(Decimal(tokens) / 1_000)}ktok"
        return f"{tokens}tok"


def _plain(number: Decimal) -> str:
    """Format without exponent or trailing zeros: 12.50 -> 12.5, 1E+1 -> 10."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class Spent(NamedTuple):
    """What rows that are used already take of a budget."""

    rows: int = 0
    tokens: int = 0  # of their responses


NOTHING = Spent()


def count_spent(used: IntArray, response_tokens: IntArray) -> Spent:
    """Count the rows used already, and their response tokens."""
    return Spent(len(used), int(response_tokens[used].sum()))


def cumulative_tokens(order_rows: IntArray, response_tokens: IntArray) -> IntArray:
    """Return (M,) response tokens of the first 1, 2, ... M rows of an order. Once per order, for `prefix_length`."""
    return np.cumsum(response_tokens[order_rows], dtype=np.int64)


def allowed_amount(budget: Budget, n_pool: int, spent: Spent = NOTHING) -> int:
    """Return how many rows, or response tokens, a budget allows in a pool of `n_pool` rows besides those spent."""
    if budget.unit == "percent":
        return max(0, int(n_pool * budget.amount / 100 + 1e-9) - spent.rows)  # 1e-9: 32.3% of 1000 is 322.99...
    return max(0, int(budget.amount) - (spent.tokens if budget.unit == "tokens" else spent.rows))


def prefix_length(
    order_rows: IntArray,
    budget: Budget,
    response_tokens: IntArray,
    n_pool: int,
    *,
    cumulative: IntArray | None = None,
    spent: Spent = NOTHING,
) -> int:
    """Return how many leading rows of an order (M,) the budget allows.

    rows      that many
    percent   int(n_pool * percent / 100): of the whole pool, not of the eligible rows
    tokens    the longest prefix whose response tokens do not exceed the budget. (The released code of
              InstructDiff continues until they reach it: one row more, unless they meet it exactly.)

    `cumulative`: `cumulative_tokens` of the same order, so that a slider need not compute it again. `spent`: what rows
    used already take of the budget.
    """
    allowed = allowed_amount(budget, n_pool, spent)
    if budget.unit != "tokens":
        return min(len(order_rows), allowed)
    if cumulative is None:
        cumulative = cumulative_tokens(order_rows, response_tokens)
    return int(np.searchsorted(cumulative, allowed, side="right"))


def threshold_length(
    order_rows: IntArray, values: NDArray[Any], prefer: Literal["high", "low", "middle"], threshold: float
) -> int:
    """Return how many leading rows of an order (M,) are at least as good as the threshold; `values` is (N,).

    "high": value >= threshold, "low": value <= threshold. RecipeError for "middle": an order around the median has no
    single value at which rows stop being good.
    """
    if prefer == "middle":
        raise RecipeError(
            "A score cutoff needs a method that prefers one end of its score, and 'middle' prefers the median. "
            "Use a budget instead."
        )
    in_order = values[order_rows]
    passes = in_order >= threshold if prefer == "high" else in_order <= threshold
    return len(passes) if passes.all() else int(np.argmin(passes))
