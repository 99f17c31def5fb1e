"""The glossary as a dialog, and the element that opens it wherever a word links to its entry."""

import streamlit as st

from pages.ui import glossary
from pages.ui.glossary import ANCHOR, GROUPS, TERMS

CHOICE = "glossary.choice"  # key of the choice of a term
# One listener for the whole page; a click with Ctrl, Meta or Shift is left to the browser.
_LISTEN = """
export default function ({ setTriggerValue }) {
    const open = (event) => {
        const link = event.composedPath().find((one) => one.href && one.getAttribute("href").startsWith("ANCHOR"));
        if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        event.stopPropagation();
        setTriggerValue("term", link.getAttribute("href").slice("ANCHOR".length));
    };
    document.addEventListener("click", open, true);
    return () => document.removeEventListener("click", open, true);
}
""".replace("ANCHOR", ANCHOR)
_listener = st.components.v2.component("winnow.glossary", js=_LISTEN)


@st.fragment
def button() -> None:
    """Draw the button that opens the glossary, and the element that opens it at the word that is clicked.

    Only this fragment runs then, so the page keeps everything as it is.
    """
    pressed = st.button("Glossary", icon=":material/dictionary:", key="glossary.open", type="tertiary")
    clicked = _listener(key="glossary.listener", on_term_change=lambda: None, height=1).term
    if pressed or clicked in TERMS:
        st.session_state[CHOICE] = clicked or None
        _dialog()


@st.dialog("Glossary", width="medium")
def _dialog() -> None:
    """Draw the chosen entry, or all of them."""
    chosen = st.selectbox(
        "Term",
        sorted(TERMS, key=lambda key: TERMS[key].name.lower()),
        index=None,
        format_func=lambda key: TERMS[key].name,
        key=CHOICE,
        placeholder="Type or choose a term",
        label_visibility="collapsed",
    )
    if chosen:
        _entry(chosen)
        if TERMS[chosen].see:
            st.markdown("See also: " + ", ".join(map(glossary.link, TERMS[chosen].see)))
        return
    for group, terms in GROUPS.items():
        st.header(group, anchor=False, divider="gray")
        for key in terms:
            _entry(key)


def _entry(key: str) -> None:
    term = TERMS[key]
    st.markdown(f"**{term.name}**  \n{term.meaning} {term.good}")
    if term.formula:
        st.latex(term.formula)
