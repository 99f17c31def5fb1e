"""The list of methods: a check box for each, with its state or its cost in the same line."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from pages.ui.measure import costs, status
from pages.ui.measure.costs import Prices
from pages.ui.measure.status import Status
from pages.ui.shell import state
from pages.ui.words import escape_markdown

NOTES = {
    status.BASELINES: "They need no training and no generation. Every method should beat them.",
    status.IMPORTED: "The score is read from a field of your rows. No model runs.",
}


def choose_methods(statuses: Sequence[Status], prices: Prices) -> None:
    """Draw the groups of methods."""
    for title, members in status.group(statuses).items():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{title}**", width="content")
            if title == status.PAPERS and not all(one.ticked for one in members):
                st.button("Select all", key="measure.all", type="tertiary", on_click=status.tick_all)
        if title in NOTES:
            st.caption(NOTES[title])
        with st.container(gap="xsmall"):
            for one in members:
                _line(one, costs.describe(one, statuses, prices))


def _line(one: Status, cost: str) -> None:
    name = one.method.name
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"method-{name}"):
        bound = state.bind(f"measure.tick.{name}", one.ticked, partial(status.tick, name))
        st.checkbox(one.method.label, help=one.method.summary, **bound)
        if one.run is not None:
            st.badge("Measured", icon=":material/check:", color="green")
        elif one.job is not None:
            st.badge("Queued" if one.job.state == "queued" else "Running", icon=":material/schedule:", color="blue")
        elif one.problem:
            st.badge("Needs settings", icon=":material/error:", color="orange", help=one.problem)
        else:
            st.caption(escape_markdown(cost), width="content")
    if one.method.paper:
        st.caption(f"{one.method.summary} ({one.method.paper})")
