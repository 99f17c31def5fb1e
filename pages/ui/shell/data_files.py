"""Files in the allowed folders that may be a pool, offered for choice."""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import streamlit as st

from pages.ui.data import cached
from pages.ui.shell import roots

ENDINGS = (".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".parquet", ".jsonl.gz", ".json.gz", ".csv.gz", ".tsv.gz")
ROOT = Path(__file__).resolve().parents[3]
OWN = tuple(str(ROOT / name) for name in ("core", "pages", "tests"))  # folders of the app itself
IGNORED = {"node_modules", "site-packages", "__pycache__"}  # folders
MAX_DEPTH = 3  # folders below an allowed one
MAX_FILES = 300  # offered
MAX_ENTRIES = 20_000  # looked at in each allowed folder
FRESH_S = 10.0  # a listing is used again for so long


def find_files() -> list[Path]:
    """List files that may be a pool, newest first; .json files, most of which are something else, come last.

    Hidden folders, links, the app itself and the workspace are skipped, so nothing of another visitor is listed.
    """
    return _find_files(tuple(map(str, roots.allowed_folders())), (str(cached.workspace().root.resolve()), *OWN))


@st.cache_data(ttl=FRESH_S, max_entries=8, show_spinner=False)
def _find_files(folders: tuple[str, ...], skipped: tuple[str, ...]) -> list[Path]:
    times: dict[Path, float] = {}
    for folder in folders:
        for entry in islice(_walk(folder, skipped), MAX_ENTRIES):
            if entry.name.lower().endswith(ENDINGS) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):  # deleted meanwhile
                    times[Path(entry.path)] = entry.stat().st_mtime
    return sorted(times, key=lambda file: (file.suffix.lower() == ".json", -times[file], file))[:MAX_FILES]


def _walk(folder: str, skipped: Collection[str]) -> Iterator[os.DirEntry[str]]:
    """Yield what lies in a folder and below, the upper levels first."""
    level = [folder]
    for _ in range(MAX_DEPTH + 1):
        below = []
        for one in level:
            for entry in _entries(one):
                yield entry
                if entry.is_dir(follow_symlinks=False) and entry.name not in IGNORED and entry.path not in skipped:
                    below.append(entry.path)
        level = below


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)
    except OSError:  # not readable, or deleted meanwhile
        return []
