"""The highlight in words: a chip for each term, and what can be done with the highlighted rows."""

from dataclasses import replace
from functools import partial

import streamlit as st

from core.schema import IntArray, Pool
from core.selection.filters import Filter
from core.selection.selection import Pin
from pages.ui.data.live_selection import LiveSelection
from pages.ui.row.tags import tag_rows
from pages.ui.shell import show, state
from pages.ui.shell.changes import NARROW
from pages.ui.shell.terms import Match, Search, Term, describe
from pages.ui.words import escape_markdown, format_rows, shorten

MAX_BY_HAND = 10_000  # rows pinned, or filtered by their ids, at once: the recipe lists each
MAX_LENGTH = 48  # characters of a chip
REASON = "Reason (optional, saved in the manifest)"


def search_box() -> None:
    """Draw the search: rows with a text in prompt or response become the highlight."""

    def take(text: str) -> None:
        if text.strip():
            state.pick(Search(text.strip()))

    now = next((term.text for term in state.settings().highlight if isinstance(term, Search)), "")
    bound = state.bind("highlight.search", now, take)
    st.text_input(
        "Search", placeholder="Search rows", icon=":material/search:", label_visibility="collapsed", width=190, **bound
    )


def draw(pool: Pool, live: LiveSelection) -> None:
    """Draw the highlighted rows in number and in words, and their actions; nothing if none are."""
    terms = state.settings().highlight
    if not terms:
        return
    rows = live.highlighted
    selected = int(live.highlight[live.selection.rows].sum()) if live.highlight is not None else 0
    st.badge(
        f"{format_rows(len(rows))} highlighted, {selected:,} selected", icon=":material/highlight:", color="orange"
    )
    for number, term in enumerate(terms):
        _chip(number, term)
    st.toggle("Narrow", key=NARROW, help="The next pick narrows the highlight instead of replacing it.")
    with st.popover("Actions", icon=":material/bolt:", key="highlight.actions", on_change="rerun") as opened:
        if opened.open:
            _actions(pool, rows, terms)
    show.action("Clear", "close", "highlight.clear", state.clear_highlight, type="tertiary")


def _chip(number: int, term: Term) -> None:
    label = ("∩ " if number else "") + shorten(describe(term), MAX_LENGTH)
    with st.popover(escape_markdown(label), key=f"highlight.term.{number}"):
        st.text(describe(term))
        show.action("Invert", "swap_horiz", f"highlight.negate.{number}", state.negate_term, term)
        show.action("Remove", "close", f"highlight.remove.{number}", state.remove_term, term)


def _actions(pool: Pool, rows: IntArray, terms: tuple[Term, ...]) -> None:
    """Draw what can be done with the highlighted rows."""
    none = not len(rows)
    show.action("Read", "menu_book", "highlight.read", state.open_row, pool, rows, disabled=none)
    many = len(rows) > MAX_BY_HAND
    filters = as_filters(pool, rows, terms, exclude=False) if not (none or many) or _are_filters(terms) else None
    for label, exclude in (("Keep only these", False), ("Exclude these", True)):
        apply = partial(_filter, pool, rows, terms, exclude)
        help = "Adds a filter, which determines the eligible rows."
        show.action(label, "filter_alt", f"highlight.filter.{exclude}", apply, disabled=filters is None, help=help)
    st.text_input(REASON, key="highlight.reason", placeholder=REASON, label_visibility="collapsed", on_change="ignore")
    for side, label, icon in (("in", "Always include", "keep"), ("out", "Always exclude", "block")):
        show.action(label, icon, f"highlight.pin.{side}", _pin, pool, rows, side, disabled=none or many)
    tag_rows(partial(row_ids, pool, rows), "highlight", disabled=none)
    if many:
        st.caption(f"At most {MAX_BY_HAND:,} rows can be pinned or listed in a filter at once.")


def _are_filters(terms: tuple[Term, ...]) -> bool:
    return all(isinstance(term, Match) for term in terms)


def as_filters(pool: Pool, rows: IntArray, terms: tuple[Term, ...], *, exclude: bool) -> tuple[Filter, ...]:
    """Return filters that let pass exactly these rows, or exactly the others: by definition where there is one.

    Several terms exclude together what matches all of them, which only a list of ids can say.
    """
    if _are_filters(terms) and (len(terms) == 1 or not exclude):
        conditions = [replace(t.filter, exclude=t.filter.exclude ^ t.exclude) for t in terms if isinstance(t, Match)]
        return tuple(replace(one, exclude=one.exclude ^ exclude) for one in conditions)
    return (Filter("id", values=tuple(row_ids(pool, rows)), exclude=exclude),)


def row_ids(pool: Pool, rows: IntArray) -> list[str]:
    """Return the ids of rows, as in the user's data."""
    column = pool.rows["id"]
    return [column[row].as_py() for row in rows.tolist()]


def _filter(pool: Pool, rows: IntArray, terms: tuple[Term, ...], exclude: bool) -> None:
    added = as_filters(pool, rows, terms, exclude=exclude)
    state.change(filters=(*(one for one in state.settings().filters if one not in added), *added))


def _pin(pool: Pool, rows: IntArray, side: str) -> None:
    reason = str(state.session_value("highlight.reason") or "").strip()
    state.add_pins([Pin(one, side, reason) for one in row_ids(pool, rows)])  # type: ignore[arg-type]
