"""Several contenders combined into one method, and put into use."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import streamlit as st

from core.methods.combined import NAME, RULES, Combined, format_members
from core.schema import Pool
from pages.ui.compare import contenders
from pages.ui.compare.contenders import BASELINES, MAX_CONTENDERS
from pages.ui.compare.entries import Entry
from pages.ui.shell import show, state
from pages.ui.shell.state import Contender

WORDS = {"rank average": " + ", "union": " or ", "intersection": " and ", "filtered": " among the top of "}
RULE = "compare.rule"


def panel(pool: Pool, entries: Sequence[Entry]) -> None:
    """Draw the choice of members and rule, and the buttons that make the combination the method of every page."""
    by_label = {entry.label: entry for entry in entries if not entry.contender.saved and entry.method.name != NAME}
    if len(by_label) < 2:
        return
    st.subheader("Combination", anchor=False)
    st.caption("A combination is a method: you can tune it on Select, export it and replay it.")
    measured = [name for name, entry in by_label.items() if entry.method.name not in BASELINES][:2]
    left, middle, right = st.columns([4, 3, 2], vertical_alignment="bottom")
    with left:
        names = show.choose_many(
            "Methods (the first picked breaks ties)",
            list(by_label),
            f"compare.combine.{contenders.names_digest(list(by_label))}",
            default=measured if len(measured) == 2 else list(by_label)[:2],
        )
    with middle:
        rule = st.selectbox("Rule", list(RULES), format_func=str.capitalize, key=RULE, persist_state="session")
    with right:
        parameter = _rule_parameter(str(rule), len(names))
    st.caption(RULES[str(rule)])
    if len(names) < 2:
        st.caption("Choose at least two methods.")
        return
    with show.errors():
        combined = Combined(format_members(by_label[name].method for name in names), rule, **parameter)  # type: ignore[arg-type]
        _buttons(combined, WORDS[str(rule)].join(names), [entry.contender for entry in entries])


def _rule_parameter(rule: str, members: int) -> dict[str, Any]:
    """Draw the parameter of the rule; return it, as the user set it."""
    if rule == "rank average":
        typed = st.text_input("Weights", key="compare.weights", placeholder=", ".join("1" * max(members, 2)))
        return {"weights": typed.strip()}
    if rule == "filtered":
        share = st.number_input("Top share of the others, %", 1, 100, 50, key="compare.share")
        return {"keep": share / 100}
    return {}


def _buttons(combined: Combined, label: str, current: Sequence[Contender]) -> None:
    params = asdict(combined)
    contender, in_use = Contender(NAME, params, label), state.method() == combined
    with st.container(horizontal=True):
        use, icon = ("In use", "check") if in_use else ("Use as method", "merge")
        show.action(use, icon, "compare.use", _use_method, params, type="primary", disabled=in_use)
        compared = contender in current or len(current) >= MAX_CONTENDERS
        add = partial(state.change, contenders=(*current, contender))
        show.action("Add to comparison", "add", "compare.too", add, disabled=compared)
        if in_use:
            st.page_link(show.PAGES["select"]["page"], label="Tune on Select", icon=show.PAGES["select"]["icon"])


def _use_method(params: dict[str, Any]) -> None:
    now = state.settings()
    state.change(method=NAME, params={**now.params, NAME: params}, threshold=None)
    st.rerun()  # the whole app, because the sidebar shows the method
