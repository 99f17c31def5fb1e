"""Percentiles of one row's scores in the pool, and its rank under every measured method."""

from dataclasses import replace

import numpy as np
import streamlit as st

from core import methods
from core.errors import WinnowError
from core.measurement.lookup import pick_run, reads_alike
from core.measurement.runs import Run, list_runs
from core.schema import Method, Pool, Row
from pages.ui.data import cached, live_selection
from pages.ui.data.bins import Values
from pages.ui.row import drawings
from pages.ui.row.drawings import RankLine, ScoreLine
from pages.ui.shell import show, state
from pages.ui.words import display_column, is_identifier, meaning

MeasuredMethod = tuple[Method, Run]


def measured_methods(pool: Pool) -> list[MeasuredMethod]:
    """Return every method that the pool is measured for under the present reading and settings, with its run.

    The current method comes first.
    """
    now = state.settings()
    runs = [run for run in list_runs(cached.workspace(), pool.fingerprint) if reads_alike(run, now.reading)]
    measured = []
    names = [name for name in methods.METHODS if name in methods.standalone_methods() or name in now.params]
    for name in dict.fromkeys([now.method, *names]):
        try:
            method = state.method(replace(now, method=name))
            run = pick_run(runs, pool, method, now.reading, now.seed)
        except WinnowError:  # a combination whose members are gone
            continue
        if run is not None:
            measured.append((method, run))
    return measured


# Scores


def draw_scores(pool: Pool, row: Row) -> None:
    """Draw value, percentile and meaning of every score that the row has."""
    if lines := score_lines(pool, row.index):
        st.html(drawings.score_table(lines))
    else:
        st.caption("This row has no scores yet.")


def score_lines(pool: Pool, row: int) -> list[ScoreLine]:
    """Return the row's scores of every method; missing ones are left out."""
    return _standings(measured_methods(pool), row)


@cached.keep(200)
def _standings(measured: list[MeasuredMethod], row: int) -> list[ScoreLine]:
    columns = {name: values for method, run in measured for name, values in _own_first(method, run).items()}
    for _, run in measured:
        for name, values in cached.measurements(run).columns.items():
            columns.setdefault(name, values)
    lines = (
        describe_score(name, values, row)
        for name, values in columns.items()
        if not is_identifier(name) and values.dtype.kind in "fiu" and values.any()
    )
    return [line for line in lines if np.isfinite(line.value)]


def _own_first(method: Method, run: Run) -> dict[str, Values]:
    """Return a method's own scores, the displayed one first."""
    own = cached.scores(run, method)
    return {name: own[name] for name in sorted(own, key=lambda one: one != display_column(method))}


def describe_score(name: str, values: Values, row: int) -> ScoreLine:
    """Return one score of a row with its percentile and its meaning."""
    about, value = meaning(name), float(values[row])
    lower, same, higher = (int(np.count_nonzero(mark)) for mark in (values < value, values == value, values > value))
    share = (lower + same / 2) / (lower + same + higher) if lower or higher else None
    words = about.explain(value, lower, max(same - 1, 0), higher)
    return ScoreLine(name, about.label, about.help, value, share, words)


# Ranks


def draw_ranks(pool: Pool, row: Row) -> None:
    """Draw the row's rank under every method, at the present filters, pins and budget."""
    with st.spinner("Ranking the rows under each method"):
        lines = rank_lines(pool, row.index)
    st.html(drawings.rank_table(lines, show.format_budget(state.budget())))


def rank_lines(pool: Pool, row: int) -> list[RankLine]:
    """Return the row's rank under each method."""
    return [_rank_line(pool, method, run, row) for method, run in measured_methods(pool)]


def _rank_line(pool: Pool, method: Method, run: Run, row: int) -> RankLine:
    now = state.settings()
    threshold = now.threshold if method.name == now.method else None  # it applies to the score of that method only
    try:
        recipe = state.recipe(pool, replace(now, method=method.name, threshold=threshold))
        selection = live_selection.select(pool, run, recipe)
    except WinnowError as error:  # a filter on a column that this method lacks
        return RankLine(method.label, None, 0, False, str(error))
    order, ranks = selection.order, np.flatnonzero(selection.order.rows == row)
    if not len(ranks):
        reasons = [reason for reason, rows in order.excluded.items() if row in rows]
        reason = f"excluded: {reasons[0]}" if reasons else "not ranked by this method"
        return RankLine(method.label, None, len(order.rows), False, reason)
    rank = int(ranks[0])
    pin = "always included" if rank < selection.n_pinned else ""
    return RankLine(method.label, rank, len(order.rows), rank < len(selection.rows), pin)
