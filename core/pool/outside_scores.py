"""Scores that other tools gave the rows of a pool: read from a file, joined by id, stored as columns score@NAME.

Read are JSON lines, JSON, CSV and Parquet whose rows hold an id and numbers, also in the forms of
    OpenDataArena            {"id": ..., "scores": {"Deita": {"score": 4.2}, "IFD": 0.7}}
    processed or raw scores  {"id": ..., "processed_scores": {...}}, {"id": ..., "raw_scores": {...}}
    deita, IFD, reward and judge files    {"id": ..., "quality_scores": 4.1, "ifd_ppl": 0.7}
A number of a nested object is named by its path; the last part `score` and the words above are left out of the name.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.columns import SCORE_PREFIX
from core.errors import PoolError, RecipeError
from core.pool.nested_fields import to_number
from core.pool.pool_columns import check_name, load_columns, store_column
from core.pool.readers.records import read_object
from core.pool.readers.sources import open_source
from core.pool.turns import UnusableRow
from core.schema import Pool
from core.workspace.folder import Workspace

ID_FIELDS = ("id", "row_id", "uid", "uuid")
WRAPPERS = ("scores", "processed_scores", "raw_scores", "winnow")
MAX_NAMED = 3  # unmatched ids in a report
MAX_COLUMNS = 64
End = Literal["high", "low"]


@dataclass(frozen=True)
class ImportedScores:
    """What was read from a file of scores."""

    file: str
    columns: tuple[str, ...]  # of the pool, score@NAME
    rows: int  # of the file
    matched: int  # rows of the pool that it gives a number
    unmatched: int  # ids of the file that the pool does not have
    unmatched_ids: tuple[str, ...]  # the first of them
    repeated: int  # ids that the file has more than once; the last counts


def import_scores(
    pool: Pool, file: str, workspace: Workspace, *, name: str = "", field: str = "", end: End = "high"
) -> ImportedScores:
    """Join a file of scores to a pool by id, and store each score as a column of the pool.

    `field`: the only score to read; "": all. `name`: the column's name, if it is one. `end`: which end is good. Raise
    PoolError for a file without ids or numbers, RecipeError for a bad name, or for a name that holds other numbers.
    """
    values, rows, repeated = read_scores(file, workspace, field)
    ids = pa.array(list(values), pa.string())
    place = pc.index_in(pool.rows["id"].combine_chunks(), value_set=ids)
    known = np.asarray(place.is_valid())
    if not known.any():
        example = pool.rows["id"][0].as_py() if len(pool) else ""
        raise PoolError(f"{file}: no id is one of the pool's, such as '{example}'. Scores are joined by id only.")
    found = set(np.asarray(place.drop_null()).tolist())
    fields = sorted({score for scores in values.values() for score in scores})
    if name and len(fields) > 1:
        raise RecipeError(f"{file} holds {len(fields)} scores ({', '.join(fields[:8])}). Choose one with --field.")
    table = list(values.values())
    columns = {}
    for score in fields:
        column = SCORE_PREFIX + check_name(name or re.sub(r"[^\w.-]", "-", score)[:64])
        numbers = np.full(len(pool), np.nan)
        numbers[known] = [table[k].get(score, np.nan) for k in np.asarray(place.drop_null()).tolist()]
        columns[column] = (score, numbers)
    _refuse_other_numbers(pool, workspace.root, {column: numbers for column, (_, numbers) in columns.items()})
    for column, (score, numbers) in columns.items():
        about = {"file": Path(file).name, "field": score, "end": end, "rows": int(np.isfinite(numbers).sum())}
        store_column(workspace.root, pool.fingerprint, column, numbers, about)
    missing = [one for k, one in enumerate(values) if k not in found]
    return ImportedScores(
        Path(file).name, tuple(columns), rows, int(known.sum()), len(missing), tuple(missing[:MAX_NAMED]), repeated
    )


def _refuse_other_numbers(pool: Pool, root: Path, columns: Mapping[str, Any]) -> None:
    stored = load_columns(root, pool.fingerprint)
    for column, numbers in columns.items():
        if column in stored and not np.array_equal(stored[column], numbers, equal_nan=True):
            raise RecipeError(f"The pool has other numbers under the name {column} already. Give another name (--as).")


def read_scores(file: str, workspace: Workspace, field: str = "") -> tuple[dict[str, dict[str, float]], int, int]:
    """Return the scores of each id of a file, the number of its rows, and of ids that it repeats."""
    values: dict[str, dict[str, float]] = {}
    rows = repeated = without_id = 0
    cache = workspace.folder("measurements", "scores")
    cache.parent.mkdir(parents=True, exist_ok=True)
    with open_source(file, name=None, split=None, revision=None, cache=cache) as source:
        for row in _objects(source):
            rows += 1
            name = next((str(row[one]) for one in ID_FIELDS if isinstance(row.get(one), str | int)), None)
            if name is None:
                without_id += 1
                continue
            scores = {score: number for score, number in iter_scores(row) if not field or score == field}
            if scores:
                repeated += name in values
                values[name] = scores
    if not values:
        raise PoolError(_describe_nothing(file, rows, without_id, field))
    if len({score for scores in values.values() for score in scores}) > MAX_COLUMNS:
        raise PoolError(f"{file}: its rows hold more than {MAX_COLUMNS} different numbers. Choose one with --field.")
    return values, rows, repeated


def _describe_nothing(file: str, rows: int, without_id: int, field: str) -> str:
    if rows and without_id == rows:
        return f"{file}: no row has an id ({', '.join(ID_FIELDS)}). Scores are joined to a pool by id."
    what = f"a number in '{field}'" if field else "a number beside its id"
    return f"{file}: no row has {what}."


def _objects(source: Any) -> Iterator[dict[str, Any]]:
    for block in source.blocks:
        for _, raw in block.records:
            try:
                yield read_object(raw)
            except UnusableRow:
                continue


def iter_scores(row: Mapping[str, Any], path: Sequence[str] = ()) -> Iterator[tuple[str, float]]:
    """Yield name and value of each number of a row, ids aside. Texts that are numbers count, booleans do not."""
    for key, value in row.items():
        if isinstance(value, Mapping):
            yield from iter_scores(value, (*path, key))
        elif key not in ID_FIELDS and isfinite(number := to_number(value)):
            names = [one for one in (*path, key) if one not in WRAPPERS]
            yield ".".join(names[:-1] if len(names) > 1 and names[-1] == "score" else names), number
