"""Where one row stands: each score among those of the pool, and its place under every method that was measured."""

from dataclasses import replace

import numpy as np
import streamlit as st

from core import methods
from core.errors import WinnowError
from core.measurement.runs import Run, list_runs, pick_run, reads_alike
from core.schema import Method, Pool, Row
from pages.ui.data import cached, live_selection
from pages.ui.data.bins import Values
from pages.ui.row import drawings
from pages.ui.row.answers import percentile
from pages.ui.row.drawings import RankLine, ScoreLine
from pages.ui.shell import show, state
from pages.ui.words import IDENTIFIER_COLUMNS, display_column, meaning

LOW, HIGH = 1 / 3, 2 / 3  # shares of the pool's rows below: a low value, a high one
MIDDLE = "about the middle of the pool"
MeasuredMethod = tuple[Method, Run]


def measured_methods(pool: Pool) -> list[MeasuredMethod]:
    """Every method that this pool is measured for under the present reading and settings, with its run.

    The one in use comes first.
    """
    now = state.settings()
    runs = [run for run in list_runs(cached.workspace(), pool.fingerprint) if reads_alike(run, now.reading)]
    found = []
    wanted = [name for name in methods.METHODS if name in methods.standalone_methods() or name in now.params]
    for name in dict.fromkeys([now.method, *wanted]):
        try:
            method = state.method(replace(now, method=name))
            run = pick_run(runs, pool, method, now.reading, now.seed)
        except WinnowError:  # what one was told to put together is there no more
            continue
        if run is not None:
            found.append((method, run))
    return found


# Scores


def draw_scores(pool: Pool, row: Row) -> None:
    """Score, value, percentile and what it says, for all that is known of the row."""
    lines = score_lines(pool, row.index)
    if not lines:
        st.caption("This row has no score yet.")
        return
    st.html(drawings.score_table(lines))


def score_lines(pool: Pool, row: int) -> list[ScoreLine]:
    """The row's scores of every method; those that it has not are left out."""
    known = measured_methods(pool)
    key = "\n".join(f"{run.id} {cached.method_key(method)}" for method, run in known)
    return _standings(pool.fingerprint, key, row, str(cached.workspace().root), known)


@st.cache_resource(show_spinner=False, max_entries=200)
def _standings(fingerprint: str, key: str, row: int, root: str, _known: list[MeasuredMethod]) -> list[ScoreLine]:
    columns = {name: values for method, run in _known for name, values in _own_first(method, run).items()}
    for _, run in _known:
        for name, values in cached.measurements(run).columns.items():
            columns.setdefault(name, values)
    made = (
        _standing(name, values, row)
        for name, values in columns.items()
        if name not in IDENTIFIER_COLUMNS and values.dtype.kind in "fiu" and values.any()
    )
    return [one for one in made if np.isfinite(one.value)]


def _own_first(method: Method, run: Run) -> dict[str, Values]:
    """A method's own scores, the one that it is looked at by before the rest."""
    own = cached.scores(run, method)
    return {name: own[name] for name in sorted(own, key=lambda one: one != display_column(method))}


def _standing(name: str, values: Values, row: int) -> ScoreLine:
    about, (value, share) = meaning(name), percentile(values, row)
    if share == 0.5 and not (np.isfinite(values) & (values != value)).any():
        return ScoreLine(about.label, about.help, value, None, "nothing: it tells no row from another")
    says = about.low if share <= LOW else about.high if share >= HIGH else MIDDLE
    return ScoreLine(about.label, about.help, value, share, says)


# Ranks


def draw_ranks(pool: Pool, row: Row) -> None:
    """Its place under every method, at the present filters, pins and budget."""
    with st.spinner("Putting the rows in order, once for each method"):
        lines = rank_lines(pool, row.index)
    st.html(drawings.rank_table(lines, show.format_budget(state.budget())))


def rank_lines(pool: Pool, row: int) -> list[RankLine]:
    """The row's place under each method."""
    return [_place(pool, method, run, row) for method, run in measured_methods(pool)]


def _place(pool: Pool, method: Method, run: Run, row: int) -> RankLine:
    now = state.settings()
    limit = now.threshold if method.name == now.method else None  # a threshold is on that method's score
    try:
        chosen = live_selection.select(pool, run, state.recipe(pool, replace(now, method=method.name, threshold=limit)))
    except WinnowError as error:  # a filter on a column that it has not
        return RankLine(method.label, None, 0, False, str(error))
    order, found = chosen.order, np.flatnonzero(chosen.order.rows == row)
    if not len(found):
        why = next((why for why, rows in order.excluded.items() if row in rows), "it has no place in this order")
        return RankLine(method.label, None, len(order.rows), False, f"not eligible: {why}")
    place = int(found[0])
    by_hand = "pinned in" if place < chosen.n_pinned else ""
    return RankLine(method.label, place, len(order.rows), place < len(chosen.rows), by_hand)
