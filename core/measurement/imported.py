"""Numbers that rows brought along: other tools' scores, read from their original fields. Needs no model."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from core.columns import SIGNALS
from core.errors import MethodError
from core.measurement.run_data import load_measured
from core.measurement.runs import Run, run_key, save_run
from core.methods import describe_method
from core.methods.imported import Imported
from core.schema import ModelRef, Pool, Reading
from core.workspace.folder import Workspace

BLOCK = 4096  # rows read at a time
LOOKED_AT = 2000  # rows, for the names of fields with numbers
NAMED = 12  # of these fields in a sentence


def read_numbers(pool: Pool, field: str) -> NDArray[np.float64]:
    """(N,) the number in `field` of each original row, NaN where there is none; `a.b` is field b of field a, where no
    row has a field of that very name. A text that reads as a number is one: tables have no other cells.

    MethodError, naming the fields that hold numbers, where no row has one.
    """
    values = np.full(len(pool), np.nan)
    if field:
        for place, row in enumerate(_rows(pool, len(pool))):
            values[place] = _number(_at(row, field))
    if not np.isfinite(values).any():
        known = list(numeric_fields(pool))
        there = f"Fields with numbers are {', '.join(known[:NAMED])}." if known else "No field of it holds numbers."
        what = f"No row of this pool has a number in '{field}'." if field else "Which field holds the score?"
        raise MethodError(f"{what} {there}")
    return values


def numeric_fields(pool: Pool) -> dict[str, int]:
    """Fields that hold numbers in the first rows, nested ones as `a.b`, and in how many: the most filled first."""
    found: Counter[str] = Counter()
    for row in _rows(pool, min(LOOKED_AT, len(pool))):
        found.update(name for name, value in _flat(row) if isfinite(_number(value)))
    return dict(found.most_common())


def _rows(pool: Pool, stop: int) -> Iterator[dict[str, Any]]:
    column = pool.rows["original"]
    for start in range(0, stop, BLOCK):
        yield from map(orjson.loads, column.slice(start, min(BLOCK, stop - start)).to_pylist())


def _flat(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", deeper) for inner, deeper in value.items())
        else:
            yield name, value


def _at(row: dict[str, Any], field: str) -> Any:
    if field in row:
        return row[field]
    outer, _, inner = field.partition(".")
    held = row.get(outer)
    return held.get(inner) if isinstance(held, dict) else None


def _number(value: Any) -> float:
    """A finite number, or NaN: a truth value is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return float("nan")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return float("nan")
    return number if isfinite(number) else float("nan")


def doubts_of_numbers(values: NDArray[np.float64]) -> list[str]:
    """How many rows have no number, as a sentence; none where all have one."""
    missing = int(np.isnan(values).sum())
    return [f"{missing:,} of {len(values):,} rows have no number in this field."] if missing else []


def import_score(workspace: Workspace, pool: Pool, method: Imported, counted: Run, seed: int) -> Run:
    """What measuring this score gives, with the token counts of a run that is there: so no tokenizer is needed."""
    reading = Reading(**counted.reading)
    key = run_key(pool, method, reading, ModelRef(**counted.model, path="", size_bytes=0), seed)
    tokens = load_measured(counted).columns
    columns = {name: tokens[name] for name in SIGNALS["tokens"]} | {"imported": read_numbers(pool, method.field)}
    told = {name: counted.summary[name] for name in ("tokens",) if name in counted.summary}
    made = replace(
        counted,
        id=key,
        method=describe_method(method),
        seed=seed,
        columns=tuple(columns),
        folder=workspace.folder("runs", key),
        summary={"tokens": 0, "seconds": {}, "warnings": doubts_of_numbers(columns["imported"])} | told,
        tasks=None,
        kept={},
        members=(),
    )
    return save_run(workspace, made, columns)
