"""Answers section: how far apart a row's generated answers are, in how many directions, and what the score follows."""

from collections.abc import Mapping

import numpy as np
import streamlit as st

from core.analysis.score_checks import ScoreCheck
from core.measurement.runs import Run
from core.methods import build_method
from core.methods.answer_divergence import AnswerDivergence
from core.models.generation.answers import AnswerCounts
from core.schema import IntArray, Method, Pool
from pages.ui import glossary
from pages.ui.charts import answer_divergence
from pages.ui.charts.scales import format_number
from pages.ui.data import distribution, planes
from pages.ui.data.bins import Values
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import scores
from pages.ui.explore.picks import DOTS_HELP, draw_plane
from pages.ui.explore.scores import Scored
from pages.ui.row.answer_source import answer_counts
from pages.ui.words import format_rows, meaning

PLANE = ("dispersion", "anisotropy")
SCORE = "divergence"
DOMINANT = 0.9  # Spearman with one of D and I from which it alone decides, unless the other correlates strongly too
LINE_QUANTILES = (0.01, 0.99)  # quantiles of the score that bound the lines of equal score
COMPARED_COLUMNS = ("response_tokens", "prompt_tokens", "nll", "entropy")  # columns that the score might merely repeat


class ScoredAnswers(Scored[AnswerDivergence]):
    """The run with generated answers and the method that scores it, as currently set or as measured."""

    @property
    def measured_method(self) -> Method:
        """The method with its measured parameters; sliders change neither D nor I."""
        return build_method(self.run.method["name"], self.run.method["params"])


def score_answers(run: Run, live: LiveSelection) -> ScoredAnswers:
    """Score a run with generated answers, with the current weight if answer divergence is the current method."""
    return ScoredAnswers(run, scores.method_of(run, live, AnswerDivergence))


# Text


def effective_directions(anisotropy: Values) -> Values:
    """Return 1 / (1 − I), the number of equally used directions with the same spread. 1: one line; at most K − 1."""
    return 1 / (1 - anisotropy)


def headline(scored: ScoredAnswers, live: LiveSelection) -> str:
    """Return the section's result as a sentence."""
    selected, everything = (medians(scored, rows) for rows in (live.selection.rows, None))
    if everything is None:
        return "No row has two answers to compare."
    if selected is None:
        return "No selected row has two answers to compare." if len(live.selection.rows) else "No row is selected."
    (spread, ways), (all_spread, all_ways) = selected, everything
    times = f" {spread / all_spread:.2f}× as much" if all_spread > 0 else ""
    numbers = f"{format_number(spread)}, compared with {format_number(all_spread)} for all rows"
    return f"Answers to selected rows vary{times} ({numbers}), in {ways:.1f} directions (all rows: {all_ways:.1f})."


def medians(scored: ScoredAnswers, rows: IntArray | None = None) -> tuple[float, float] | None:
    """Return the median D and the median I as directions, of `rows` (None: all); None if no row has a value."""
    dispersion, anisotropy = (v if rows is None else v[rows] for v in (scored.columns[name] for name in PLANE))
    if not np.isfinite(dispersion).any():
        return None
    return float(np.nanmedian(dispersion)), float(effective_directions(np.nanmedian(anisotropy)))


def reading_help(scored: ScoredAnswers) -> str:
    """Explain the two numbers in the headline, in markdown."""
    k = scored.run.method["params"]["answers"]
    return (
        f"Medians over rows. {glossary.link('dispersion')}: mean squared distance of a row's answers from their mean; "
        f"0 = identical, {1 - 1 / k:.2g} = unrelated. Directions: 1 / (1 − {glossary.link('anisotropy', 'I')}); "
        f"1 = all answers on one line, {k - 1} = the maximum."
    )


def describe_answer_counts(counts: AnswerCounts, k: int) -> str:
    """Describe missing, empty, refused and truncated answers in one line, without the counts that are 0."""
    parts = {
        "missing": counts.missing,
        "empty": counts.empty,
        "started with a refusal": counts.refused,
        "hit the token limit": counts.truncated,
    }
    problems = [f"{n:,} {name} ({_share(n, counts.asked)})" for name, n in parts.items() if n]
    clauses = [f"{counts.asked:,} answers to {format_rows(counts.rows)}"]
    clauses += problems or ["none missing, empty, refused or at the token limit"]
    if counts.short_rows:
        scored = "scored from the answers present, slightly too low"
        clauses.append(f"{format_rows(counts.short_rows)} with fewer than {k} answers: {scored}")
    if counts.lone_rows:
        clauses.append(f"{format_rows(counts.lone_rows)} with fewer than two answers: no score")
    return " · ".join(clauses) + "."


def _share(n: int, of: int) -> str:
    share = 100 * n / max(of, 1)
    return "under 0.1%" if share < 0.1 else f"{share:.1f}%"


def describe_counts(scored: ScoredAnswers) -> str:
    """Describe missing, empty, refused and truncated answers; from the columns if the run stores no counts."""
    k, counts = scored.run.method["params"]["answers"], answer_counts(scored.run)
    if counts is not None:
        return describe_answer_counts(counts, k)
    answered = scored.columns["answers_counted"]
    rows, missing = len(answered), int((k - answered).sum())
    short, lone = int((answered < k).sum()), int((answered < 2).sum())
    return describe_answer_counts(AnswerCounts(rows, k * rows, missing, 0, 0, 0, short, lone), k)


# D against I


def draw_directions(pool: Pool, scored: ScoredAnswers, live: LiveSelection) -> None:
    """Draw the plane of D and I; rows inside a lasso are highlighted, and a clicked dot is opened."""
    x, y = (scored.columns[name] for name in PLANE)
    low, high = np.nanquantile(scored.columns[SCORE], LINE_QUANTILES)
    dots = distribution.sample_scored_rows(scored.run, scored.measured_method, PLANE)
    figure = answer_divergence.divergence_plane(
        distribution.density(scored.run, scored.measured_method, PLANE),
        planes.split_by_layer(live, dots, x, y),
        weight=scored.method.dispersion_weight,
        score=(float(low), float(high)),
        titles=(meaning(PLANE[0]).title, meaning(PLANE[1]).title),
    )
    alt = "Dispersion against anisotropy of generated answers, with selected rows in colour"
    draw_plane(pool, figure, describe_plane(scored), "explore.answers", alt, x=PLANE[0], y=PLANE[1])


def describe_plane(scored: ScoredAnswers) -> str:
    """Explain the lines of equal score and the dots, in markdown."""
    w = scored.method.dispersion_weight
    return f"Dotted lines: equal {glossary.link('divergence', 'score')} {w:.2g} · D + {1 - w:.2g} · I. {DOTS_HELP}"


# Correlations


def draw_correlations(scored: ScoredAnswers) -> None:
    """Draw the Spearman correlations of the score and name the part that decides alone, if one does."""
    correlations = dict(zip(*scores.rank_correlations(scored.run, scored.method, SCORE), strict=True))
    compared = {name: value for name, value in correlations.items() if name in (*COMPARED_COLUMNS, *PLANE)}
    st.caption(f"{scores.CORRELATION_HELP} {describe_dominant_part(correlations)}")
    values, alt = np.array(list(compared.values())), "Spearman correlations of divergence with other columns"
    scores.plot_correlations(list(compared), values, SCORE, "explore.answers.follows", alt)


def describe_dominant_part(correlations: Mapping[str, float]) -> str:
    """Return a sentence in markdown naming whichever of D and I decides alone; empty if both matter."""
    for part, other in (PLANE, PLANE[::-1]):
        if correlations.get(part, 0.0) >= DOMINANT and not abs(correlations.get(other, 1.0)) >= scores.STRONG:
            name, other_name = (meaning(column).label[0] for column in (part, other))
            return f"**{name} alone decides the score here**: {other_name} differs too little between rows."
    return ""


def check_score(scored: ScoredAnswers) -> ScoreCheck:
    """Check the score with `core.analysis.score_checks`."""
    return scores.check_score(scored.run, scored.method, SCORE)
