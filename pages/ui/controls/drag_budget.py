"""A budget slider that follows the drag: rows, tokens, cutoff, score histogram and tasks of every budget it passes.

`st.slider` answers on release. This element has a table of all budgets it stops at, counted once per order, and looks
them up in the browser (drag_budget.js). On release it reports the budget; the server then selects as for any other
change, and what it selected is drawn in place of the table's entry.
"""

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import streamlit as st

from core.analysis.prefix_counts import PrefixCounts, count_prefixes, prefix_lengths
from core.measurement.runs import Run
from core.schema import IntArray, Method, Pool
from core.selection.budget import Budget, Unit
from core.selection.recipe import find_limit
from core.selection.selection import Selection
from pages.ui import theme
from pages.ui.charts.scales import axis_transform, format_number
from pages.ui.data import bins, cached, distribution, live_selection
from pages.ui.data.bins import Binned, Values
from pages.ui.data.grouping import find_grouping
from pages.ui.shell import state
from pages.ui.words import display_column, meaning, task_label

KEY = "select.drag"
MAX_STEPS = 1000  # budgets that the slider stops at
MAX_TASKS = 8  # whose shares are shown, the largest ones
MAX_TABLES = 24
REST_MS = 200  # after the last arrow key, until the budget is reported

_FILE = Path(__file__).with_suffix("")
_COLOURS = f":host {{ --selected: {theme.SELECTED}; --rest: {theme.REST}; --cutoff: {theme.WARNING}; }}\n"
_slider = st.components.v2.component(
    "winnow.budget",
    html=_FILE.with_suffix(".html").read_text("utf-8"),
    css=_COLOURS + _FILE.with_suffix(".css").read_text("utf-8"),
    js=_FILE.with_suffix(".js").read_text("utf-8"),
)


@dataclass(frozen=True, eq=False)
class Drawn:
    """An order, and what is drawn of its prefixes."""

    selection: Selection
    tokens: IntArray  # (N,) response tokens
    tasks: IntArray  # (N,) index into `names`; −1: another task
    names: list[str]  # of the tasks shown; empty if there is only one
    values: Values | None  # (N,) the score that the order was sorted by; None: no single one
    binned: Binned | None  # of the score that is shown; None: the method has none
    title: str = ""  # of that score

    @property
    def groupings(self) -> dict[str, tuple[IntArray, int]]:
        """Return what `count_prefixes` counts by."""
        by_task = {"tasks": (self.tasks, len(self.names))} if self.names else {}
        return by_task | ({"bins": (self.binned.place, len(self.binned.edges) - 1)} if self.binned else {})

    def count(self, lengths: IntArray) -> PrefixCounts:
        """Count prefixes of these lengths."""
        rows, n_pinned = self.selection.order.rows, self.selection.n_pinned
        return count_prefixes(rows, lengths, self.tokens, self.groupings, n_pinned=n_pinned)

    def cutoffs(self, last: IntArray) -> tuple[list[str], list[float | None]]:
        """Return the cutoff at each of the last rows (P,), in words and as a share of the histogram's width."""
        if self.values is None or self.binned is None:
            return [""] * len(last), [None] * len(last)
        values, to_x = self.values[last].astype(np.float64), axis_transform(self.binned.log)
        low, high = to_x(self.binned.edges[[0, -1]].astype(np.float64))
        places = (to_x(np.clip(values, self.binned.edges[0], self.binned.edges[-1])) - low) / (high - low)
        found = (last >= 0).tolist()
        words = [format_number(value) if there else "" for value, there in zip(values.tolist(), found, strict=True)]
        return words, [round(x, 4) if there else None for x, there in zip(places.tolist(), found, strict=True)]


def draw(pool: Pool, run: Run, selection: Selection, budget: Budget) -> None:
    """Draw the slider at the budget of the current settings, which selected `selection`."""
    recipe = state.recipe(pool)
    method, measured, tasks = recipe.method.build(), cached.measurements(run), find_grouping(pool, run).key
    limit = find_limit(recipe, measured, method, selection.order, selection.n_pinned)
    drawn = describe(pool, run, selection, method)
    table = _table(live_selection.order_key(run, recipe), tasks, run, budget.unit, limit, drawn)
    now = drawn.count(np.array([len(selection.rows)]))
    words, places = drawn.cutoffs(now.last)
    entry = {"amount": budget.amount, "rows": len(selection.rows), "tokens": selection.tokens, "cutoff": words[0]}
    entry |= {"place": places[0], **{name: counts[0].tolist() for name, counts in now.groups.items()}}
    _slider(key=KEY, data={"table": table, "now": entry, "rest": REST_MS}, on_moved_change=_set_budget)


def describe(pool: Pool, run: Run, selection: Selection, method: Method) -> Drawn:
    """Collect what is drawn of a selection's order."""
    groups, tokens = find_grouping(pool, run), cached.measurements(run).need("response_tokens")
    names = [task_label(name) for name in groups.names[:MAX_TASKS]] if len(groups.names) > 1 else []
    shared = (selection, tokens, np.where(groups.codes < MAX_TASKS, groups.codes, -1), names)
    order, column = selection.order, display_column(method)
    if column not in cached.columns(run, method):
        return Drawn(*shared, None, None)
    values = live_selection.ranking_values(run, method, order) if column == method.ranks_by else None
    return Drawn(*shared, values, distribution.bins_in_order(run, method, order, column), meaning(column).title)


def amounts(unit: Unit, maximum: int) -> list[float]:
    """Return the budgets that the slider stops at: each 0.1%, or round steps up to `maximum` rows or tokens."""
    if unit == "percent":
        return [i / 10 for i in range(1001)]
    steps = (digit * 10**power for power in range(19) for digit in (1, 2, 5))
    step = next(step for step in steps if maximum <= step * MAX_STEPS)
    return [*range(0, maximum, step), maximum]


@cached.keep(MAX_TABLES)
def _table(key: str, tasks: str, run: Run, unit: Unit, limit: int | None, _drawn: Drawn) -> str:
    return pack(make_table(_drawn, unit, limit))


def make_table(drawn: Drawn, unit: Unit, limit: int | None) -> dict[str, Any]:
    """Return what the browser draws: an entry of each list for each budget; counts are differences to the one before.

    `bins` and `tasks` have one list per bin and per task. `cutoff` are words, `place` shares of the histogram's width.
    """
    selection, total = drawn.selection, int(drawn.tokens.sum())
    stops = amounts(unit, total if unit == "tokens" else len(drawn.tokens))
    budgets, n_pinned = [Budget(amount, unit) for amount in stops], selection.n_pinned
    options: dict[str, Any] = {"n_pinned": n_pinned, "limit": limit, "spent": selection.spent}
    lengths = prefix_lengths(selection.order.rows, budgets, drawn.tokens, **options)
    counted = drawn.count(lengths)
    words, places = drawn.cutoffs(counted.last)
    by_group = {name: np.diff(counts, axis=0, prepend=0).T.tolist() for name, counts in counted.groups.items()}
    of_pool = {name: bins.count_codes(codes, n).tolist() for name, (codes, n) in drawn.groupings.items()}
    return {
        "unit": unit,
        "amount": stops,
        "rows": np.diff(counted.rows, prepend=0).tolist(),
        "tokens": np.diff(counted.tokens, prepend=0).tolist(),
        "cutoff": words,
        "place": places,
        **by_group,
        "pool": of_pool | {"rows": len(drawn.tokens), "tokens": total},
        "names": drawn.names,
        "title": drawn.title,
    }


def pack(table: Mapping[str, Any]) -> str:
    """Compress a table for the way to the browser: about 10 to 40 kB."""
    return base64.b64encode(zlib.compress(orjson.dumps(table))).decode()


def _set_budget() -> None:
    """Set the budget that the slider was released at."""
    moved = state.widget_value(KEY)["moved"]
    state.change(budget=str(Budget(round(moved["amount"], 4), moved["unit"])))
