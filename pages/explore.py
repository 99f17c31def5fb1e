"""Explore: how are the scores distributed, and can I trust them?"""

import streamlit as st

from core.errors import WinnowError
from pages.ui import controls, scores, shifts, show, state, whatif

pool = state.need_pool()
top = st.container()
choice, picked, words = st.columns([2, 2, 4], vertical_alignment="bottom")
with choice:
    controls.method(pool)
if state.run(pool) is None:
    top.title("Explore", anchor=False)
run = state.need_run()
try:
    answer = whatif.answer(pool, run, state.recipe(pool))
except WinnowError as error:
    show.error(error)
    st.stop()
method = answer.method
with picked:
    score = scores.choose_column(run, method)
words.markdown(f"**{scores.says(answer, score)}**")
top.title(scores.verdict(run, answer, score), anchor=False)
scores.warnings(run, method, score)


@st.fragment
def one_score() -> None:
    """Its own fragment: a click on a bar draws nothing else again."""
    left, right = st.columns([7, 3])
    with left:
        st.caption("Rows per score, quantiles dotted; beyond the cut no row is taken. Click a bar to read its rows.")
        clicked = scores.distribution(run, answer, score)
    with right:
        st.caption("Rank correlation (Spearman): near ±1 the score says nothing of its own.")
        scores.follows(run, method, score)
        st.caption(scores.counts(run, answer, score))
    if clicked is not None:
        scores.read(pool, run, answer, *clicked, key="bar")


@st.fragment
def both_shifts() -> None:
    """The two shifts against each other, and by task; picks in both are taken together."""
    left, right = st.columns([6, 4])
    with left:
        st.subheader("What the warm-up changed", anchor=False)
        st.caption("Shade: all rows; dots: a fixed sample. Click a dot or draw around some to read the rows there.")
        drawn_around = shifts.plane(pool, run, answer)
    with right:
        st.subheader("Expansion and compression by task", anchor=False)
        st.caption("ΔH below 0 is expansion: the model grew less certain. Click a bar to read its rows.")
        clicked = shifts.tasks(pool, run, answer)
    st.caption(shifts.in_words(run, answer))
    rows = shifts.both(drawn_around, clicked)
    if rows is not None:
        scores.read(pool, run, answer, *rows, key="shift")


one_score()
if shifts.has_shift(run, method):
    both_shifts()
