"""Agreement of influence scores between targets, with LESS and between sub-tasks; accuracy on the targets' pairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from core.analysis.comparison import Membership, expected_overlap, rank_correlation_matrix
from core.measurement.runs import Run
from core.methods.preference_influence import PreferenceInfluence, parse_targets
from core.methods.ranking import rank_rows
from core.schema import IntArray, Order, Pool
from pages.ui import glossary
from pages.ui.charts import figures, influence, overlap_tables
from pages.ui.charts.html_bars import legend
from pages.ui.charts.influence import PairAccuracy
from pages.ui.data import cached, live_selection
from pages.ui.data.bins import Values
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore.influence import MAX_TARGETS, SCORE, ScoredInfluence
from pages.ui.shell import show, state, visitors
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

    def expected_overlap(self, k: int) -> tuple[float, float, float]:
        """Return the expected overlap of two random sets of k of these rows, and its 95% range."""
        m, sizes = len(self.orders[0]), np.array([k], np.int64)
        mean, low, high = expected_overlap(m, m, m, sizes, sizes)
        return float(mean[0]), float(low[0]), float(high[0])


def rows_to_order(pool: Pool, scored: ScoredInfluence, live: LiveSelection) -> tuple[str, IntArray]:
    """Return a cache key and the rows to sort.

    These are the eligible rows if this method is the current one, else all rows with a score.
    """
    if scored.method is live.method:
        recipe = state.recipe(pool)
        rows = np.sort(live_selection.order(pool, scored.run, recipe).rows)
        return live_selection.order_key(scored.run, recipe), rows
    return scored.run.id, np.flatnonzero(np.isfinite(scored.columns[SCORE]))


def compare_orders(pool: Pool, scored: ScoredInfluence, live: LiveSelection, columns: Mapping[str, str]) -> Agreement:
    """Sort the rows by each of `columns` (name -> column) and compare the orders."""
    return _compare_orders(scored.run, scored.method, columns, *rows_to_order(pool, scored, live))


@cached.keep()
def _compare_orders(
    run: Run, method: PreferenceInfluence, named_columns: Mapping[str, str], rows_key: str, _rows: IntArray
) -> Agreement:
    columns = cached.columns(run, method) | _by_subtask(run, method)
    orders = tuple(rank_rows(columns[column], _rows, prefer="high") for column in named_columns.values())
    n = len(columns[SCORE])
    return Agreement(tuple(named_columns), orders, rank_correlation_matrix([Order(o).rank(n) for o in orders]), n)


def _by_subtask(run: Run, method: PreferenceInfluence) -> dict[str, Values]:
    """Return the scores of each sub-task of the current target as columns "subtask.0", "subtask.1", ..."""
    values = cached.measurements(run).need("influences").of(method.ranking_target, method.objective)
    return {f"subtask.{s}": column for s, column in enumerate(values.T)}


# Figures


def draw_agreement(pool: Pool, scored: ScoredInfluence, live: LiveSelection) -> None:
    """Draw how far targets agree, how ROSE and LESS differ, or how far sub-tasks agree."""
    st.subheader("Agreement of targets", anchor=False)
    _compare_targets(pool, scored, live)
    st.markdown(f"**{escape_markdown(scored.target)}: preference pairs compared with chosen answers only**")
    _compare_losses(pool, scored, live)
    if len(scored.subtasks[scored.target]) > 1:
        _compare_subtasks(pool, scored, live)


def _compare_targets(pool: Pool, scored: ScoredInfluence, live: LiveSelection) -> None:
    """Compare the targets with each other."""
    if len(scored.subtasks) == 1:
        st.caption(f"Only one target was measured: {escape_markdown(scored.target)}.")
        return
    columns = {name: scored.column_of(name) for name in scored.targets}
    _draw_tables(compare_orders(pool, scored, live, columns), live)


def _compare_losses(pool: Pool, scored: ScoredInfluence, live: LiveSelection) -> None:
    """Compare the loss on preference pairs (ROSE) with the loss on their chosen answers only (LESS)."""
    columns = {ROSE: f"influence.{scored.target}", LESS: f"less.{scored.target}"}
    agreement = compare_orders(pool, scored, live, columns)
    difference, k = _describe_difference(float(agreement.rho[0, 1])), _top_size(agreement, live)
    st.markdown(f"{describe(agreement, (0, 1), k)} {difference}")
    _say_highlighted(agreement, live, k)


def _describe_difference(rho: float) -> str:
    if np.isnan(rho):
        return ""
    if rho >= 0.9:
        return "The rejected answers change almost nothing here."
    return (
        "The rejected answers change the ranking." if rho < 0.6 else "The rejected answers change part of the ranking."
    )


def _compare_subtasks(pool: Pool, scored: ScoredInfluence, live: LiveSelection) -> None:
    """Compare the sub-tasks of the current target."""
    names = scored.subtasks[scored.target]
    limit = f" (the first {MAX_TARGETS} of {len(names):,})" if len(names) > MAX_TARGETS else ""
    st.caption(f"Sub-tasks of {escape_markdown(scored.target)}{limit}.")
    columns = {name: f"subtask.{s}" for s, name in enumerate(names[:MAX_TARGETS])}
    _draw_tables(compare_orders(pool, scored, live, columns), live)


def _top_size(agreement: Agreement, live: LiveSelection) -> int:
    return min(len(live.selection.rows), len(agreement.orders[0]))


def _draw_tables(agreement: Agreement, live: LiveSelection) -> None:
    """Draw rank correlation and overlap of each pair, and describe the pair that agrees least."""
    k = _top_size(agreement, live)
    off_diagonal = agreement.rho + 2 * np.eye(len(agreement.names))
    if not np.isnan(off_diagonal).all():
        i, j = sorted(int(at) for at in np.unravel_index(np.nanargmin(off_diagonal), off_diagonal.shape))
        lead = "" if len(agreement.names) == 2 else "Lowest agreement: "
        st.markdown(lead + describe(agreement, (i, j), k))
    left, right = show.columns(2, gap="medium")
    with left:
        st.caption(glossary.link("rank_correlation", "Spearman correlation"))
        st.html(overlap_tables.correlation_table(agreement.names, agreement.rho))
    with right:
        st.caption(f"{glossary.link('overlap')} of the top {format_rows(k)}, in %. Brackets: expected by chance.")
        mean, low, high = (np.full(agreement.rho.shape, value) for value in agreement.expected_overlap(k))
        st.html(overlap_tables.overlap_table(agreement.names, agreement.top(k).jaccard(), mean, low, high))
    _say_highlighted(agreement, live, k)


def _say_highlighted(agreement: Agreement, live: LiveSelection, k: int) -> None:
    """Draw how many of the first k rows of each order are highlighted; nothing if none can be."""
    if live.highlight is None or not k:
        return
    counts = [int(live.highlight[order[:k]].sum()) for order in agreement.orders]
    parts = [f"{escape_markdown(name)} {n:,}" for name, n in zip(agreement.names, counts, strict=True)]
    st.caption(f"Highlighted among the top {format_rows(k)}: {', '.join(parts)}.")


def describe(agreement: Agreement, pair: tuple[int, int], k: int) -> str:
    """Describe how far two orders agree over all rows and over their first k, in markdown."""
    i, j = pair
    a, b = (escape_markdown(agreement.names[at]) for at in pair)
    rho = float(agreement.rho[i, j])
    correlation = "rank correlation undefined" if np.isnan(rho) else f"Spearman **{rho + 0.0:.2f}**".replace("-", "−")
    if not k:
        return f"{a} and {b}: {correlation}."
    shared, overlap = int(agreement.top(k).shared()[i, j]), float(agreement.top(k).jaccard()[i, j])
    return (
        f"{a} and {b}: {correlation}; their top {format_rows(k)} share **{shared:,}** "
        f"(overlap {100 * overlap:.0f}%, expected by chance {100 * agreement.expected_overlap(k)[0]:.0f}%)."
    )


# Pairs


def target_summaries(scored: ScoredInfluence) -> list[dict[str, Any]]:
    """Return what the run stores about the targets shown."""
    summaries = {summary["name"]: summary for summary in scored.run.summary.get("targets", ())}
    return [summaries[name] for name in scored.targets if name in summaries]


def draw_accuracy(scored: ScoredInfluence) -> None:
    """Draw the pair accuracy of each target before the warm-up and after each of its epochs."""
    summaries = target_summaries(scored)
    if not summaries:
        st.caption("Pair accuracy was not recorded for this run.")
        return
    current = next((summary for summary in summaries if summary["name"] == scored.target), summaries[0])
    st.subheader("Pair accuracy during warm-up training", anchor=False)
    st.markdown(describe_accuracy(current))
    lines = influence.LINE_COLOURS | influence.GUESSING_COLOURS
    st.html(legend(lines, "Share of pairs. Red line: random guessing."))
    figure = influence.accuracy_lines([_pair_accuracy(summary) for summary in summaries])
    alt = "Pair accuracy of each target before warm-up training and after each epoch"
    show.chart(figure, key="explore.influence.accuracy", config=figures.CONFIG, alt=alt)


def _pair_accuracy(summary: Mapping[str, Any]) -> PairAccuracy:
    used = summary["pairs"] - summary["unused"]
    shares = (np.array(summary[name], np.float64) for name in ("accuracy", "margin_accuracy"))  # None: NaN
    return PairAccuracy(summary["name"], used, *shares)


def describe_accuracy(summary: Mapping[str, Any]) -> str:
    """Describe the pair accuracy of one target before and after the warm-up, in markdown."""
    target = _pair_accuracy(summary)
    ends = [f"{100 * value:.0f}%" for value in target.accuracy[[0, -1]]]
    after = f", {ends[1]} after" if ends[1] != ends[0] else " and after"
    return (
        f"**{escape_markdown(target.name)}**: the model prefers the chosen answer to the rejected one in {ends[0]} of "
        f"{target.pairs:,} pairs before warm-up training{after}. Warm-up training uses rows of the pool and not the "
        "pairs, so no increase is expected."
    )


def draw_pairs(scored: ScoredInfluence) -> None:
    """Draw a reader of the measured pairs of the current target."""
    method, seed = scored.method, scored.run.seed if scored.method.pairs else 0
    sets = [target for target in parse_targets(method.targets) if target.name == scored.target]
    options = method.subtask or None, method.pairs or None, seed
    pairs.reader(sets, lambda source: cached.targets(visitors.check_path(source), *options))
