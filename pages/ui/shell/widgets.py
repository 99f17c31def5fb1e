"""Values that a tab stores between runs: those of widgets, and a notice to show once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

from core.errors import WinnowError
from pages.ui.shell.open_row import draw_reader_too

PAGE = "winnow.page"  # the page that is drawn
WIDGET_PAGES = "winnow.shown"  # widget key -> page on which its value was last set
NOTICE = "winnow.told"  # a sentence to show once, on the next page drawn


def set_page(path: str) -> None:
    """Record which page is drawn; app.py calls this before it runs the page."""
    st.session_state[PAGE] = path


def is_page(name: str) -> bool:
    """Return whether this page is drawn; the path of the Pool page, which is the front page, is empty."""
    return str(st.session_state.get(PAGE)) == ("" if name == "pool" else name)


def set_widget(key: str, value: Any, *, force: bool = False) -> str:
    """Set the value of a widget before it is drawn, and return its key. So undo moves sliders.

    A widget that has the value already is left alone: setting it again would discard what was typed or moved since.
    On another page the same key belongs to a new widget, which has no value yet although the session still holds one.
    `force` sets the value in any case: a widget in a closed popover does not exist yet, and needs its value before it
    opens.
    """
    page, pages_of_widgets = st.session_state.get(PAGE), st.session_state[WIDGET_PAGES]
    if force or st.session_state.get(key) != value or key not in st.session_state or pages_of_widgets.get(key) != page:
        st.session_state[key] = value
        pages_of_widgets[key] = page
    return key


def bind(
    key: str, value: Any, set_value: Callable[[Any], None], *, first: str = "", force: bool = False
) -> dict[str, Any]:
    """Set the value of a widget before it is drawn. Return its arguments `key` and `on_change`.

    A change by the user calls `set_value` with the new value. `first` names the argument for the widget's first value:
    a browser that missed the value set here, because a new run overtook it, then begins with it, not with a minimum
    that it would send back as a change.
    """

    def changed() -> None:
        set_value(widget_value(key))
        draw_reader_too()

    set_widget(key, value, force=force)
    return {"key": key, "on_change": changed} | ({first: value} if first else {})


def widget_value(key: str) -> Any:
    """Return the value of a widget; for callbacks."""
    return st.session_state[key]


def session_value(key: str) -> Any:
    """Return the value that `set_widget` stored in this tab under a key without a widget; None if there is none."""
    return st.session_state.get(key)


def leave_notice(sentence: str) -> None:
    """Leave a sentence about a failure; it is shown once, above the next page drawn."""
    st.session_state[NOTICE] = sentence


@contextmanager
def failures_as_notices() -> Iterator[None]:
    """Leave the message of a WinnowError that ends the body of this context as a notice; for callbacks."""
    try:
        yield
    except WinnowError as error:
        leave_notice(str(error))


def take_notice() -> str | None:
    """Return the notice that was left, and clear it."""
    sentence, st.session_state[NOTICE] = st.session_state.get(NOTICE), None
    return sentence
