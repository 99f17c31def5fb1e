"""What a move of a slider changes, answered from arrays that were sorted once.

The order is cached by content ids: run, method with its parameters, filters, seed. A budget, a threshold or a
pin only asks for another prefix of it. All of it goes through the functions that the command line uses
(core.selection.recipe), so what is seen here is what comes out there.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from core.analysis.composition import Composition, RandomBand, RandomOrders, count_composition, count_random_band
from core.measurement.runs import Run
from core.methods import build_method
from core.schema import BoolArray, IntArray, Method, Order, Pool
from core.selection.budget import Budget
from core.selection.recipe import Recipe, eligible_rows, select_from_order
from core.selection.selection import Selection
from pages.ui.data import cached
from pages.ui.data.bins import Values
from pages.ui.data.grouping import find_grouping

MAX_ORDERS = 24  # a γ slider asks for many
RANDOM_SELECTIONS = 20  # random selections a subset is held against
MAX_RANDOM_ROWS = 4_000_000  # over all draws: bounds their memory to 64 MB; pools above 200,000 rows get fewer


@dataclass(frozen=True, eq=False)
class LiveSelection:
    """One selection and what it is made of."""

    method: Method
    selection: Selection
    subset: Composition
    cutoff: float | None  # score of the last row taken by the method, not by a pin


def order(pool: Pool, run: Run, recipe: Recipe) -> Order:
    """The method's order over the rows that the filters let pass, without pins."""
    key = json.dumps([recipe.method.model_dump(), _filters(recipe)], sort_keys=True)
    return _order(run.id, key, recipe.seed, pool, run, recipe)


@st.cache_resource(show_spinner="Putting the rows in order", max_entries=MAX_ORDERS)
def _order(run_id: str, key: str, seed: int, _pool: Pool, _run: Run, _recipe: Recipe) -> Order:
    return _recipe.method.build().order(cached.measurements(_run), eligible_mask(_pool, _run, _recipe), seed=seed)


def eligible_mask(pool: Pool, run: Run, recipe: Recipe) -> BoolArray:
    """(N,) which rows the filters let pass, read-only; looked for once, whatever the method's parameters become."""
    method, filters = recipe.method.build(), _filters(recipe)
    own = {one["column"] for one in filters} & set(cached.scores(run, method)) if filters else set()
    key = json.dumps([filters, recipe.method.model_dump() if own else None], sort_keys=True)
    return _eligible(run.id, key, pool, run, recipe)


@st.cache_resource(show_spinner="Filtering", max_entries=MAX_ORDERS)
def _eligible(run_id: str, key: str, _pool: Pool, _run: Run, _recipe: Recipe) -> BoolArray:
    filters = [part.filter() for part in _recipe.filters]
    passed = eligible_rows(_recipe.method.build(), _pool, cached.measurements(_run), filters)
    passed.flags.writeable = False
    return passed


def _filters(recipe: Recipe) -> list[dict[str, Any]]:
    return [part.model_dump() for part in recipe.filters]


def select(pool: Pool, run: Run, recipe: Recipe) -> Selection:
    """What the recipe chooses: equal to `core.selection.recipe.plan_selection`, from the cached order."""
    method = recipe.method.build()
    return select_from_order(recipe, pool, cached.measurements(run), method, order(pool, run, recipe))


def evaluate(pool: Pool, run: Run, recipe: Recipe) -> LiveSelection:
    """The selection, its composition and where it was cut. A few milliseconds at 50,000 rows."""
    method = recipe.method.build()
    selection = select(pool, run, recipe)
    by_method = selection.rows[selection.n_pinned :]
    values = ranking_values(run, method, selection.order)
    cut = float(values[by_method[-1]]) if len(by_method) and values is not None else None
    return LiveSelection(method, selection, composition_of(pool, run, selection.rows), cut)


def ranking_values(run: Run, method: Method, order: Order) -> Values | None:
    """(N,) what an order goes by: its own values where they hang on who is eligible; None: a method without a score."""
    return order.values if order.values is not None else cached.columns(run, method).get(method.ranks_by)


def columns(run: Run, answer: LiveSelection) -> Mapping[str, Values]:
    """Every numeric column, the one that is ranked by as the order in force has it."""
    known, values = cached.columns(run, answer.method), answer.selection.order.values
    return known if values is None else {**known, answer.method.ranks_by: values}


def order_key(run: Run, recipe: Recipe) -> str:
    """A text that is equal for equal orders, pins included: for use as a cache argument."""
    parts = [recipe.method.model_dump(), _filters(recipe), [pin.model_dump() for pin in recipe.pins]]
    return json.dumps([run.id, recipe.seed, *parts], sort_keys=True)


def composition_of(pool: Pool, run: Run, rows: IntArray) -> Composition:
    """Tokens, tasks, lengths and planted faults of some rows."""
    return count_composition(rows, **_columns(pool, run))


def compositions_of(pool: Pool, run: Run, subsets: Sequence[IntArray]) -> list[Composition]:
    """The same of several sets of rows."""
    columns = _columns(pool, run)
    return [count_composition(rows, **columns) for rows in subsets]


def pool_composition(pool: Pool, run: Run) -> Composition:
    """The same of the whole pool."""
    return _whole(pool.fingerprint, run.id, find_grouping(pool, run).key, pool, run)


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_POOLS)
def _whole(fingerprint: str, run_id: str, tasks: str, _pool: Pool, _run: Run) -> Composition:
    return composition_of(_pool, _run, np.arange(len(_pool)))


def _columns(pool: Pool, run: Run) -> dict[str, Any]:
    known, tasks = cached.measurements(run), find_grouping(pool, run)
    return {
        "response_tokens": known.need(length_column(run)),
        "prompt_tokens": known.need("prompt_tokens"),
        "task_codes": tasks.codes,
        "n_tasks": len(tasks.names),
        "marks": fault_masks(pool),
    }


def length_column(run: Run) -> str:
    """What lengths are of: responses; prompts, where no row has a response."""
    return "response_tokens" if cached.measurements(run).need("response_tokens").any() else "prompt_tokens"


# Chance


def chance_band(pool: Pool, run: Run, recipe: Recipe, budget: Budget) -> RandomBand:
    """Random selections at the same budget from the rows that the filters let pass: 20, fewer of huge pools."""
    return count_random_band(_chances(pool, run, recipe), budget, **_columns(pool, run))


def random_orders(pool: Pool, run: Run, recipe: Recipe) -> tuple[IntArray, ...]:
    """The random orders that `chance` draws from: of the rows that the filters let pass."""
    return _chances(pool, run, recipe).orders


def _chances(pool: Pool, run: Run, recipe: Recipe) -> RandomOrders:
    passed = eligible_mask(pool, run, recipe)
    return _chance(run.id, sha256(np.packbits(passed)).hexdigest(), pool, run, passed)


@st.cache_resource(show_spinner=False, max_entries=2)
def _chance(run_id: str, key: str, _pool: Pool, _run: Run, _passed: BoolArray) -> RandomOrders:
    measured = cached.measurements(_run)
    draws = max(2, min(RANDOM_SELECTIONS, MAX_RANDOM_ROWS // max(len(_pool), 1)))
    random = build_method("random", {})
    orders = [random.order(measured, _passed, seed=seed).rows for seed in range(draws)]
    return RandomOrders.from_orders(orders, measured.need("response_tokens"))


# Planted faults


def fault_masks(pool: Pool) -> Mapping[str, BoolArray]:
    """Kind of planted fault -> mask of its rows; empty for pools without an answer key."""
    return _faults(pool.fingerprint, pool)


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_POOLS)
def _faults(fingerprint: str, _pool: Pool) -> Mapping[str, BoolArray]:
    key = cached.answer_key(_pool) or {}
    kinds = [key[i]["fault"] if i in key else None for i in _pool.rows["id"].to_pylist()] if key else []
    found = sorted({kind for kind in kinds if kind is not None})
    return {kind: np.array([k == kind for k in kinds], np.bool_) for kind in found}


def rows_with_ids(pool: Pool, ids: Collection[str]) -> IntArray:
    """The rows with these ids, ascending."""
    wanted = pa.array(list(ids), pa.string())
    return np.flatnonzero(pc.is_in(pool.rows["id"], value_set=wanted).to_numpy())
