"""Three hints, each beside what it explains, until the visitor dismisses them; the sidebar brings them back.

A hint is short, so that it moves the page down by less than 60 pixels on a phone too.
"""

from pathlib import Path

import streamlit as st

from core.errors import WinnowError
from core.workspace.files import read_json, write_json
from pages.ui.shell import show, state, visitors

HINTS = {  # page -> what the element above the hint tells
    "explore": "This sentence tells you if the score adds information or just tracks length.",
    "compare": "Overlap within the chance range means that two methods do not agree.",
    "export": "Keep the manifest: the command line writes the same rows again from it.",
}


def draw(page: str) -> None:
    """Draw the hint of a page; nothing once it was dismissed."""
    if page in _dismissed():
        return
    with st.container(horizontal=True, wrap=False, vertical_alignment="center", key=f"hint.{page}"):
        st.caption(f":material/arrow_upward: {HINTS[page]}", width="stretch")
        st.button("Dismiss", key=f"hint.close.{page}", on_click=_dismiss, args=(page,), type="tertiary")


def recall_button() -> None:
    """Draw the button that brings dismissed hints back; nothing if there are none."""
    if _dismissed():
        show.action("Show hints again", "lightbulb", "hint.recall", _store, [], type="tertiary")


def _dismiss(page: str) -> None:
    _store([*_dismissed(), page])


def _store(pages: list[str]) -> None:
    with state.failures_as_notices():
        write_json(_file(), {"dismissed": pages})


def _dismissed() -> list[str]:
    """Return the pages whose hints the visitor has dismissed; none if their file is missing or damaged."""
    try:
        return [page for page in read_json(_file())["dismissed"] if page in HINTS]
    except (WinnowError, KeyError, TypeError):
        return []


def _file() -> Path:
    return visitors.home() / "hints.json"
