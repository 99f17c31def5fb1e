"""Tags of rows: the chosen tag, and the buttons that add it to rows or remove it from them."""

from collections.abc import Callable, Sequence

import streamlit as st

from core.selection.tags import check_tag_name
from pages.ui.shell import show, state

CHOSEN = "tag.chosen"  # key of the tag that the visitor chose last in this tab of the browser


def choose_tag(key: str) -> str:
    """Draw the choice of a tag: one of the pool's, or a new one that is typed. Return it; "" for none that can be."""
    chosen, names = _chosen(), sorted(state.settings().tags)
    options = names if chosen in names or not chosen else [*names, chosen]
    bound = state.bind(f"{key}.tag", chosen or None, _choose, force=True)
    st.selectbox(
        "Tag",
        options,
        accept_new_options=True,
        placeholder="Tag: choose or type",
        label_visibility="collapsed",
        width=190,
        **bound,
    )
    with show.errors():
        return check_tag_name(chosen) if chosen else ""
    return ""


def _chosen() -> str:
    """Return the tag that was chosen last, else the first by name; "" if there is none."""
    return str(state.session_value(CHOSEN) or min(state.settings().tags, default=""))


def _choose(name: str | None) -> None:
    state.set_widget(CHOSEN, (name or "").strip())


def toggle(row_id: str) -> None:
    """Add the chosen tag to a row; remove it if the row has it."""
    if name := _chosen():
        change = state.remove_tag if name in state.tags_of([row_id]).get(row_id, ()) else state.add_tag
        with state.failures_as_notices():
            change([row_id], name)


def tag_rows(ids: Callable[[], Sequence[str]], key: str, *, disabled: bool) -> None:
    """Draw the buttons that add the chosen tag to rows, whose ids `ids` returns, or remove it from them."""
    with st.container(horizontal=True):
        name = choose_tag(key)
        add, remove = f"{key}.tag.add", f"{key}.tag.remove"
        show.action("Add tag", "new_label", add, _apply, state.add_tag, ids, name, disabled=disabled or not name)
        none = disabled or name not in state.settings().tags
        show.action("Remove tag", "label_off", remove, _apply, state.remove_tag, ids, name, disabled=none)


def _apply(change: Callable[[Sequence[str], str], None], ids: Callable[[], Sequence[str]], name: str) -> None:
    with state.failures_as_notices():
        change(ids(), name)
    st.rerun()  # the whole app: the reader shows tags, too
