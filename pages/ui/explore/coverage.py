"""Coverage section: how much of the activation coverage of the whole pool a selection reaches."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from core.analysis import coverage_curve
from core.analysis.coverage_curve import CoverageCurve, PoolCoverage
from core.measurement.runs import Run
from core.methods.ranking import rank_rows
from core.schema import IntArray, Pool
from core.selection.recipe import Recipe
from pages.ui.charts import coverage, figures
from pages.ui.charts.coverage import format_share
from pages.ui.data import cached, live_selection
from pages.ui.data.bins import Values
from pages.ui.data.live_selection import LiveSelection

NEAR_CHANCE = 0.01  # to the range of random rows: within it, the share gets one more digit
MAX_CACHED_ORDERS = 3  # cached orders with their counts, shared by all visitors: up to about 40 MB each
GROWTH_HELP = {
    "sqrt": "A neuron that is on in c of the rows counts √c.",
    "once": "A neuron counts once, in however many rows it is on.",
    "capped": "A neuron counts in up to {tau} rows.",
}


@dataclass(frozen=True, eq=False)
class CoverageCurves:
    """Coverage curves that hold for every budget, so moving the budget needs no new count."""

    own: CoverageCurve  # the current order
    greedy: CoverageCurve  # greedy order of the whole pool; the same object as `own` if the orders are equal
    random: Values  # (S, A) shares at the lengths of the current curve
    drawn: int  # number of random orders available, of which S were counted

    def random_at(self, k: int) -> Values:
        """Return the shares, (S,), that the first k rows of each random order reach."""
        return coverage_curve.interpolate(self.own.at, self.random, k)


def count_curves(pool: Pool, run: Run, states: Run, answer: LiveSelection, recipe: Recipe) -> CoverageCurves:
    """Count coverage along the current, greedy and random orders; cached by order."""
    return _curves(
        states.id,
        live_selection.order_key(run, recipe),
        str(cached.workspace().root),
        pool,
        run,
        states,
        answer,
        recipe,
    )


@st.cache_resource(show_spinner="Counting neurons along the orders", max_entries=MAX_CACHED_ORDERS)
def _curves(
    states_id: str, key: str, root: str, _pool: Pool, _run: Run, _states: Run, _answer: LiveSelection, _recipe: Recipe
) -> CoverageCurves:
    yard, rows = _yardstick(_states.id, root, _states), _answer.selection.order.rows
    greedy = _greedy(_states.id, root, _states)
    own = (
        greedy
        if np.array_equal(greedy.rows, rows)
        else coverage_curve.trace_curve(yard, rows, coverage_curve.curve_lengths(len(rows)))
    )
    orders = live_selection.random_orders(_pool, _run, _recipe)
    at = own.at[: np.searchsorted(own.at, len(orders[0]), side="right")]  # pins may make the current order longer
    return CoverageCurves(own, greedy, coverage_curve.random_curves(yard, orders, at), len(orders))


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_POOLS)
def _yardstick(run_id: str, root: str, _run: Run) -> PoolCoverage:
    params = _run.method["params"]
    return PoolCoverage.of(cached.measurements(_run).need_states(), params["growth"], params["tau"])


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_POOLS)
def _greedy(run_id: str, root: str, _run: Run) -> CoverageCurve:
    gains = cached.measurements(_run).need("coverage_gain")
    rows = rank_rows(gains, np.flatnonzero(np.isfinite(gains)), prefer="high")
    return coverage_curve.trace_curve(_yardstick(run_id, root, _run), rows, coverage_curve.curve_lengths(len(rows)))


# Text


@dataclass(frozen=True)
class CoverageAtBudget:
    """The current selection on the coverage curves; shares in 0..1, NaN if unknown."""

    budget: float
    own: float
    random: tuple[float, float]
    greedy: float
    worth: float  # share of rows that a random selection needs for the same coverage


def coverage_at_budget(known: CoverageCurves, chosen: int, rows: int) -> CoverageAtBudget:
    """Evaluate all curves at one budget: exact for the orders, interpolated for random rows."""
    random = known.random_at(chosen)
    ends = (float(random.min()), float(random.max())) if len(random) else (float("nan"), float("nan"))
    own = known.own.reached(chosen)
    mean = known.random.mean(axis=0) if len(known.random) else np.empty(0)
    worth = coverage_curve.find_length(known.own.at[: len(mean)], mean, own) / rows
    greedy = own if known.greedy is known.own else known.greedy.reached(min(chosen, len(known.greedy.rows)))
    return CoverageAtBudget(chosen / rows, own, ends, greedy, worth)


def headline(here: CoverageAtBudget) -> str:
    """Return the section's result as a title."""
    if not here.budget:
        return "No row is chosen"
    low, high = here.random
    near = low - NEAR_CHANCE <= here.own <= high + NEAR_CHANCE
    reached = format_tenths(here.own) if near else format_share(here.own)
    return f"{format_share(here.budget)} of the rows reach {reached} of what the whole pool switches on"


def describe(here: CoverageAtBudget, known: CoverageCurves) -> str:
    """Compare the selection with random rows and with greedy search, in markdown."""
    if not here.budget:
        return "Raise the budget to see how far it reaches."
    low, high = here.random
    words = []
    if np.isfinite(low):
        verdict = (
            "More than chance" if here.own > high else "Less than chance" if here.own < low else "No more than chance"
        )
        words.append(f"{verdict}: random rows reach **{_range(low, high)}**")
    if np.isfinite(here.worth) and here.own > high:
        words[-1] += f" and need **{format_share(here.worth)}** of the pool to reach as much"
    if known.greedy is not known.own:
        words.append(f"greedy search over the whole pool reaches **{format_tenths(here.greedy)}**")
    return "; ".join(words) + "."


def format_tenths(share: float) -> str:
    """Format a share in 0..1 as a percentage with one decimal."""
    return f"{100 * share:.1f} %"


def _range(low: float, high: float) -> str:
    return (
        format_tenths(low) if format_tenths(low) == format_tenths(high) else f"{100 * low:.1f} to {format_tenths(high)}"
    )


# Figures


def draw_curve(known: CoverageCurves, here: CoverageAtBudget, label: str, rows: int) -> None:
    """Draw the coverage curves."""
    lines = {"own": coverage.Line(label, known.own.at / rows, known.own.shares)}
    if known.greedy is not known.own:
        lines["greedy"] = coverage.Line(coverage.GREEDY, known.greedy.at / rows, known.greedy.shares)
    band = known.random if len(known.random) else np.empty((1, 0))
    st.plotly_chart(
        coverage.coverage_curves(
            lines,
            band.min(axis=0),
            band.max(axis=0),
            known.own.at[: band.shape[1]] / rows,
            budget=here.budget,
            reached=here.own,
        ),
        key="explore.coverage",
        config=figures.CONFIG,
        alt="Share of the pool's coverage reached, by share of rows, against random rows and greedy search",
    )


def reading_help(known: CoverageCurves, states: Run) -> str:
    """Explain how f counts a neuron and how many random orders form the band."""
    params = states.method["params"]
    counts = GROWTH_HELP[params["growth"]].format(tau=params["tau"])
    band = f"Band: {len(known.random)} random orders" if len(known.random) else "There are no rows to draw from"
    few = " only, as the pool is large" if 0 < len(known.random) < known.drawn else ""
    return f"{counts} {band}{few}."


def random_selections(pool: Pool, run: Run, recipe: Recipe, k: int) -> list[IntArray]:
    """Return the first k rows of each random order."""
    return [rows[:k] for rows in live_selection.random_orders(pool, run, recipe)]
