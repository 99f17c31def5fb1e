"""A button that copies the address of the page, which opens the same view for another person on this server.

Streamlit has no clipboard, so the button is an element of its own. A browser has none either on a page that came
without encryption from another computer: there the address is copied through a text field.
"""

import streamlit as st

from pages.ui.shell.address import store_link
from pages.ui.shell.changes import is_view

_HTML = """
<button type="button"><span class="icon" aria-hidden="true">link</span><span>Copy link</span></button>
<span role="status"></span>
"""
_CSS = """
button {
    display: flex; align-items: center; gap: 0.4rem; min-height: 2.5rem; padding: 0.25rem 0.75rem; cursor: pointer;
    font: inherit; font-size: 0.875rem; color: var(--st-text-color); background: transparent; white-space: nowrap;
    border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius);
}
button:hover, button:focus-visible { color: var(--st-primary-color); border-color: var(--st-primary-color); }
[role="status"] { position: absolute; clip-path: inset(50%); }
.icon { font: 1.25rem/1 "Material Symbols Rounded"; }
"""
_JS = """
export default function ({ parentElement, data, setTriggerValue }) {
    const [icon, words] = parentElement.querySelectorAll("button span");
    const status = parentElement.querySelector("[role=status]");  // read out
    const show = (name, text) => { icon.textContent = name; words.textContent = text; };
    let timer;
    parentElement.querySelector("button").onclick = async () => {
        const copied = await copy(window.location.href);
        if (data.view) setTriggerValue("copied", true);
        show(copied ? "check" : "error", copied ? "Link copied" : "Copy it from the address bar");
        status.textContent = words.textContent;
        clearTimeout(timer);
        timer = setTimeout(show, 2500, "link", "Copy link");
    };
    return () => clearTimeout(timer);
}

async function copy(text) {
    try {
        await navigator.clipboard.writeText(text);
        return true;
    } catch {
        const field = document.body.appendChild(document.createElement("textarea"));
        field.value = text;
        field.select();
        const copied = document.execCommand("copy");
        field.remove();
        return copied;
    }
}
"""
_element = st.components.v2.component("winnow.copy_link", html=_HTML, css=_CSS, js=_JS)


def button() -> None:
    """Draw the button. What the address of a view names is stored when it is copied; one's own is stored already."""
    with st.container(width="content"):
        _draw()


@st.fragment
def _draw() -> None:
    _element(key="copy_link", data={"view": is_view()}, on_copied_change=store_link, width="content")
