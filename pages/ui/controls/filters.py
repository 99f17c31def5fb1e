"""Filters of the Select page: who may be chosen at all. As in `forms`, the settings are the only truth.

The usual filters have a widget each, which holds the first filter of its form; any other, and further ones on the
same column, are added in words below. All that are in force are listed on the page, each with a way to remove it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from core.columns import EXACT_DUPLICATES
from core.errors import WinnowError
from core.measurement.runs import Run
from core.schema import Pool
from core.selection.filters import Filter, duplicates_filter
from core.selection.recipe import DERIVED_TASK, POOL_NUMBERS, POOL_TEXTS
from pages.ui.data import cached, live_selection
from pages.ui.row import duplicates
from pages.ui.shell import show, state
from pages.ui.words import escape_markdown, meaning

MAX_BUTTON_LENGTH = 60  # characters of a filter shown on its button
CONDITIONS = ("low", "high", "values", "contains", "matches")  # of a filter
KINDS = {"range": "from … to", "contains": "contains", "matches": "matches a pattern", "missing": "is missing"}
NAMES = {"line": "Line in the file", "original": "Whole row as JSON", "id": "Id", EXACT_DUPLICATES: "Repeats row"}


def panel(pool: Pool, run: Run) -> None:
    """Which rows may be chosen at all; each change makes a new order."""
    with st.popover("Filters", icon=":material/filter_alt:", width="stretch"):
        _tasks("task", "Tasks", [name for name in cached.tasks(pool)[0] if name is not None])
        if run.tasks is not None and run.tasks.derived:
            _tasks(DERIVED_TASK, "Derived tasks", list(run.tasks.names))
        _length(run)
        _contains()
        _switch("Exact duplicates once", EXACT_DUPLICATES, duplicates_filter(EXACT_DUPLICATES))
        for column, label in duplicates.filter_labels(pool).items():
            _switch(label, column, duplicates_filter(column))
        duplicates.finder(pool)
        if "truncated" in cached.measurements(run).columns:
            _switch("No truncated rows", "truncated", Filter("truncated", low=1, exclude=True))
        _any_other(pool, run)


# The usual ones


def _first(column: str, *conditions: str, either: bool = False) -> Filter | None:
    """The first filter in force on a column that has these conditions alone; one that excludes only with `either`."""
    for one in state.settings().filters:
        said = {name for name in CONDITIONS if getattr(one, name) is not None}
        if one.column == column and said <= set(conditions) and (either or not one.exclude):
            return one
    return None


def _put(now: Filter | None, wanted: Filter | None) -> None:
    """Replace the filter that a widget holds, or add it, or take it away."""
    filters = list(state.settings().filters)
    if now is not None and now in filters:
        place = filters.index(now)
        filters[place : place + 1] = [] if wanted is None else [wanted]
    elif wanted is not None:
        filters.append(wanted)
    state.change(filters=tuple(filters))


def _tasks(column: str, label: str, names: Sequence[str]) -> None:
    """Only some tasks, or all but some."""
    if not names:
        return
    now = _first(column, "values", either=True)
    side = state.set_widget(f"select.{column}.side", "not" if now and now.exclude else "only", force=True)
    chosen = [v for v in (now.values if now else ()) or () if v in names]
    key = state.set_widget(f"select.{column}", chosen, force=True)

    def take() -> None:
        chosen, exclude = tuple(state.widget_value(key)), state.widget_value(side) == "not"
        _put(now, Filter(column, values=chosen, exclude=exclude) if chosen else None)

    st.segmented_control(
        label,
        ["only", "not"],
        format_func={"only": f"Only these {label.lower()}", "not": "All but these"}.__getitem__,
        required=True,
        key=side,
        on_change=take,
    )
    st.multiselect(
        label, names, key=key, on_change=take, label_visibility="collapsed", placeholder=f"All {label.lower()}"
    )


def _length(run: Run) -> None:
    tokens = cached.measurements(run).need("response_tokens")
    low, high = int(tokens.min()), int(tokens.max())
    if low == high:
        return
    now = _first("response_tokens", "low", "high")
    first = low if now is None or now.low is None else int(now.low)
    last = high if now is None or now.high is None else int(now.high)
    key = state.set_widget("select.length", (min(max(first, low), high), max(min(last, high), low)), force=True)

    def take() -> None:
        a, b = state.widget_value(key)
        limits = {"low": a if a > low else None, "high": b if b < high else None}
        some = any(v is not None for v in limits.values())
        _put(now, Filter("response_tokens", **limits) if some else None)

    st.slider("Response length in tokens", low, high, key=key, on_change=take)


def _contains() -> None:
    now = _first("prompt", "contains")
    key = state.set_widget("select.contains", (now.contains if now else None) or "", force=True)

    def take() -> None:
        wanted = state.widget_value(key).strip()
        _put(now, Filter("prompt", contains=wanted) if wanted else None)

    st.text_input("Prompt contains", key=key, on_change=take, placeholder="Any text")


def _switch(label: str, key: str, wanted: Filter | None) -> None:
    on = wanted in state.settings().filters
    key = state.set_widget(f"select.{key}", on, force=True)
    st.toggle(label, key=key, on_change=lambda: _put(wanted, wanted if state.widget_value(key) else None))


# Any other


def _any_other(pool: Pool, run: Run) -> None:
    """One more filter on any column; it is tried before it is taken, so one that cannot be followed changes nothing."""
    numbers = _numbers(run)
    column = st.selectbox(
        "Any other filter: rows whose",
        [*POOL_TEXTS, *POOL_NUMBERS, *numbers],
        format_func=lambda name: NAMES.get(name) or meaning(name).label,
        key="filter.column",
    )
    is_text = column in POOL_TEXTS
    kind = st.segmented_control(
        "Condition",
        ["contains", "matches", "missing"] if is_text else ["range", "missing"],
        format_func=KINDS.__getitem__,
        required=True,
        default="contains" if is_text else "range",
        key=f"filter.kind.{'text' if is_text else 'number'}",
        label_visibility="collapsed",
    )
    asked = _condition(kind)
    with st.container(horizontal=True, vertical_alignment="center"):
        exclude = st.toggle("Leave these out", key="filter.exclude")
        if st.button("Add this filter", icon=":material/add:", key="filter.add"):
            _add(pool, run, lambda: Filter(column, exclude=exclude, **asked))


def _numbers(run: Run) -> list[str]:
    columns = cached.columns(run, state.method())
    return [name for name, values in columns.items() if values.dtype.kind in "fiub"]


def _condition(kind: str) -> dict[str, Any]:
    """The widgets of one kind of condition, and what they say as a part of a filter."""
    if kind == "missing":
        return {"values": (None,)}
    if kind == "range":
        low, high = st.columns(2)
        return {
            "low": low.number_input("At least", value=None, format="%g", key="filter.low", placeholder="any"),
            "high": high.number_input("At most", value=None, format="%g", key="filter.high", placeholder="any"),
        }
    help = {
        "contains": "Anywhere in the text; upper and lower case are alike.",
        "matches": "A regular expression, in the syntax of RE2, found anywhere in the text: ^ is its beginning, $ its "
        "end; (?i) at the front lets upper and lower case be alike.",
    }[kind]
    text = st.text_input("Text" if kind == "contains" else "Pattern", key=f"filter.{kind}", help=help)
    return {kind: text or None}


def _add(pool: Pool, run: Run, made: Callable[[], Filter]) -> None:
    now = state.settings()
    try:
        wanted = made()
        after = (*(one for one in now.filters if one != wanted), wanted)
        live_selection.order(pool, run, state.recipe(pool, replace(now, filters=after)))
    except WinnowError as error:
        show.error(error)
        return
    state.change(filters=after)
    st.rerun()  # all of the app: the widgets above may hold what was added


def active_filters() -> None:
    """Filters and pins in force, in words, each filter with a way to remove it; nothing when there are none."""
    now = state.settings()
    if not now.filters and not now.pins:
        return
    inside = sum(pin.side == "in" for pin in now.pins)
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        for place, one in enumerate(now.filters):
            said = str(one)
            st.button(
                escape_markdown(said if len(said) <= MAX_BUTTON_LENGTH else said[: MAX_BUTTON_LENGTH - 1] + "…"),
                icon=":material/filter_alt_off:",
                key=f"filter.remove.{place}",
                help=f"Remove this filter: {escape_markdown(said)}",
                on_click=_put,
                args=(one, None),
            )
        if now.pins:
            words = f"{inside:,} pinned in, {len(now.pins) - inside:,} pinned out"
            st.badge(words, icon=":material/keep:", color="violet")
