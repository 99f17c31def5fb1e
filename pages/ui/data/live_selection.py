"""Live selections: what a control changes, computed from arrays that were sorted once.

The order is cached by content ids: run, method with its parameters, filters, seed. A new budget, threshold or pin
only takes another prefix of it. All of it uses the functions of the command line (core.selection.recipe), so both
give the same rows.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.analysis.composition import Composition, PoolColumns, RandomBand, draw_random_orders, mark_faults
from core.columns import TAG_PREFIX
from core.measurement.runs import Run
from core.schema import BoolArray, IntArray, Method, Order, Pool
from core.selection.recipe import Recipe, eligible_rows, find_used, select_from_order
from core.selection.selection import Selection
from core.selection.tags import tags_of_filters
from core.selection.used_rows import order_rows
from pages.ui.data import cached
from pages.ui.data.bins import Values
from pages.ui.data.grouping import find_grouping
from pages.ui.words import is_identifier

MAX_ORDERS = 24  # a slider of γ needs many


@dataclass(frozen=True, eq=False)
class LiveSelection:
    """One selection with its composition."""

    method: Method
    selection: Selection
    subset: Composition
    cutoff: float | None  # score of the last row that the method selected, pins aside
    highlight: BoolArray | None = None  # (N,) the highlighted rows; None: nothing is highlighted

    @property
    def highlighted(self) -> IntArray:
        """Return the highlighted rows, ascending; empty if nothing is highlighted."""
        return np.flatnonzero(self.highlight) if self.highlight is not None else np.empty(0, np.int64)

    def count_highlighted(self, lengths: IntArray) -> IntArray | None:
        """Count the highlighted rows among the first `lengths` (H,) rows of the order; None if nothing is."""
        if self.highlight is None:
            return None
        return np.append(0, np.cumsum(self.highlight[self.selection.order.rows]))[lengths]


def order(pool: Pool, run: Run, recipe: Recipe) -> Order:
    """Return the method's order of the eligible rows, without pins."""
    key = json.dumps([recipe.method.model_dump(), _filters(recipe), *_given(recipe)], sort_keys=True)
    return _order(run, key, recipe.seed, pool, recipe)


@cached.keep(MAX_ORDERS, "Putting the rows in order")
def _order(run: Run, key: str, seed: int, _pool: Pool, _recipe: Recipe) -> Order:
    method, measured = _recipe.method.build(), cached.measurements(run)
    used = find_used(_recipe, _pool, measured, method)
    return order_rows(method, measured, eligible_mask(_pool, run, _recipe), seed=seed, used=used)


def eligible_mask(pool: Pool, run: Run, recipe: Recipe) -> BoolArray:
    """Return which rows pass the filters, (N,), read-only; cached over all parameters that no filter depends on."""
    method, filters = recipe.method.build(), _filters(recipe)
    own = {part["column"] for part in filters} & set(cached.scores(run, method)) if filters else set()
    key = json.dumps([filters, recipe.method.model_dump() if own else None], sort_keys=True)
    return _eligible_mask(run, key, pool, recipe)


@cached.keep(MAX_ORDERS, "Filtering")
def _eligible_mask(run: Run, key: str, _pool: Pool, _recipe: Recipe) -> BoolArray:
    filters = [part.filter() for part in _recipe.filters]
    mask = eligible_rows(_recipe.method.build(), _pool, cached.measurements(run), filters, _recipe.tags)
    mask.flags.writeable = False
    return mask


def _filters(recipe: Recipe) -> list[dict[str, Any]]:
    """Return what decides which rows pass the filters: each filter, with the rows of the tag that it is by."""
    tags = tags_of_filters(recipe.tags, recipe.filters)
    return [part.model_dump() | {"tagged": tags.get(part.column.removeprefix(TAG_PREFIX))} for part in recipe.filters]


def _given(recipe: Recipe) -> list[str]:
    """Return a digest of the rows used already; nothing if there are none."""
    return [sha256("\n".join(recipe.given).encode()).hexdigest()] if recipe.given else []


def select(pool: Pool, run: Run, recipe: Recipe) -> Selection:
    """Select by a recipe: as `core.selection.recipe.make_selection`, but from the cached order."""
    method = recipe.method.build()
    return select_from_order(recipe, pool, cached.measurements(run), method, order(pool, run, recipe))


def evaluate(pool: Pool, run: Run, recipe: Recipe) -> LiveSelection:
    """Return the selection, its composition and its cutoff. Takes a few milliseconds at 50,000 rows."""
    method = recipe.method.build()
    selection = select(pool, run, recipe)
    by_method = selection.rows[selection.n_pinned :]
    values = ranking_values(run, method, selection.order)
    cut = float(values[by_method[-1]]) if len(by_method) and values is not None else None
    return LiveSelection(method, selection, composition_of(pool, run, selection.rows), cut)


def ranking_values(run: Run, method: Method, order: Order) -> Values | None:
    """Return the values that an order was sorted by, (N,); None for a method without a score.

    They are the order's own values if those depend on which rows are eligible, else the column of `ranks_by`.
    """
    return order.values if order.values is not None else cached.columns(run, method).get(method.ranks_by)


def columns(run: Run, live: LiveSelection) -> Mapping[str, Values]:
    """Return all numeric columns; the ranked one has the values of the current order."""
    return columns_by(run, live.method, live.selection.order)


def numbers(run: Run, live: LiveSelection) -> dict[str, Values]:
    """Return the numeric columns whose size means something, so neither flags nor identifiers."""
    return {n: v for n, v in columns(run, live).items() if v.dtype.kind in "fiu" and not is_identifier(n)}


def columns_by(run: Run, method: Method, order: Order) -> Mapping[str, Values]:
    """Return all numeric columns; the ranked one has the values of an order, if it has its own."""
    columns = cached.columns(run, method)
    return columns if order.values is None else {**columns, method.ranks_by: order.values}


def order_key(run: Run, recipe: Recipe) -> str:
    """Return a text that is equal for equal orders, pins included, for use as a cache argument."""
    parts = [recipe.method.model_dump(), _filters(recipe), [pin.model_dump() for pin in recipe.pins]]
    return json.dumps([run.id, recipe.seed, *parts, *_given(recipe)], sort_keys=True)


def composition_of(pool: Pool, run: Run, rows: IntArray) -> Composition:
    """Compute the composition of some rows: tokens, tasks, lengths and planted faults."""
    return _columns(pool, run).count(rows)


def compositions_of(pool: Pool, run: Run, subsets: Sequence[IntArray]) -> list[Composition]:
    """Compute the compositions of several sets of rows."""
    return list(map(_columns(pool, run).count, subsets))


def pool_composition(pool: Pool, run: Run) -> Composition:
    """Compute the composition of the whole pool."""
    return _pool_composition(pool, run, find_grouping(pool, run).key)


@cached.keep(cached.MAX_POOLS)
def _pool_composition(pool: Pool, run: Run, tasks: str) -> Composition:
    return composition_of(pool, run, np.arange(len(pool)))


def _columns(pool: Pool, run: Run) -> PoolColumns:
    measured, tasks = cached.measurements(run), find_grouping(pool, run)
    lengths, prompt_tokens = measured.need(length_column(run)), measured.need("prompt_tokens")
    return PoolColumns(lengths, prompt_tokens, tasks.codes, len(tasks.names), fault_masks(pool))


def length_column(run: Run) -> str:
    """Return the column of lengths: of responses, or of prompts if no row has a response."""
    return "response_tokens" if cached.measurements(run).need("response_tokens").any() else "prompt_tokens"


# Expected by chance


def chance_band(pool: Pool, run: Run, selection: Selection) -> RandomBand:
    """Count random selections of the same size, from the same eligible rows.

    The least and the greatest of RANDOM_SELECTIONS contain another one with a probability of 95%.
    """
    return _columns(pool, run).count_random(random_orders(run, selection.order), len(selection.rows))


def random_orders(run: Run, order: Order) -> tuple[IntArray, ...]:
    """Return random orders of the rows that an order ranks; fewer for huge pools."""
    mask = np.zeros(len(cached.measurements(run)), np.bool_)
    mask[order.rows] = True
    return _draw_random_orders(sha256(np.packbits(mask)).hexdigest(), len(mask), order.rows)


@cached.keep(2)
def _draw_random_orders(key: str, n: int, _rows: IntArray) -> tuple[IntArray, ...]:
    return draw_random_orders(_rows, n)


# Known bad rows


@cached.keep(cached.MAX_POOLS)
def fault_masks(pool: Pool) -> Mapping[str, BoolArray]:
    """Return a mask of rows, (N,), for each kind of known bad row; empty for pools without an answer key."""
    key = cached.answer_key(pool) or {}
    return mark_faults(pool.rows["id"].to_pylist() if key else [], key)


def rows_with_ids(pool: Pool, ids: Collection[str]) -> IntArray:
    """Return the rows with these ids, ascending."""
    wanted = pa.array(list(ids), pa.string())
    return np.flatnonzero(pc.is_in(pool.rows["id"], value_set=wanted).to_numpy())
