"""The highlighted rows: each term of the highlight as a mask of rows, and all terms together."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa

from core.columns import TAG_PREFIX
from core.errors import RecipeError, WinnowError
from core.measurement.lookup import find_signal
from core.measurement.runs import Run
from core.methods import build_method
from core.pool import pools
from core.schema import BoolArray, Method, Pool, Reading
from core.selection.filters import Filter, apply_filters
from core.selection.recipe import DERIVED_TASK, POOL_NUMBERS, POOL_TEXTS, filter_columns
from core.selection.tags import tag_columns
from pages.ui.controls import contenders
from pages.ui.data import bins, cached, live_selection
from pages.ui.data.bins import Values
from pages.ui.data.grouping import Grouping, find_grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.map.clusters import find_density_clusters
from pages.ui.map.view import MapLayout, find_layout
from pages.ui.row.scores import measured_methods
from pages.ui.shell import state
from pages.ui.shell.state import Contender
from pages.ui.shell.terms import Area, MapArea, MapCluster, Match, Rows, Search, Sets, Term, describe
from pages.ui.words import meaning

SIGNALS = ("activations", "answers", "influence", "tasks")


def evaluate(
    pool: Pool, run: Run | None, live: LiveSelection | None, terms: Sequence[Term]
) -> tuple[BoolArray | None, list[str]]:
    """Return the rows that match all terms, (N,), None without a term; and why terms could not be applied.

    Without a run or a selection, terms apply that need neither.
    """
    mask, failures = np.ones(len(pool), np.bool_), []
    for term in terms:
        try:
            mask &= find_rows(pool, run, live, term) ^ term.exclude
        except WinnowError as error:
            failures.append(f"The highlight “{describe(term)}” is not applied here. {error}")
    return (mask if len(terms) > len(failures) else None), failures


def list_rows(pool: Pool) -> None:
    """Record the highlighted rows as those that the page is about, before the page itself does."""
    run, terms = state.run(pool), state.settings().highlight
    if run is None or not terms:
        return
    with suppress(WinnowError):  # the bar shows it
        live = live_selection.evaluate(pool, run, state.recipe(pool))
        mask, _ = evaluate(pool, run, live, terms)
        if mask is not None:
            state.list_rows(np.flatnonzero(mask))


def find_rows(pool: Pool, run: Run | None, live: LiveSelection | None, term: Term) -> BoolArray:
    """Return the rows that match a term, (N,), before it is inverted. Raise WinnowError if it cannot apply."""
    match term:
        case Match():
            return _matching(pool, run, live, term.filter)
        case Search():
            return _search(pool, term.text)
        case Area():
            x, y = (_column(pool, run, live, name) for name in (term.x, term.y))
            return _inside(bins.log10(x) if term.log else x, y, term.outline)
        case MapArea():
            layout = _find_map(pool, run, term.map)
            return _inside(layout.x, layout.y, term.outline)
        case MapCluster():
            return np.asarray(find_density_clusters(_find_map(pool, run, term.map)) == term.number)
        case Sets():
            return _in_sets(pool, term)
        case Rows():
            return _mask(live_selection.rows_with_ids(pool, term.ids), len(pool))


def _mask(rows: Any, n: int) -> BoolArray:
    mask = np.zeros(n, np.bool_)
    mask[rows] = True
    return mask


def _find_map(pool: Pool, run: Run | None, key: str) -> MapLayout:
    if run is None:
        raise RecipeError("The pool is not measured with the present method.")
    return find_layout(pool, run, key)


def _matching(pool: Pool, run: Run | None, live: LiveSelection | None, condition: Filter) -> BoolArray:
    return apply_filters([condition], {condition.column: _column(pool, run, live, condition.column)})


def _column(pool: Pool, run: Run | None, live: LiveSelection | None, name: str) -> Any:
    """Return a column: as this page shows it, else of the pool, else of another method's run."""
    if run is not None and live is not None:
        columns = live_selection.columns(run, live)
        if name in columns:
            return columns[name]
    own = _pool_column(pool, name)
    if own is not None:
        return own
    if run is None or live is None:
        raise RecipeError(f"{meaning(name).label} is not measured with the present method.")
    groups = find_grouping(pool, run)
    if name == DERIVED_TASK and groups.column == name:
        return _task_names(pool, groups.key, groups)
    for method, other in (*_signal_runs(pool, run), *measured_methods(pool)):
        others = cached.columns(other, method)
        if name in others:
            return others[name]
    return filter_columns({name}, live.method, pool, cached.measurements(run), {})[name]


def _pool_column(pool: Pool, name: str) -> Any:
    """Return a column that needs no measurement, of the pool or a tag; None if there is none of this name."""
    if name in POOL_TEXTS:
        return pool.rows[name]
    if name in POOL_NUMBERS:
        return pool.rows[name].to_numpy()
    if name in (stored := cached.pool_columns(pool)):
        return stored[name]
    tags = {TAG_PREFIX + tag: ids for tag, ids in state.settings().tags.items()}
    return tag_columns(pool, {name.removeprefix(TAG_PREFIX): tags[name]})[name] if name in tags else None


def _signal_runs(pool: Pool, run: Run) -> Iterator[tuple[Method, Run]]:
    """Find the runs whose signals the Explore page shows under every method, each with its method as measured."""
    for signal in SIGNALS:
        other = find_signal(cached.workspace(), pool, signal, Reading(**run.reading))
        if other is not None:
            yield build_method(other.method["name"], other.method["params"]), other


@cached.keep(cached.MAX_POOLS)
def _task_names(pool: Pool, key: str, _groups: Grouping) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(_groups.names, pa.string()).take(pa.array(_groups.codes))])


@cached.keep(show_spinner="Searching")
def _search(pool: Pool, text: str) -> BoolArray:
    found = _mask(pools.search(pool, text, limit=len(pool)), len(pool))
    found.flags.writeable = False
    return found


def _inside(x: Values, y: Values, outline: Sequence[tuple[float, float]]) -> BoolArray:
    xs, ys = ([corner[axis] for corner in outline] for axis in (0, 1))
    return _mask(bins.rows_in_lasso(x, y, xs, ys), len(x))


def _in_sets(pool: Pool, term: Sets) -> BoolArray:
    mask, runs = np.ones(len(pool), np.bool_), contenders.list_pool_runs(pool)
    for one in (*term.inside, *term.outside):
        mask &= _selected(pool, runs, one) ^ (one in term.outside)
    return mask


def _selected(pool: Pool, runs: Sequence[Run], one: Contender) -> BoolArray:
    """Return the rows that a contender selects at the present budget."""
    settings = contenders.settings_of(pool, one)
    run = contenders.find_run_of(pool, runs, one)
    if settings is None or run is None:
        raise RecipeError(f"{contenders.label(one)} is not measured.")
    recipe = state.recipe(pool, settings)
    if one.saved:
        recipe = recipe.model_copy(update={"budget": state.settings().budget})
    return _mask(live_selection.select(pool, run, recipe).rows, len(pool))
