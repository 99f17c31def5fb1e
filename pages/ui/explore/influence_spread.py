"""Distribution of influence over the rows of the pool, per target, and its relation to response length."""

from dataclasses import dataclass

import numpy as np

from core.analysis.score_checks import MOSTLY_LENGTH
from core.measurement.runs import Run
from core.schema import IntArray, Method
from pages.ui.charts import influence
from pages.ui.charts.influence import Ridge
from pages.ui.charts.scales import describe_bin, format_number
from pages.ui.data import bins, cached, planes
from pages.ui.data.bins import Binned, Grid, Values
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import scores
from pages.ui.explore.influence import COLUMN_PREFIX, SCORE, ScoredInfluence, check_score
from pages.ui.explore.picks import DOTS_HELP, Pick, best_marked_rows, clicked_points
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
    return _spread(scored.run, scored.method.objective, scored.targets, scored)


@cached.keep(cached.MAX_POOLS)
def _spread(run: Run, objective: str, targets: list[str], _scored: ScoredInfluence) -> InfluenceSpread:
    columns = np.stack([_scored.columns[f"{COLUMN_PREFIX[objective]}.{name}"] for name in targets])
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


def draw_ridges(scored: ScoredInfluence, live: LiveSelection) -> Pick | None:
    """Draw a histogram per target; return the rows of a clicked bar with a description."""
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
        targets.append(Ridge(name, summary, layers, live.cutoff if is_ranking else None))
    prefix = COLUMN_PREFIX[scored.method.objective]
    figure = influence.ridges(spread.edges, targets, title=meaning(prefix).title)
    alt = "Histogram of influence for each target, with selected rows in colour; click a bar to list its rows"
    points = clicked_points(figure, "explore.influence.ridges", alt)
    if not points:
        return None
    target, at = min(tuple(point["customdata"][:2]) for point in points)
    name, rows = scored.targets[target], np.flatnonzero(spread.place[target] == at)
    description = f"influence on {name} {describe_bin(spread.edges, at)}"
    return bins.sort_by_value(rows, -scored.columns[f"{prefix}.{name}"]), description


# Influence by length


def draw_length_plane(scored: ScoredInfluence, live: LiveSelection) -> Pick | None:
    """Draw the score against response length; return the rows of a clicked dot or a lasso with a description."""
    x, y = log10_tokens(scored.columns["response_tokens"]), scored.columns[SCORE]
    grid, dots = _density_and_sample(scored.run, scored.method)
    cut = live.cutoff if scored.ranks_rows and scored.method is live.method else None
    figure = influence.length_plane(grid, planes.split_by_layer(live, dots, x, y), cut=cut)
    alt = "Influence against response length, with selected rows in colour"
    caption = f"{describe_length_correlation(scored)} {DOTS_HELP}"
    return best_marked_rows(figure, caption, "explore.influence.length", alt, x, y, y, "most helpful")


@cached.keep()
def _density_and_sample(run: Run, method: Method) -> tuple[Grid, IntArray]:
    """Return the density of all rows and a fixed sample of them."""
    columns = cached.columns(run, method)
    x, y = log10_tokens(columns["response_tokens"]), columns[SCORE]
    both = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    return bins.count_grid(x, y), bins.sample_rows(both, bins.MAX_DOTS)


def log10_tokens(tokens: IntArray) -> Values:
    """Return log10 of the token counts; NaN for 0."""
    return np.log10(tokens, out=np.full(len(tokens), np.nan), where=tokens > 0)


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
