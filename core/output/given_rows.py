"""Rows used already, as files list them: the manifests of earlier exports, files of rows, lists of ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from core.errors import RecipeError
from core.output.destinations import SUFFIXES
from core.output.manifest import read_manifest
from core.pool.row_lookup import MAX_NAMED, FoundRows, ListedRow, find_file_rows, find_rows
from core.schema import Pool
from core.selection.tags import has_id


@dataclass(frozen=True)
class GivenRows:
    """Rows of a pool that are used already, and what the pool does not have of the files that list them."""

    ids: list[str]  # in the order of the pool
    unmatched: int  # rows of the files
    unmatched_rows: list[str]  # the first of them

    def describe_unmatched(self, pool: Pool) -> str:
        """Return a sentence on the rows that the pool does not have; "" if it has all."""
        if not self.unmatched:
            return ""
        rows = "1 row is" if self.unmatched == 1 else f"{self.unmatched:,} rows are"
        return f"{rows} not in {pool.name}, such as {', '.join(self.unmatched_rows)}; these do not count."


def find_given_rows(pool: Pool, files: Sequence[Path], ids: Sequence[str] = ()) -> GivenRows:
    """Find the rows that files list: of a manifest those it selected, held out, or had as used already itself.

    `ids`: further rows used already. Raise RecipeError for a file without rows, or with no row of this pool, and for an
    unknown id; PoolError if a file cannot be read.
    """
    found = [_find(pool, path) for path in files]
    rows = np.unique(np.concatenate([np.flatnonzero(has_id(pool, ids, "given has")), *(f.rows for f in found)]))
    unmatched = [row.name for each in found for row in each.unmatched]
    return GivenRows(pool.rows["id"].take(pa.array(rows)).to_pylist(), len(unmatched), unmatched[:MAX_NAMED])


def _find(pool: Pool, path: Path) -> FoundRows:
    if path.name.endswith(SUFFIXES["manifest"]):
        manifest = read_manifest(path)
        keys = enumerate([*manifest.rows, *manifest.held_out, *manifest.given], 1)
        found = find_rows(pool, [ListedRow(place, key.id, key.hash, prompts=None) for place, key in keys])
    else:
        found = find_file_rows(pool, path)
    if not len(found.rows):
        first = f", such as {found.unmatched[0].name}" if found.unmatched else ""
        raise RecipeError(
            f"{path} lists no row of {pool.name}{first}. Give the manifest of an export, or a file of rows of "
            "this pool or of their ids."
        )
    return found
