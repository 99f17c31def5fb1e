"""Tasks: the model's confidence by task, and the allocation of the budget."""

from typing import Any

import streamlit as st

from core.measurement.runs import Run
from core.schema import Pool
from pages.ui.data import cached
from pages.ui.data.grouping import find_grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import scores, tasks
from pages.ui.shell import show
from pages.ui.words import display_column, escape_markdown

CONFIDENCE = "confidence"


def draw(verdict: Any, pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw the model's confidence by task and the allocation of the budget."""
    groups, confidences = find_grouping(pool, run), tasks.find_confidence(pool, run)
    verdict.subheader(tasks.headline(groups, confidences, live, len(pool)), anchor=False)
    sentences = [groups.origin, "" if confidences is None else tasks.describe_weights(groups, confidences, live)]
    if any(sentences):
        st.caption(" ".join(sentences))
    _draw_figures(pool, run, live, confidences)


def _draw_figures(pool: Pool, run: Run, live: LiveSelection, confidences: tasks.ConfidenceByTask | None) -> None:
    groups = find_grouping(pool, run)
    bands = tasks.stack_tasks(groups, confidences)
    left, right = show.columns([5, 6], gap="medium")
    with left:
        st.subheader(f"Confidence by {groups.noun}", anchor=False)
        if confidences is None:
            st.caption("Measure Task confidence to see the model's confidence for each task.")
        else:
            st.caption(tasks.describe_prompts(confidences))
            tasks.draw_confidence(groups, confidences, bands, live)
    with right:
        st.subheader(f"{groups.noun.capitalize()} mix by budget", anchor=False)
        st.caption(f"Rows ranked by {escape_markdown(live.method.label)}, with the current filters and pins.")
        tasks.draw_allocation(live, bands, len(pool))
    values = None if confidences is None else cached.measurements(confidences.run).columns.get(CONFIDENCE)
    scores.draw_highlighted(pool, run, live, display_column(live.method) if values is None else CONFIDENCE, values)
