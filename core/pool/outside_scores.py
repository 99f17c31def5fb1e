"""Scores that other tools gave the rows of a pool: read from a file, joined by id, stored as columns score@NAME.

Read are JSON lines, JSON, CSV and Parquet whose rows hold an id and numbers, also in the forms of
    OpenDataArena            {"id": ..., "scores": {"Deita": {"score": 4.2}, "IFD": 0.7}}
    processed or raw scores  {"id": ..., "processed_scores": {...}}, {"id": ..., "raw_scores": {...}}
    deita, IFD, reward and judge files    {"id": ..., "quality_scores": 4.1, "ifd_ppl": 0.7}
A number of a nested object is named by its path; the last part `score` and the words above are left out of the name.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.columns import SCORE_PREFIX
from core.errors import PoolError, RecipeError
from core.pool.nested_fields import to_number
from core.pool.pool_columns import check_name, load_columns, load_facts, store_column
from core.pool.readers.records import read_object
from core.pool.readers.sources import open_source
from core.pool.turns import UnusableRow
from core.schema import BoolArray, Pool
from core.workspace.folder import Workspace

ID_FIELDS = ("id", "row_id", "uid", "uuid")
WRAPPERS = ("scores", "processed_scores", "raw_scores", "winnow")
MAX_NAMED = 3  # unmatched ids in a report
MAX_COLUMNS = 64
PREVIEW_ROWS = 2000  # of a file, before it is imported
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
    low: tuple[str, ...]  # columns whose low end is good


@dataclass(frozen=True)
class ScorePreview:
    """What the first rows of a file of scores hold."""

    rows: int
    numbers: Mapping[str, int]  # by score: rows with a number
    lowest: Mapping[str, float]
    highest: Mapping[str, float]
    matched: int  # ids that the pool has
    unmatched: int
    unmatched_ids: tuple[str, ...]  # the first of them
    more: bool  # the file may have more rows


def import_scores(
    pool: Pool,
    file: str,
    workspace: Workspace,
    *,
    name: str = "",
    fields: Collection[str] = (),
    end: End = "high",
    ends: Mapping[str, End] | None = None,
) -> ImportedScores:
    """Join a file of scores to a pool by id, and store each score as a column of the pool.

    `fields`: the scores to read; none: all. `name`: the column's name, if it is one. `end`: which end is good; `ends`:
    of scores for which it is another. Raise PoolError for a file without ids or numbers, RecipeError for a bad name,
    for a name that holds other numbers, or for an end of a score that the file does not have.
    """
    values, rows, repeated = read_scores(file, workspace, fields)
    known, places, unmatched = _match(pool, values)
    if not known.any():
        example = pool.rows["id"][0].as_py() if len(pool) else ""
        raise PoolError(f"{file}: no id is one of the pool's, such as '{example}'. Scores are joined by id only.")
    table = list(values.values())
    columns, facts = {}, {}
    read = {"file": Path(file).name, "file_rows": rows, "unmatched": len(unmatched)}
    read |= {"unmatched_ids": unmatched[:MAX_NAMED], "repeated": repeated}
    for column, score in _name_columns(file, values, name, ends or {}).items():
        numbers = np.full(len(pool), np.nan)
        numbers[known] = [table[k].get(score, np.nan) for k in places]
        columns[column] = numbers
        facts[column] = {"field": score, "end": (ends or {}).get(score, end), "rows": int(np.isfinite(numbers).sum())}
    _refuse_other_numbers(pool, workspace.root, columns)
    for column, numbers in columns.items():
        store_column(workspace.root, pool.fingerprint, column, numbers, read | facts[column])
    return ImportedScores(
        Path(file).name,
        tuple(columns),
        rows,
        int(known.sum()),
        len(unmatched),
        tuple(unmatched[:MAX_NAMED]),
        repeated,
        tuple(column for column, about in facts.items() if about["end"] == "low"),
    )


def preview_scores(pool: Pool, file: str, workspace: Workspace) -> ScorePreview:
    """Return what the first rows of a file hold, and whether the pool has their ids. Raise as `import_scores`."""
    values, rows, _ = read_scores(file, workspace, rows=PREVIEW_ROWS)
    known, _, unmatched = _match(pool, values)
    columns: dict[str, list[float]] = {}
    for scores in values.values():
        for score, number in scores.items():
            columns.setdefault(score, []).append(number)
    return ScorePreview(
        rows,
        {score: len(numbers) for score, numbers in columns.items()},
        {score: min(numbers) for score, numbers in columns.items()},
        {score: max(numbers) for score, numbers in columns.items()},
        int(known.sum()),
        len(unmatched),
        tuple(unmatched[:MAX_NAMED]),
        rows == PREVIEW_ROWS,
    )


def list_scores(root: Path, fingerprint: str) -> dict[str, dict[str, Any]]:
    """Return what was joined to a pool, by column: file, field, end, rows, and what did not match."""
    return load_facts(root, fingerprint, SCORE_PREFIX)


def _match(pool: Pool, values: Mapping[str, Any]) -> tuple[BoolArray, list[int], list[str]]:
    """Return which rows (N,) have an id of the file, the place of each in it, and the ids that no row has."""
    place = pc.index_in(pool.rows["id"].combine_chunks(), value_set=pa.array(list(values), pa.string()))
    places = np.asarray(place.drop_null()).tolist()
    found = set(places)
    return np.asarray(place.is_valid()), places, [one for k, one in enumerate(values) if k not in found]


def _name_columns(
    file: str, values: Mapping[str, Mapping[str, float]], name: str, ends: Collection[str]
) -> dict[str, str]:
    """Return the score of each column."""
    fields = sorted({score for scores in values.values() for score in scores})
    if name and len(fields) > 1:
        raise RecipeError(f"{file} holds {len(fields)} scores ({', '.join(fields[:8])}). Choose one with --field.")
    if unknown := [score for score in ends if score not in fields]:
        raise RecipeError(f"--end: {file} has no score '{unknown[0]}'. It has {', '.join(fields[:8])}.")
    columns: dict[str, str] = {}
    for score in fields:
        column = SCORE_PREFIX + check_name(name or re.sub(r"[^\w.-]", "-", score)[:64])
        if column in columns:
            raise RecipeError(
                f"{file}: '{columns[column]}' and '{score}' would both be {column}. Choose one with --field."
            )
        columns[column] = score
    return columns


def _refuse_other_numbers(pool: Pool, root: Path, columns: Mapping[str, Any]) -> None:
    stored = load_columns(root, pool.fingerprint)
    for column, numbers in columns.items():
        if column in stored and not np.array_equal(stored[column], numbers, equal_nan=True):
            raise RecipeError(
                f"The pool has other numbers under the name {column} already. Remove them on the Pool page, or give "
                "another name (--as)."
            )


def read_scores(
    file: str, workspace: Workspace, fields: Collection[str] = (), *, rows: int | None = None
) -> tuple[dict[str, dict[str, float]], int, int]:
    """Return the scores of each id of a file, the number of its rows, and of ids that it repeats.

    `fields`: the scores to read; none: all. `rows`: read so many at most.
    """
    values: dict[str, dict[str, float]] = {}
    read = repeated = without_id = 0
    cache = workspace.folder("measurements", "scores")
    cache.parent.mkdir(parents=True, exist_ok=True)
    with open_source(file, name=None, split=None, revision=None, cache=cache) as source:
        for row in islice(_objects(source), rows):
            read += 1
            name = next((str(row[one]) for one in ID_FIELDS if isinstance(row.get(one), str | int)), None)
            if name is None:
                without_id += 1
                continue
            scores = {score: number for score, number in iter_scores(row) if not fields or score in fields}
            if scores:
                repeated += name in values
                values[name] = scores
    if not values:
        raise PoolError(_describe_nothing(file, read, without_id, fields))
    if len({score for scores in values.values() for score in scores}) > MAX_COLUMNS:
        raise PoolError(f"{file}: its rows hold more than {MAX_COLUMNS} different numbers. Choose one with --field.")
    return values, read, repeated


def _describe_nothing(file: str, rows: int, without_id: int, fields: Collection[str]) -> str:
    if rows and without_id == rows:
        return f"{file}: no row has an id ({', '.join(ID_FIELDS)}). Scores are joined to a pool by id."
    where = f"in {' or '.join(map(repr, fields))}" if fields else "beside its id"
    return f"{file}: no row has a number {where}."


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
