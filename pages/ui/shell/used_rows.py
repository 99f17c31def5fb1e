"""Rows used already, which selections top up: lists of ids in selections/<pool>/given/<key>.json of the workspace.

Settings name a list by the hash of its content, so they stay small however many rows there are. A list is there for
everyone who may open the pool, as links are.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from core.errors import RecipeError, WinnowError
from core.workspace.files import read_json, write_json
from core.workspace.folder import content_key
from pages.ui.data import cached
from pages.ui.words import format_rows

FORMAT = 1  # of a file
_KEY = re.compile("[0-9a-f]{16}")


def store_used(fingerprint: str, ids: Sequence[str]) -> str:
    """Store the ids of rows used already, unless that is done; return what settings call them, "" for no rows."""
    if not ids:
        return ""
    key = content_key({"given": list(ids)})
    if not _file(fingerprint, key).exists():
        write_json(_file(fingerprint, key), {"format": FORMAT, "ids": list(ids)})
    return key


def load_used(fingerprint: str, key: str) -> Sequence[str]:
    """Return the ids of rows used already, () for the key ""; RecipeError if they are not stored here."""
    if not key:
        return ()
    try:
        return _load(str(_file(fingerprint, key)))
    except (WinnowError, KeyError, TypeError) as error:
        raise RecipeError("The list of rows used already is not stored in this workspace. Add them again.") from error


@cached.keep(cached.MAX_POOLS)
def _load(file: str) -> tuple[str, ...]:
    return tuple(map(str, read_json(Path(file))["ids"]))


def describe_used(fingerprint: str, key: str) -> str:
    """Return how many rows are used already, in words."""
    try:
        return f"{format_rows(len(load_used(fingerprint, key)))} used already"
    except RecipeError:
        return "Rows used already (unknown)"


def _file(fingerprint: str, key: str) -> Path:
    if not _KEY.fullmatch(key):
        raise RecipeError("The settings name rows used already in a way that Winnow does not.")
    return cached.workspace().folder("selections", fingerprint) / "given" / f"{key}.json"
