"""Filters of the Select page: who may be chosen at all. As in `forms`, the settings are the only truth."""

from collections.abc import Mapping, Sequence

import streamlit as st

from core.runs import Run
from core.schema import Pool
from core.selection import Filter
from pages.ui import cached, show, state


def panel(pool: Pool, run: Run) -> None:
    """Which rows may be chosen at all; each change makes a new order."""
    now = {one.column: one for one in state.settings().filters}
    with st.popover("Filters", icon=":material/filter_alt:", width="stretch"):
        _tasks("task", "Tasks", [name for name in cached.tasks(pool)[0] if name is not None], now)
        if run.tasks is not None and run.tasks.derived:
            _tasks("derived_task", "Derived tasks", list(run.tasks.names), now)
        _length(run, now.get("response_tokens"))
        _contains(now.get("prompt"))
        _switch("Exact duplicates once", "duplicate_of", Filter("duplicate_of", low=0, exclude=True), now)
        if "truncated" in cached.measured(run).columns:
            _switch("No truncated rows", "truncated", Filter("truncated", low=1, exclude=True), now)


def _put(column: str, wanted: Filter | None) -> None:
    others = tuple(one for one in state.settings().filters if one.column != column)
    state.change(filters=others if wanted is None else (*others, wanted))


def _tasks(column: str, label: str, names: Sequence[str], filters: Mapping[str, Filter]) -> None:
    """Only some tasks, or all but some."""
    if not names:
        return
    now = filters.get(column)
    side = state.set_widget(f"select.{column}.side", "not" if now and now.exclude else "only")
    key = state.set_widget(f"select.{column}", [v for v in (now.values if now else ()) or () if v in names])

    def take() -> None:
        chosen, exclude = tuple(state.widget(key)), state.widget(side) == "not"
        _put(column, Filter(column, values=chosen, exclude=exclude) if chosen else None)

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


def _length(run: Run, now: Filter | None) -> None:
    tokens = cached.measured(run).need("response_tokens")
    low, high = int(tokens.min()), int(tokens.max())
    if low == high:
        return
    first = low if now is None or now.low is None else int(now.low)
    last = high if now is None or now.high is None else int(now.high)
    key = state.set_widget("select.length", (max(first, low), min(last, high)))

    def take() -> None:
        a, b = state.widget(key)
        limits = {"low": a if a > low else None, "high": b if b < high else None}
        some = any(v is not None for v in limits.values())
        _put("response_tokens", Filter("response_tokens", **limits) if some else None)

    st.slider("Response length in tokens", low, high, key=key, on_change=take)


def _contains(now: Filter | None) -> None:
    key = state.set_widget("select.contains", (now.contains if now else None) or "")

    def take() -> None:
        wanted = state.widget(key).strip()
        _put("prompt", Filter("prompt", contains=wanted) if wanted else None)

    st.text_input("Prompt contains", key=key, on_change=take, placeholder="Any text")


def _switch(label: str, column: str, wanted: Filter, now: Mapping[str, Filter]) -> None:
    key = state.set_widget(f"select.{column}", column in now)
    st.toggle(label, key=key, on_change=lambda: _put(column, wanted if state.widget(key) else None))


def in_force() -> None:
    """Filters and pins that are in force, in words; nothing when there are none."""
    now = state.settings()
    if not now.filters and not now.pins:
        return
    inside = sum(pin.side == "in" for pin in now.pins)
    with st.container(horizontal=True, gap="small"):
        for one in now.filters:
            st.badge(show.md_escape(one), icon=":material/filter_alt:", color="green")
        if now.pins:
            words = f"{inside:,} pinned in, {len(now.pins) - inside:,} pinned out"
            st.badge(words, icon=":material/keep:", color="violet")
