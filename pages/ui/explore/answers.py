"""Answers section: how far apart a row's generated answers are, in how many directions, and what the score follows."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import streamlit as st

from core.analysis.score_checks import ScoreCheck
from core.measurement.runs import Run
from core.methods import build_method
from core.methods.answer_divergence import AnswerDivergence
from core.models.generation.answers import AnswerCounts
from core.schema import IntArray, Method
from pages.ui.charts import answer_divergence, entropy_shift, figures, histogram
from pages.ui.data import bins, cached, distribution, planes
from pages.ui.data.bins import Values
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import scores
from pages.ui.row.answer_source import answer_counts
from pages.ui.words import format_rows, meaning

PLANE = ("dispersion", "anisotropy")
SCORE = "divergence"
DOMINANT = 0.9  # Spearman with one of D and I from which it alone decides, unless the other correlates strongly too
LINE_QUANTILES = (0.01, 0.99)  # quantiles of the score that bound the lines of equal score
COMPARED_COLUMNS = ("response_tokens", "prompt_tokens", "nll", "entropy")  # columns that the score might merely repeat


@dataclass(frozen=True, eq=False)
class ScoredAnswers:
    """The run with generated answers and the method that scores it, as currently set or as measured."""

    run: Run
    method: AnswerDivergence

    @property
    def measured(self) -> Method:
        """The method with its measured parameters; sliders change neither D nor I."""
        return build_method(self.run.method["name"], self.run.method["params"])

    @property
    def columns(self) -> dict[str, Values]:
        """Measured and scored columns, each (N,)."""
        return cached.columns(self.run, self.method)


def score_answers(run: Run, answer: LiveSelection) -> ScoredAnswers:
    """Score a run with generated answers, with the current weight if answer divergence is the current method."""
    method = answer.method
    if not isinstance(method, AnswerDivergence):
        method = build_method(run.method["name"], run.method["params"])
        assert isinstance(method, AnswerDivergence)
    return ScoredAnswers(run, method)


# Text


def effective_directions(anisotropy: Values) -> Values:
    """Return 1 / (1 − I), the number of equally used directions with the same spread. 1: one line; at most K − 1."""
    return 1 / (1 - anisotropy)


def headline(known: ScoredAnswers, answer: LiveSelection) -> str:
    """Return the section's result as a title."""
    chosen, everything = (medians(known, rows) for rows in (answer.selection.rows, None))
    if everything is None:
        return "No row has two answers to compare"
    if chosen is None:
        return "No row with answers is chosen" if len(answer.selection.rows) else "No row is chosen"
    (apart, ways), (all_apart, all_ways) = chosen, everything
    return (
        f"Answers to the chosen rows lie {apart:.2f} apart, in {ways:.1f} directions; "
        f"to all rows {all_apart:.2f}, in {all_ways:.1f}"
    )


def medians(known: ScoredAnswers, rows: IntArray | None = None) -> tuple[float, float] | None:
    """Return the median D and the median I as directions, of `rows` (None: all); None if no row has a value."""
    apart, shape = (v if rows is None else v[rows] for v in (known.columns[name] for name in PLANE))
    if not np.isfinite(apart).any():
        return None
    return float(np.nanmedian(apart)), float(effective_directions(np.nanmedian(shape)))


def reading_help(known: ScoredAnswers) -> str:
    """Explain the two numbers in the title."""
    k = known.run.method["params"]["answers"]
    return (
        f"Medians over rows. Apart: D, mean squared distance of a row's answers from their mean; 0 = alike, "
        f"{1 - 1 / k:.2g} = unrelated. Directions: 1 / (1 − I), over how many the same spread would lie evenly; "
        f"1 = all on one line, {k - 1} at most."
    )


def describe_answer_counts(found: AnswerCounts, k: int) -> str:
    """Describe missing, empty, refused and truncated answers in one line, without the counts that are 0."""
    parts = {
        "missing": found.missing,
        "empty": found.empty,
        "begin like a refusal": found.refused,
        "cut at their longest": found.truncated,
    }
    wrong = [f"{n:,} {what} ({_share(n, found.asked)})" for what, n in parts.items() if n]
    said = [
        f"{found.asked:,} answers to {format_rows(found.rows)}",
        *(wrong or ["none missing, empty, refused or cut"]),
    ]
    if found.short_rows:
        said.append(
            f"{format_rows(found.short_rows)} with fewer than {k} answers: scored by those that are there, a "
            "little lower"
        )
    if found.lone_rows:
        said.append(f"{format_rows(found.lone_rows)} with fewer than two: no score")
    return " · ".join(said) + "."


def _share(n: int, of: int) -> str:
    share = 100 * n / max(of, 1)
    return "under 0.1 %" if share < 0.1 else f"{share:.1f} %"


def describe_counts(known: ScoredAnswers) -> str:
    """Describe missing, empty, refused and truncated answers; from the columns if the run stores no counts."""
    k, found = known.run.method["params"]["answers"], answer_counts(known.run)
    if found is not None:
        return describe_answer_counts(found, k)
    own = known.columns["answers_counted"]
    return describe_answer_counts(
        AnswerCounts(len(own), k * len(own), int((k - own).sum()), 0, 0, 0, int((own < k).sum()), int((own < 2).sum())),
        k,
    )


# D against I


def draw_plane(known: ScoredAnswers, answer: LiveSelection) -> tuple[IntArray, str] | None:
    """Draw the plane of D and I; return the rows of a clicked dot or a lasso with a description."""
    x, y = (known.columns[name] for name in PLANE)
    low, high = np.nanquantile(known.columns[SCORE], LINE_QUANTILES)
    figure = answer_divergence.divergence_plane(
        distribution.density(known.run, known.measured, PLANE),
        planes.split_by_layer(answer, distribution.sample_scored_rows(known.run, known.measured, PLANE), x, y),
        weight=known.method.dispersion_weight,
        score=(float(low), float(high)),
        titles=(meaning(PLANE[0]).title, meaning(PLANE[1]).title),
    )
    event = st.plotly_chart(
        figure,
        key="explore.answers",
        config=entropy_shift.LASSO_CONFIG,
        on_select="rerun",
        alt="How far apart answers lie against in how many directions, the chosen rows lit",
    )
    rows = planes.find_marked_rows(event["selection"], x, y)
    if not len(rows):
        return None
    words = "inside what you drew, highest divergence first" if len(rows) > 1 else "the row that you clicked"
    return bins.sort_by_value(rows, -known.columns[SCORE]), words


def describe_plane(known: ScoredAnswers) -> str:
    """Explain the lines of equal score and the dots, in markdown."""
    w = known.method.dispersion_weight
    return (
        f"Dotted: equal score {w:.2g} · D + {1 - w:.2g} · I. Shade: all rows; dots: a fixed sample. "
        "Click a dot or draw around some to read the rows there."
    )


# Correlations


def draw_correlations(known: ScoredAnswers) -> None:
    """Draw the Spearman correlations of the score and name the part that decides alone, if one does."""
    every = dict(zip(*scores.rank_correlations(known.run, known.method, SCORE), strict=True))
    some = {name: value for name, value in every.items() if name in (*COMPARED_COLUMNS, *PLANE)}
    st.caption(
        " ".join(
            [
                "Rank correlation (Spearman) of the score: near ±1 it says nothing of its own.",
                describe_dominant_part(every),
            ]
        )
    )
    own = [scores.are_related(name, SCORE) for name in some]
    st.plotly_chart(
        histogram.correlations(
            scores.column_labels(list(some), SCORE), np.array(list(some.values())), strong=scores.STRONG, expected=own
        ),
        key="explore.answers.follows",
        config=figures.CONFIG,
        alt="Spearman correlations of the divergence",
    )


def describe_dominant_part(found: Mapping[str, float]) -> str:
    """Return a sentence in markdown naming whichever of D and I decides alone; empty if both matter."""
    for one, other in (PLANE, PLANE[::-1]):
        if found.get(one, 0.0) >= DOMINANT and not abs(found.get(other, 1.0)) >= scores.STRONG:
            name, rest = (meaning(column).label[0] for column in (one, other))
            return f"**Here it is {name} nearly alone**: {rest} differs too little between rows to weigh."
    return ""


def check_score(known: ScoredAnswers) -> ScoreCheck:
    """Check the score with `core.analysis.score_checks`."""
    return scores.check_score(known.run, known.method, SCORE)
