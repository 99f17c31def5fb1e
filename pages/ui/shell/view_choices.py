"""View choices: what a page shows, such as the section, the column or the colours of the map.

They decide no selection, so they are no settings and no step of undo. They last as long as the tab, over changes of the
page, and are in the address, from which a link or a reload restores them. Each name in the address is one choice; where
its widget has several keys, such as one for every method, each key remembers a value of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from pages.ui.shell.widgets import leave_notice, set_widget, widget_value
from pages.ui.words import shorten

NAMES = {  # in an address -> in words
    "section": "section",
    "column": "score",
    "target": "target",
    "by-task": "figure by task",
    "map": "map",
    "projection": "projection",
    "clusters": "kind of clusters",
    "colour": "colouring",
    "dim": "dimming of unselected rows",
    "tab": "tab",
    "reference": "reference",
    "curves": "choice of curves",
    "group": "grouping",
    "rows": "set of rows",
    "other": "method to compare with",
    "way": "way of disagreeing",
    "only": "choice of highlighted rows",
    "part": "part of a row",
    "file": "format of the file",
    "schema": "schema",
    "scores": "choice of scores",
    "tags": "choice of tags",
    "rejected": "choice of unselected rows",
    "held-out": "validation split",
}
CHOSEN = "winnow.chosen"  # widget key -> value that the visitor chose in this tab
LINKED = "winnow.linked"  # name -> word that a link names, until a widget takes it
SWITCH = {True: "on", False: "off"}  # words for the values of a toggle


def open_choices(link: Mapping[str, str]) -> None:
    """Keep the view choices that a link names for the widgets that will be drawn."""
    st.session_state[LINKED] = {name: link[name] for name in NAMES if name in link}


def view_choice(name: str, options: Sequence[Any], key: str, default: Any = None) -> dict[str, Any]:
    """Return `key` and `on_change` of a widget that chooses one of `options`; it is drawn without a default.

    It has the value that a link names, else the one chosen before, else `default` (None: the first option). A link that
    names no option leaves a notice. A value other than the default is written into the address.
    """
    words = {SWITCH.get(option, str(option)) if isinstance(option, bool) else str(option): option for option in options}
    chosen, linked = st.session_state[CHOSEN], st.session_state[LINKED]
    default = options[0] if default is None else default
    if name in linked:
        word = linked.pop(name)
        if word in words:
            chosen[key] = words[word]
        else:
            leave_notice(f"The link names an unknown {NAMES[name]}, '{shorten(word, 40)}'. The default is shown.")
    value = chosen.get(key, default)
    value = value if value in options else default
    _write(name, None if value == default else next(word for word, option in words.items() if option == value))
    set_widget(key, value)
    return {"key": key, "on_change": lambda: chosen.update({key: widget_value(key)})}


def _write(name: str, word: str | None) -> None:
    """Write a choice into the address bar, or take it out."""
    if word is None:
        if name in st.query_params:
            del st.query_params[name]
    elif st.query_params.get(name) != word:
        st.query_params[name] = word
