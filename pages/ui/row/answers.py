"""One row's answers, wherever a row is opened: side by side as text, where they lie, and that in words."""

from collections.abc import Callable
from functools import partial

import numpy as np
import streamlit as st

from core.algorithms.answer_geometry import answer_coordinates
from core.errors import WinnowError
from core.measurement.runs import Run
from core.models.generation.answers import LENGTH, STOP
from core.schema import Pool, Row
from pages.ui.data import cached
from pages.ui.data.bins import Values
from pages.ui.row import answer_drawings
from pages.ui.row.answer_source import RowAnswers, find_answers_run, load_answers
from pages.ui.shell import show
from pages.ui.words import join_words

ANSWERS_PER_LINE = 5  # answers next to each other
HEIGHT = 260  # of one
MAX_TABLE = 12  # answers whose similarities still make a table
LOW, HIGH = 0.2, 0.8  # shares of the pool's rows below: few, many
ENDED = {STOP: "ended by itself", LENGTH: "cut at its longest"}


def answers_drawer(pool: Pool, run: Run) -> Callable[[Row], None] | None:
    """What draws the answers of a row that is open; None where no answers were measured."""
    found = find_answers_run(pool, run)
    return None if found is None else partial(draw, pool, found)


def draw(pool: Pool, run: Run, row: Row) -> None:
    """All of it, for one row."""
    try:
        known = load_answers(pool, run, row.index)
    except WinnowError as error:
        show.error(error)
        return
    if known is None:
        return
    columns = cached.measurements(run).columns
    apart, shape = (percentile(columns[name], row.index) for name in ("dispersion", "anisotropy"))
    st.subheader(f"Its answers: {verdict(known, apart, shape)}", anchor=False)
    left, middle, right = st.columns([5, 3, 3], gap="large")
    with left:
        _numbers(known, apart, shape)
    with middle:
        st.caption("Map: what is near is alike.")
        st.html(answer_drawings.answer_map(answer_coordinates(known.gram)))
    with right:
        if len(known.texts) <= MAX_TABLE:
            st.caption("Similarity of each two: 1 = alike.")
            st.html(answer_drawings.similarity_table(known.gram))
    _texts(known)


ValueAndShare = tuple[float, float]  # value, and share of the pool's rows that have a lower one


def percentile(values: Values, row: int) -> ValueAndShare:
    """A row among all that have this figure; ties count half. NaN where it has none."""
    value = float(values[row])
    if not np.isfinite(value):
        return value, float("nan")
    lower, same = np.count_nonzero(values < value), np.count_nonzero(values == value)
    return value, float((lower + same / 2) / np.count_nonzero(np.isfinite(values)))


def verdict(known: RowAnswers, apart: ValueAndShare, shape: ValueAndShare) -> str:
    """The score in words; near and far are those of this pool."""
    there = [text for text in known.texts if text is not None]
    if len(there) < 2:
        return "none to compare" if not there else "a single one, none to compare it with"
    if apart[0] == 0:
        return "all alike"
    if apart[1] <= LOW:
        return "nearly alike"
    far = "far apart" if apart[1] >= HIGH else "some way apart"
    if len(there) == 2:  # two are always on one line
        return far
    many, one = shape[1] >= HIGH, shape[1] <= LOW
    ways = "in several directions" if many else "all on one line" if one else "in few directions"
    return f"{far}, {ways}"


def _numbers(known: RowAnswers, apart: ValueAndShare, shape: ValueAndShare) -> None:
    if np.isfinite(apart[0]):
        st.caption("Near and far, one line and several: as answers in this pool go.")
        st.html(answer_drawings.percentile_bars({"How far apart (D)": apart, "Directions (I)": shape}))
    gone = [str(k + 1) for k, text in enumerate(known.texts) if text is None]
    if gone:
        st.caption(
            f":material/warning: Missing: answer {join_words(gone)} of {len(known.texts)}. "
            "The figures are those of the others, and so a little lower."
        )


def _texts(known: RowAnswers) -> None:
    """Side by side, each with its number, length and end."""
    every = list(enumerate(zip(known.texts, known.tokens, known.ended, strict=True), start=1))
    for start in range(0, len(every), ANSWERS_PER_LINE):
        some = every[start : start + ANSWERS_PER_LINE]
        for place, (number, (text, tokens, ended)) in zip(
            st.columns(min(len(every), ANSWERS_PER_LINE)), some, strict=False
        ):
            with place:
                _text(number, text, tokens, ended)


def _text(number: int, text: str | None, tokens: int | None, ended: str | None) -> None:
    if text is None:
        st.caption(f"**{number}** · missing")
        return
    about = [f"**{number}**"]
    about += [] if tokens is None else [f"{tokens:,} tokens"]
    about += [ENDED.get(ended or "", "end unknown")]
    st.caption(" · ".join(about))
    if text.strip():
        show.text(text, height=HEIGHT)
    else:
        st.caption("Empty.")
