"""Rows used already, which the selection tops up: of a manifest, a file of rows or ids, or a saved selection."""

from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.errors import RecipeError
from core.output.given_rows import GivenRows, find_given_rows
from core.schema import Pool
from pages.ui import glossary
from pages.ui.data import live_selection
from pages.ui.pool import opening
from pages.ui.shell import data_files, roots, show, state

SAVED = "saved:"  # begins the value of a choice that is no file
ABOUT = (
    f"{glossary.link('used_rows')} count in the budget, in quotas, for coverage and as duplicates. The selection tops "
    "them up, and none of them is selected again."
)


def panel(pool: Pool, place: DeltaGenerator) -> None:
    """Draw which rows are used already, and the way to add some."""
    icon = ":material/playlist_add_check:"
    opened = place.popover("Rows used already", icon=icon, key="used.panel", on_change="rerun")
    if not opened.open:
        return  # files are listed only when they are shown
    with opened:
        st.markdown(f":small[{ABOUT}]")
        given = state.settings().given
        if given:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.text(state.describe_used(pool.fingerprint, given), width="stretch")
                show.action("Remove", "close", "used.remove", _use, "", type="tertiary")
        _form(pool, given)


def _form(pool: Pool, given: str) -> None:
    key = f"used.{given}"  # changes when rows are added, which empties the form
    options = {f"{SAVED}{name}": f"Saved selection: {name}" for name in state.saved_selections(pool)}
    options |= {str(file): f"{file.name} · {file.parent}" for file in data_files.find_files()}
    choice = st.selectbox(
        "Manifest, file of rows or saved selection",
        list(options),
        index=None,
        format_func=lambda one: options.get(one, one),
        accept_new_options=True,
        placeholder="Choose one, or type a path",
        help="A manifest (.manifest.json) names its rows. The rows of any other file are found by content or by id.",
        key=f"{key}.choice",
    )
    upload = st.file_uploader("Or upload a file", type=list(opening.UPLOADS), key=f"{key}.upload")
    if st.button("Add", icon=":material/add:", key="used.add", disabled=not choice and upload is None):
        with show.errors():
            uploaded = None if upload is None else opening.store_upload(upload.name, upload.getvalue())
            found = _find(pool, uploaded or str(choice), state.load_used(pool.fingerprint, given))
            _use(state.store_used(pool.fingerprint, found.ids))
            if found.unmatched:
                state.leave_notice(found.describe_unmatched(pool))
            st.rerun()  # the whole app: the notice is shown above the page


def _find(pool: Pool, choice: Path | str, ids: tuple[str, ...]) -> GivenRows:
    """Return the rows that are chosen, and those with these ids."""
    name = str(choice).removeprefix(SAVED)
    if isinstance(choice, str) and name != choice:
        return find_given_rows(pool, [], [*ids, *_ids_of_saved(pool, name)])
    return find_given_rows(pool, [choice if isinstance(choice, Path) else roots.check_path(choice)], ids)


def _ids_of_saved(pool: Pool, name: str) -> list[str]:
    """Return the ids of the rows of a saved selection, and of those that it has as used already."""
    settings = state.saved_selections(pool).get(name)
    run = None if settings is None else state.run(pool, settings)
    if settings is None or run is None:
        raise RecipeError(f"The saved selection '{name}' is gone, or its method is not measured.")
    recipe = state.recipe(pool, settings)
    rows = live_selection.select(pool, run, recipe).rows
    return [*recipe.given, *pool.rows["id"].take(rows).to_pylist()]


def _use(key: str) -> None:
    state.change(given=key)
