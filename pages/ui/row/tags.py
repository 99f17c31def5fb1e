"""Tags of rows: the badges of one row, and the buttons that add a tag to rows or remove it from them."""

from collections.abc import Callable, Sequence

import streamlit as st

from core.schema import Row
from pages.ui.shell import show, state

CHOSEN = "tag.chosen"  # key of the tag that the visitor chose last in this tab of the browser
HELP = "A tag is a label, to filter by, to colour the map by and to export. Choose or type one first."


def row_tags(row: Row, key: str) -> None:
    """Draw the tags of a row, and the button that adds the chosen tag or removes it."""
    own = state.tags_of([row.id]).get(row.id, [])
    with st.container(horizontal=True, vertical_alignment="center"):
        name = _choose_tag(key)
        _button(name, lambda: [row.id], key, remove=name in own, disabled=not name)
        for one in own:
            show.badge(one, icon=":material/label:", color="violet")


def tag_rows(ids: Callable[[], Sequence[str]], key: str, *, disabled: bool) -> None:
    """Draw the buttons that add the chosen tag to rows, whose ids `ids` returns, or remove it from them."""
    with st.container(horizontal=True):
        name = _choose_tag(key)
        _button(name, ids, key, remove=False, disabled=disabled or not name)
        _button(name, ids, key, remove=True, disabled=disabled or name not in state.settings().tags)


def _choose_tag(key: str) -> str:
    """Draw the choice of a tag: one of the pool's, or a new one that is typed. Return it; "" for none."""
    names = sorted(state.settings().tags)
    chosen = str(state.session_value(CHOSEN) or (names[0] if names else ""))
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
    return chosen


def _choose(name: str | None) -> None:
    state.set_widget(CHOSEN, (name or "").strip())


def _button(
    name: str, ids: Callable[[], Sequence[str]], key: str, *, remove: bool, disabled: bool, **options: str
) -> None:
    label, icon = ("Remove tag", "label_off") if remove else ("Add tag", "new_label")
    change = state.remove_tag if remove else state.add_tag
    key = f"{key}.tag.{'remove' if remove else 'add'}"
    show.action(label, icon, key, _apply, change, ids, name, help=HELP, disabled=disabled, **options)


def _apply(change: Callable[[Sequence[str], str], None], ids: Callable[[], Sequence[str]], name: str) -> None:
    with state.failures_as_notices():
        change(ids(), name)
    st.rerun()  # the whole app: tags are in tables, filters and colours
