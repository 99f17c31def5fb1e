"""The sections of the Explore page: which there are for what was measured, which one is open, and what each draws.

Each puts its answer into the title as soon as it is known. What can be clicked is in a fragment of its own: a click
draws nothing else again.
"""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from core.analysis.maps import Source
from core.measurement.runs import Run
from core.schema import Method, Pool
from pages.ui.controls import budget
from pages.ui.data import cached
from pages.ui.data.grouping import grouping
from pages.ui.data.live_selection import Answer
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
from pages.ui.shell import show, state
from pages.ui.words import listed

SCORE, SHIFT, COVERAGE, TASKS, ANSWERS = "Score", "Entropy shift", "Coverage", "Tasks", "Answers"
INFLUENCE, MAP = "Influence", "Map"
# what a method is about; others: their score
ABOUT = {
    "activation_coverage": COVERAGE,
    "task_confidence": TASKS,
    "answer_divergence": ANSWERS,
    "preference_influence": INFLUENCE,
}
OPENED = "explore.opened"  # the section that was opened by hand, in this tab


def found(pool: Pool, run: Run, method: Method) -> dict[str, bool]:
    """Every section, and whether there is anything to draw in it."""
    groups = grouping(pool, run)
    return {
        SCORE: True,
        SHIFT: shifts.has_shift(run, method),
        COVERAGE: coverage.source(pool, run) is not None,
        TASKS: tasks.names(groups) > 0 and len(groups.names) > 1,
        ANSWERS: answer_source.source(pool, run) is not None,
        INFLUENCE: influence.source(pool, run) is not None,
        MAP: bool(view.found(pool, run)),
    }


def choose(there: Mapping[str, bool], method: Method) -> str:
    """The open section: the one opened by hand, else what the method in use is about."""
    names = [name for name, drawn in there.items() if drawn]
    wanted = state.noted(OPENED) or ABOUT.get(method.name, SCORE)
    key = state.set_widget("explore.section", wanted if wanted in names else SCORE)
    st.segmented_control(
        "Show",
        names,
        required=True,
        key=key,
        on_change=lambda: state.set_widget(OPENED, state.widget(key)),
        label_visibility="collapsed",
    )
    return str(state.widget(key))


def missing(there: Mapping[str, bool]) -> str:
    """Which method to measure to see more, as one sentence; nothing when all is there."""
    wanted = {
        COVERAGE: "Activation coverage for the coverage of neurons",
        TASKS: "Task confidence for tasks",
        ANSWERS: "Answer divergence for the model's own answers",
        INFLUENCE: "Preference influence for what helps towards a target set",
    }
    said = [words for name, words in wanted.items() if not there[name]]
    return f"To see more here, measure {listed(said)}." if said else ""


# What they draw


def score(top: Any, pool: Pool, run: Run, answer: Answer) -> None:
    """One column: how it is distributed, and what it follows."""
    picked, words = st.columns([1, 3], vertical_alignment="bottom")
    with picked:
        column = scores.choose_column(run, answer.method)
    top.title(scores.verdict(run, answer, column), anchor=False)
    words.markdown(f"**{scores.says(answer, column)}**")
    scores.warnings(run, answer.method, column)
    _score(pool, run, answer, column)


@st.fragment
def _score(pool: Pool, run: Run, answer: Answer, column: str) -> None:
    left, right = st.columns([7, 3])
    with left:
        rule = "; beyond the cut no row is taken" if column == answer.method.ranks_by else ""
        st.caption(f"Rows per score, quantiles dotted{rule}. Click a bar, or drag over several, to read or filter.")
        clicked = scores.show_histogram(run, answer, column)
    with right:
        scores.follows(run, answer.method, column)
        st.caption(scores.counts(run, answer, column))
    if clicked is not None:
        scores.read(pool, run, answer, *clicked, key="bar")


def shift(top: Any, pool: Pool, run: Run, answer: Answer) -> None:
    """Both shifts against each other, and by task."""
    top.title(shifts.headline(run, answer), anchor=False)
    st.caption(shifts.in_words(run, answer))
    _shift(pool, run, answer)


@st.fragment
def _shift(pool: Pool, run: Run, answer: Answer) -> None:
    """Picks in the two pictures are taken together."""
    left, right = st.columns([6, 4])
    with left:
        st.subheader("What the warm-up changed", anchor=False)
        st.caption("Shade: all rows; dots: a fixed sample. Click a dot or draw around some to read the rows there.")
        drawn_around = shifts.plane(pool, run, answer)
    clicked = None
    groups = grouping(pool, run)
    with right:
        st.subheader(f"Expansion and compression by {groups.noun}", anchor=False)
        st.caption(f"ΔH below 0 is expansion: the model grew less certain. Click a bar to read its rows. {groups.says}")
        clicked = shifts.tasks(pool, run, answer)
    rows = shifts.both(drawn_around, clicked)
    if rows is not None:
        scores.read(pool, run, answer, *rows, key="shift")


def covered(top: Any, pool: Pool, run: Run, answer: Answer) -> None:
    """How far the selection reaches, and what it takes from each cluster."""
    states, recipe = coverage.source(pool, run), state.recipe(pool)
    assert states is not None
    known = coverage.curves(pool, run, states, answer, recipe)
    here = coverage.standing(known, len(answer.selection.rows), len(pool))
    top.title(coverage.headline(here), anchor=False)
    random = coverage.random_rows(pool, run, recipe, len(answer.selection.rows))
    _covered(pool, run, answer, states, known, here, random)


@st.fragment
def _covered(
    pool: Pool, run: Run, answer: Answer, states: Run, known: coverage.Curves, here: coverage.Standing, random: Any
) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("How far it reaches", anchor=False)
        st.markdown(coverage.in_words(here, known))
        coverage.curve(known, here, answer.method.label, len(pool))
        st.caption(coverage.reading_help(known, states))
    labels = cached.measured(states).need("activation_cluster")
    counted = clusters.taken(labels, answer.selection.rows, random)
    with right:
        st.subheader("Rows with like neurons on", anchor=False)
        st.markdown(clusters.in_words(counted))
        clicked = clusters.bars(states, counted, grouping(pool, run))
        st.caption("Activation clusters: k-means over which neurons are on. Click a bar to read its rows.")
    if clicked is not None:
        scores.read(pool, run, answer, *clicked, key="cluster")


def by_task(top: Any, pool: Pool, run: Run, answer: Answer) -> None:
    """How sure the model is of each task, and what each gets of the budget."""
    groups, known = grouping(pool, run), tasks.sure(pool, run)
    top.title(tasks.headline(groups, known, answer, len(pool)), anchor=False)
    words = [groups.says, "" if known is None else tasks.weights_in_words(groups, known, answer)]
    st.markdown(" ".join(words))
    _by_task(pool, run, answer, known)


@st.fragment
def _by_task(pool: Pool, run: Run, answer: Answer, known: tasks.Sure | None) -> None:
    groups = grouping(pool, run)
    stacked, clicked = tasks.stacked(groups, known), None
    left, right = st.columns([5, 6], gap="medium")
    with left:
        st.subheader(f"How sure the model is of its {groups.noun}s", anchor=False)
        if known is None:
            st.caption("Measure Task confidence to see how sure the model is of each task.")
        else:
            st.caption(tasks.asked_in_words(known))
            clicked = tasks.confidence(groups, known, stacked)
    with right:
        st.subheader("What each gets as the budget grows", anchor=False)
        st.caption(f"In the order of {show.md_escape(answer.method.label)}, with filters and pins as they are.")
        tasks.shared_out(answer, stacked, len(pool))
    if clicked is not None:
        scores.read(pool, run, answer, *clicked, key="task")


def to_answers(top: Any, pool: Pool, run: Run, answer: Answer) -> None:
    """How far apart the model's answers lie, in how many directions, and what is taken from each bin."""
    source = answer_source.source(pool, run)
    assert source is not None
    known = answers.seen(source, answer)
    top.title(answers.headline(known, answer), anchor=False)
    st.caption(answers.reading_help(known))
    if known.method is answer.method:
        budget.live(run, known.method)
    for warning in answers.trusted(known).warnings:
        st.warning(show.md_escape(warning), icon=":material/warning:")
    random = coverage.random_rows(pool, run, state.recipe(pool), len(answer.selection.rows))
    _to_answers(pool, run, answer, known, random)


@st.fragment
def _to_answers(pool: Pool, run: Run, answer: Answer, known: answers.Seen, random: Any) -> None:
    """The bin clicked last and what is drawn in the plane are taken together."""
    left, right = st.columns([6, 5], gap="medium")
    with left:
        st.subheader("How far apart, in how many directions", anchor=False)
        st.caption(answers.score_in_words(known))
        around = answers.plane(known, answer)
    counted = answer_bins.taken(answer_bins.bin_of(known), answer.selection.rows, random)
    with right:
        st.subheader("What is taken from each semantic bin", anchor=False)
        st.markdown(answer_bins.in_words(counted))
        inside = answer_bins.picture(counted, pool, known)
        answers.follows(known)
    st.caption(answers.counts_in_words(known))
    rows = shifts.both(around, inside)
    if rows is not None:
        scores.read(pool, run, answer, *rows, key="answers")


def influences(top: Any, pool: Pool, run: Run, answer: Answer) -> None:
    """What helps towards each target, what that follows, whether targets agree, and how the model takes their pairs."""
    source = influence.source(pool, run)
    assert source is not None
    known = influence.seen(source, answer)
    if known.method is answer.method:
        budget.live(run, known.method)
    else:
        known = influence.pick(known)
    top.title(influence.headline(known), anchor=False)
    st.caption(influence.reading_help(known))
    for doubt in influence.doubts(known):
        st.warning(show.md_escape(doubt), icon=":material/warning:")
    _influences(pool, run, answer, known)
    influence_extremes.side_by_side(pool, known, answer)
    left, right = st.columns([6, 5], gap="medium")
    with left:
        influence_agreement.agreements(pool, known, answer)
    with right:
        influence_agreement.accuracy(known)
    influence_agreement.show_pairs(known)


@st.fragment
def _influences(pool: Pool, run: Run, answer: Answer, known: influence.Seen) -> None:
    """The bar clicked last and what is drawn around are taken together."""
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Rows by influence", anchor=False)
        st.caption("Right of the line: training on the row helps. Click a bar to read its rows.")
        clicked = influence_spread.ridges(known, answer)
    with right:
        st.subheader("Beside response length", anchor=False)
        st.caption(f"{influence_spread.length_in_words(known)} Draw around dots to read the rows there.")
        around = influence_spread.length(known, answer)
    rows = shifts.both(around, clicked)
    if rows is not None:
        scores.read(pool, run, answer, *rows, key="influence")


def mapped(top: Any, pool: Pool, run: Run, answer: Answer) -> None:
    """Where the rows lie, the chosen ones among them."""
    source, layout = view.choose(view.found(pool, run))
    where = view.placed(source, layout)
    if where is None:
        top.title("The map is not made yet", anchor=False)
        job.pending(pool, run, source, "pca")
        return
    if layout == view.UMAP and where.layout != "umap":
        job.pending(pool, run, source, "umap")
    random = coverage.random_rows(pool, run, state.recipe(pool), len(answer.selection.rows))
    top.title(view.headline(where, answer, random), anchor=False)
    _mapped(pool, run, answer, source, where)


@st.fragment
def _mapped(pool: Pool, run: Run, answer: Answer, source: Source, where: view.Placed) -> None:
    """What is drawn around stays while colours change."""
    known = picture.dots(pool, where, grouping(pool, run), mapcolours.pinned(pool))
    left, right = st.columns([7, 3], gap="medium")
    with right:
        colours, bright = picture.colour(pool, run, answer)
        st.caption(view.in_words(where, source, len(known.rows), pool))
    with left:
        around = picture.draw(pool, where, known, colours, bright)
    if around is None:
        right.caption("Draw around some rows to read, pin, filter or compare them; point at one for its first words.")
        return
    rows = figure.inside(around, where.x, where.y)
    with right:
        what = lasso.choose(answer, rows, clear=picture.clear)
    lasso.panel(what, pool, run, answer, source, rows)


DRAWN: dict[str, Callable[[Any, Pool, Run, Answer], None]] = {
    SCORE: score,
    SHIFT: shift,
    COVERAGE: covered,
    TASKS: by_task,
    ANSWERS: to_answers,
    INFLUENCE: influences,
    MAP: mapped,
}
