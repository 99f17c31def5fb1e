"""The highlighted rows: each term of the highlight as a mask of rows, and all terms together."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.errors import RecipeError, WinnowError
from core.measurement.runs import Run
from core.schema import BoolArray, Pool
from core.selection.filters import Filter, apply_filters
from core.selection.recipe import filter_columns
from core.selection.text_search import contains_text
from pages.ui.controls import contenders
from pages.ui.data import bins, cached, live_selection
from pages.ui.data.bins import Values
from pages.ui.data.live_selection import LiveSelection
from pages.ui.map.view import find_layout
from pages.ui.row.scores import measured_methods
from pages.ui.shell import state
from pages.ui.shell.state import Contender
from pages.ui.shell.terms import Area, MapArea, Match, Rows, Search, Sets, Term, describe


def evaluate(pool: Pool, run: Run, live: LiveSelection, terms: Sequence[Term]) -> tuple[BoolArray | None, list[str]]:
    """Return the rows that match all terms, (N,), None without a term; and why terms could not be applied."""
    mask, failures = np.ones(len(pool), np.bool_), []
    for term in terms:
        try:
            mask &= find_rows(pool, run, live, term) ^ term.exclude
        except WinnowError as error:
            failures.append(f"The highlight “{describe(term)}” is not applied here. {error}")
    return (mask if len(terms) > len(failures) else None), failures


def find_rows(pool: Pool, run: Run, live: LiveSelection, term: Term) -> BoolArray:
    """Return the rows that match a term, (N,), before it is inverted. Raise WinnowError if it cannot apply."""
    match term:
        case Match():
            return _matching(pool, run, live, term.filter)
        case Search():
            return _search(pool, term.text)
        case Area():
            x, y = (_column(pool, run, live, name) for name in (term.x, term.y))
            return _inside(x, y, term.outline)
        case MapArea():
            layout = find_layout(pool, run, term.map)
            return _inside(layout.x, layout.y, term.outline)
        case Sets():
            return _in_sets(pool, term)
        case Rows():
            return _mask(live_selection.rows_with_ids(pool, term.ids), len(pool))


def _mask(rows: Any, n: int) -> BoolArray:
    mask = np.zeros(n, np.bool_)
    mask[rows] = True
    return mask


def _matching(pool: Pool, run: Run, live: LiveSelection, condition: Filter) -> BoolArray:
    return apply_filters([condition], {condition.column: _column(pool, run, live, condition.column)})


def _column(pool: Pool, run: Run, live: LiveSelection, name: str) -> Any:
    """Return a column: as this page shows it, else of the pool, else of another method's run."""
    columns = live_selection.columns(run, live)
    if name in columns:
        return columns[name]
    try:
        return filter_columns({name}, live.method, pool, cached.measurements(run), state.settings().tags)[name]
    except RecipeError:
        for method, other in measured_methods(pool):
            others = cached.columns(other, method)
            if name in others:
                return others[name]
        raise


@cached.keep()
def _search(pool: Pool, text: str) -> BoolArray:
    found = contains_text(pool.rows["prompt"], text) | contains_text(pool.rows["response"], text)
    found.flags.writeable = False
    return found


def _inside(x: Values, y: Values, outline: Sequence[tuple[float, float]]) -> BoolArray:
    xs, ys = ([corner[axis] for corner in outline] for axis in (0, 1))
    return _mask(bins.rows_in_lasso(x, y, xs, ys), len(x))


def _in_sets(pool: Pool, term: Sets) -> BoolArray:
    mask = np.ones(len(pool), np.bool_)
    for one in (*term.inside, *term.outside):
        mask &= _selected(pool, one) ^ (one in term.outside)
    return mask


def _selected(pool: Pool, one: Contender) -> BoolArray:
    """Return the rows that a contender selects at the present budget."""
    settings = contenders.settings_of(pool, one)
    run = contenders.find_run_of(pool, contenders.list_pool_runs(pool), one)
    if settings is None or run is None:
        raise RecipeError(f"{contenders.label(one)} is not measured.")
    recipe = state.recipe(pool, settings)
    if one.saved:
        recipe = recipe.model_copy(update={"budget": state.settings().budget})
    return _mask(live_selection.select(pool, run, recipe).rows, len(pool))
