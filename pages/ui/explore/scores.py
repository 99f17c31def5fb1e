"""Score section: the distribution of one column, whether it is trustworthy, and what it correlates with."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import streamlit as st
from scipy.stats import spearmanr

from core.analysis.score_checks import MOSTLY_LENGTH, SATURATED, ScoreCheck, assess_score
from core.measurement.runs import Run
from core.methods import build_method
from core.schema import Method, Pool
from pages.ui import glossary
from pages.ui.charts import figures, histogram, scales
from pages.ui.controls import dragging, imported
from pages.ui.data import bins, cached, live_selection
from pages.ui.data.bins import Values
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore.picks import RANGE, pickable
from pages.ui.row import table
from pages.ui.select import subset
from pages.ui.shell import show, state
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
HEIGHT = 310  # of the histogram
MAX_CORRELATED_ROWS = 200_000  # rows for a rank correlation; its error is then about 0.002
STRONG = MOSTLY_LENGTH  # |Spearman| that is highlighted
CORRELATION_HELP = (
    f"{glossary.link('rank_correlation', 'Spearman correlation')} with other columns. Near ±1 the score is redundant "
    "with that column."
)


M = TypeVar("M", bound=Method)


@dataclass(frozen=True, eq=False)
class Scored(Generic[M]):
    """A run and the method that scores it, as currently set or as measured."""

    run: Run
    method: M

    @property
    def columns(self) -> dict[str, Values]:
        """Measured and scored columns, each (N,)."""
        return cached.columns(self.run, self.method)


def method_of(run: Run, live: LiveSelection, kind: type[M]) -> M:
    """Return the current method if it is of this kind, else the one that `run` was measured with."""
    method = live.method if isinstance(live.method, kind) else build_method(run.method["name"], run.method["params"])
    assert isinstance(method, kind)
    return method


# One column


def choose_column(run: Run, method: Method) -> str:
    """Let the user pick a column; the one that the method ranks by, or is shown by, comes first."""
    columns = cached.columns(run, method)
    first = [name for name in (method.ranks_by, display_column(method), *cached.scores(run, method)) if name in columns]
    hidden = () if columns["response_tokens"].any() else ("response_tokens",)
    numbers = [n for n in dict.fromkeys([*first, *columns]) if columns[n].dtype.kind in "fiu" and n not in hidden]
    names = [n for n in numbers if not is_identifier(n)]
    bound = state.view_choice("column", names, f"explore.column.{method.name}")
    return str(st.selectbox("Score", names, format_func=lambda name: meaning(name).label, **bound))


def verdict(run: Run, live: LiveSelection, column: str) -> str:
    """Return whether the score adds information, as a sentence."""
    label, checks = meaning(column).label, check_score(run, live.method, column)
    if checks.constant:
        return f"{label} has one value for all rows, so it ranks nothing."
    if checks.top_share > SATURATED:
        return f"{label} has one value for {checks.top_share:.0%} of rows, so it ranks few rows."
    if abs(checks.length_rho) >= MOSTLY_LENGTH and column != "response_tokens":
        return f"{label} mostly tracks response length (ρ = {format_rho(checks.length_rho)})."
    others = {n: v for n, v in zip(*rank_correlations(run, live.method, column), strict=True) if np.isfinite(v)}
    others = {n: v for n, v in others.items() if not are_related(n, column)}
    strong = [f"{meaning(n).label} (ρ = {format_rho(v)})" for n, v in others.items() if abs(v) >= STRONG]
    if strong or not others:
        return (
            f"{label} mostly tracks {join_words(strong)}." if strong else f"{label} has no other score to compare with."
        )
    nearest = max(others, key=lambda name: abs(others[name]))
    return (
        f"{label} adds information: its strongest correlation is with {meaning(nearest).label} "
        f"(ρ = {format_rho(others[nearest])})."
    )


def format_rho(rho: float) -> str:
    """Format a rank correlation with its sign: +0.48, −0.64."""
    return f"{rho:+.2f}".replace("-", "−")


def are_related(a: str, b: str) -> bool:
    """Return whether one column is computed from the other, or both are influence scores."""
    if all(name.partition(".")[0] in PER_TARGET for name in (a, b)):
        return True
    return a in PARTS.get(b, ()) or b in PARTS.get(a, ())


def describe_direction(run: Run, live: LiveSelection, column: str) -> str:
    """Describe which end of a column is preferred, or what its ends mean."""
    if column == live.method.ranks_by:
        return direction(column, live.method.prefer)
    if column == display_column(live.method):
        return direction_within_groups(column, live.method)
    end = imported.good_ends(run.pool_id).get(column)
    return describe_ends(column) if end is None else f"The {end}est is best, as chosen on import."


def describe_counts(run: Run, live: LiveSelection, column: str) -> str:
    """Count rows with the score, without it and excluded ones, in one line."""
    values = live_selection.columns(run, live)[column]
    missing = int((~np.isfinite(values)).sum())
    clauses = [f"{format_rows(len(values) - missing)} scored"]
    clauses += [f"{missing:,} without a score"] if missing else []
    clauses += [
        f"{len(rows):,} excluded: {escape_markdown(why)}" for why, rows in live.selection.order.excluded.items()
    ]
    return "; ".join(clauses) + "."


def draw_warnings(warnings: Iterable[str]) -> None:
    """Show warnings, for example of the score checks."""
    for warning in warnings:
        st.warning(escape_markdown(warning), icon=":material/warning:")


@cached.keep()
def check_score(run: Run, method: Method, column: str) -> ScoreCheck:
    """Check a column with `core.analysis.score_checks`."""
    columns = cached.columns(run, method)
    return assess_score(columns[column], columns["response_tokens"])


def draw_histogram(run: Run, live: LiveSelection, column: str) -> None:
    """Draw the histogram; bars clicked or dragged over are highlighted."""
    figure = histogram.histogram(**subset.histogram_layers(run, live, column), height=HEIGHT)
    line = f" Red line: selection {glossary.link('cutoff', 'cutoff')}." if column == live.method.ranks_by else ""
    caption = f"Histogram of scores. Dotted lines: {glossary.link('quantile', 'quantiles')}.{line}"
    alt = "Histogram of scores, with selected rows in colour; click or drag over bars to highlight their rows"

    def take(selection: Any) -> None:
        state.pick(dragging.range_of_bars(run, live, column, selection))

    pickable(figure, RANGE, caption, f"explore.histogram.{column}", alt, take=take)
    dragging.draw_cut(run, live, column)


def draw_highlighted(
    pool: Pool, run: Run, live: LiveSelection, column: str, values: Values | None = None, *, highest: bool = False
) -> None:
    """Draw a table of the highlighted rows by a column. `values` (N,): the column, if it is of another run.

    A method without a score has no such column: the rows are then in the order of the pool.
    """
    if live.highlight is None:
        st.caption("Pick rows in a figure, or search, to highlight them in every view and list them here.")
        return
    values = live_selection.columns(run, live).get(column) if values is None else values
    rows, order, first = live.highlighted, "", {}
    if values is not None:
        rows, label = bins.sort_by_value(rows, -values if highest else values), meaning(column).label
        order = f", {'highest' if highest else 'lowest'} {escape_markdown(label)} first"
        if column != display_column(live.method):  # which is in the table in any case
            first = {label: lambda row: scales.format_number(float(values[row])) if np.isfinite(values[row]) else ""}
    note = f"**{format_rows(len(rows))} highlighted**{order}"
    table.draw(pool, run, rows, key="explore", method=live.method, selection=live.selection, note=note, first=first)


# Correlations


def draw_correlations(run: Run, method: Method, column: str) -> None:
    """Draw the rank correlations of a column with all columns that it might merely repeat."""
    others, values = rank_correlations(run, method, column)
    if not others:
        return
    st.caption(CORRELATION_HELP)
    plot_correlations(
        others, values, column, "explore.follows", "Spearman correlations of the score with other columns"
    )
    if len(cached.columns(run, method)[column]) > MAX_CORRELATED_ROWS:
        st.caption(f"Computed from a sample of {MAX_CORRELATED_ROWS:,} rows.")


def plot_correlations(others: Sequence[str], values: Values, column: str, key: str, alt: str) -> None:
    """Plot the correlations of `column` with others; those that it is computed from are marked as parts."""
    labels = [meaning(name).label + (", a part" if name in PARTS.get(column, ()) else "") for name in others]
    expected = [are_related(name, column) for name in others]
    figure = histogram.correlations(labels, values, strong=STRONG, expected=expected)
    show.chart(figure, key=key, config=figures.CONFIG, alt=alt)


@cached.keep()
def rank_correlations(run: Run, method: Method, column: str) -> tuple[list[str], Values]:
    """Return the other columns and their Spearman correlation with this one; NaN if undefined."""
    columns = cached.columns(run, method)
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
