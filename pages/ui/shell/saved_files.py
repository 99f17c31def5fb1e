"""Saved selections on disk: workspace/selections/<pool>/saved/<id>.json, which every tab sees."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import orjson
import streamlit as st

from core.errors import RecipeError, WinnowError
from core.schema import Pool
from core.workspace.files import read_json, write_json
from core.workspace.folder import content_key
from pages.ui.data import cached
from pages.ui.shell.settings import FORMAT, POOL, Settings, settings, settings_file, settings_from_json
from pages.ui.shell.widgets import leave_notice

MAX_NAME_LENGTH = 80  # characters of a saved selection's name


def saved_selections(pool: Pool) -> Mapping[str, Settings]:
    """The selections of a pool that were saved, by name in alphabetical order: read from disk every time."""
    return load_all(pool.fingerprint)


def saved_name() -> str | None:
    """The saved selection that the present settings are; None where they are none of them, or not any more."""
    now = _as_data(settings())
    return next((name for name, one in load_all(st.session_state[POOL]).items() if _as_data(one) == now), None)


def load_all(fingerprint: str) -> dict[str, Settings]:
    """Load all saved selections of a pool by name, sorted; a file that cannot be read is renamed, with a notice."""
    found: dict[str, Settings] = {}
    for file in (cached.workspace().folder("selections", fingerprint) / "saved").glob("*.json"):
        try:
            about = read_json(file)
            name = str(about.pop("name"))
            found[name] = settings_from_json(about)
        except (WinnowError, TypeError, KeyError, AttributeError) as error:
            aside = file.with_suffix(".unreadable")
            file.replace(aside)
            leave_notice(f"A saved selection could not be read ({error}). It is kept as {aside.name}.")
    return dict(sorted(found.items(), key=lambda one: (one[0].casefold(), one[0])))


def write_saved(name: str, what: Settings) -> None:
    """Write settings, without contenders, as a saved selection. Raises RecipeError for a bad name."""
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise RecipeError(f"A saved selection needs a name of 1 to {MAX_NAME_LENGTH} characters.")
    write_json(saved_file(name), {"format": FORMAT, "name": name, **asdict(replace(what, contenders=()))})


def saved_file(name: str) -> Path:
    """Return the file of a saved selection; its name is a hash, so that no text of a user becomes a path."""
    return settings_file().parent / "saved" / f"{content_key({'name': name})}.json"


def _as_data(one: Settings) -> bytes:
    """All but what is compared on the Compare page, which is no part of a selection; a list is equal to a tuple."""
    return orjson.dumps(asdict(replace(one, contenders=())), option=orjson.OPT_SORT_KEYS)
