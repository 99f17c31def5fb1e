"""Compare: which method should I believe?"""

import streamlit as st

from core.errors import WinnowError
from core.selection.selection import Selection
from pages.ui import cached, show, state
from pages.ui.compare import (
    combining,
    comparedifference,
    comparefield,
    comparegroups,
    comparepicks,
    compareread,
    comparing,
    contenders,
)
from pages.ui.select import controls

pool = state.need_pool()


@st.fragment
def compare() -> None:
    """All of it: orders are known, so a move of the budget only cuts them elsewhere."""
    top = st.container()
    runs = contenders.runs_of(pool)
    there = contenders.there(pool, runs)
    if not there:
        top.title("Compare", anchor=False)
        show.nothing("Nothing is measured yet", "Measure a method: random rows come with it.", page="score")
    picked, panel = contenders.chosen(there), st.container(border=True)
    who, against, more = panel.columns([6, 2, 1], vertical_alignment="bottom")
    with who:
        comparepicks.choose(there, picked)
    with more:
        comparepicks.more(pool, runs, picked)
    found, refused = comparefield.entries(pool, runs, picked)
    if len(found) < 2:
        top.title("Compare", anchor=False)
        comparepicks.refused(refused)
        st.info("Choose at least two to compare.", icon=":material/compare_arrows:")
        return
    with against:
        first = comparepicks.reference(found)
    known = comparefield.field(found, state.budget(), len(pool))
    with panel:
        _budget(known, first)
        st.caption(comparing.rules(found))
    comparepicks.refused(refused)
    top.title(comparing.headline(known, first), anchor=False)
    top.markdown(comparing.in_words(known, first))
    _draw(known, first)


def _budget(known: comparefield.Field, first: comparefield.Entry) -> None:
    """The one budget of all pages."""
    base = comparefield.base_of(known.entries)
    rows = known.rows(list(known.entries).index(first))
    tokens = cached.measured(base.run).need("response_tokens")
    controls.budget(pool, base.run, Selection(pool.fingerprint, rows, 0, int(tokens[rows].sum()), first.order))


def _draw(known: comparefield.Field, first: comparefield.Entry) -> None:
    named = comparing.looks(known.entries)
    left, right = st.columns([11, 9], gap="medium")
    with left:
        st.subheader("What they share, at every budget", anchor=False)
        comparing.curves(pool, known, first, named)
    with right:
        st.subheader("Who takes which rows", anchor=False)
        clicked = comparing.sets(known, named)
    comparing.pairs(known)
    here = comparedifference.standing(pool, known)
    comparedifference.section(pool, known, here)
    comparegroups.section(pool, known, here, named)
    compareread.read(pool, known, first, clicked)
    combining.panel(pool, known.entries)


try:
    compare()
except WinnowError as error:
    show.error(error)
