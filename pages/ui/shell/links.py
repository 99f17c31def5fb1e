"""Links: the address of a view, and the settings that it names by their hash.

An address names pool, method and budget, and all other settings, filters and pins by a hash of their content. They are
stored in selections/<pool>/links/<hash>.json of the workspace, for everyone who may open the pool. A file is written
when a visitor's own settings change: neither opening a link nor a change in the view that it opens writes anything.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from core.errors import PoolError, RecipeError, WinnowError, WorkspaceError
from core.methods import METHODS, build_method
from core.selection.budget import Budget
from core.workspace.files import read_json, write_json
from core.workspace.folder import content_key
from pages.ui.data import cached
from pages.ui.shell import used_rows, visitors
from pages.ui.shell.settings import FORMAT, Settings, settings_from_json, shown_tags
from pages.ui.words import shorten

NAMES = ("pool", "method", "budget", "settings", "saved", "row")  # what an address may name
BY_HASH = ("params", "reading", "seed", "threshold", "filters", "pins", "contenders", "highlight", "tags", "given")
LATER = (
    "given",
    "contenders",
    "highlight",
    "tags",
)  # what the hash leaves out while it is empty, so that older links keep theirs
POOL_DIGITS = 12  # digits of the pool's fingerprint in an address
_KEY = re.compile("[0-9a-f]{16}")


def address_of(fingerprint: str, now: Settings) -> dict[str, str]:
    """Return the parts of an address that open these settings."""
    plain = {"pool": fingerprint[:POOL_DIGITS], "method": now.method, "budget": now.budget}
    return plain | {"settings": content_key(_content(now))}


def store_settings_of_link(fingerprint: str, now: Settings) -> None:
    """Store what the address of these settings names by hash, unless it is stored already."""
    content = _content(now)
    file = _file(fingerprint, content_key(content))
    if not file.exists():
        with suppress(WorkspaceError):  # a workspace that cannot be written: opening the link says so
            write_json(file, {"format": FORMAT, **content})


def read_link(fingerprint: str, link: Mapping[str, str], own: Settings) -> Settings:
    """Return the settings that a link names; parts that it does not name are one's own.

    Raises WinnowError, as a sentence for the visitor, if it names something that does not exist here.
    """
    now = own
    if "settings" in link:
        now = replace(now, **_load(fingerprint, link["settings"]))
        now = replace(now, tags={**own.tags, **now.tags})
    if "method" in link:
        if link["method"] not in METHODS:
            raise RecipeError(f"The link names an unknown method, '{shorten(link['method'], 40)}'.")
        now = replace(now, method=link["method"])
    if "budget" in link:
        Budget.parse(link["budget"])
        now = replace(now, budget=link["budget"])
    return now


def _content(now: Settings) -> dict[str, Any]:
    fields = asdict(replace(now, tags=shown_tags(now)))
    return {name: fields[name] for name in BY_HASH if fields[name] or name not in LATER}


def _file(fingerprint: str, key: str) -> Path:
    return cached.workspace().folder("selections", fingerprint) / "links" / f"{key}.json"


def _load(fingerprint: str, key: str) -> dict[str, Any]:
    """Load and check the fields that a link names by hash."""
    if key == content_key(_content(Settings())):
        return {name: getattr(Settings(), name) for name in BY_HASH}
    file = _file(fingerprint, key)
    if not _KEY.fullmatch(key) or not file.exists():
        raise RecipeError(
            f"The link names settings that are not stored in this workspace ('{shorten(key, 16)}'): they belong to "
            "another workspace, or were never saved."
        )
    try:
        stored = settings_from_json(read_json(file))
    except (WinnowError, TypeError, KeyError, AttributeError) as error:
        raise RecipeError(f"The link names settings that cannot be read ({error}).") from error
    used_rows.load_used(fingerprint, stored.given)
    contenders = [contender for contender in stored.contenders if not contender.saved]
    for params in (stored.params, *({each.method: each.params or {}} for each in contenders)):
        _check_params(params)
    return {name: getattr(stored, name) for name in BY_HASH}


def _check_params(params: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise RecipeError for an unknown method or setting, PoolError for the upload of another visitor."""
    for name, values in params.items():
        if name not in METHODS:
            raise RecipeError(f"The link names settings of an unknown method, '{shorten(name, 40)}'.")
        try:
            build_method(name, values)
        except WinnowError as error:
            raise RecipeError(f"The link names an unknown setting. {error}") from error
        if not all(map(visitors.may_open, _texts(values))):
            raise PoolError("The link names a file that another visitor has uploaded. Upload your own copy of it.")


def _texts(values: Mapping[str, Any]) -> Iterator[str]:
    return (value for value in values.values() if isinstance(value, str))
