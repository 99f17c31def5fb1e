"""From an order to a selection: budget, threshold and pins. Arrays only; fast enough for a slider.

filters decide which rows are eligible -> a method orders them -> pins move rows to the head of the order or out of it
-> the selection is the longest prefix that the budget (and a threshold, if any) allows
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from core.errors import RecipeError
from core.schema import IntArray, Order
from core.selection.budget import NOTHING, Budget, Spent, allowed_amount, count_spent, prefix_length

PINNED_OUT = "always excluded"


@dataclass(frozen=True)
class Pin:
    """A row included or excluded by hand. Stored by id, so it survives re-measuring and re-opening."""

    id: str
    side: Literal["in", "out"]
    reason: str = ""

    def __post_init__(self) -> None:
        if self.side not in ("in", "out"):
            raise RecipeError(f"pins: row '{self.id}' must be pinned in or out, not {self.side!r}.")


@dataclass(frozen=True, eq=False)
class Selection:
    """Rows selected from one pool, best first; pinned ones lead."""

    pool_id: str  # fingerprint of the pool that the row numbers index
    rows: IntArray  # (K,) row numbers, no repeats: a prefix of order.rows
    n_pinned: int  # how many of them, from the start, are pinned in
    tokens: int  # response tokens of the rows, as the model reads them
    order: Order  # with pins
    limited: bool = False  # whether a threshold ended it before the budget
    spent: Spent = NOTHING  # what rows used already take of the budget


def apply_pins(order: Order, pinned_in: IntArray, pinned_out: IntArray) -> Order:
    """Move rows pinned in to the head of the order, as listed, and exclude rows pinned out.

    A pin overrides everything: it includes rows that a filter, the ΔNLL band or a missing score excluded, and moves
    nothing else. RecipeError for a row pinned both ways.
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
    return replace(order, rows=np.concatenate([head, rest]), excluded=excluded)


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
    """Select the prefix that the budget allows, no longer than `limit` (a threshold's `threshold_length`).

    Rows used already and pinned rows (the first `n_pinned`) count against the budget; the latter stay even if they
    alone exceed it. RecipeError for a budget in tokens if no row has any: each row would be free, so the budget would
    allow all of them.
    """
    if budget.unit == "tokens":
        _check_tokens(order.rows, budget, response_tokens)
    spent, n = count_spent(order.used, response_tokens), len(response_tokens)
    length = prefix_length(order.rows, budget, response_tokens, n, cumulative=cumulative, spent=spent)
    rows = order.rows[: bound_length(length, n_pinned=n_pinned, limit=limit)]
    limited = limit is not None and limit < length
    return Selection(pool_id, rows, n_pinned, int(response_tokens[rows].sum()), order, limited, spent)


def bound_length(length: int, *, n_pinned: int, limit: int | None) -> int:
    """Return how many of the `length` rows that a budget allows are selected: pinned rows stay, a limit ends it."""
    return max(length if limit is None else min(length, limit), n_pinned)


def describe_shortfall(selection: Selection, budget: Budget, n_pool: int) -> str | None:
    """Return a sentence about a budget that is not filled: how much is selected and why not more; None if it is filled.

    A budget in tokens is filled if the next row would exceed it.
    """
    in_tokens, spent = budget.unit == "tokens", selection.spent
    selected = selection.tokens if in_tokens else len(selection.rows)
    allowed = allowed_amount(budget, n_pool, spent)
    if spent.rows and not allowed:
        rows = "The row used already fills" if spent.rows == 1 else f"The {spent.rows:,} rows used already fill"
        return f"{rows} the budget of {budget}. Raise it to select more rows."
    eligible = len(selection.order.rows)
    if selected >= allowed or not (selection.limited or len(selection.rows) == eligible):
        return None
    amount = f"{selected:,} of {allowed:,} {'response tokens' if in_tokens else 'rows'}"
    if selection.limited:
        return f"{amount}: only {_count(len(selection.rows))} within the score limit."
    reasons = describe_excluded(selection.order)
    return f"{amount}: only {_count(eligible)} eligible{f' ({reasons})' if reasons else ''}."


def describe_excluded(order: Order) -> str:
    """Return how many rows are excluded from an order for each reason, such as "3 no response, 5 filtered out"."""
    return ", ".join(f"{len(rows):,} {reason}" for reason, rows in order.excluded.items())


def _count(n: int) -> str:
    return f"{n:,} row is" if n == 1 else f"{n:,} rows are"


def _check_tokens(order_rows: IntArray, budget: Budget, response_tokens: IntArray) -> None:
    """Raise RecipeError if the pool, or every row of an order (M,), has no response tokens; they are (N,)."""
    if response_tokens[order_rows].any() or not len(response_tokens):
        return
    if not response_tokens.any():
        whose = "No row of this pool"
    elif len(order_rows):
        whose = "No eligible row"
    else:
        return  # nothing to select, whatever the budget
    raise RecipeError(
        f"{whose} has a response, so a budget in response tokens ({budget}) cannot be used. Give rows (500) or a "
        "share of the pool (10%)."
    )
