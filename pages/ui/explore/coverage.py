"""Coverage section: how much of the activation coverage of the whole pool a selection reaches."""

from dataclasses import dataclass

import numpy as np

from core.analysis import coverage_curve
from core.analysis.coverage_curve import CoverageCurve, PoolCoverage
from core.measurement.runs import Run
from core.methods.ranking import rank_rows
from core.schema import IntArray, Pool
from core.selection.recipe import Recipe
from core.selection.selection import Selection
from pages.ui import glossary
from pages.ui.charts import coverage, figures
from pages.ui.charts.coverage import format_share
from pages.ui.data import cached, live_selection
from pages.ui.data.bins import Values
from pages.ui.data.live_selection import LiveSelection
from pages.ui.shell import show
from pages.ui.words import join_range

NEAR_CHANCE = 0.01  # to the range of random rows: within it, the share gets one more digit
MAX_CACHED_ORDERS = 3  # cached orders with their counts, shared by all visitors: up to about 40 MB each
GROWTH_HELP = {
    "sqrt": "a neuron that c selected rows activate counts √c",
    "once": "a neuron counts once, however many selected rows activate it",
    "capped": "a neuron counts once for each selected row that activates it, up to {tau} rows",
}


@dataclass(frozen=True, eq=False)
class CoverageCurves:
    """Coverage curves that hold for every budget, so moving the budget needs no new count.

    Rows used already come first in the current and in the random orders.
    """

    current: CoverageCurve  # curve of the current order
    greedy: CoverageCurve  # greedy order of the whole pool; the same object as `current` if the orders are equal
    random: Values  # (S, A) shares at the lengths of the current curve
    available: int  # number of random orders; S of them were counted
    used: int  # rows used already

    def random_shares_at(self, k: int) -> Values:
        """Return the shares, (S,), that the first k rows of each random order reach."""
        return coverage_curve.interpolate(self.current.lengths, self.random, k)


def count_curves(pool: Pool, run: Run, coverage_run: Run, live: LiveSelection, recipe: Recipe) -> CoverageCurves:
    """Count coverage along the current, greedy and random orders; cached by order."""
    return _curves(pool, run, coverage_run, live_selection.order_key(run, recipe), live)


@cached.keep(MAX_CACHED_ORDERS, "Counting neurons along the orders")
def _curves(pool: Pool, run: Run, coverage_run: Run, key: str, _live: LiveSelection) -> CoverageCurves:
    pool_coverage, order = _pool_coverage(coverage_run), _live.selection.order
    rows = np.concatenate([order.used, order.rows])
    greedy = _greedy_curve(coverage_run)
    current = greedy if np.array_equal(greedy.rows, rows) else _trace_curve(pool_coverage, rows)
    orders = [np.concatenate([order.used, drawn]) for drawn in live_selection.random_orders(run, order)]
    random = coverage_curve.random_curves(pool_coverage, orders, current.lengths)
    return CoverageCurves(current, greedy, random, len(orders), len(order.used))


@cached.keep(cached.MAX_POOLS)
def _pool_coverage(run: Run) -> PoolCoverage:
    params = run.method["params"]
    return PoolCoverage.of(cached.measurements(run).need("activations"), params["growth"], params["tau"])


@cached.keep(cached.MAX_POOLS)
def _greedy_curve(run: Run) -> CoverageCurve:
    gains = cached.measurements(run).need("coverage_gain")
    return _trace_curve(_pool_coverage(run), rank_rows(gains, np.flatnonzero(np.isfinite(gains)), prefer="high"))


def _trace_curve(pool_coverage: PoolCoverage, rows: IntArray) -> CoverageCurve:
    return coverage_curve.trace_curve(pool_coverage, rows, coverage_curve.curve_lengths(len(rows)))


# Text


@dataclass(frozen=True)
class CoverageAtBudget:
    """The current selection on the coverage curves; shares in 0..1, NaN if unknown."""

    budget: float
    reached: float
    random: tuple[float, float]
    greedy: float
    random_budget: float  # share of rows that a random selection needs for the same coverage


def coverage_at_budget(curves: CoverageCurves, budget: int, rows: int) -> CoverageAtBudget:
    """Evaluate all curves at one budget: exact for the orders, interpolated for random rows."""
    shares = curves.random_shares_at(budget)
    random_range = (float(shares.min()), float(shares.max())) if len(shares) else (float("nan"), float("nan"))
    reached = curves.current.share_at(budget)
    mean = curves.random.mean(axis=0) if len(curves.random) else np.empty(0)
    random_budget = coverage_curve.find_length(curves.current.lengths[: len(mean)], mean, reached) / rows
    is_greedy = curves.greedy is curves.current
    greedy = reached if is_greedy else curves.greedy.share_at(min(budget, len(curves.greedy.rows)))
    return CoverageAtBudget(budget / rows, reached, random_range, greedy, random_budget)


def headline(point: CoverageAtBudget) -> str:
    """Return the section's result as a sentence."""
    if not point.budget:
        return "No row is selected."
    low, high = point.random
    near_chance = low - NEAR_CHANCE <= point.reached <= high + NEAR_CHANCE
    reached = format_tenths(point.reached) if near_chance else format_share(point.reached)
    return f"{format_share(point.budget)} of the rows cover {reached} of the neurons that the pool activates."


def describe(point: CoverageAtBudget, curves: CoverageCurves) -> str:
    """Compare the selection with random rows and with greedy search, in markdown."""
    if not point.budget:
        return "Raise the budget to see the coverage of a selection."
    low, high = point.random
    clauses = [f"This includes the {curves.used:,} rows used already."] if curves.used else []
    if np.isfinite(low):
        place = "above" if point.reached > high else "below" if point.reached < low else "within"
        reach = join_range(f"{100 * low:.1f}", f"{100 * high:.1f}")
        clauses.append(f"This is {place} the {glossary.link('chance_range', 'chance range')}, **{reach}%**.")
    if np.isfinite(point.random_budget) and point.reached > high:
        clauses.append(
            f"Random selections need **{format_share(point.random_budget)}** of the pool for the same coverage."
        )
    if curves.greedy is not curves.current:
        clauses.append(f"Greedy search over the whole pool covers **{format_tenths(point.greedy)}**.")
    return " ".join(clauses)


def format_tenths(share: float) -> str:
    """Format a share in 0..1 as a percentage with one decimal."""
    return f"{100 * share:.1f}%"


# Figures


def draw_curve(curves: CoverageCurves, point: CoverageAtBudget, live: LiveSelection, rows: int) -> None:
    """Draw the coverage curves, and how many of the highlighted rows each budget selects."""
    lines = {"own": coverage.Line(live.method.label, curves.current.lengths / rows, curves.current.shares)}
    if curves.greedy is not curves.current:
        lines["greedy"] = coverage.Line(coverage.GREEDY, curves.greedy.lengths / rows, curves.greedy.shares)
    band = curves.random if len(curves.random) else np.empty((1, 0))
    low, high, x = band.min(axis=0), band.max(axis=0), curves.current.lengths[: band.shape[1]] / rows
    lit = live.count_highlighted(np.maximum(curves.current.lengths - curves.used, 0))
    found = None if lit is None else lit / max(int(live.highlight.sum()), 1)
    ends = {"budget": point.budget, "reached": point.reached}
    figure = coverage.coverage_curves(lines, low, high, x, **ends, highlight=found)
    alt = "Coverage by budget, compared with random selections and greedy search"
    show.chart(figure, key="explore.coverage", config=figures.CONFIG, alt=alt)


def reading_help(curves: CoverageCurves, coverage_run: Run) -> str:
    """Explain how f counts a neuron and how many random orders form the band, in markdown."""
    params = coverage_run.method["params"]
    counts = GROWTH_HELP[params["growth"]].format(tau=params["tau"])
    n = len(curves.random)
    band = f"The band is the chance range, from {n} random orders" if n else "No row is eligible for a random order"
    limit_note = ", fewer than usual because the pool is large" if 0 < n < curves.available else ""
    return f"{glossary.link('coverage')} is weighted: {counts}. {band}{limit_note}."


def random_selections(run: Run, selection: Selection) -> list[IntArray]:
    """Return random selections of the same size, from the same eligible rows."""
    return [rows[: len(selection.rows)] for rows in live_selection.random_orders(run, selection.order)]
