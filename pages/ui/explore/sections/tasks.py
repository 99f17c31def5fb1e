"""Tasks: the model's confidence by task, and the allocation of the budget."""

from typing import Any

import streamlit as st

from core.measurement.runs import Run
from core.schema import Pool
from pages.ui.data.grouping import find_grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import scores, tasks
from pages.ui.words import escape_markdown


def draw(top: Any, pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw the model's confidence by task and the allocation of the budget."""
    groups, confidences = find_grouping(pool, run), tasks.find_confidence(pool, run)
    top.title(tasks.headline(groups, confidences, live, len(pool)), anchor=False)
    sentences = [groups.origin, "" if confidences is None else tasks.describe_weights(groups, confidences, live)]
    st.markdown(" ".join(sentences))
    _draw_figures(pool, run, live, confidences)


@st.fragment
def _draw_figures(pool: Pool, run: Run, live: LiveSelection, confidences: tasks.ConfidenceByTask | None) -> None:
    groups = find_grouping(pool, run)
    bands, clicked = tasks.stack_tasks(groups, confidences), None
    left, right = st.columns([5, 6], gap="medium")
    with left:
        st.subheader(f"How sure the model is of its {groups.noun}s", anchor=False)
        if confidences is None:
            st.caption("Measure Task confidence to see how sure the model is of each task.")
        else:
            st.caption(tasks.describe_prompts(confidences))
            clicked = tasks.draw_confidence(groups, confidences, bands)
    with right:
        st.subheader("What each gets as the budget grows", anchor=False)
        st.caption(f"In the order of {escape_markdown(live.method.label)}, with filters and pins as they are.")
        tasks.draw_allocation(live, bands, len(pool))
    scores.draw_rows(pool, run, live, clicked, key="task")
