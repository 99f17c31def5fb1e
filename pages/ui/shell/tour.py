"""Guided tour: a strip above the pages of the demo pool that leads through all of them, once.

Each step names what to do on its page and what to look for. The planted faults are known, so the user sees how every
method treats them.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st

from core.methods import METHODS, standalone_methods
from core.methods.params import measure_params
from core.schema import Pool
from core.workspace.files import write_json
from pages.ui.data import cached
from pages.ui.shell import jobs, show, state, visitors

SEEN_FILE = "tour.json"  # in the visitor's folder; exists once the tour was closed or completed


@dataclass(frozen=True)
class Step:
    """One step of the tour."""

    page: str  # of show.PAGES
    do: str
    see: str


STEPS = (
    Step(
        "pool",
        "Look through the rows: {rows:,} short ones of {tasks} tasks.",
        "{faults} of them carry a fault that was planted: swapped or truncated responses, gibberish, duplicates. Their "
        "key is kept apart, so every method can be checked against it.",
    ),
    Step(
        "measure",
        "Let a model measure every row, for all methods at once.",
        "The model that ships with Winnow takes some minutes on a laptop. Nothing is lost if you close the tab.",
    ),
    Step(
        "explore",
        "Choose a method, look at its score, click a bar and read the rows behind it.",
        "The title says whether a score says anything of its own, or mostly repeats length.",
    ),
    Step(
        "compare",
        "See which rows the methods agree on.",
        "'Planted faults' shows how many each method keeps, beside random choice. Lowest NLL and entropy shift drop "
        "most of them; coverage, which asks for variety, collects them.",
    ),
    Step(
        "select",
        "Move the budget and watch what the subset is made of.",
        "'Planted faults kept' stands beside what random rows of the same number keep.",
    ),
    Step(
        "export",
        "Take the rows with you.",
        "The manifest gives exactly these rows again; the command does the same without the app.",
    ),
)


def strip(page: str) -> None:
    """Draw the step of this page; nothing for a pool other than the demo, or once the tour was closed."""
    pool = state.find_open_pool()
    if pool is None or pool.source != "demo" or _file().exists():
        return
    number = next((k for k, step in enumerate(STEPS) if step.page == (page or "pool")), None)
    if number is None:
        return
    step, last = STEPS[number], number == len(STEPS) - 1
    facts = {"rows": len(pool), "tasks": len(cached.tasks(pool)[0]), "faults": len(cached.answer_key(pool) or ())}
    with st.container(border=True, key="tour"), st.container(horizontal=True, vertical_alignment="center"):
        st.badge(f"First look · {number + 1} of {len(STEPS)}", icon=":material/explore:", color="blue")
        st.markdown(f"**{step.do}** {step.see}".format(**facts), width="stretch")
        if step.page == "measure":
            _measure_all(pool)
        _next_button(None if last else STEPS[number + 1].page)


def _next_button(page: str | None) -> None:
    """Draw the buttons to the next page, or to the end of the tour."""
    if page is None:
        show.action("Done", "check", "tour.done", close)
        return
    if st.button(f"Next: {show.PAGES[page]['title']}", icon=":material/arrow_forward:", key="tour.next"):
        st.switch_page(show.PAGES[page]["page"])
    show.action("Close", "close", "tour.close", close, type="tertiary")


def _measure_all(pool: Pool) -> None:
    """Draw a button that measures all methods not measured yet, unless a job is running."""
    now = state.settings()
    unmeasured = [name for name in measurable_methods() if state.run(pool, replace(now, method=name)) is None]
    if unmeasured and not cached.live_jobs():
        show.action("Measure for all methods", "play_arrow", "tour.all", _start, type="primary")


def measurable_methods() -> list[str]:
    """Return the methods that have something to measure and need no further settings."""
    return [name for name in standalone_methods() if measure_params(METHODS[name]())]


def _start() -> None:
    state.change(also=tuple(name for name in measurable_methods() if name != state.settings().method))
    jobs.start(jobs.plan(state.need_pool()), "measure")


def close() -> None:
    """End the tour for this visitor."""
    write_json(_file(), {"seen": True})


def _file() -> Path:
    return visitors.home() / SEEN_FILE
