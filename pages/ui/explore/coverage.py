"""The part of the Explore page that says how much of what the pool switches on a selection reaches."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from core.analysis import coverage_curve
from core.analysis.coverage_curve import Climb, Yardstick
from core.measurement.runs import Run, find_signal
from core.methods.ranking import ranked
from core.schema import IntArray, Pool, Reading
from core.selection.recipe import Recipe
from pages.ui.charts import coverage, figures
from pages.ui.charts.bins import Values
from pages.ui.charts.coverage import said
from pages.ui.data import cached, live_selection
from pages.ui.data.live_selection import Answer

CLOSE = 0.01  # to random rows: then a digit more is said
CURVES = 3  # orders kept with their counts, over all visitors: up to some 40 MB each
GROWTH = {
    "sqrt": "A neuron that is on in c of the rows counts √c.",
    "once": "A neuron counts once, in however many rows it is on.",
    "capped": "A neuron counts in up to {tau} rows.",
}


def source(pool: Pool, run: Run) -> Run | None:
    """The newest run that holds activation states, under the reading of `run`; None where there is none."""
    return run if "states" in run.kept else find_signal(cached.workspace(), pool, "activations", Reading(**run.reading))


@dataclass(frozen=True, eq=False)
class Curves:
    """What is known for every budget; a moved budget only asks it again."""

    own: Climb  # the order in force
    greedy: Climb  # the greedy order of the whole pool; `own` itself where it is that
    random: Values  # (S, A) at own.at
    drawn: int  # random orders there are, of which S were counted

    def random_at(self, k: int) -> Values:
        """(S,) what random rows reach."""
        return coverage_curve.between(self.own.at, self.random, k)


def curves(pool: Pool, run: Run, states: Run, answer: Answer, recipe: Recipe) -> Curves:
    """Count along all orders, or find them counted."""
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


@st.cache_resource(show_spinner="Counting neurons along the orders", max_entries=CURVES)
def _curves(
    states_id: str, key: str, root: str, _pool: Pool, _run: Run, _states: Run, _answer: Answer, _recipe: Recipe
) -> Curves:
    yard, rows = _yardstick(_states.id, root, _states), _answer.selection.order.rows
    greedy = _greedy(_states.id, root, _states)
    own = (
        greedy
        if np.array_equal(greedy.rows, rows)
        else coverage_curve.climb(yard, rows, coverage_curve.knots(len(rows)))
    )
    orders = live_selection.at_random(_pool, _run, _recipe)
    at = own.at[: np.searchsorted(own.at, len(orders[0]), side="right")]  # pins may make it longer
    return Curves(own, greedy, coverage_curve.chance(yard, orders, at), len(orders))


@st.cache_resource(show_spinner=False, max_entries=cached.POOLS)
def _yardstick(run_id: str, root: str, _run: Run) -> Yardstick:
    params = _run.method["params"]
    return Yardstick.of(cached.measured(_run).need_states(), params["growth"], params["tau"])


@st.cache_resource(show_spinner=False, max_entries=cached.POOLS)
def _greedy(run_id: str, root: str, _run: Run) -> Climb:
    gains = cached.measured(_run).need("coverage_gain")
    rows = ranked(gains, np.flatnonzero(np.isfinite(gains)), prefer="high")
    return coverage_curve.climb(_yardstick(run_id, root, _run), rows, coverage_curve.knots(len(rows)))


# What is said


@dataclass(frozen=True)
class Standing:
    """The selection in force among the curves; shares in 0..1, NaN: unknown."""

    budget: float
    own: float
    random: tuple[float, float]
    greedy: float
    worth: float  # share of the rows that random rows would need to reach as much


def standing(known: Curves, chosen: int, rows: int) -> Standing:
    """Exact for the orders, between counted lengths for random rows."""
    random = known.random_at(chosen)
    ends = (float(random.min()), float(random.max())) if len(random) else (float("nan"), float("nan"))
    own = known.own.reached(chosen)
    mean = known.random.mean(axis=0) if len(known.random) else np.empty(0)
    worth = coverage_curve.length_for(known.own.at[: len(mean)], mean, own) / rows
    greedy = own if known.greedy is known.own else known.greedy.reached(min(chosen, len(known.greedy.rows)))
    return Standing(chosen / rows, own, ends, greedy, worth)


def headline(here: Standing) -> str:
    """The answer of the section, for the title."""
    if not here.budget:
        return "No row is chosen"
    low, high = here.random
    near = low - CLOSE <= here.own <= high + CLOSE
    reached = fine(here.own) if near else said(here.own)
    return f"{said(here.budget)} of the rows reach {reached} of what the whole pool switches on"


def in_words(here: Standing, known: Curves) -> str:
    """The same beside chance and beside the most there is; markdown."""
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
        words[-1] += f" and need **{said(here.worth)}** of the pool to reach as much"
    if known.greedy is not known.own:
        words.append(f"greedy search over the whole pool reaches **{fine(here.greedy)}**")
    return "; ".join(words) + "."


def fine(share: float) -> str:
    """A share with a digit after the point."""
    return f"{100 * share:.1f} %"


def _range(low: float, high: float) -> str:
    return fine(low) if fine(low) == fine(high) else f"{100 * low:.1f} to {fine(high)}"


# What is drawn


def curve(known: Curves, here: Standing, label: str, rows: int) -> None:
    """The figure, and what it takes to read it."""
    lines = {"own": coverage.Line(label, known.own.at / rows, known.own.shares)}
    if known.greedy is not known.own:
        lines["greedy"] = coverage.Line(coverage.GREEDY, known.greedy.at / rows, known.greedy.shares)
    band = known.random if len(known.random) else np.empty((1, 0))
    st.plotly_chart(
        coverage.climb(
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


def reading_help(known: Curves, states: Run) -> str:
    """How f counts, and from how many random orders the band is."""
    params = states.method["params"]
    counts = GROWTH[params["growth"]].format(tau=params["tau"])
    band = f"Band: {len(known.random)} random orders" if len(known.random) else "There are no rows to draw from"
    few = " only, as the pool is large" if 0 < len(known.random) < known.drawn else ""
    return f"{counts} {band}{few}."


def random_rows(pool: Pool, run: Run, recipe: Recipe, k: int) -> list[IntArray]:
    """The first k rows of each random order."""
    return [rows[:k] for rows in live_selection.at_random(pool, run, recipe)]
