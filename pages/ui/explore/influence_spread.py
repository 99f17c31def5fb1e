"""Distribution of influence over the rows of the pool, per target, and its relation to response length."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from core.analysis.score_checks import MOSTLY_LENGTH
from core.schema import IntArray
from pages.ui.charts import entropy_shift, figures, influence
from pages.ui.charts.influence import Ridge
from pages.ui.charts.scales import describe_bin, format_number
from pages.ui.data import bins, cached, planes
from pages.ui.data.bins import Binned, Grid, Values
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import scores
from pages.ui.explore.influence import COLUMN_PREFIX, SCORE, ScoredInfluence, check_score
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
    return _spread(scored.run.id, scored.method.objective, tuple(scored.targets), str(cached.workspace().root), scored)


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_POOLS)
def _spread(
    run_id: str, objective: str, targets: tuple[str, ...], root: str, _scored: ScoredInfluence
) -> InfluenceSpread:
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


def draw_ridges(scored: ScoredInfluence, live: LiveSelection) -> tuple[IntArray, str] | None:
    """Draw a histogram per target; return the rows of a clicked bar with a description."""
    spread = compute_spread(scored)
    selected, order = live.selection.rows, live.selection.order.rows
    targets = []
    for place, name, helping, median in zip(spread.place, scored.targets, spread.helping, spread.median, strict=True):
        binned = Binned(spread.edges, place, log=False)
        layers = {"selected": binned.counts(selected), "not selected": binned.counts(order[len(selected) :])}
        layers["not eligible"] = binned.counts() - layers["selected"] - layers["not selected"]
        is_ranking = name == scored.method.ranking_target and scored.ranks_rows and scored.method is live.method
        summary = (
            "no row scored"
            if np.isnan(helping)
            else f"{100 * helping:.0f} % help, median {format_number(float(median))}"
        )
        targets.append(Ridge(name, summary, layers, live.cutoff if is_ranking else None))
    title = meaning(COLUMN_PREFIX[scored.method.objective]).title
    event = st.plotly_chart(
        influence.ridges(spread.edges, targets, title=title),
        key="explore.influence.ridges",
        config=figures.CONFIG,
        on_select="rerun",
        selection_mode="points",
        alt="Rows by influence, for each target, the chosen ones lit; click a bar to read its rows",
    )
    clicked = {tuple(point["customdata"][:2]) for point in event["selection"]["points"]}
    if not clicked:
        return None
    target, at = min(clicked)
    name, rows = scored.targets[target], np.flatnonzero(spread.place[target] == at)
    description = f"influence on {name} {describe_bin(spread.edges, at)}"
    return bins.sort_by_value(rows, -scored.columns[f"{COLUMN_PREFIX[scored.method.objective]}.{name}"]), description


# Influence by length


def draw_length_plane(scored: ScoredInfluence, live: LiveSelection) -> tuple[IntArray, str] | None:
    """Draw the score against response length; return the rows of a clicked dot or a lasso with a description."""
    x, y = log10_tokens(scored.columns["response_tokens"]), scored.columns[SCORE]
    grid, dots = _density_and_sample(*scored.cache_key, str(cached.workspace().root), scored)
    is_ranking = scored.ranks_rows and scored.method is live.method
    event = st.plotly_chart(
        influence.length_plane(grid, planes.split_by_layer(live, dots, x, y), cut=live.cutoff if is_ranking else None),
        key="explore.influence.length",
        config=entropy_shift.LASSO_CONFIG,
        on_select="rerun",
        alt="Influence against response length, the chosen rows lit",
    )
    rows = planes.find_marked_rows(event["selection"], x, y)
    if not len(rows):
        return None
    description = "inside what you drew, most helpful first" if len(rows) > 1 else "the row that you clicked"
    return bins.sort_by_value(rows, -y), description


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_TABLES)
def _density_and_sample(run_id: str, key: str, root: str, _scored: ScoredInfluence) -> tuple[Grid, IntArray]:
    """Return the density of all rows and a fixed sample of them."""
    x, y = log10_tokens(_scored.columns["response_tokens"]), _scored.columns[SCORE]
    both = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    return bins.count_grid(x, y), bins.sample_rows(both, bins.MAX_DOTS)


def log10_tokens(tokens: IntArray) -> Values:
    """Return log10 of the token counts; NaN for 0."""
    return np.log10(tokens, out=np.full(len(tokens), np.nan), where=tokens > 0)


def describe_length_correlation(scored: ScoredInfluence) -> str:
    """Describe the rank correlation with response length, in markdown."""
    rho = check_score(scored).length_rho
    if np.isnan(rho):
        return "No rank correlation with length: too few rows, or all alike."
    longer = "longer" if rho > 0 else "shorter"
    direction = f"it is higher the {longer} the response"
    degree = "mostly: " if abs(rho) >= MOSTLY_LENGTH else "in part: "
    strength = "hardly at all" if abs(rho) < NEGLIGIBLE_RHO else degree + direction
    other_targets = [
        f"{escape_markdown(name)} {_signed(value)}"
        for name, value in zip(scored.targets, compute_spread(scored).rho, strict=True)
        if name != scored.method.ranking_target
    ]
    others_text = f" Other targets: {', '.join(other_targets)}." if other_targets else ""
    return f"Follows length **{strength}** (Spearman {_signed(rho)}).{others_text}"


def _signed(value: float) -> str:
    return "none" if np.isnan(value) else f"{value:+.2f}".replace("-", "−")
