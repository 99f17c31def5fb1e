"""The tags of the pool: how many rows each has; filters by them; highlighting, renaming and deleting them."""

from functools import partial

import streamlit as st

from core.selection.filters import tag_filter
from pages.ui.shell import show, state
from pages.ui.shell.terms import Match
from pages.ui.words import format_rows

LIST_HEIGHT, MANY = 360, 6  # pixels of a list that scrolls, and from how many tags on


def panel() -> None:
    """Draw the tags in a popover; nothing if there are none."""
    tags = state.settings().tags
    if not tags:
        return
    with st.popover("Tags", icon=":material/label:", key="tags.panel", on_change="rerun") as opened:
        if opened.open:
            with st.container(height=LIST_HEIGHT if len(tags) > MANY else "content", border=False):
                for name in sorted(tags):
                    _tag(name, len(tags[name]))


def _tag(name: str, rows: int) -> None:
    def rename(new_name: str) -> None:
        with state.failures_as_notices():
            state.rename_tag(name, new_name)

    with st.container(horizontal=True, vertical_alignment="center"):
        bound = state.bind(f"tags.name.{name}", name, rename, force=True)
        st.text_input("Name", label_visibility="collapsed", width=180, **bound)
        st.caption(format_rows(rows), width=80)
        highlight = partial(state.pick, Match(tag_filter(name)))
        show.action("Highlight", "highlight", f"tags.highlight.{name}", highlight, disabled=not rows)
        show.action("Delete", "delete", f"tags.delete.{name}", state.delete_tag, name, type="tertiary")


def filters() -> None:
    """Draw the filters by tags: only rows with all of some, no rows with any of some; nothing if there are no tags."""
    names = sorted(state.settings().tags)
    for label, exclude in (("Only rows tagged", False), ("Exclude rows tagged", True)) if names else ():
        key = f"select.tagged.{exclude}"
        now = [name for name in names if tag_filter(name, exclude=exclude) in state.settings().filters]
        bound = state.bind(key, now, partial(_filter, exclude), force=True)
        show.choose_many(label, names, bound["key"], on_change=bound["on_change"])


def _filter(exclude: bool, names: list[str]) -> None:
    wanted = [tag_filter(name, exclude=exclude) for name in names]
    others = [tag_filter(name, exclude=exclude) for name in state.settings().tags if name not in names]
    kept = [one for one in state.settings().filters if one not in others]
    state.change(filters=(*kept, *(one for one in wanted if one not in kept)))
