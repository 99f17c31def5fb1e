"""One row's generated answers, wherever a row is opened: a verdict, its scores, a map, similarities and texts."""

import numpy as np
import streamlit as st

from core.algorithms.answer_geometry import answer_coordinates
from core.measurement.runs import Run
from core.models.generation.answers import LENGTH, STOP
from core.schema import Pool, Row
from pages.ui.data import cached
from pages.ui.data.bins import Values
from pages.ui.row import answer_drawings
from pages.ui.row.answer_source import RowAnswers, load_answers
from pages.ui.shell import show
from pages.ui.words import join_words

ANSWERS_PER_LINE = 5  # answers side by side
HEIGHT = 260  # pixels of one answer
MAX_TABLE = 12  # most answers whose similarities are shown as a table
LOW, HIGH = 0.2, 0.8  # percentiles that count as low and as high
ENDED = {STOP: "ended by itself", LENGTH: "cut at its longest"}


def draw(pool: Pool, run: Run, row: Row) -> None:
    """Draw the answers of one row. Raise WorkspaceError if their files are gone."""
    answers = load_answers(pool, run, row.index)
    if answers is None:
        return
    columns = cached.measurements(run).columns
    dispersion, directions = (percentile(columns[name], row.index) for name in ("dispersion", "anisotropy"))
    st.subheader(f"Its answers: {verdict(answers, dispersion, directions)}", anchor=False)
    left, middle, right = st.columns([5, 3, 3], gap="large")
    with left:
        _draw_scores(answers, dispersion, directions)
    with middle:
        st.caption("Map: what is near is alike.")
        st.html(answer_drawings.answer_map(answer_coordinates(answers.gram)))
    with right:
        if len(answers.texts) <= MAX_TABLE:
            st.caption("Similarity of each two: 1 = alike.")
            st.html(answer_drawings.similarity_table(answers.gram))
    _draw_texts(answers)


ValueAndShare = tuple[float, float]  # value, and share of the pool's rows with a lower one


def percentile(values: Values, row: int) -> ValueAndShare:
    """Return a row's value, and its percentile among rows that have one; ties count half. NaN if it has none."""
    value = float(values[row])
    if not np.isfinite(value):
        return value, float("nan")
    lower, same = np.count_nonzero(values < value), np.count_nonzero(values == value)
    return value, float((lower + same / 2) / np.count_nonzero(np.isfinite(values)))


def verdict(answers: RowAnswers, dispersion: ValueAndShare, directions: ValueAndShare) -> str:
    """Return the score in words; near and far are relative to this pool."""
    texts = [text for text in answers.texts if text is not None]
    if len(texts) < 2:
        return "none to compare" if not texts else "a single one, none to compare it with"
    if dispersion[0] == 0:
        return "all alike"
    if dispersion[1] <= LOW:
        return "nearly alike"
    distance = "far apart" if dispersion[1] >= HIGH else "some way apart"
    if len(texts) == 2:  # two answers are always on one line
        return distance
    several, single = directions[1] >= HIGH, directions[1] <= LOW
    spread = "in several directions" if several else "all on one line" if single else "in few directions"
    return f"{distance}, {spread}"


def _draw_scores(answers: RowAnswers, dispersion: ValueAndShare, directions: ValueAndShare) -> None:
    if np.isfinite(dispersion[0]):
        st.caption("Near and far, one line and several: as answers in this pool go.")
        st.html(answer_drawings.percentile_bars({"How far apart (D)": dispersion, "Directions (I)": directions}))
    missing = [str(k + 1) for k, text in enumerate(answers.texts) if text is None]
    if missing:
        st.caption(
            f":material/warning: Missing: answer {join_words(missing)} of {len(answers.texts)}. "
            "The figures are those of the others, and so a little lower."
        )


def _draw_texts(answers: RowAnswers) -> None:
    """Draw the answers side by side, each with its number, length and end."""
    numbered = list(enumerate(zip(answers.texts, answers.tokens, answers.ended, strict=True), start=1))
    for start in range(0, len(numbered), ANSWERS_PER_LINE):
        places = st.columns(min(len(numbered), ANSWERS_PER_LINE))
        for place, (number, answer) in zip(places, numbered[start : start + ANSWERS_PER_LINE], strict=False):
            with place:
                _draw_text(number, *answer)


def _draw_text(number: int, text: str | None, tokens: int | None, ended: str | None) -> None:
    if text is None:
        st.caption(f"**{number}** · missing")
        return
    length = [] if tokens is None else [f"{tokens:,} tokens"]
    st.caption(" · ".join([f"**{number}**", *length, ENDED.get(ended or "", "end unknown")]))
    if text.strip():
        show.text(text, height=HEIGHT)
    else:
        st.caption("Empty.")
