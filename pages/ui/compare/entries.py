"""Contenders with their orders, and their overlap at one budget and at every budget.

Orders and results that depend on no budget are cached (pages.ui.data.live_selection); another budget only selects
another prefix.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.analysis.comparison import Membership, Overlap, compute_overlap, rank_correlation_matrix
from core.errors import WinnowError
from core.measurement.runs import Run
from core.schema import NO_ROWS, BoolArray, IntArray, Method, Order, Pool
from core.selection.budget import Budget, Spent, count_spent, cumulative_tokens, prefix_length
from core.selection.recipe import Recipe
from core.selection.selection import Selection
from pages.ui.controls.contenders import MAX_CONTENDERS, find_run_of, name_contenders, settings_of
from pages.ui.data import cached, live_selection
from pages.ui.data.bins import Values
from pages.ui.shell import state
from pages.ui.shell.state import Contender

SHARES = np.linspace(0, 100, 101)  # percent: budgets at which a curve is computed


@dataclass(frozen=True, eq=False)
class Entry:
    """One contender with its order."""

    contender: Contender
    label: str
    method: Method
    run: Run
    recipe: Recipe
    order: Order  # with its pins, if it is a saved selection
    key: str  # equal for equal orders
    ranks: IntArray  # (N,) 0-based; −1: not in the order
    cumulative: IntArray  # (M,) response tokens of its first 1 .. M rows
    spent: Spent  # what rows used already take of a budget

    def size(self, budget: Budget, n: int) -> int:
        """Return how many of the first rows fit into the budget."""
        options: dict[str, Any] = {"cumulative": self.cumulative, "spent": self.spent}
        return prefix_length(self.order.rows, budget, NO_ROWS, n, **options)


def build_entries(pool: Pool, runs: Sequence[Run], picked: Sequence[Contender]) -> tuple[list[Entry], list[str]]:
    """Return the contenders that have an order, and one sentence for each that has none under these filters."""
    entries, refused = [], []
    base = find_run_of(pool, runs, picked[0]) if picked else None
    for name, contender in name_contenders(picked).items():
        try:
            entries.append(_build_entry(pool, runs, contender, base, name))
        except WinnowError as error:
            refused.append(f"{name}: {error}")
    return entries, refused


def _build_entry(pool: Pool, runs: Sequence[Run], contender: Contender, base: Run | None, name: str) -> Entry:
    settings, run = settings_of(pool, contender), find_run_of(pool, runs, contender)
    assert settings is not None
    assert run is not None
    assert base is not None
    recipe = state.recipe(pool, settings)
    with_pins = live_selection.select(pool, run, recipe).order if recipe.pins else None
    order = with_pins or live_selection.order(pool, run, recipe)
    key = live_selection.order_key(run, recipe)
    ranks, cumulative = _ranks_and_tokens(key, base, order, len(pool))
    spent = count_spent(order.used, cached.measurements(base).need("response_tokens"))
    return Entry(contender, name, recipe.method.build(), run, recipe, order, key, ranks, cumulative, spent)


@cached.keep(3 * MAX_CONTENDERS)
def _ranks_and_tokens(key: str, base: Run, _order: Order, n: int) -> tuple[IntArray, IntArray]:
    """Return ranks and cumulative tokens, counted by one run, so that a budget means the same for all contenders."""
    ranks = _order.rank(n)
    sums = cumulative_tokens(_order.rows, cached.measurements(base).need("response_tokens"))
    for values in (ranks, sums):
        values.flags.writeable = False
    return ranks, sums


# All entries together


@dataclass(frozen=True, eq=False)
class Comparison:
    """All entries at one budget."""

    entries: Sequence[Entry]
    budget: Budget
    sizes: IntArray  # (C,) number of rows that each selects
    patterns: Membership  # which entries select each row
    eligible: Membership  # which orders each row is in
    tokens: int  # response tokens of the pool

    @property
    def labels(self) -> list[str]:
        """Return the label of each entry."""
        return [entry.label for entry in self.entries]

    def rows(self, k: int) -> IntArray:
        """Return the rows that entry `k` selects, best first."""
        return self.entries[k].order.rows[: self.sizes[k]]

    def count_selected(self, mask: BoolArray) -> IntArray:
        """Return how many rows of a mask (N,) each entry selects, (C,)."""
        within = np.bincount(self.patterns.code[mask], minlength=len(self.patterns.counts))
        return np.array([within[np.arange(len(within)) >> c & 1 == 1].sum() for c in range(len(self.entries))])

    def selection(self, entry: Entry) -> Selection:
        """Return the selection of an entry."""
        k = list(self.entries).index(entry)
        tokens = int(entry.cumulative[self.sizes[k] - 1]) if self.sizes[k] else 0
        return Selection(entry.run.pool_id, self.rows(k), 0, tokens, entry.order, spent=entry.spent)


def compare_entries(entries: Sequence[Entry], budget: Budget, n: int) -> Comparison:
    """Cut every order at the budget. Takes a few milliseconds at 50,000 rows."""
    sizes = np.array([entry.size(budget, n) for entry in entries], np.int64)
    selected = [entry.order.rows[:size] for entry, size in zip(entries, sizes, strict=True)]
    tokens = int(cached.measurements(base_entry(entries).run).need("response_tokens").sum())
    patterns, eligible = Membership.from_subsets(selected, n), _eligible_rows(_keys(entries), n, entries)
    return Comparison(entries, budget, sizes, patterns, eligible, tokens)


@cached.keep(3)
def _eligible_rows(keys: tuple[str, ...], n: int, _entries: Sequence[Entry]) -> Membership:
    return Membership.from_subsets([entry.order.rows for entry in _entries], n)


def order_correlations(entries: Sequence[Entry]) -> Values:
    """Return the rank correlations of all pairs of orders, (C, C)."""
    return _compute_correlations(_keys(entries), entries)


@cached.keep(show_spinner="Comparing orders")
def _compute_correlations(keys: tuple[str, ...], _entries: Sequence[Entry]) -> Values:
    return rank_correlation_matrix([entry.ranks for entry in _entries])


def overlap_curve(one: Entry, other: Entry, tokens: int | None, n: int) -> Overlap:
    """Return the overlap of two orders at SHARES of the pool's rows, or of its response tokens if `tokens` is given."""
    return _compute_curve(_keys((one, other)), tokens, n, one, other)


@cached.keep(64, "Comparing orders")
def _compute_curve(keys: tuple[str, ...], tokens: int | None, n: int, _one: Entry, _other: Entry) -> Overlap:
    budgets = [Budget(share, "percent") for share in SHARES.tolist()]
    if tokens is not None:
        budgets = [Budget(int(tokens * share / 100), "tokens") for share in SHARES.tolist()]
    sizes = [np.array([entry.size(budget, n) for budget in budgets]) for entry in (_one, _other)]
    return compute_overlap(_one.ranks, _other.ranks, *sizes)


def base_entry(entries: Sequence[Entry]) -> Entry:
    """Return the first entry under the current filters; a saved selection has filters of its own."""
    return next((entry for entry in entries if not entry.contender.saved), entries[0])


def _keys(entries: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(entry.key for entry in entries)
