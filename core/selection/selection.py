"""From an order to a selection: budget, threshold and pins. Arrays only; cheap enough for a slider.

filters decide who is eligible -> a method orders them -> pins head the order or leave it
-> the selection is the longest prefix that the budget (and a threshold, if any) allows
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import RecipeError
from core.schema import IntArray, Order
from core.selection.filters import Filter, apply_filters

__all__ = [
    "Budget",
    "Filter",
    "Pin",
    "Selection",
    "apply_filters",
    "apply_pins",
    "cumulative_tokens",
    "prefix_length",
    "select_prefix",
    "threshold_length",
]

PINNED_OUT = "pinned out"
_BUDGET = re.compile(r"(\d+(?:[,_]\d{3})*(?:\.\d+)?)\s*(%|tok|ktok|mtok|rows?)?", re.ASCII | re.IGNORECASE)
_TOKENS = {"tok": 1, "ktok": 1_000, "mtok": 1_000_000}


@dataclass(frozen=True)
class Budget:
    """How much may be chosen. One way of writing, everywhere: `500`, `10%`, `200ktok`, `1.5Mtok`."""

    amount: float
    unit: Literal["rows", "percent", "tokens"]  # percent of the pool's rows; tokens of responses

    def __post_init__(self) -> None:
        if self.unit not in ("rows", "percent", "tokens"):
            raise RecipeError(f"A budget is in rows, percent or tokens, not in {self.unit!r}.")
        if not isfinite(self.amount) or self.amount < 0:
            raise RecipeError(f"A budget cannot be {self.amount} {self.unit}.")
        if self.unit == "percent" and self.amount > 100:
            raise RecipeError(f"A budget of {self.amount:g}% is more than the whole pool.")
        if self.unit != "percent" and self.amount != int(self.amount):
            raise RecipeError(
                f"A budget of {self.amount:g} {self.unit} is not a whole number. "
                f"For a share of the pool write a percentage, such as 10%."
            )
        object.__setattr__(self, "amount", float(self.amount))  # 500 and 500.0 are one budget

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read what people write; `str` gives it back. Thousands may be grouped: `1,500`."""
        found = _BUDGET.fullmatch(text.strip())
        if found is None:
            raise RecipeError(
                f"The budget '{text}' cannot be read. Write rows (500), a share of the pool (10%) "
                f"or response tokens (200ktok, 1.5Mtok)."
            )
        unit = (found[2] or "rows").lower()
        number = Decimal(re.sub("[,_]", "", found[1]))
        if unit == "%":
            return cls(float(number), "percent")
        if unit in _TOKENS:
            return cls(float(number * _TOKENS[unit]), "tokens")
        return cls(float(number), "rows")

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
    """Without exponent or trailing zeros: 12.50 -> 12.5, 1E+1 -> 10."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True)
class Pin:
    """A row forced in or out by hand. Kept by id, so it survives re-scoring and re-opening."""

    id: str
    side: Literal["in", "out"]
    reason: str = ""

    def __post_init__(self) -> None:
        if self.side not in ("in", "out"):
            raise RecipeError(f"pins: row '{self.id}' must be pinned in or out, not {self.side!r}.")


@dataclass(frozen=True, eq=False)
class Selection:
    """Rows chosen from one pool, best first; pinned ones lead."""

    pool_id: str  # fingerprint of the pool that the row numbers index
    rows: IntArray  # (K,) row numbers, no repeats: a prefix of order.rows
    n_pinned: int  # how many of them, from the start, are there by hand
    tokens: int  # response tokens of the rows, as the model reads them
    order: Order  # with pins


def apply_pins(order: Order, pinned_in: IntArray, pinned_out: IntArray) -> Order:
    """The same order with rows forced in at its head, as listed, and others taken out.

    A pin is a person's word: it brings in rows that a filter, the NLL band or a missing score kept out, and
    moves nothing else. RecipeError for a row pinned both ways.
    """
    both = np.intersect1d(pinned_in, pinned_out)
    if len(both):
        raise RecipeError(f"pins: row number {both[0]} is pinned in and out. Remove one of the two.")
    head = np.asarray(list(dict.fromkeys(pinned_in.tolist())), np.int64)
    out = np.unique(pinned_out).astype(np.int64)
    moved = np.concatenate([head, out])
    rest = order.rows[~np.isin(order.rows, moved)]
    excluded = {reason: rows[~np.isin(rows, moved)] for reason, rows in order.excluded.items()}
    excluded = {reason: rows for reason, rows in excluded.items() if len(rows)}
    if len(out):
        excluded[PINNED_OUT] = out
    return Order(np.concatenate([head, rest]), excluded, order.values)


def cumulative_tokens(order_rows: IntArray, response_tokens: IntArray) -> IntArray:
    """(M,) response tokens of the first 1, 2, ... M rows of an order. Once per order, for `prefix_length`."""
    return np.cumsum(response_tokens[order_rows], dtype=np.int64)


def prefix_length(
    order_rows: IntArray,
    budget: Budget,
    response_tokens: IntArray,
    n_pool: int,
    *,
    cumulative: IntArray | None = None,
) -> int:
    """How many leading rows of an order (M,) the budget pays for.

    rows      as many
    percent   int(n_pool * percent / 100): of the whole pool, not of the eligible rows
    tokens    the longest prefix whose response tokens do not exceed the budget. (The released code of
              InstructDiff goes on until they reach it: one row more, unless they meet it exactly.)

    `cumulative`: `cumulative_tokens` of the same order, so that a slider need not add up again.
    """
    if budget.unit == "rows":
        return min(len(order_rows), int(budget.amount))
    if budget.unit == "percent":
        return min(len(order_rows), int(n_pool * budget.amount / 100 + 1e-9))  # 1e-9: 32.3 % of 1000 is 322.99...
    if cumulative is None:
        cumulative = cumulative_tokens(order_rows, response_tokens)
    return int(np.searchsorted(cumulative, budget.amount, side="right"))


def threshold_length(
    order_rows: IntArray,
    values: NDArray[Any],
    prefer: Literal["high", "low", "middle"],
    threshold: float,
) -> int:
    """How many leading rows of an order (M,) are at least as good as the threshold; `values` is (N,).

    "high": value >= threshold, "low": value <= threshold. RecipeError for "middle": an order around the
    median has no one value at which it stops being good.
    """
    if prefer == "middle":
        raise RecipeError(
            "A threshold needs a method that takes one end of its score; "
            "'middle' starts at the median. Use a budget instead."
        )
    in_order = values[order_rows]
    good = in_order >= threshold if prefer == "high" else in_order <= threshold
    return len(good) if good.all() else int(np.argmin(good))


def select_prefix(
    order: Order,
    budget: Budget,
    *,
    response_tokens: IntArray,
    pool_id: str,
    n_pinned: int = 0,
    limit: int | None = None,
    cumulative: IntArray | None = None,
) -> Selection:
    """The prefix that the budget pays for, and no longer than `limit` (a threshold's `threshold_length`).

    Pinned rows (the first `n_pinned`) count against the budget, and stay even where they alone exceed it.
    RecipeError for a budget in tokens where no row has any: each would be free, so it would pay for all of them.
    """
    if budget.unit == "tokens":
        _check_tokens(order.rows, budget, response_tokens)
    length = prefix_length(order.rows, budget, response_tokens, len(response_tokens), cumulative=cumulative)
    if limit is not None:
        length = min(length, limit)
    rows = order.rows[: max(length, n_pinned)]
    return Selection(pool_id, rows, n_pinned, int(response_tokens[rows].sum()), order)


def _check_tokens(order_rows: IntArray, budget: Budget, response_tokens: IntArray) -> None:
    """RecipeError when the pool, or every row of an order (M,), has no response tokens; they are (N,)."""
    if response_tokens[order_rows].any() or not len(response_tokens):
        return
    if not response_tokens.any():
        whose = "No row of this pool"
    elif len(order_rows):
        whose = "No row that is left to choose from"
    else:
        return  # nothing to choose from, whatever the budget
    raise RecipeError(
        f"{whose} has a response, so a budget in response tokens ({budget}) says nothing. "
        f"Give rows (500) or a share of the pool (10%)."
    )
