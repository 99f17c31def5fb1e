"""The part of the Compare page that makes one method of several, and puts it into use."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from core.errors import WinnowError
from core.methods.combined import NAME, Combined, format_members
from core.schema import Pool
from pages.ui.compare import contenders
from pages.ui.compare.contenders import BASELINES, MAX_CONTENDERS
from pages.ui.compare.entries import Entry
from pages.ui.shell import show, state
from pages.ui.shell.state import Contender

RULES = {
    "rank average": "Rank average: rows that all of them place high on the whole.",
    "intersection": "Intersection: rows that every one of them places high; its first rows are what all take.",
    "union": "Union: rows that any one of them places high; each gets its best rows in.",
    "filtered": "Filtered: the first method's order, over rows that all others have near their top.",
}
RULE = "compare.rule"


def panel(pool: Pool, entries: Sequence[Entry]) -> None:
    """Which ones, by what rule; and the button that makes it the method of every page."""
    named = {entry.label: entry for entry in entries if not entry.contender.saved and entry.method.name != NAME}
    if len(named) < 2:
        return
    st.subheader("Combine them", anchor=False)
    st.caption("A combination is a method like any other: tune it on Select, export it, replay it.")
    usual = [name for name, entry in named.items() if entry.method.name not in BASELINES][:2]
    who, how, more = st.columns([4, 3, 2], vertical_alignment="bottom")
    with who:
        names = st.multiselect(
            "Methods, the first one decides ties",
            list(named),
            default=usual if len(usual) == 2 else list(named)[:2],
            key=f"compare.combine.{contenders.names_digest(list(named))}",
        )
    with how:
        rule = st.selectbox("Rule", list(RULES), format_func=str.capitalize, key=RULE, persist_state="session")
    with more:
        extra = _extra(str(rule), len(names))
    st.caption(RULES[str(rule)])
    if len(names) < 2:
        st.caption("Choose at least two methods.")
        return
    try:
        made = Combined(format_members(named[name].method for name in names), rule, **extra)  # type: ignore[arg-type]
    except WinnowError as error:
        show.error(error)
        return
    _buttons(made, _called(names, str(rule)), [entry.contender for entry in entries])


def _extra(rule: str, members: int) -> dict[str, Any]:
    """The parameter that belongs to the rule."""
    if rule == "rank average":
        typed = st.text_input("Weights", key="compare.weights", placeholder=", ".join("1" * max(members, 2)))
        return {"weights": typed.strip()}
    if rule == "filtered":
        share = st.number_input("Top share of the others, %", 1, 100, 50, key="compare.share")
        return {"keep": share / 100}
    return {}


def _called(names: Sequence[str], rule: str) -> str:
    words = {"rank average": " + ", "union": " or ", "intersection": " and ", "filtered": " among the best of "}
    return words[rule].join(names)


def _buttons(made: Combined, label: str, picked: Sequence[Contender]) -> None:
    params = {"members": made.members, "rule": made.rule, "weights": made.weights, "keep": made.keep}
    own = Contender(NAME, params, label)
    present = state.settings()
    in_use = present.method == NAME and state.method() == made
    with st.container(horizontal=True):
        st.button(
            "In use" if in_use else "Use it as the method",
            key="compare.use",
            type="primary",
            icon=":material/check:" if in_use else ":material/merge:",
            disabled=in_use,
            on_click=_use,
            args=(params,),
        )
        st.button(
            "Compare it too",
            key="compare.too",
            icon=":material/add:",
            disabled=own in picked or len(picked) >= MAX_CONTENDERS,
            on_click=lambda: state.change(contenders=(*picked, own)),
        )
        if in_use:
            st.page_link(show.PAGES["select"]["page"], label="Tune it on Select", icon=show.PAGES["select"]["icon"])


def _use(params: dict[str, Any]) -> None:
    now = state.settings()
    state.change(method=NAME, params={**now.params, NAME: params}, threshold=None)
    st.rerun()  # all of the app: the bar beside the page shows the method
