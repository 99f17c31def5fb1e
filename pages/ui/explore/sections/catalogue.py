"""The sections of the Explore page: which are available, which one is open, and the function that draws each."""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from core.measurement.runs import Run
from core.schema import Method, Pool
from pages.ui.data.cached import find_coverage_run
from pages.ui.data.grouping import find_grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore.influence import find_influence_run
from pages.ui.explore.sections import answers, coverage, embedding_map, entropy_shift, influence, score, tasks
from pages.ui.explore.shifts import has_shift
from pages.ui.explore.tasks import count_tasks
from pages.ui.map.view import find_sources
from pages.ui.row.answer_source import find_answers_run
from pages.ui.shell import state

SCORE, SHIFT, COVERAGE, TASKS, ANSWERS = "Score", "Entropy shift", "Coverage", "Tasks", "Answers"
INFLUENCE, MAP = "Influence", "Map"
# section that opens first for a method; others: their score
METHOD_SECTIONS = {
    "activation_coverage": COVERAGE,
    "task_confidence": TASKS,
    "answer_divergence": ANSWERS,
    "preference_influence": INFLUENCE,
}


def find_sections(pool: Pool, run: Run, method: Method) -> dict[str, bool]:
    """Return every section and whether it has anything to draw."""
    groups = find_grouping(pool, run)
    return {
        SCORE: True,
        SHIFT: has_shift(run, method),
        COVERAGE: find_coverage_run(pool, run) is not None,
        TASKS: count_tasks(groups) > 0 and len(groups.names) > 1,
        ANSWERS: find_answers_run(pool, run) is not None,
        INFLUENCE: find_influence_run(pool, run) is not None,
        MAP: bool(find_sources(pool, run)),
    }


def choose_section(available: Mapping[str, bool], method: Method) -> str:
    """Let the user choose a section; the default is the one for the current method."""
    names = [name for name, is_available in available.items() if is_available]
    preferred = METHOD_SECTIONS.get(method.name, SCORE)
    bound = state.view_choice("section", names, "explore.section", preferred if preferred in names else SCORE)
    return str(st.segmented_control("Section", names, required=True, label_visibility="collapsed", **bound))


def suggest_measurements(available: Mapping[str, bool]) -> str:
    """Return a sentence naming methods to measure for more sections; empty if all are available."""
    suggestions = {
        COVERAGE: "Activation coverage",
        TASKS: "Task confidence",
        ANSWERS: "Answer divergence",
        INFLUENCE: "Preference influence",
    }
    methods = [method for name, method in suggestions.items() if not available[name]]
    return f"More sections appear after you measure: {', '.join(methods)}." if methods else ""


DRAW_SECTION: dict[str, Callable[[Any, Pool, Run, LiveSelection], None]] = {
    SCORE: score.draw,
    SHIFT: entropy_shift.draw,
    COVERAGE: coverage.draw,
    TASKS: tasks.draw,
    ANSWERS: answers.draw,
    INFLUENCE: influence.draw,
    MAP: embedding_map.draw,
}
