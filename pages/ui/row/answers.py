"""One row's answers, wherever a row is opened: side by side as text, where they lie, and that in words."""

from collections.abc import Callable
from functools import partial

import numpy as np
import streamlit as st

from core.algorithms.answer_geometry import coordinates
from core.errors import WinnowError
from core.measurement.runs import Run
from core.models.generation.answers import LENGTH, STOP
from core.schema import Pool, Row
from pages.ui.charts.bins import Values
from pages.ui.data import cached
from pages.ui.row import answer_drawings
from pages.ui.row.answer_source import Answered, answered, source
from pages.ui.shell import show
from pages.ui.words import listed

BESIDE = 5  # answers next to each other
HEIGHT = 260  # of one
MANY = 12  # answers whose similarities still make a table
LOW, HIGH = 0.2, 0.8  # shares of the pool's rows below: few, many
ENDED = {STOP: "ended by itself", LENGTH: "cut at its longest"}


def below(pool: Pool, run: Run) -> Callable[[Row], None] | None:
    """What draws the answers of a row that is open; None where no answers were measured."""
    found = source(pool, run)
    return None if found is None else partial(draw, pool, found)


def draw(pool: Pool, run: Run, row: Row) -> None:
    """All of it, for one row."""
    try:
        known = answered(pool, run, row.index)
    except WinnowError as error:
        show.error(error)
        return
    if known is None:
        return
    columns = cached.measured(run).columns
    apart, shape = (standing(columns[name], row.index) for name in ("dispersion", "anisotropy"))
    st.subheader(f"Its answers: {verdict(known, apart, shape)}", anchor=False)
    left, middle, right = st.columns([5, 3, 3], gap="large")
    with left:
        _numbers(known, apart, shape)
    with middle:
        st.caption("Map: what is near is alike.")
        st.html(answer_drawings.map_of(coordinates(known.gram)))
    with right:
        if len(known.texts) <= MANY:
            st.caption("Similarity of each two: 1 = alike.")
            st.html(answer_drawings.likeness(known.gram))
    _texts(known)


Standing = tuple[float, float]  # value, and share of the pool's rows that have a lower one


def standing(values: Values, row: int) -> Standing:
    """A row among all that have this figure; ties count half. NaN where it has none."""
    value = float(values[row])
    if not np.isfinite(value):
        return value, float("nan")
    lower, same = np.count_nonzero(values < value), np.count_nonzero(values == value)
    return value, float((lower + same / 2) / np.count_nonzero(np.isfinite(values)))


def verdict(known: Answered, apart: Standing, shape: Standing) -> str:
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


def _numbers(known: Answered, apart: Standing, shape: Standing) -> None:
    if np.isfinite(apart[0]):
        st.caption("Near and far, one line and several: as answers in this pool go.")
        st.html(answer_drawings.places({"How far apart (D)": apart, "Directions (I)": shape}))
    gone = [str(k + 1) for k, text in enumerate(known.texts) if text is None]
    if gone:
        st.caption(
            f":material/warning: Missing: answer {listed(gone)} of {len(known.texts)}. "
            "The figures are those of the others, and so a little lower."
        )


def _texts(known: Answered) -> None:
    """Side by side, each with its number, length and end."""
    every = list(enumerate(zip(known.texts, known.tokens, known.ended, strict=True), start=1))
    for start in range(0, len(every), BESIDE):
        some = every[start : start + BESIDE]
        for place, (number, (text, tokens, ended)) in zip(st.columns(min(len(every), BESIDE)), some, strict=False):
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
