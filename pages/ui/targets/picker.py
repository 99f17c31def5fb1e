"""Target sets on the Measure page: the sets in use, what is in each, and ways to add one.

They are one text parameter of the method (core.methods.preference_influence formats and parses it), so undo, links and
the command line work without code of their own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from core.errors import MethodError
from core.methods.preference_influence import NAME, PreferenceInfluence, TargetSpec, format_targets, parse_targets
from core.pool.preference.formats import SHAPES
from core.pool.preference.target_sets import DEMO
from core.schema import Pool
from pages.ui.pool import opening
from pages.ui.shell import roots, show, state
from pages.ui.targets import facts
from pages.ui.words import escape_markdown, join_words

WAYS = {"source": ":material/folder_open: Path or hub id", "upload": ":material/upload: Upload"}
ABOUT_DEMO = (
    "24 built-in pairs of a sound and a faulty answer to questions like those of the demo pool. Their field 'fault' "
    "names the sub-task: swapped, truncated or gibberish."
)


def show_sets(pool: Pool) -> None:
    """Draw the sets in use, one below another."""
    sets = current_sets()
    for one in sets:
        with st.container(border=True):
            _draw_set(pool, one, alone=len(sets) == 1)


def current_sets() -> tuple[TargetSpec, ...]:
    """Return the target sets in use."""
    return parse_targets(_method().targets)


def _method() -> Any:
    return state.method_of(PreferenceInfluence.name)


# One set


def _draw_set(pool: Pool, one: TargetSpec, *, alone: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(escape_markdown(one.name), icon=":material/adjust:", color="gray")
        about = ABOUT_DEMO if one.source == DEMO else escape_markdown(one.source)
        st.text(_set_title(one.source), width="stretch", help=about)
        options = {"disabled": alone, "help": "Add another target set first." if alone else None}
        key = f"targets.remove.{one.name}"
        show.action("Remove", "close", key, _remove_set, one.name, type="tertiary", **options)
    with show.errors():
        figures = facts.load_facts(pool, one.source)
        st.caption(escape_markdown(facts.describe(figures)))
        show.warning(*facts.list_warnings(figures))


def _set_title(source: str) -> str:
    if source == DEMO:
        return "built-in pairs"
    return source if roots.is_hub_source(source) else Path(source).name


def _remove_set(name: str) -> None:
    _use_sets([one for one in current_sets() if one.name != name])


def _use_sets(sets: Sequence[TargetSpec]) -> None:
    """Change the settings to these sets; if the set that is ranked by is gone, rank by the first."""
    removed = _method().target not in ("", *(one.name for one in sets))
    params = {"targets": format_targets(sets)} | ({"target": ""} if removed else {})
    state.set_params(params, of=PreferenceInfluence.name)


# Another one


def add_panel(pool: Pool) -> None:
    """Draw the ways to add a set: a path or hub id, an upload, the built-in pairs."""
    sets = current_sets()
    way = st.segmented_control(
        "Add a target set", list(WAYS), format_func=WAYS.get, default="source", key="targets.way"
    )
    key = f"targets.{len(sets)}"  # changes when a set is added, which empties the form
    {"source": _source_form, "upload": _upload_form}[way or "source"](pool, key)
    if DEMO not in [one.source for one in sets]:
        pressed = st.button("Use the built-in pairs", icon=":material/science:", key="targets.demo", help=ABOUT_DEMO)
        if pressed:
            with show.errors():
                _add_set(pool, "sound" if "sound" not in [one.name for one in sets] else DEMO, DEMO)


def _source_form(pool: Pool, key: str) -> None:
    with st.form(f"{key}.form", border=False):
        left, right = st.columns([3, 2])
        with left:
            typed = st.text_input(
                "Path or hub id",
                placeholder="~/pairs.jsonl or owner/name",
                key=f"{key}.typed",
                help=f"{len(SHAPES)} formats are read: {'; '.join(SHAPES.values())}.",
            )
        with right:
            name = _name_input(key)
        folders = join_words([escape_markdown(root) for root in roots.allowed_folders()])
        st.caption(f"Each pair is a chosen and a rejected answer to one prompt. Files must be in {folders}.")
        if not st.form_submit_button("Add", icon=":material/add:"):
            return
    with show.errors():
        _add_set(pool, name, roots.check_source(typed))


def _upload_form(pool: Pool, key: str) -> None:
    upload = st.file_uploader(
        "Pairs from this computer",
        type=list(opening.UPLOADS),
        key=f"{key}.upload",
        help="The file is stored in the workspace.",
    )
    name = _name_input(key)
    if upload is None or not st.button("Add the upload", icon=":material/add:", key=f"{key}.uploaded"):
        return
    with show.errors():
        _add_set(pool, name, str(opening.store_upload(upload.name, upload.getvalue())))


def _name_input(key: str) -> str:
    typed: str = st.text_input("Name (optional)", key=f"{key}.name", placeholder="the file name")
    return typed.strip()


def _build_target(name: str, source: str) -> TargetSpec:
    if name and not NAME.fullmatch(name):
        raise MethodError(f"'{name}' is not a valid name for a target set: use letters, digits, '.', '_' and '-'.")
    return TargetSpec(name or parse_targets(source)[0].name, source)


def _add_set(pool: Pool, name: str, source: str) -> None:
    """Put one more set in use. Raise WinnowError if its pairs cannot be read with the present settings."""
    sets = (*current_sets(), _build_target(name, source))
    if parse_targets(format_targets(sets)) != sets:
        raise MethodError(f"{source} cannot be a target set because its name contains ';'. Rename the file.")
    facts.load_facts(pool, source)
    _use_sets(sets)
    st.rerun()
