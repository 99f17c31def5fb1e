"""Answers: how much the generated answers to a row vary, and the rows selected from each semantic bin."""

from typing import Any

import streamlit as st

from core.measurement.runs import Run
from core.schema import Pool
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import answer_bins, answers, coverage, scores
from pages.ui.row import answer_source
from pages.ui.shell import show


def draw(verdict: Any, pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw how far apart generated answers are, in how many directions, and the rows selected from each bin."""
    source = answer_source.find_answers_run(pool, run)
    assert source is not None
    scored = answers.score_answers(source, live)
    verdict.subheader(answers.headline(scored, live), anchor=False)
    st.caption(answers.reading_help(scored))
    scores.draw_warnings(answers.check_score(scored).warnings)
    random = coverage.random_selections(run, live.selection)
    _draw_figures(pool, run, live, scored, random)


def _draw_figures(pool: Pool, run: Run, live: LiveSelection, scored: answers.ScoredAnswers, random: Any) -> None:
    left, right = show.columns([6, 5], gap="medium")
    with left:
        st.subheader("Dispersion and directions", anchor=False)
        answers.draw_directions(pool, scored, live)
    counts = answer_bins.count_by_bin(answer_bins.assign_bins(scored), live.selection.rows, random)
    with right:
        st.subheader("Selected share by semantic bin", anchor=False)
        st.markdown(answer_bins.describe(counts))
        answer_bins.draw_bins(counts, pool, scored, live)
        answers.draw_correlations(scored)
    st.caption(answers.describe_counts(scored))
    scores.draw_highlighted(pool, run, live, answers.SCORE, scored.columns[answers.SCORE], highest=True)
