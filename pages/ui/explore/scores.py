"""Score section: the distribution of one column, whether it is trustworthy, and what it correlates with."""

from collections.abc import Sequence

import numpy as np
import streamlit as st
from scipy.stats import spearmanr

from core.analysis.score_checks import MOSTLY_LENGTH, SATURATED, ScoreCheck, assess_score
from core.measurement.runs import Run
from core.schema import IntArray, Method, Pool
from pages.ui.charts import figures, histogram
from pages.ui.controls import dragging
from pages.ui.data import bins, cached, live_selection
from pages.ui.data.bins import Values
from pages.ui.data.live_selection import LiveSelection
from pages.ui.row import reader
from pages.ui.select import subset
from pages.ui.words import (
    PER_TARGET,
    describe_ends,
    direction,
    direction_within_groups,
    display_column,
    escape_markdown,
    format_rows,
    is_identifier,
    join_words,
    meaning,
)

COMPARED_COLUMNS = (
    "delta_nll",
    "delta_entropy",
    "coverage_gain",
    "response_tokens",
    "prompt_tokens",
    "nll",
    "entropy",
    "task_confidence",
    "divergence",
    "dispersion",
    "anisotropy",
)
PARTS = {"divergence": ("dispersion", "anisotropy")}  # correlated by construction
HEIGHT = 330  # of the histogram
MAX_CORRELATED_ROWS = 200_000  # rows for a rank correlation; its error is then about 0.002
STRONG = MOSTLY_LENGTH  # |Spearman| that is highlighted


# One column


def choose_column(run: Run, method: Method) -> str:
    """Let the user pick a column; the one that the method ranks by comes first."""
    columns = cached.columns(run, method)
    first = [name for name in (method.ranks_by, *cached.scores(run, method)) if name in columns]
    hidden = () if columns["response_tokens"].any() else ("response_tokens",)
    numbers = [n for n in dict.fromkeys([*first, *columns]) if columns[n].dtype.kind in "fiu" and n not in hidden]
    names = [n for n in numbers if not is_identifier(n)]
    return str(
        st.selectbox(
            "Score",
            names,
            format_func=lambda name: meaning(name).label,
            key=f"explore.column.{method.name}",
            persist_state="session",
        )
    )


def verdict(run: Run, live: LiveSelection, column: str) -> str:
    """Return whether the score adds information, as a short title."""
    label, checks = meaning(column).label, check_score(run, live.method, column)
    if checks.constant:
        return f"{label} orders nothing"
    if checks.top_share > SATURATED:
        return f"{label} is mostly one value"
    if abs(checks.length_rho) >= MOSTLY_LENGTH and column != "response_tokens":
        return f"{label} is mostly length"
    names, values = rank_correlations(run, live.method, column)
    strong = [
        meaning(n).label for n, v in zip(names, values, strict=True) if abs(v) >= STRONG and not are_related(n, column)
    ]
    return f"{label} mostly follows {join_words(strong)}" if strong else f"{label} says something of its own"


def are_related(a: str, b: str) -> bool:
    """Return whether one column is computed from the other, or both are influence scores."""
    if all(name.partition(".")[0] in PER_TARGET for name in (a, b)):
        return True
    return a in PARTS.get(b, ()) or b in PARTS.get(a, ())


def describe_direction(live: LiveSelection, column: str) -> str:
    """Describe which end of a column is preferred, or what its ends mean."""
    if column == live.method.ranks_by:
        return direction(column, live.method.prefer)
    if column == display_column(live.method):
        return direction_within_groups(column, live.method)
    return describe_ends(column)


def describe_counts(run: Run, live: LiveSelection, column: str) -> str:
    """Count rows with the score, without it and excluded ones, in one line."""
    values = live_selection.columns(run, live)[column]
    missing = int((~np.isfinite(values)).sum())
    clauses = [f"{len(values) - missing:,} rows have this score"]
    clauses += [f"{missing:,} have none"] if missing else []
    excluded = live.selection.order.excluded
    clauses += [f"{len(rows):,} left out: {why}" for why, rows in excluded.items()]
    return " · ".join(clauses) + "."


def draw_warnings(run: Run, method: Method, column: str) -> None:
    """Show the warnings of the score checks."""
    if column == "response_tokens":  # length itself
        return
    for warning in check_score(run, method, column).warnings:
        st.warning(escape_markdown(warning), icon=":material/warning:")


def check_score(run: Run, method: Method, column: str) -> ScoreCheck:
    """Check a column with `core.analysis.score_checks`."""
    return _check_score(run.id, cached.method_key(method), column, run, method)


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_TABLES)
def _check_score(run_id: str, key: str, column: str, _run: Run, _method: Method) -> ScoreCheck:
    columns = cached.columns(_run, _method)
    return assess_score(columns[column], columns["response_tokens"])


def draw_histogram(run: Run, live: LiveSelection, column: str) -> tuple[IntArray, str] | None:
    """Draw the histogram; return the rows of the bars clicked or dragged over with a description."""
    figure = histogram.histogram(**subset.histogram_layers(run, live, column), height=HEIGHT)
    figure["layout"] |= dragging.DRAG_LAYOUT
    event = st.plotly_chart(
        figure,
        key=f"explore.histogram.{column}",
        config=figures.CONFIG,
        on_select="rerun",
        selection_mode=("points", "box"),
        alt="Rows by score, the chosen ones lit; click a bar or drag over several to read their rows",
    )
    bars = dragging.marked_bars(event)
    dragging.draw_actions(run, live, column, bars)
    return None if bars is None else dragging.rows_in_bars(run, live, column, *bars)


def draw_rows(pool: Pool, run: Run, live: LiveSelection, rows: IntArray, description: str, *, key: str) -> None:
    """Draw a reader for the clicked rows."""
    reader.reader(
        pool,
        run,
        rows,
        key=f"explore.{key}",
        method=live.method,
        selection=live.selection,
        columns=live_selection.columns(run, live),
        note=f"**{format_rows(len(rows))}** · {escape_markdown(description)}",
    )


# Correlations


def draw_correlations(run: Run, method: Method, column: str) -> None:
    """Draw the rank correlations of a column with all columns that it might merely repeat."""
    others, values = rank_correlations(run, method, column)
    if not others:
        return
    st.caption("Rank correlation (Spearman): near ±1 the score says nothing of its own.")
    expected = [are_related(name, column) for name in others]
    figure = histogram.correlations(column_labels(others, column), values, strong=STRONG, expected=expected)
    st.plotly_chart(figure, key="explore.follows", config=figures.CONFIG, alt="Spearman correlations of the score")
    if len(cached.columns(run, method)[column]) > MAX_CORRELATED_ROWS:
        st.caption(f"From a fixed sample of {MAX_CORRELATED_ROWS:,} rows.")


def column_labels(others: Sequence[str], column: str) -> list[str]:
    """Return display names of columns; those that `column` is computed from are marked as parts."""
    return [meaning(name).label + (", a part" if name in PARTS.get(column, ()) else "") for name in others]


def rank_correlations(run: Run, method: Method, column: str) -> tuple[list[str], Values]:
    """Return the other columns and their Spearman correlation with this one; NaN if undefined."""
    return _rank_correlations(run.id, cached.method_key(method), column, run, method)


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_TABLES)
def _rank_correlations(run_id: str, key: str, column: str, _run: Run, _method: Method) -> tuple[list[str], Values]:
    columns = cached.columns(_run, _method)
    candidates = [*COMPARED_COLUMNS, *(name for name in columns if name.startswith("influence."))]
    others = [name for name in candidates if name in columns and name != column and columns[name].any()]
    names = [name for name in others if not np.array_equal(columns[name], columns[column], equal_nan=True)]
    return names, np.array([spearman(columns[column], columns[name]) for name in names])


def spearman(a: Values, b: Values) -> float:
    """Compute the rank correlation over the rows with both values; NaN if undefined. Large pools are sampled."""
    rows = bins.sample_rows(np.flatnonzero(np.isfinite(a) & np.isfinite(b)), MAX_CORRELATED_ROWS)
    a, b = a[rows], b[rows]
    if len(a) < 3 or a.min() == a.max() or b.min() == b.max():
        return float("nan")
    return float(spearmanr(a, b).statistic)
