"""Files of rows as arms: their rows in the pool, by content or by id."""

from pathlib import Path

from core.errors import RecipeError
from core.pool import row_lookup
from core.schema import IntArray, Pool


def is_file(text: str) -> bool:
    """Return whether a word is the path of a file; a word that can be no path is none."""
    try:
        return Path(text).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # too long; the home of an unknown user; a null character
        return False


def find_file_rows(pool: Pool, path: Path) -> IntArray:
    """Return the rows of the pool that a file lists, ascending, each once.

    RecipeError for rows that the pool does not have, with the first of them and their number.
    """
    found = row_lookup.find_file_rows(pool, path, same_responses=True)
    if found.unmatched:
        n = len(found.unmatched)
        count = "1 row of the file is" if n == 1 else f"{n:,} rows of the file are"
        raise RecipeError(
            f"{path}: {count} not in {pool.name}, first in line {found.unmatched[0].line:,}. Give rows as the pool has "
            'them, ids as {"id": ...}, or the recipe or manifest of the selection.'
        )
    return found.rows
