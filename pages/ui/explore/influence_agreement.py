"""Agreement of influence scores between targets, with LESS and between sub-tasks; accuracy on the targets' pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from core.analysis.comparison import Membership, expected_overlap, rank_correlation_matrix
from core.methods.preference_influence import parse_targets
from core.methods.ranking import rank_rows
from core.schema import IntArray, Order, Pool
from pages.ui.charts import figures, influence, overlap_tables
from pages.ui.charts.html_bars import legend
from pages.ui.charts.influence import PairAccuracy
from pages.ui.data import cached, live_selection
from pages.ui.data.bins import Values
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore.influence import COLUMN_PREFIX, MAX_TARGETS, SCORE, ScoredInfluence
from pages.ui.shell import state
from pages.ui.targets import pairs
from pages.ui.words import escape_markdown, format_rows

ROSE, LESS = "ROSE", "LESS"


@dataclass(frozen=True, eq=False)
class Agreement:
    """The same M rows sorted by several scores, best first."""

    names: tuple[str, ...]
    orders: tuple[IntArray, ...]  # C arrays (M,) of row numbers
    rho: Values  # (C, C) Spearman
    pool: int  # number of rows in the pool

    def top(self, k: int) -> Membership:
        """Return which orders have each row among their first k."""
        return Membership.from_subsets([order[:k] for order in self.orders], self.pool)

    def chance(self, k: int) -> tuple[float, float, float]:
        """Return the expected overlap of two random sets of k of these rows, and its 95 % range."""
        m, sizes = len(self.orders[0]), np.array([k], np.int64)
        mean, low, high = expected_overlap(m, m, m, sizes, sizes)
        return float(mean[0]), float(low[0]), float(high[0])


def rows_to_order(pool: Pool, known: ScoredInfluence, answer: LiveSelection) -> tuple[str, IntArray]:
    """Return a cache key and the rows to sort.

    These are the eligible rows if this method is the current one, else all rows with a score.
    """
    if known.method is answer.method:
        recipe = state.recipe(pool)
        return live_selection.order_key(known.run, recipe), np.sort(live_selection.order(pool, known.run, recipe).rows)
    return known.run.id, np.flatnonzero(np.isfinite(known.columns[SCORE]))


def compare_orders(pool: Pool, known: ScoredInfluence, answer: LiveSelection, what: Mapping[str, str]) -> Agreement:
    """Sort the rows by each column of `what` (name -> column) and compare the orders."""
    key, rows = rows_to_order(pool, known, answer)
    return _agreement(key, known.key, tuple(what.items()), str(cached.workspace().root), known, rows)


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_TABLES)
def _agreement(
    rows_key: str,
    key: tuple[str, str],
    what: tuple[tuple[str, str], ...],
    root: str,
    _known: ScoredInfluence,
    _rows: IntArray,
) -> Agreement:
    columns = dict(_known.columns) | _by_subtask(_known)
    orders = tuple(rank_rows(columns[column], _rows, prefer="high") for _, column in what)
    n = len(columns[SCORE])
    return Agreement(
        tuple(name for name, _ in what), orders, rank_correlation_matrix([Order(o).rank(n) for o in orders]), n
    )


def _by_subtask(known: ScoredInfluence) -> dict[str, Values]:
    """Return the scores of each sub-task of the current target as columns "subtask.0", "subtask.1", ..."""
    values = cached.measurements(known.run).need_influences().of(known.method.ranking_target, known.method.objective)
    return {f"subtask.{s}": column for s, column in enumerate(values.T)}


# Figures


def draw_agreement(pool: Pool, known: ScoredInfluence, answer: LiveSelection) -> None:
    """Draw how far targets agree, how ROSE and LESS differ, or how far sub-tasks agree."""
    st.subheader("Do targets agree?", anchor=False)
    _targets(pool, known, answer)
    st.markdown(
        f"**{escape_markdown(known.method.ranking_target)}, preference pairs against its chosen answers alone**"
    )
    _control(pool, known, answer)
    if len(known.subtasks[known.method.ranking_target]) > 1:
        _subtasks(pool, known, answer)


def _targets(pool: Pool, known: ScoredInfluence, answer: LiveSelection) -> None:
    """Compare the targets with each other."""
    if len(known.subtasks) == 1:
        st.caption(
            f"One target was measured, {escape_markdown(known.method.ranking_target)}: there is no other to agree with."
        )
        return
    word = COLUMN_PREFIX[known.method.objective]
    _tables(compare_orders(pool, known, answer, {name: f"{word}.{name}" for name in known.targets}), answer)


def _control(pool: Pool, known: ScoredInfluence, answer: LiveSelection) -> None:
    """Compare the loss on preference pairs (ROSE) with the loss on their chosen answers only (LESS)."""
    name = known.method.ranking_target
    found = compare_orders(pool, known, answer, {ROSE: f"influence.{name}", LESS: f"less.{name}"})
    st.markdown(f"{describe(found, (0, 1), _size(found, answer))} {_other_order(float(found.rho[0, 1]))}")


def _other_order(rho: float) -> str:
    if np.isnan(rho):
        return ""
    if rho >= 0.9:
        return "The rejected answers change next to nothing here."
    return "So the rejected answers count." if rho < 0.6 else "The rejected answers change some of it."


def _subtasks(pool: Pool, known: ScoredInfluence, answer: LiveSelection) -> None:
    """Compare the sub-tasks of the current target."""
    names = known.subtasks[known.method.ranking_target]
    st.caption(
        f"Sub-tasks of {escape_markdown(known.method.ranking_target)}"
        + (f", the first {MAX_TARGETS} of {len(names):,}." if len(names) > MAX_TARGETS else ".")
    )
    _tables(
        compare_orders(pool, known, answer, {name: f"subtask.{s}" for s, name in enumerate(names[:MAX_TARGETS])}),
        answer,
    )


def _size(found: Agreement, answer: LiveSelection) -> int:
    return min(len(answer.selection.rows), len(found.orders[0]))


def _tables(found: Agreement, answer: LiveSelection) -> None:
    """Draw rank correlation and overlap of each pair, and describe the pair that agrees least."""
    k = _size(found, answer)
    apart = found.rho + 2 * np.eye(len(found.names))
    if not np.isnan(apart).all():
        i, j = sorted(int(at) for at in np.unravel_index(np.nanargmin(apart), apart.shape))
        lead = "" if len(found.names) == 2 else "Least alike: "
        st.markdown(lead + describe(found, (i, j), k))
    left, right = st.columns(2, gap="medium")
    with left:
        st.caption("Rank correlation (Spearman)")
        st.html(overlap_tables.correlation_table(found.names, found.rho))
    with right:
        st.caption(f"Overlap of their top {format_rows(k)}, in %; in brackets by chance")
        mean, low, high = (np.full(found.rho.shape, value) for value in found.chance(k))
        st.html(overlap_tables.overlap_table(found.names, found.top(k).jaccard(), mean, low, high))


def describe(found: Agreement, pair: tuple[int, int], k: int) -> str:
    """Describe how far two orders agree over all rows and over their first k, in markdown."""
    i, j = pair
    a, b = (escape_markdown(found.names[at]) for at in pair)
    rho = float(found.rho[i, j])
    said = "no rank correlation" if np.isnan(rho) else f"Spearman **{rho + 0.0:.2f}**".replace("-", "−")
    if not k:
        return f"{a} and {b}: {said}."
    shared, overlap = int(found.top(k).shared()[i, j]), float(found.top(k).jaccard()[i, j])
    return (
        f"{a} and {b}: {said}; of their top {format_rows(k)} they share **{shared:,}** "
        f"(overlap {100 * overlap:.0f} %, by chance {100 * found.chance(k)[0]:.0f} %)."
    )


# Pairs


def target_summaries(known: ScoredInfluence) -> list[dict[str, Any]]:
    """Return what the run stores about the targets shown."""
    every = {one["name"]: one for one in known.run.summary.get("targets", ())}
    return [every[name] for name in known.targets if name in every]


def draw_accuracy(known: ScoredInfluence) -> None:
    """Draw the pair accuracy of each target before the warm-up and after each of its epochs."""
    every = target_summaries(known)
    if not every:
        st.caption("This run does not tell how the model takes the pairs.")
        return
    own = next((one for one in every if one["name"] == known.method.ranking_target), every[0])
    st.subheader("Pair accuracy around the warm-up", anchor=False)
    st.markdown(describe_accuracy(own))
    lines = influence.LINE_COLOURS | influence.GUESSING_COLOURS
    st.html(legend(lines, "Share of pairs; the red line: guessing."))
    st.plotly_chart(
        influence.accuracy_lines([_accuracy(one) for one in every]),
        key="explore.influence.accuracy",
        config=figures.CONFIG,
        alt="Pair accuracy of each target before the warm-up and after each epoch",
    )


def _accuracy(one: Mapping[str, Any]) -> PairAccuracy:
    used = one["pairs"] - one["unused"]
    return PairAccuracy(one["name"], used, *(_shares(one[name]) for name in ("accuracy", "margin_accuracy")))


def _shares(values: Sequence[float | None]) -> Values:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def describe_accuracy(one: Mapping[str, Any]) -> str:
    """Describe the pair accuracy of one target before and after the warm-up, in markdown."""
    found = _accuracy(one)
    ends = [f"{100 * value:.0f} %" for value in found.likelier[[0, -1]]]
    after = f", {ends[1]} after" if ends[1] != ends[0] else " and after"
    return (
        f"**{escape_markdown(found.name)}**: the model finds the chosen answer likelier than the rejected one in "
        f"{ends[0]} of {found.pairs:,} pairs before the warm-up{after}. The warm-up trains on rows of the pool, not on "
        "pairs: it need not rise."
    )


def draw_pairs(known: ScoredInfluence) -> None:
    """Draw a reader of the measured pairs of the current target."""
    method, seed = known.method, known.run.seed if known.method.pairs else 0
    sets = [target for target in parse_targets(method.targets) if target.name == method.ranking_target]
    pairs.reader(sets, lambda source: cached.targets(source, method.subtask or None, method.pairs or None, seed))
