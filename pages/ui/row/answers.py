"""One row's generated answers, wherever a row is opened: their scores, a map, similarities and texts."""

import numpy as np
import streamlit as st

from core.algorithms.answer_geometry import answer_coordinates
from core.measurement.runs import Run
from core.models.generation.answers import LENGTH, STOP
from core.schema import Pool, Row
from pages.ui.data import cached
from pages.ui.row import answer_drawings, drawings
from pages.ui.row.answer_source import RowAnswers, load_answers
from pages.ui.row.scores import describe_score
from pages.ui.shell import show
from pages.ui.words import join_words

MAX_TABLE = 12  # most answers whose similarities are shown as a table
ENDED = {STOP: "complete", LENGTH: "hit the token limit"}
SCORES = ("dispersion", "anisotropy")


def draw(pool: Pool, run: Run, row: Row) -> None:
    """Draw the answers of one row. Raise WorkspaceError if their files are gone."""
    answers = load_answers(pool, run, row.index)
    if answers is None:
        return
    columns = cached.measurements(run).columns
    lines = [describe_score(name, columns[name], row.index) for name in SCORES]
    st.html(drawings.score_table([line for line in lines if np.isfinite(line.value)]))
    _describe_missing(answers)
    with st.container(horizontal=True, gap="medium"):
        with st.container(width=answer_drawings.SIDE):
            st.caption("Map: nearby answers are similar.")
            st.html(answer_drawings.answer_map(answer_coordinates(answers.gram)))
        if len(answers.texts) <= MAX_TABLE:
            with st.container(width="content"):
                st.caption("Pairwise similarity (1 = identical).")
                st.html(answer_drawings.similarity_table(answers.gram))
    _draw_texts(answers)


def _describe_missing(answers: RowAnswers) -> None:
    missing = [str(k + 1) for k, text in enumerate(answers.texts) if text is None]
    present = len(answers.texts) - len(missing)
    if not missing:
        return
    which = f"{'Answer' if len(missing) == 1 else 'Answers'} {join_words(missing)} of {len(answers.texts)}"
    effect = (
        "D and I are computed from the others and are slightly lower" if present > 1 else "D and I need two answers"
    )
    st.caption(f":material/warning: {which} {'is' if len(missing) == 1 else 'are'} missing. {effect}.")


def _draw_texts(answers: RowAnswers) -> None:
    """Draw the answers below each other, each with its number, length and end."""
    for number, answer in enumerate(zip(answers.texts, answers.tokens, answers.ended, strict=True), start=1):
        _draw_text(number, *answer)


def _draw_text(number: int, text: str | None, tokens: int | None, ended: str | None) -> None:
    if text is None:
        st.caption(f"**{number}** · missing")
        return
    length = [] if tokens is None else [f"{tokens:,} tokens"]
    st.caption(" · ".join([f"**{number}**", *length, ENDED.get(ended or "", "unknown end")]))
    if text.strip():
        with st.container(border=True):
            show.prose(text)
    else:
        st.caption("Empty answer.")
