"""Columns of a pool that no run measured: overlap with benchmarks, and scores of other tools.

Each is stored in the workspace for the pool itself, under its name: `NAME.npy`, (N,) floats, NaN: none, and
`NAME.json`, what it is and where it came from. They can be filtered by and explored like measured ones.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import RecipeError
from core.workspace.files import is_whole, read_json, reading, remove_stored, write_array, write_json
from core.workspace.folder import content_key

SPEC = "spec.json"
_NAME = re.compile(r"[\w.-]{1,64}")
Floats = NDArray[np.floating[Any]]


def check_name(name: str) -> str:
    """Return the name of a column, without its prefix. Raise RecipeError for one that cannot be part of a file name."""
    if not _NAME.fullmatch(name) or name.startswith("."):
        raise RecipeError(f"A name has 1 to 64 letters, digits, dots, dashes and underscores, unlike '{name}'.")
    return name


def store_column(root: Path, fingerprint: str, column: str, values: Floats, about: Mapping[str, Any]) -> None:
    """Store a column of a pool, or replace it."""
    folder = column_folder(root, fingerprint)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SPEC, _spec(fingerprint))  # the inventory reads it
    write_array(folder / f"{column}.npy", values)
    write_json(folder / f"{column}.json", about)


def remove_column(root: Path, fingerprint: str, column: str) -> None:
    """Remove a column of a pool, if it is there."""
    folder = column_folder(root, fingerprint)
    for file in (folder / f"{column}.npy", folder / f"{column}.json"):
        remove_stored(file)


def load_columns(root: Path, fingerprint: str) -> dict[str, Floats]:
    """Load the columns of a pool, memory-mapped, by name."""
    columns = {}
    for file in sorted(column_folder(root, fingerprint).glob("*@*.npy")):
        if is_whole(file):
            with reading(file):
                columns[file.stem] = np.load(file, mmap_mode="r", allow_pickle=False)
    return columns


def load_facts(root: Path, fingerprint: str, prefix: str) -> dict[str, dict[str, Any]]:
    """Return what was stored about the columns with this prefix, by name."""
    files = sorted(column_folder(root, fingerprint).glob(f"{prefix}*.json"))
    return {file.stem: read_json(file) for file in files}


def columns_stamp(root: Path, fingerprint: str) -> int:
    """Return a number that changes when a column is stored, replaced or removed; for cache keys."""
    folder = column_folder(root, fingerprint)
    return folder.stat().st_mtime_ns if folder.exists() else 0


def column_folder(root: Path, fingerprint: str) -> Path:
    """Return the folder of a pool's columns."""
    return root / "measurements" / content_key(_spec(fingerprint))


def _spec(fingerprint: str) -> dict[str, Any]:
    return {"kind": "pool-columns", "pool": fingerprint}
