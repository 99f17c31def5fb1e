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


def choose_section(available: Mapping[str, bool], method: Method) -> str:
    """Let the user choose a section; the default is the one for the current method."""
    names = [name for name, is_available in available.items() if is_available]
    preferred = state.session_value(OPENED_KEY) or METHOD_SECTIONS.get(method.name, SCORE)
    key = state.set_widget("explore.section", preferred if preferred in names else SCORE)
    st.segmented_control(
        "Show",
        names,
        required=True,
        key=key,
        on_change=lambda: state.set_widget(OPENED_KEY, state.widget_value(key)),
        label_visibility="collapsed",
    )
    return str(state.widget_value(key))


def suggest_measurements(available: Mapping[str, bool]) -> str:
    """Return a sentence naming methods to measure for more sections; empty if all are available."""
    suggestions = {
        COVERAGE: "Activation coverage for the coverage of neurons",
        TASKS: "Task confidence for tasks",
        ANSWERS: "Answer divergence for the model's own answers",
        INFLUENCE: "Preference influence for what helps towards a target set",
    }
    methods = [method for name, method in suggestions.items() if not available[name]]
    return f"To see more here, measure {join_words(methods)}." if methods else ""


# Drawing


def draw_score(top: Any, pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw the distribution of one column and what it correlates with."""
    chooser, text = st.columns([1, 3], vertical_alignment="bottom")
    with chooser:
        column = scores.choose_column(run, live.method)
    top.title(scores.verdict(run, live, column), anchor=False)
    text.markdown(f"**{scores.describe_direction(live, column)}**")
    scores.draw_warnings(run, live.method, column)
    _score(pool, run, live, column)


@st.fragment
def _score(pool: Pool, run: Run, live: LiveSelection, column: str) -> None:
    left, right = st.columns([7, 3])
    with left:
        rule = "; beyond the cut no row is taken" if column == live.method.ranks_by else ""
        st.caption(f"Rows per score, quantiles dotted{rule}. Click a bar, or drag over several, to read or filter.")
        clicked = scores.draw_histogram(run, live, column)
    with right:
        scores.draw_correlations(run, live.method, column)
        st.caption(scores.describe_counts(run, live, column))
    if clicked is not None:
        scores.draw_rows(pool, run, live, *clicked, key="bar")


def draw_shift(top: Any, pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw both shifts against each other, and by task."""
    top.title(shifts.headline(run, live), anchor=False)
    st.caption(shifts.describe(run, live))
    _shift(pool, run, live)


@st.fragment
def _shift(pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw both figures; with a pick in each, show the rows in both."""
    left, right = st.columns([6, 4])
    with left:
        st.subheader("What the warm-up changed", anchor=False)
        st.caption("Shade: all rows; dots: a fixed sample. Click a dot or draw around some to read the rows there.")
        in_lasso = shifts.draw_plane(pool, run, live)
    clicked = None
    groups = find_grouping(pool, run)
    with right:
        st.subheader(f"Expansion and compression by {groups.noun}", anchor=False)
        st.caption(
            f"ΔH below 0 is expansion: the model grew less certain. Click a bar to read its rows. {groups.origin}"
        )
        clicked = shifts.draw_tasks(pool, run, live)
    rows = shifts.intersect(in_lasso, clicked)
    if rows is not None:
        scores.draw_rows(pool, run, live, *rows, key="shift")


def draw_coverage(top: Any, pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw how much the selection covers and how many rows of each cluster it contains."""
    coverage_run, recipe = find_coverage_run(pool, run), state.recipe(pool)
    assert coverage_run is not None
    curves = coverage.count_curves(pool, run, coverage_run, live, recipe)
    point = coverage.coverage_at_budget(curves, len(live.selection.rows), len(pool))
    top.title(coverage.headline(point), anchor=False)
    random = coverage.random_selections(pool, run, recipe, len(live.selection.rows))
    _covered(pool, run, live, coverage_run, curves, point, random)


@st.fragment
def _covered(
    pool: Pool,
    run: Run,
    live: LiveSelection,
    coverage_run: Run,
    curves: coverage.CoverageCurves,
    point: coverage.CoverageAtBudget,
    random: Any,
) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("How far it reaches", anchor=False)
        st.markdown(coverage.describe(point, curves))
        coverage.draw_curve(curves, point, live.method.label, len(pool))
        st.caption(coverage.reading_help(curves, coverage_run))
    labels = cached.measurements(coverage_run).need("activation_cluster")
    counts = clusters.count_by_cluster(labels, live.selection.rows, random)
    with right:
        st.subheader("Rows with like neurons on", anchor=False)
        st.markdown(clusters.describe(counts))
        clicked = clusters.draw_bars(coverage_run, counts, find_grouping(pool, run))
        st.caption("Activation clusters: k-means over which neurons are on. Click a bar to read its rows.")
    if clicked is not None:
        scores.draw_rows(pool, run, live, *clicked, key="cluster")


def draw_tasks(top: Any, pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw the model's confidence by task and the allocation of the budget."""
    groups, confidences = find_grouping(pool, run), tasks.find_confidence(pool, run)
    top.title(tasks.headline(groups, confidences, live, len(pool)), anchor=False)
    sentences = [groups.origin, "" if confidences is None else tasks.describe_weights(groups, confidences, live)]
    st.markdown(" ".join(sentences))
    _by_task(pool, run, live, confidences)


@st.fragment
def _by_task(pool: Pool, run: Run, live: LiveSelection, confidences: tasks.ConfidenceByTask | None) -> None:
    groups = find_grouping(pool, run)
    bands, clicked = tasks.stack_tasks(groups, confidences), None
    left, right = st.columns([5, 6], gap="medium")
    with left:
        st.subheader(f"How sure the model is of its {groups.noun}s", anchor=False)
        if confidences is None:
            st.caption("Measure Task confidence to see how sure the model is of each task.")
        else:
            st.caption(tasks.describe_prompts(confidences))
            clicked = tasks.draw_confidence(groups, confidences, bands)
    with right:
        st.subheader("What each gets as the budget grows", anchor=False)
        st.caption(f"In the order of {escape_markdown(live.method.label)}, with filters and pins as they are.")
        tasks.draw_allocation(live, bands, len(pool))
    if clicked is not None:
        scores.draw_rows(pool, run, live, *clicked, key="task")


def draw_answers(top: Any, pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw how far apart generated answers are, in how many directions, and the rows selected from each bin."""
    source = answer_source.find_answers_run(pool, run)
    assert source is not None
    scored = answers.score_answers(source, live)
    top.title(answers.headline(scored, live), anchor=False)
    st.caption(answers.reading_help(scored))
    if scored.method is live.method:
        budget.live_parameters(run, scored.method)
    for warning in answers.check_score(scored).warnings:
        st.warning(escape_markdown(warning), icon=":material/warning:")
    random = coverage.random_selections(pool, run, state.recipe(pool), len(live.selection.rows))
    _to_answers(pool, run, live, scored, random)


@st.fragment
def _to_answers(pool: Pool, run: Run, live: LiveSelection, scored: answers.ScoredAnswers, random: Any) -> None:
    """Draw the plane and the bins; with a pick in each, show the rows in both."""
    left, right = st.columns([6, 5], gap="medium")
    with left:
        st.subheader("How far apart, in how many directions", anchor=False)
        st.caption(answers.describe_plane(scored))
        in_lasso = answers.draw_plane(scored, live)
    counts = answer_bins.count_by_bin(answer_bins.assign_bins(scored), live.selection.rows, random)
    with right:
        st.subheader("What is taken from each semantic bin", anchor=False)
        st.markdown(answer_bins.describe(counts))
        in_bin = answer_bins.draw_bins(counts, pool, scored)
        answers.draw_correlations(scored)
    st.caption(answers.describe_counts(scored))
    rows = shifts.intersect(in_lasso, in_bin)
    if rows is not None:
        scores.draw_rows(pool, run, live, *rows, key="answers")


def draw_influence(top: Any, pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw influence on each target, its relation to length, agreement between targets, and pair accuracy."""
    source = influence.find_influence_run(pool, run)
    assert source is not None
    scored = influence.score_influence(source, live)
    if scored.method is live.method:
        budget.live_parameters(run, scored.method)
    else:
        scored = influence.choose_target(scored)
    top.title(influence.headline(scored), anchor=False)
    st.caption(influence.reading_help(scored))
    for warning in influence.collect_warnings(scored):
        st.warning(escape_markdown(warning), icon=":material/warning:")
    _influences(pool, run, live, scored)
    influence_extremes.draw_ends(pool, scored, live)
    left, right = st.columns([6, 5], gap="medium")
    with left:
        influence_agreement.draw_agreement(pool, scored, live)
    with right:
        influence_agreement.draw_accuracy(scored)
    influence_agreement.draw_pairs(scored)


@st.fragment
def _influences(pool: Pool, run: Run, live: LiveSelection, scored: influence.ScoredInfluence) -> None:
    """Draw histograms and lengths; with a pick in each, show the rows in both."""
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Rows by influence", anchor=False)
        st.caption("Right of the line: training on the row helps. Click a bar to read its rows.")
        clicked = influence_spread.draw_ridges(scored, live)
    with right:
        st.subheader("Beside response length", anchor=False)
        st.caption(f"{influence_spread.describe_length_correlation(scored)} Draw around dots to read the rows there.")
        in_lasso = influence_spread.draw_length_plane(scored, live)
    rows = shifts.intersect(in_lasso, clicked)
    if rows is not None:
        scores.draw_rows(pool, run, live, *rows, key="influence")


def draw_map(top: Any, pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw the map of the rows, with the selected ones highlighted."""
    source, layout = view.choose_map(view.find_sources(pool, run))
    map_layout = view.load_layout(source, layout)
    if map_layout is None:
        top.title("The map is not made yet", anchor=False)
        job.draw_pending(pool, run, source, "pca")
        return
    if layout == view.UMAP and map_layout.layout != "umap":
        job.draw_pending(pool, run, source, "umap")
    random = coverage.random_selections(pool, run, state.recipe(pool), len(live.selection.rows))
    top.title(view.headline(map_layout, live, random), anchor=False)
    _mapped(pool, run, live, source, map_layout)


@st.fragment
def _mapped(pool: Pool, run: Run, live: LiveSelection, source: EmbeddingSource, map_layout: view.MapLayout) -> None:
    """Draw the map; a lasso stays while colours change."""
    dots = picture.sample_dots(pool, map_layout, find_grouping(pool, run), mapcolours.find_pinned_rows(pool))
    left, right = st.columns([7, 3], gap="medium")
    with right:
        colours, bright = picture.choose_colours(pool, run, live)
        st.caption(view.describe(map_layout, source, len(dots.rows), pool))
    with left:
        polygon = picture.draw(pool, map_layout, dots, colours, bright)
    if polygon is None:
        right.caption("Draw around some rows to read, pin, filter or compare them; point at one for its first words.")
        return
    rows = figure.rows_inside(polygon, map_layout.x, map_layout.y)
    with right:
        action = lasso.choose_action(live, rows, clear=picture.clear_outline)
    lasso.draw_action(action, pool, run, live, source, rows)


DRAW_SECTION: dict[str, Callable[[Any, Pool, Run, LiveSelection], None]] = {
    SCORE: draw_score,
    SHIFT: draw_shift,
    COVERAGE: draw_coverage,
    TASKS: draw_tasks,
    ANSWERS: draw_answers,
    INFLUENCE: draw_influence,
    MAP: draw_map,
}
