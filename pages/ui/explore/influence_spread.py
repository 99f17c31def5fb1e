"""Distribution of influence over the rows of the pool, per target, and its relation to response length."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.analysis.score_checks import MOSTLY_LENGTH
from core.measurement.runs import Run
from core.schema import IntArray, Method, Pool
from pages.ui.charts import influence
from pages.ui.charts.influence import Ridge
from pages.ui.charts.scales import format_number
from pages.ui.controls import dragging
from pages.ui.data import bins, cached, planes
from pages.ui.data.bins import Binned, Grid, Values
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import scores
from pages.ui.explore.influence import SCORE, ScoredInfluence, check_score
from pages.ui.explore.picks import DOTS_HELP, clickable, draw_plane
from pages.ui.shell import state
from pages.ui.shell.terms import Match
from pages.ui.words import escape_markdown, meaning

NEGLIGIBLE_RHO = 0.2  # |Spearman| with length that counts as no correlation


# Every target


@dataclass(frozen=True, eq=False)
class InfluenceSpread:
    """Distribution of the scores of several targets over shared bins."""

    edges: Values  # (B + 1,)
    place: IntArray  # (T, N) bin of each row; −1: no score
    helping: Values  # (T,) share of scored rows above 0
    median: Values  # (T,)
    rho: Values  # (T,) Spearman with response length


def compute_spread(scored: ScoredInfluence) -> InfluenceSpread:
    """Compute the spreads for the targets shown and the current loss; cached."""
    return _spread(scored.run, scored.prefix, scored.targets, scored)


@cached.keep(cached.MAX_POOLS)
def _spread(run: Run, prefix: str, targets: list[str], _scored: ScoredInfluence) -> InfluenceSpread:
    columns = np.stack([_scored.columns[_scored.column_of(name)] for name in targets])
    binned = bins.bin_values(columns.ravel())
    finite = [values[np.isfinite(values)] for values in columns]
    tokens = _scored.columns["response_tokens"]
    return InfluenceSpread(
        binned.edges,
        binned.place.reshape(columns.shape),
        np.array([(v > 0).mean() if len(v) else np.nan for v in finite]),
        np.array([np.median(v) if len(v) else np.nan for v in finite]),
        np.array([scores.spearman(values, tokens) for values in columns]),
    )


def draw_ridges(scored: ScoredInfluence, live: LiveSelection) -> None:
    """Draw a histogram per target; the rows of a clicked bar are highlighted."""
    spread = compute_spread(scored)
    selected, order = live.selection.rows, live.selection.order.rows
    targets = []
    for place, name, helping, median in zip(spread.place, scored.targets, spread.helping, spread.median, strict=True):
        binned = Binned(spread.edges, place, log=False)
        layers = {"selected": binned.counts(selected), "unselected": binned.counts(order[len(selected) :])}
        layers["excluded"] = binned.counts() - layers["selected"] - layers["unselected"]
        is_ranking = name == scored.target and scored.ranks_rows and scored.method is live.method
        summary = f"{100 * helping:.0f}% help, median {format_number(float(median))}"
        summary = "no row has a score" if np.isnan(helping) else summary
        lit = None if live.highlight is None else binned.counts(live.highlight)
        targets.append(Ridge(name, summary, layers, live.cutoff if is_ranking else None, lit))
    figure = influence.ridges(spread.edges, targets, title=meaning(scored.prefix).title)
    alt = "Histogram of influence for each target, with selected rows in colour; click a bar to highlight its rows"

    def take(point: Any) -> None:
        target, place = point["customdata"][:2]
        state.pick(term_of(scored, target, place))

    clickable(figure, "explore.influence.ridges", alt, take=take)


def term_of(scored: ScoredInfluence, target: int, place: int) -> Match:
    """Return the term of one bar of a target."""
    spread, column = compute_spread(scored), scored.column_of(scored.targets[target])
    binned = Binned(spread.edges, spread.place[target], log=False)
    return dragging.range_of(column, scored.columns[column], binned, place, place)


# Influence by length


def draw_length_plane(pool: Pool, scored: ScoredInfluence, live: LiveSelection) -> None:
    """Draw the score against response length; rows inside a lasso are highlighted, and a clicked dot is opened."""
    x, y = bins.log10(scored.columns["response_tokens"]), scored.columns[SCORE]
    grid, dots = _density_and_sample(scored.run, scored.method)
    cut = live.cutoff if scored.ranks_rows and scored.method is live.method else None
    figure = influence.length_plane(grid, planes.split_by_layer(live, dots, x, y), cut=cut)
    alt = "Influence against response length, with selected rows in colour"
    caption = f"{describe_length_correlation(scored)} {DOTS_HELP}"
    column = scored.column_of(scored.target)
    draw_plane(pool, figure, caption, "explore.influence.length", alt, x="response_tokens", y=column, log=True)


@cached.keep()
def _density_and_sample(run: Run, method: Method) -> tuple[Grid, IntArray]:
    """Return the density of all rows and a fixed sample of them."""
    columns = cached.columns(run, method)
    x, y = bins.log10(columns["response_tokens"]), columns[SCORE]
    both = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    return bins.count_grid(x, y), bins.sample_rows(both, bins.MAX_DOTS)


def describe_length_correlation(scored: ScoredInfluence) -> str:
    """Describe the rank correlation with response length, in markdown."""
    rho = check_score(scored).length_rho
    if np.isnan(rho):
        return "The rank correlation with response length is undefined: too few rows, or equal values."
    degree = "barely" if abs(rho) < NEGLIGIBLE_RHO else "mostly" if abs(rho) >= MOSTLY_LENGTH else "partly"
    direction = f", {'longer' if rho > 0 else 'shorter'} responses score higher" if degree != "barely" else ""
    values = zip(scored.targets, compute_spread(scored).rho, strict=True)
    other_targets = [f"{escape_markdown(name)} {_signed(value)}" for name, value in values if name != scored.target]
    others_text = f" Other targets: {', '.join(other_targets)}." if other_targets else ""
    return f"Influence **{degree} tracks response length** (ρ = {_signed(rho)}){direction}.{others_text}"


def _signed(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:+.2f}".replace("-", "−")
