"""Files of saved selections: selections/<pool>/saved/<id>.json in the visitor's folder, which every tab sees."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import orjson
import streamlit as st

from core.errors import RecipeError, WinnowError
from core.schema import Pool
from core.workspace.files import read_json, write_json
from core.workspace.folder import content_key
from pages.ui.shell.settings import FORMAT, POOL, Settings, settings, settings_folder, settings_from_json, used_tags
from pages.ui.shell.widgets import leave_notice

MAX_NAME_LENGTH = 80  # characters of a saved selection's name
NOT_SAVED = ("contenders", "workers", "highlight")  # settings that are no part of a selection


def saved_selections(pool: Pool) -> Mapping[str, Settings]:
    """Load the saved selections of a pool by name, in alphabetical order; read from disk every time."""
    return load_all(pool.fingerprint)


def saved_name() -> str | None:
    """Return the name of the saved selection with exactly the current settings; None if there is none."""
    now = _serialize(settings())
    return next((name for name, other in load_all(st.session_state[POOL]).items() if _serialize(other) == now), None)


def load_all(fingerprint: str) -> dict[str, Settings]:
    """Load all saved selections of a pool by name, sorted; a file that cannot be read is renamed, with a notice."""
    selections: dict[str, Settings] = {}
    for file in (settings_folder(fingerprint) / "saved").glob("*.json"):
        try:
            data = read_json(file)
            name = str(data.pop("name"))
            selections[name] = settings_from_json(data)
        except (WinnowError, TypeError, KeyError, AttributeError) as error:
            aside = file.with_suffix(".unreadable")
            file.replace(aside)
            leave_notice(f"A saved selection could not be read ({error}). The file is kept as {aside.name}.")
    return dict(sorted(selections.items(), key=lambda item: (item[0].casefold(), item[0])))


def write_saved(name: str, selection: Settings) -> None:
    """Write settings as a saved selection. Raises RecipeError for a bad name."""
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise RecipeError(f"A saved selection needs a name of 1 to {MAX_NAME_LENGTH} characters.")
    write_json(saved_file(name), {"format": FORMAT, "name": name, **asdict(selection_part(selection))})


def saved_file(name: str) -> Path:
    """Return the file of a saved selection; its name is a hash, so that no text of a user becomes a path."""
    return settings_folder(st.session_state[POOL]) / "saved" / f"{content_key({'name': name})}.json"


def _serialize(selection: Settings) -> bytes:
    """Serialize a selection. As JSON a list equals a tuple."""
    return orjson.dumps(asdict(selection_part(selection)), option=orjson.OPT_SORT_KEYS)


def selection_part(now: Settings) -> Settings:
    """Return settings with the initial value of what is no part of a selection, and the tags that filters name."""
    return replace(now, **{name: getattr(Settings(), name) for name in NOT_SAVED}, tags=used_tags(now))
