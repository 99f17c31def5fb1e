"""Sections of the Explore page: which are available, which one is open, and how each is drawn.

Each section sets the page's title as soon as its result is known. Clickable figures are in their own fragment, so a
click redraws nothing else.
"""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from core.analysis.maps import EmbeddingSource
from core.measurement.runs import Run
from core.schema import Method, Pool
from pages.ui.controls import budget
from pages.ui.data import cached
from pages.ui.data.cached import find_coverage_run
from pages.ui.data.grouping import find_grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import (
    answer_bins,
    answers,
    clusters,
    coverage,
    influence,
    influence_agreement,
    influence_extremes,
    influence_spread,
    scores,
    shifts,
    tasks,
)
from pages.ui.map import colours as mapcolours
from pages.ui.map import figure, job, lasso, picture, view
from pages.ui.row import answer_source
from pages.ui.shell import state
from pages.ui.words import escape_markdown, join_words

SCORE, SHIFT, COVERAGE, TASKS, ANSWERS = "Score", "Entropy shift", "Coverage", "Tasks", "Answers"
INFLUENCE, MAP = "Influence", "Map"
# section that opens first for a method; others: their score
METHOD_SECTIONS = {
    "activation_coverage": COVERAGE,
    "task_confidence": TASKS,
    "answer_divergence": ANSWERS,
    "preference_influence": INFLUENCE,
}
OPENED_KEY = "explore.opened"  # the section that the user opened in this tab


def find_sections(pool: Pool, run: Run, method: Method) -> dict[str, bool]:
    """Return every section and whether it has anything to draw."""
    groups = find_grouping(pool, run)
    return {
        SCORE: True,
        SHIFT: shifts.has_shift(run, method),
        COVERAGE: find_coverage_run(pool, run) is not None,
        TASKS: tasks.count_tasks(groups) > 0 and len(groups.names) > 1,
        ANSWERS: answer_source.find_answers_run(pool, run) is not None,
        INFLUENCE: influence.find_influence_run(pool, run) is not None,
        MAP: bool(view.find_sources(pool, run)),
    }


def choose_section(there: Mapping[str, bool], method: Method) -> str:
    """Let the user choose a section; the default is the one for the current method."""
    names = [name for name, drawn in there.items() if drawn]
    wanted = state.session_value(OPENED_KEY) or METHOD_SECTIONS.get(method.name, SCORE)
    key = state.set_widget("explore.section", wanted if wanted in names else SCORE)
    st.segmented_control(
        "Show",
        names,
        required=True,
        key=key,
        on_change=lambda: state.set_widget(OPENED_KEY, state.widget_value(key)),
        label_visibility="collapsed",
    )
    return str(state.widget_value(key))


def suggest_measurements(there: Mapping[str, bool]) -> str:
    """Return a sentence naming methods to measure for more sections; empty if all are available."""
    wanted = {
        COVERAGE: "Activation coverage for the coverage of neurons",
        TASKS: "Task confidence for tasks",
        ANSWERS: "Answer divergence for the model's own answers",
        INFLUENCE: "Preference influence for what helps towards a target set",
    }
    said = [words for name, words in wanted.items() if not there[name]]
    return f"To see more here, measure {join_words(said)}." if said else ""


# Drawing


def draw_score(top: Any, pool: Pool, run: Run, answer: LiveSelection) -> None:
    """Draw the distribution of one column and what it correlates with."""
    picked, words = st.columns([1, 3], vertical_alignment="bottom")
    with picked:
        column = scores.choose_column(run, answer.method)
    top.title(scores.verdict(run, answer, column), anchor=False)
    words.markdown(f"**{scores.describe_direction(answer, column)}**")
    scores.draw_warnings(run, answer.method, column)
    _score(pool, run, answer, column)


@st.fragment
def _score(pool: Pool, run: Run, answer: LiveSelection, column: str) -> None:
    left, right = st.columns([7, 3])
    with left:
        rule = "; beyond the cut no row is taken" if column == answer.method.ranks_by else ""
        st.caption(f"Rows per score, quantiles dotted{rule}. Click a bar, or drag over several, to read or filter.")
        clicked = scores.draw_histogram(run, answer, column)
    with right:
        scores.draw_correlations(run, answer.method, column)
        st.caption(scores.describe_counts(run, answer, column))
    if clicked is not None:
        scores.draw_rows(pool, run, answer, *clicked, key="bar")


def draw_shift(top: Any, pool: Pool, run: Run, answer: LiveSelection) -> None:
    """Draw both shifts against each other, and by task."""
    top.title(shifts.headline(run, answer), anchor=False)
    st.caption(shifts.describe(run, answer))
    _shift(pool, run, answer)


@st.fragment
def _shift(pool: Pool, run: Run, answer: LiveSelection) -> None:
    """Draw both figures; with a pick in each, show the rows in both."""
    left, right = st.columns([6, 4])
    with left:
        st.subheader("What the warm-up changed", anchor=False)
        st.caption("Shade: all rows; dots: a fixed sample. Click a dot or draw around some to read the rows there.")
        drawn_around = shifts.draw_plane(pool, run, answer)
    clicked = None
    groups = find_grouping(pool, run)
    with right:
        st.subheader(f"Expansion and compression by {groups.noun}", anchor=False)
        st.caption(
            f"ΔH below 0 is expansion: the model grew less certain. Click a bar to read its rows. {groups.origin}"
        )
        clicked = shifts.draw_tasks(pool, run, answer)
    rows = shifts.intersect(drawn_around, clicked)
    if rows is not None:
        scores.draw_rows(pool, run, answer, *rows, key="shift")


def draw_coverage(top: Any, pool: Pool, run: Run, answer: LiveSelection) -> None:
    """Draw how much the selection covers and how many rows of each cluster it contains."""
    states, recipe = find_coverage_run(pool, run), state.recipe(pool)
    assert states is not None
    known = coverage.count_curves(pool, run, states, answer, recipe)
    here = coverage.coverage_at_budget(known, len(answer.selection.rows), len(pool))
    top.title(coverage.headline(here), anchor=False)
    random = coverage.random_selections(pool, run, recipe, len(answer.selection.rows))
    _covered(pool, run, answer, states, known, here, random)


@st.fragment
def _covered(
    pool: Pool,
    run: Run,
    answer: LiveSelection,
    states: Run,
    known: coverage.CoverageCurves,
    here: coverage.CoverageAtBudget,
    random: Any,
) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("How far it reaches", anchor=False)
        st.markdown(coverage.describe(here, known))
        coverage.draw_curve(known, here, answer.method.label, len(pool))
        st.caption(coverage.reading_help(known, states))
    labels = cached.measurements(states).need("activation_cluster")
    counted = clusters.count_by_cluster(labels, answer.selection.rows, random)
    with right:
        st.subheader("Rows with like neurons on", anchor=False)
        st.markdown(clusters.describe(counted))
        clicked = clusters.draw_bars(states, counted, find_grouping(pool, run))
        st.caption("Activation clusters: k-means over which neurons are on. Click a bar to read its rows.")
    if clicked is not None:
        scores.draw_rows(pool, run, answer, *clicked, key="cluster")


def draw_tasks(top: Any, pool: Pool, run: Run, answer: LiveSelection) -> None:
    """Draw the model's confidence by task and the allocation of the budget."""
    groups, known = find_grouping(pool, run), tasks.find_confidence(pool, run)
    top.title(tasks.headline(groups, known, answer, len(pool)), anchor=False)
    words = [groups.origin, "" if known is None else tasks.describe_weights(groups, known, answer)]
    st.markdown(" ".join(words))
    _by_task(pool, run, answer, known)


@st.fragment
def _by_task(pool: Pool, run: Run, answer: LiveSelection, known: tasks.ConfidenceByTask | None) -> None:
    groups = find_grouping(pool, run)
    stacked, clicked = tasks.stack_tasks(groups, known), None
    left, right = st.columns([5, 6], gap="medium")
    with left:
        st.subheader(f"How sure the model is of its {groups.noun}s", anchor=False)
        if known is None:
            st.caption("Measure Task confidence to see how sure the model is of each task.")
        else:
            st.caption(tasks.describe_prompts(known))
            clicked = tasks.draw_confidence(groups, known, stacked)
    with right:
        st.subheader("What each gets as the budget grows", anchor=False)
        st.caption(f"In the order of {escape_markdown(answer.method.label)}, with filters and pins as they are.")
        tasks.draw_allocation(answer, stacked, len(pool))
    if clicked is not None:
        scores.draw_rows(pool, run, answer, *clicked, key="task")


def draw_answers(top: Any, pool: Pool, run: Run, answer: LiveSelection) -> None:
    """Draw how far apart generated answers are, in how many directions, and the rows selected from each bin."""
    source = answer_source.find_answers_run(pool, run)
    assert source is not None
    known = answers.score_answers(source, answer)
    top.title(answers.headline(known, answer), anchor=False)
    st.caption(answers.reading_help(known))
    if known.method is answer.method:
        budget.live_parameters(run, known.method)
    for warning in answers.check_score(known).warnings:
        st.warning(escape_markdown(warning), icon=":material/warning:")
    random = coverage.random_selections(pool, run, state.recipe(pool), len(answer.selection.rows))
    _to_answers(pool, run, answer, known, random)


@st.fragment
def _to_answers(pool: Pool, run: Run, answer: LiveSelection, known: answers.ScoredAnswers, random: Any) -> None:
    """Draw the plane and the bins; with a pick in each, show the rows in both."""
    left, right = st.columns([6, 5], gap="medium")
    with left:
        st.subheader("How far apart, in how many directions", anchor=False)
        st.caption(answers.describe_plane(known))
        around = answers.draw_plane(known, answer)
    counted = answer_bins.count_by_bin(answer_bins.assign_bins(known), answer.selection.rows, random)
    with right:
        st.subheader("What is taken from each semantic bin", anchor=False)
        st.markdown(answer_bins.describe(counted))
        inside = answer_bins.draw_bins(counted, pool, known)
        answers.draw_correlations(known)
    st.caption(answers.describe_counts(known))
    rows = shifts.intersect(around, inside)
    if rows is not None:
        scores.draw_rows(pool, run, answer, *rows, key="answers")


def draw_influence(top: Any, pool: Pool, run: Run, answer: LiveSelection) -> None:
    """Draw influence on each target, its relation to length, agreement between targets, and pair accuracy."""
    source = influence.find_influence_run(pool, run)
    assert source is not None
    known = influence.score_influence(source, answer)
    if known.method is answer.method:
        budget.live_parameters(run, known.method)
    else:
        known = influence.choose_target(known)
    top.title(influence.headline(known), anchor=False)
    st.caption(influence.reading_help(known))
    for doubt in influence.collect_warnings(known):
        st.warning(escape_markdown(doubt), icon=":material/warning:")
    _influences(pool, run, answer, known)
    influence_extremes.draw_ends(pool, known, answer)
    left, right = st.columns([6, 5], gap="medium")
    with left:
        influence_agreement.draw_agreement(pool, known, answer)
    with right:
        influence_agreement.draw_accuracy(known)
    influence_agreement.draw_pairs(known)


@st.fragment
def _influences(pool: Pool, run: Run, answer: LiveSelection, known: influence.ScoredInfluence) -> None:
    """Draw histograms and lengths; with a pick in each, show the rows in both."""
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Rows by influence", anchor=False)
        st.caption("Right of the line: training on the row helps. Click a bar to read its rows.")
        clicked = influence_spread.draw_ridges(known, answer)
    with right:
        st.subheader("Beside response length", anchor=False)
        st.caption(f"{influence_spread.describe_length_correlation(known)} Draw around dots to read the rows there.")
        around = influence_spread.draw_length_plane(known, answer)
    rows = shifts.intersect(around, clicked)
    if rows is not None:
        scores.draw_rows(pool, run, answer, *rows, key="influence")


def draw_map(top: Any, pool: Pool, run: Run, answer: LiveSelection) -> None:
    """Draw the map of the rows, with the selected ones highlighted."""
    source, layout = view.choose_map(view.find_sources(pool, run))
    where = view.load_layout(source, layout)
    if where is None:
        top.title("The map is not made yet", anchor=False)
        job.draw_pending(pool, run, source, "pca")
        return
    if layout == view.UMAP and where.layout != "umap":
        job.draw_pending(pool, run, source, "umap")
    random = coverage.random_selections(pool, run, state.recipe(pool), len(answer.selection.rows))
    top.title(view.headline(where, answer, random), anchor=False)
    _mapped(pool, run, answer, source, where)


@st.fragment
def _mapped(pool: Pool, run: Run, answer: LiveSelection, source: EmbeddingSource, where: view.MapLayout) -> None:
    """Draw the map; a lasso stays while colours change."""
    known = picture.sample_dots(pool, where, find_grouping(pool, run), mapcolours.find_pinned_rows(pool))
    left, right = st.columns([7, 3], gap="medium")
    with right:
        colours, bright = picture.choose_colours(pool, run, answer)
        st.caption(view.describe(where, source, len(known.rows), pool))
    with left:
        around = picture.draw(pool, where, known, colours, bright)
    if around is None:
        right.caption("Draw around some rows to read, pin, filter or compare them; point at one for its first words.")
        return
    rows = figure.rows_inside(around, where.x, where.y)
    with right:
        what = lasso.choose_action(answer, rows, clear=picture.clear_outline)
    lasso.draw_action(what, pool, run, answer, source, rows)


DRAW_SECTION: dict[str, Callable[[Any, Pool, Run, LiveSelection], None]] = {
    SCORE: draw_score,
    SHIFT: draw_shift,
    COVERAGE: draw_coverage,
    TASKS: draw_tasks,
    ANSWERS: draw_answers,
    INFLUENCE: draw_influence,
    MAP: draw_map,
}
