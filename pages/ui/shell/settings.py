"""Settings of the open pool, and the file that stores them: selections/<pool>/current.json in the visitor's folder.

So pins, budget and filters survive a reload, a restart and a change of page, and every tab of the visitor sees them.
Settings that came with a link are a view: they last as long as the tab, and are stored only when they are kept.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st

from core.errors import WinnowError, WorkspaceError
from core.methods import METHODS
from core.schema import Reading
from core.selection.filters import Filter
from core.selection.selection import Pin
from core.selection.tags import check_tags, tags_of_filters
from core.workers.places import LOCAL
from core.workspace.files import read_json, write_json
from pages.ui.shell import recent, visitors
from pages.ui.shell.contender import Contender as Contender
from pages.ui.shell.terms import Match, Term, term_from_json
from pages.ui.shell.widgets import leave_notice

POOL = "winnow.pool"  # fingerprint of the open pool, or None
SETTINGS = "winnow.settings"
FILE_STAMP = "winnow.seen"  # mtime of current.json when it was last read or written
VIEW = "winnow.view"  # whether the settings came with a link and are not stored

FORMAT = 1  # of current.json


@dataclass(frozen=True)
class Settings:
    """All settings that decide a selection from one pool."""

    method: str = "entropy_shift"
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by method; only values set by the user
    reading: Reading = field(default_factory=Reading)
    seed: int = 0
    budget: str = "10%"
    threshold: float | None = None
    filters: tuple[Filter, ...] = ()
    pins: tuple[Pin, ...] = ()
    given: str = ""  # key of the list of rows used already (pages.ui.shell.used_rows); "": none
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # name -> sorted ids of rows
    also: tuple[str, ...] = ()  # other methods to measure in the same pass
    workers: str = LOCAL  # who measures, as core.workers.places says it; no part of a selection
    contenders: tuple[Contender, ...] = ()  # what the Compare page compares; empty: the default contenders
    highlight: tuple[Term, ...] = ()  # the highlighted rows match all of these; no part of a selection


def used_tags(now: Settings) -> dict[str, tuple[str, ...]]:
    """Return the tags that decide a selection: those that a filter names."""
    return tags_of_filters(now.tags, now.filters)


def shown_tags(now: Settings) -> dict[str, tuple[str, ...]]:
    """Return the tags that decide what a page shows: those that a filter or the highlight names."""
    return tags_of_filters(
        now.tags, [*now.filters, *(term.filter for term in now.highlight if isinstance(term, Match))]
    )


def settings() -> Settings:
    """Return the settings of the open pool."""
    current: Settings = st.session_state[SETTINGS]
    return current


# On disk


def settings_folder(fingerprint: str) -> Path:
    """Return the visitor's folder of one pool's settings and saved selections."""
    return visitors.home() / "selections" / fingerprint


def settings_file() -> Path:
    """Return the file of the open pool's settings."""
    return settings_folder(st.session_state[POOL]) / "current.json"


def store_settings(now: Settings) -> None:
    """Make these the current settings, in the session and, unless they are a view, on disk."""
    st.session_state[SETTINGS] = now
    if st.session_state[VIEW]:
        return
    write_json(settings_file(), {"format": FORMAT, **asdict(now)})
    st.session_state[FILE_STAMP] = settings_file().stat().st_mtime_ns
    recent.remember(st.session_state[POOL])


def refresh_settings() -> None:
    """Reload the settings if another tab has changed them, unless they are a view."""
    if st.session_state[VIEW]:
        return
    file = settings_file()
    stamp = file.stat().st_mtime_ns if file.exists() else 0
    if stamp == st.session_state[FILE_STAMP]:
        return
    try:
        st.session_state[SETTINGS] = settings_from_json(read_json(file))
    except (WinnowError, TypeError, KeyError) as error:
        aside = file.with_name("unreadable.json")
        file.replace(aside)
        stamp = 0
        leave_notice(f"The settings of this pool could not be read ({error}). The file is kept as {aside.name}.")
    st.session_state[FILE_STAMP] = stamp


def settings_from_json(data: dict[str, Any]) -> Settings:
    """Build settings from stored JSON. Raises WorkspaceError for another format, KeyError or TypeError if damaged."""
    if data.pop("format", None) != FORMAT:
        raise WorkspaceError("written by another version")
    if data.get("method", Settings.method) not in METHODS:
        raise WorkspaceError("they name an unknown method")
    return Settings(
        **{
            **data,
            "reading": Reading(**data["reading"]),
            "filters": tuple(Filter(**_tuples(part)) for part in data["filters"]),
            "pins": tuple(Pin(**part) for part in data["pins"]),
            "tags": {name: tuple(ids) for name, ids in check_tags(data.get("tags", {})).items()},
            "also": tuple(name for name in data.get("also", ()) if name in METHODS),
            "contenders": tuple(Contender(**part) for part in data.get("contenders", ())),
            "highlight": tuple(term_from_json(part) for part in data.get("highlight", ())),
        }
    )


def _tuples(part: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in part.items()}
