"""The highlight in words: the search, and a chip for each term."""

import numpy as np
import streamlit as st

from core.measurement.runs import Run
from core.schema import BoolArray, IntArray, Pool
from pages.ui.shell import show, state
from pages.ui.shell.changes import NARROW
from pages.ui.shell.terms import Search, Term, describe
from pages.ui.words import escape_markdown, format_rows, shorten
from pages.ui.workbench import actions

MAX_LENGTH = 48  # characters of a chip


def search_box() -> None:
    """Draw the search: rows with a text in prompt or response become the highlight."""

    def take(text: str) -> None:
        if text.strip():
            state.pick(Search(text.strip()))
        elif now:
            state.remove_term(searched[0])

    searched = [term for term in state.settings().highlight if isinstance(term, Search)]
    now = searched[0].text if searched else ""
    bound = state.bind("highlight.search", now, take)
    st.text_input(
        "Search", placeholder="Search rows", icon=":material/search:", label_visibility="collapsed", width=160, **bound
    )


def draw(pool: Pool, run: Run | None, highlight: BoolArray | None, selected: IntArray | None) -> None:
    """Draw the highlighted rows in number and in words, and their actions; nothing if none are.

    `highlight`: (N,) the highlighted rows, None if no term could be applied. `selected`: the selected rows, None if
    there is no selection.
    """
    terms = state.settings().highlight
    if not terms:
        return
    rows = np.empty(0, np.int64) if highlight is None else np.flatnonzero(highlight)
    words = f"{format_rows(len(rows))} highlighted"
    if highlight is not None and selected is not None:
        words += f", {int(highlight[selected].sum()):,} selected"
    st.badge(words, icon=":material/highlight:", color="violet")
    for number, term in enumerate(terms):
        _chip(number, term)
    st.toggle("Narrow", key=NARROW, help="The next pick narrows the highlight instead of replacing it.")
    with st.popover("Actions", icon=":material/bolt:", key="highlight.actions", on_change="rerun") as opened:
        if opened.open:
            actions.draw(pool, run, rows, terms)
    show.action("Clear", "close", "highlight.clear", state.clear_highlight, type="tertiary")


def _chip(number: int, term: Term) -> None:
    label = ("∩ " if number else "") + shorten(describe(term), MAX_LENGTH)
    with st.popover(escape_markdown(label), key=f"highlight.term.{number}"):
        st.text(describe(term))
        show.action("Invert", "swap_horiz", f"highlight.negate.{number}", state.negate_term, term)
        show.action("Remove", "close", f"highlight.remove.{number}", state.remove_term, term)
