"""Bars of plain HTML of which one can be picked by a click or the Enter key.

Streamlit's HTML cannot be clicked, and a Plotly figure is too slow to follow a slider, so this is an element of its
own. Its HTML is made by `pages.ui.charts`, which escapes names from a pool; the server's content policy runs no script
and fetches no image that it might contain.
"""

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import streamlit as st

from pages.ui.shell import state

_CSS = """
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(270px, 100%), 1fr)); gap: 0.75rem 1.5rem; }
.title { font-weight: 600; margin: 0.5rem 0; }
[data-pick] { cursor: pointer; border-radius: 4px; }
[data-pick]:hover { background: rgba(128, 138, 150, 0.15); }
[data-pick]:focus-visible { outline: 2px solid var(--st-primary-color); }
"""
_JS = """
export default function ({ parentElement, data, setTriggerValue }) {
    const place = parentElement.querySelector(".bars");
    if (place.shown !== data.html) {
        const focused = place.getRootNode().activeElement?.dataset.pick;
        place.innerHTML = place.shown = data.html;
        if (focused) place.querySelector(`[data-pick="${CSS.escape(focused)}"]`)?.focus();
    }
    const pick = (event) => {
        const line = event.target.closest("[data-pick]");
        if (line) setTriggerValue("picked", line.dataset.pick);
        return line;
    };
    place.onclick = pick;
    place.onkeydown = (event) => {
        if (["Enter", " "].includes(event.key) && pick(event)) event.preventDefault();
    };
}
"""
_element = st.components.v2.component("winnow.pick_bars", html='<div class="bars"></div>', css=_CSS, js=_JS)


def titled(figures: Mapping[str, str]) -> str:
    """Return figures under their titles, beside each other where there is room."""
    parts = (f'<div><div class="title">{escape(title)}</div>{html}</div>' for title, html in figures.items())
    return f'<div class="panels">{"".join(parts)}</div>'


def draw(html: str, key: str, take: Callable[[str], None]) -> None:
    """Draw bars. A pick calls `take` with the key of the bar (html_bars.pick_attributes)."""

    def picked() -> None:
        event: Any = state.widget_value(key)
        if event["picked"] is not None:
            take(str(event["picked"]))

    _element(key=key, data={"html": html}, on_picked_change=picked)
