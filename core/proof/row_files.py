"""Files of rows as arms: their rows in the pool, by content or by id."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from core.errors import RecipeError
from core.pool.fingerprint import content_digest
from core.pool.readers.records import read_object
from core.pool.readers.sources import open_source
from core.pool.turns import UnusableRow
from core.schema import IntArray, Pool

SCORES_FIELD = "winnow"  # that an export adds to its rows on request


def is_file(text: str) -> bool:
    """Return whether a word is the path of a file; a word that can be no path is none."""
    try:
        return Path(text).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # too long; the home of an unknown user; a null character
        return False


def find_file_rows(pool: Pool, path: Path) -> IntArray:
    """Return the rows of the pool that a file lists, ascending, each once.

    A row of the file is a row of the pool as its source has it, or {"id": ...}. RecipeError for rows that the pool does
    not have, with the first of them and their number.
    """
    numbers = dict(zip(pool.rows["id"].to_pylist(), range(len(pool)), strict=True))
    by_content = defaultdict(list)
    for number, digits in enumerate(pool.rows["hash"].to_pylist()):
        by_content[digits].append(number)
    found: list[int] = []
    unknown: list[int] = []  # lines
    for line, row in _read(path):
        if set(row) == {"id"}:
            matches = [numbers[str(row["id"])]] if str(row["id"]) in numbers else []
        else:
            row.pop(SCORES_FIELD, None)
            matches = by_content.get(content_digest(row).hex(), [])
        if matches:
            found.append(matches.pop(0) if len(matches) > 1 else matches[0])  # equal rows: one for each time
        else:
            unknown.append(line)
    if unknown:
        count = "1 row of the file is" if len(unknown) == 1 else f"{len(unknown):,} rows of the file are"
        raise RecipeError(
            f"{path}: {count} not in {pool.name}, first in line {unknown[0]:,}. Give rows as the pool has them, ids as "
            '{"id": ...}, or the recipe or manifest of the selection.'
        )
    if not found:
        raise RecipeError(f"{path} holds no row.")
    return np.unique(np.array(found, np.int64))


def _read(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with (
        TemporaryDirectory() as cache,
        open_source(str(path), name=None, split=None, revision=None, cache=Path(cache)) as source,
    ):
        for block in source.blocks:
            for line, raw in block.records:
                try:
                    yield line, read_object(raw)
                except UnusableRow as reason:
                    raise RecipeError(f"{path}, line {line:,}: {reason}. Give one row, as an object, a line.") from None
