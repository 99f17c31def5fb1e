"""Filters of the Select page: which rows are eligible. The settings are the single source of truth, as in `forms`.

Each common filter has a widget, which shows the first filter of its form; other filters, and more of them on the same
column, are added by the form below. The page lists all active filters, each with a button to remove it.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from core.columns import EXACT_DUPLICATES
from core.measurement.runs import Run
from core.schema import Pool
from core.selection.filters import Filter, duplicates_filter
from core.selection.recipe import DERIVED_TASK, POOL_NUMBERS, POOL_TEXTS
from pages.ui.controls import tags
from pages.ui.data import cached, live_selection
from pages.ui.row import duplicates
from pages.ui.shell import show, state
from pages.ui.words import escape_markdown, meaning

MAX_BUTTON_LENGTH = 60  # characters of a filter shown on its button
CONDITIONS = ("low", "high", "values", "contains", "matches")  # of a filter
TEXT_KINDS = {"contains": "contains", "matches": "matches a pattern", "missing": "is missing"}
NUMBER_KINDS = {"range": "is between", "missing": "is missing"}
NAMES = {"line": "Line number", "original": "Raw JSON", "id": "Id", EXACT_DUPLICATES: "Duplicate of row"}


def panel(pool: Pool, run: Run) -> None:
    """Draw the filters, which decide the eligible rows; each change computes a new order."""
    with st.popover("Filters", icon=":material/filter_alt:"):
        _tasks("task", "Tasks", [name for name in cached.tasks(pool)[0] if name is not None])
        if run.tasks is not None and run.tasks.derived:
            _tasks(DERIVED_TASK, "Derived tasks", list(run.tasks.names))
        tags.filters()
        _length(run)
        _contains()
        _switch("Keep one of each exact duplicate", EXACT_DUPLICATES, duplicates_filter(EXACT_DUPLICATES))
        for column, label in duplicates.filter_labels(pool).items():
            _switch(label, column, duplicates_filter(column))
        duplicates.finder(pool)
        if "truncated" in cached.measurements(run).columns:
            _switch("Exclude truncated rows", "truncated", Filter("truncated", low=1, exclude=True))
        _other_filter(pool, run)


# Common filters


def _find_filter(column: str, *conditions: str, either: bool = False) -> Filter | None:
    """Return the first filter on a column with only these conditions; an excluding one only with `either`."""
    for current in state.settings().filters:
        conditions_used = {name for name in CONDITIONS if getattr(current, name) is not None}
        if current.column == column and conditions_used <= set(conditions) and (either or not current.exclude):
            return current
    return None


def _replace_filter(now: Filter | None, wanted: Filter | None) -> None:
    """Replace the filter that a widget shows, add it, or remove it."""
    filters = list(state.settings().filters)
    if now is not None and now in filters:
        place = filters.index(now)
        filters[place : place + 1] = [] if wanted is None else [wanted]
    elif wanted is not None:
        filters.append(wanted)
    state.change(filters=tuple(filters))


def _tasks(column: str, label: str, names: Sequence[str]) -> None:
    """Draw the filter on tasks: only some, or all but some."""
    if not names:
        return
    now = _find_filter(column, "values", either=True)
    side = state.set_widget(f"select.{column}.side", "not" if now and now.exclude else "only", force=True)
    selected = [v for v in (now.values if now else ()) or () if v in names]
    key = state.set_widget(f"select.{column}", selected, force=True)

    def take() -> None:
        selected, exclude = tuple(state.widget_value(key)), state.widget_value(side) == "not"
        _replace_filter(now, Filter(column, values=selected, exclude=exclude) if selected else None)

    st.segmented_control(
        label,
        ["only", "not"],
        format_func={"only": f"Only these {label.lower()}", "not": "All except these"}.__getitem__,
        required=True,
        key=side,
        on_change=take,
    )
    show.choose_many(label, names, key, on_change=take, label_visibility="collapsed")


def _length(run: Run) -> None:
    tokens = cached.measurements(run).need("response_tokens")
    low, high = int(tokens.min()), int(tokens.max())
    if low == high:
        return
    now = _find_filter("response_tokens", "low", "high")
    first = low if now is None or now.low is None else int(now.low)
    last = high if now is None or now.high is None else int(now.high)

    def take(limits: tuple[int, int]) -> None:
        a, b = limits[0] if limits[0] > low else None, limits[1] if limits[1] < high else None
        _replace_filter(now, None if a is None and b is None else Filter("response_tokens", low=a, high=b))

    value = (min(max(first, low), high), max(min(last, high), low))
    st.slider("Response length (tokens)", low, high, **state.bind("select.length", value, take, force=True))


def _contains() -> None:
    now = _find_filter("prompt", "contains")

    def take(typed: str) -> None:
        _replace_filter(now, Filter("prompt", contains=typed.strip()) if typed.strip() else None)

    bound = state.bind("select.contains", (now.contains if now else None) or "", take, force=True)
    st.text_input("Prompt contains", placeholder="Any text", **bound)


def _switch(label: str, key: str, wanted: Filter | None) -> None:
    def take(on: bool) -> None:
        _replace_filter(wanted, wanted if on else None)

    st.toggle(label, **state.bind(f"select.{key}", wanted in state.settings().filters, take, force=True))


# Other filters


def _other_filter(pool: Pool, run: Run) -> None:
    """Draw the form for a filter on any column; one that cannot be applied changes nothing."""
    columns = cached.columns(run, state.method())
    numbers = [name for name, values in columns.items() if values.dtype.kind in "fiub"]
    column = st.selectbox(
        "Custom filter: rows where",
        [*POOL_TEXTS, *POOL_NUMBERS, *numbers],
        format_func=lambda name: NAMES.get(name) or meaning(name).label,
        key="filter.column",
    )
    is_text = column in POOL_TEXTS
    key, kinds = ("filter.kind.text", TEXT_KINDS) if is_text else ("filter.kind.number", NUMBER_KINDS)
    condition = _condition(show.choose("Condition", kinds, key, label_visibility="collapsed"))
    with st.container(horizontal=True, vertical_alignment="center"):
        exclude = st.toggle("Exclude these rows", key="filter.exclude")
        if st.button("Add filter", icon=":material/add:", key="filter.add"):
            with show.errors():
                _add(pool, run, Filter(column, exclude=exclude, **condition))


def _condition(kind: str) -> dict[str, Any]:
    """Draw the widgets of a kind of condition, and return their values as arguments of Filter."""
    if kind == "missing":
        return {"values": (None,)}
    if kind == "range":
        low, high = st.columns(2)
        return {
            "low": low.number_input("Minimum", value=None, format="%g", key="filter.low", placeholder="none"),
            "high": high.number_input("Maximum", value=None, format="%g", key="filter.high", placeholder="none"),
        }
    help = {
        "contains": "Searches the whole text and ignores case.",
        "matches": "A regular expression (RE2 syntax) that matches anywhere in the text: ^ is the start, $ the end; "
        "(?i) at the front ignores case.",
    }[kind]
    text = st.text_input("Text" if kind == "contains" else "Pattern", key=f"filter.{kind}", help=help)
    return {kind: text or None}


def _add(pool: Pool, run: Run, wanted: Filter) -> None:
    """Add a filter, after the order it gives was computed. Raise WinnowError if it cannot be applied."""
    now = state.settings()
    after = (*(one for one in now.filters if one != wanted), wanted)
    live_selection.order(pool, run, state.recipe(pool, replace(now, filters=after)))
    state.change(filters=after)
    st.rerun()  # the whole app: the widgets above may show the added filter


def active_filters() -> None:
    """Draw the active filters and the rows used already, each with a button to remove it, and the number of pins.

    Nothing if there are none.
    """
    now = state.settings()
    if not now.filters and not now.pins and not now.given:
        return
    inside = sum(pin.side == "in" for pin in now.pins)
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        for place, one in enumerate(now.filters):
            text = str(one)
            help = f"Remove this filter: {escape_markdown(text)}"
            if len(text) > MAX_BUTTON_LENGTH:
                text = text[: MAX_BUTTON_LENGTH - 1] + "…"
            key = f"filter.remove.{place}"
            show.action(escape_markdown(text), "filter_alt_off", key, _replace_filter, one, None, help=help)
        if now.given:
            used = state.describe_used(state.session_value(state.POOL), now.given)
            help = "Remove them: they then count no longer in the budget, and can be selected."
            show.action(used, "playlist_remove", "select.unused", partial(state.change, given=""), help=help)
        if now.pins:
            words = f"{inside:,} always included, {len(now.pins) - inside:,} always excluded"
            st.badge(words, icon=":material/keep:", color="violet")
