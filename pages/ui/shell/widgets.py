"""Values and notices that a tab keeps between runs: what widgets show, and what is to be shown once."""

from typing import Any

import streamlit as st

PAGE = "winnow.page"  # the page that is drawn
WIDGET_PAGES = "winnow.shown"  # widget's key -> the page it was last told its value on
NOTICE = "winnow.told"  # a sentence to show once, on the next page drawn


def set_page(path: str) -> None:
    """This page is drawn now; app.py says so before it runs it."""
    st.session_state[PAGE] = path


def set_widget(key: str, value: Any, *, force: bool = False) -> str:
    """Make the widget with this key show `value`; call it before the widget is drawn. So undo moves sliders.

    One that shows it already is left alone: telling it again would take back what has been typed or moved since.
    On another page it is another widget, which knows nothing yet, though the key still holds what the first one said.
    `force`: tell it all the same. In a closed popover a widget is not there to be told, and is told before it opens.
    """
    page, shown = st.session_state.get(PAGE), st.session_state[WIDGET_PAGES]
    if force or st.session_state.get(key) != value or key not in st.session_state or shown.get(key) != page:
        st.session_state[key] = value
        shown[key] = page
    return key


def widget_value(key: str) -> Any:
    """What the widget with this key says; for callbacks."""
    return st.session_state[key]


def session_value(key: str) -> Any:
    """What `set_widget` has kept under a key of no widget, in this tab; None: nothing yet."""
    return st.session_state.get(key)


def leave_notice(sentence: str) -> None:
    """Say what could not be done: shown once, above the next page drawn."""
    st.session_state[NOTICE] = sentence


def take_notice() -> str | None:
    """What to say, once."""
    sentence: str | None = st.session_state.get(NOTICE)
    st.session_state[NOTICE] = None
    return sentence
