"""Contenders with their orders, and what is known of them together at a budget and at all budgets.

Orders are cached (pages.ui.data.live_selection), and so is what is worked out of them once; a moved budget only cuts
them elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from core.analysis.comparison import Membership, Overlap, compute_overlap, rank_correlation_matrix
from core.errors import WinnowError
from core.measurement.runs import Run
from core.schema import IntArray, Method, Order, Pool
from core.selection.budget import Budget, cumulative_tokens, prefix_length
from core.selection.recipe import Recipe
from pages.ui.compare.contenders import MAX_CONTENDERS, find_run_of, name_contenders, settings_of
from pages.ui.data import cached, live_selection
from pages.ui.data.bins import Values
from pages.ui.shell import state
from pages.ui.shell.state import Contender

SHARES = np.linspace(0, 100, 101)  # percent: budgets that a curve is drawn through


@dataclass(frozen=True, eq=False)
class Entry:
    """One contender with its order."""

    contender: Contender
    label: str
    method: Method
    run: Run
    recipe: Recipe
    order: Order  # of a saved selection with its pins
    key: str  # equal for equal orders
    ranks: IntArray  # (N,) places
    cumulative: IntArray  # response tokens of its first 1 .. M rows

    def size(self, budget: Budget, n: int) -> int:
        """How many of its first rows the budget pays for."""
        return prefix_length(self.order.rows, budget, np.empty(0, np.int64), n, cumulative=self.cumulative)


def build_entries(pool: Pool, runs: Sequence[Run], picked: Sequence[Contender]) -> tuple[list[Entry], list[str]]:
    """Those that have an order, and sentences about those that have none under these filters."""
    found, refused = [], []
    base = find_run_of(pool, runs, picked[0]) if picked else None
    for name, one in name_contenders(picked).items():
        try:
            found.append(_entry(pool, runs, one, base, name))
        except WinnowError as error:
            refused.append(f"{name}: {error}")
    return found, refused


def _entry(pool: Pool, runs: Sequence[Run], one: Contender, base: Run | None, name: str) -> Entry:
    its, run = settings_of(pool, one), find_run_of(pool, runs, one)
    assert its is not None
    assert run is not None
    assert base is not None
    recipe = state.recipe(pool, its)
    pinned = live_selection.select(pool, run, recipe).order if recipe.pins else None
    order = pinned or live_selection.order(pool, run, recipe)
    key = live_selection.order_key(run, recipe)
    ranks, cumulative = _placed(key, base.id, str(cached.workspace().root), order, base, len(pool))
    return Entry(one, name, recipe.method.build(), run, recipe, order, key, ranks, cumulative)


@st.cache_resource(show_spinner=False, max_entries=3 * MAX_CONTENDERS)
def _placed(key: str, base: str, root: str, _order: Order, _base: Run, n: int) -> tuple[IntArray, IntArray]:
    """Places and running token sums; tokens are those of one run, so that a budget means the same for all."""
    ranks = _order.rank(n)
    sums = cumulative_tokens(_order.rows, cached.measurements(_base).need("response_tokens"))
    for values in (ranks, sums):
        values.flags.writeable = False
    return ranks, sums


# What is known of them together


@dataclass(frozen=True, eq=False)
class Comparison:
    """All entries at one budget."""

    entries: Sequence[Entry]
    budget: Budget
    sizes: IntArray  # (C,) rows that each takes
    patterns: Membership  # which of them take which row
    eligible: Membership  # which of them have a place for which row
    tokens: int  # response tokens of the pool

    @property
    def labels(self) -> list[str]:
        """What each is called."""
        return [entry.label for entry in self.entries]

    def rows(self, place: int) -> IntArray:
        """The rows that one entry takes, best first."""
        return self.entries[place].order.rows[: self.sizes[place]]


def compare_entries(found: Sequence[Entry], budget: Budget, n: int) -> Comparison:
    """Cut every order at the budget. A few milliseconds at 50,000 rows."""
    sizes = np.array([entry.size(budget, n) for entry in found], np.int64)
    taken = [entry.order.rows[:size] for entry, size in zip(found, sizes, strict=True)]
    tokens = int(cached.measurements(base_entry(found).run).need("response_tokens").sum())
    return Comparison(found, budget, sizes, Membership.from_subsets(taken, n), _able(_keys(found), n, found), tokens)


@st.cache_resource(show_spinner=False, max_entries=3)
def _able(keys: tuple[str, ...], n: int, _found: Sequence[Entry]) -> Membership:
    return Membership.from_subsets([entry.order.rows for entry in _found], n)


def order_correlations(found: Sequence[Entry]) -> Values:
    """(C, C) rank correlation of each two orders."""
    return _correlated(_keys(found), found)


@st.cache_resource(show_spinner="Comparing orders", max_entries=cached.MAX_TABLES)
def _correlated(keys: tuple[str, ...], _found: Sequence[Entry]) -> Values:
    return rank_correlation_matrix([entry.ranks for entry in _found])


def overlap_curve(one: Entry, other: Entry, tokens: int | None, n: int) -> Overlap:
    """Overlap of two orders at SHARES of the pool's rows, or of its response tokens where their number is given."""
    return _curve(_keys((one, other)), tokens, n, one, other)


@st.cache_resource(show_spinner="Comparing orders", max_entries=64)
def _curve(keys: tuple[str, ...], tokens: int | None, n: int, _one: Entry, _other: Entry) -> Overlap:
    shares = SHARES.tolist()
    if tokens is None:
        budgets = [Budget(share, "percent") for share in shares]
    else:
        budgets = [Budget(int(tokens * share / 100), "tokens") for share in shares]
    sizes = [np.array([entry.size(budget, n) for budget in budgets]) for entry in (_one, _other)]
    return compute_overlap(_one.ranks, _other.ranks, *sizes)


def base_entry(found: Sequence[Entry]) -> Entry:
    """The first that is under the present filters; a saved selection has its own."""
    return next((entry for entry in found if not entry.contender.saved), found[0])


def _keys(found: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(entry.key for entry in found)
