"""Rows as Parquet: one column for each field of the rows, and one for each score.

The types of the columns are those that hold every row, found in a first pass. A row that has no value for a field of
others has null there, which is counted; a field whose values have no common type is refused. The schema carries the
features of `datasets`, so that `load_dataset` reads the columns as they were written.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.errors import RecipeError
from core.pool.pools import row_place
from core.schema import IntArray, Pool

BATCH = 1024  # rows converted at a time
TAGS_COLUMN = "tags"  # the one added column that holds lists
GROUP_ROWS, GROUP_BYTES = 10_000, 64 << 20  # of a row group: the smaller
_REFUSALS = (pa.ArrowException, OverflowError, TypeError, ValueError)  # of values that have no common type

Lines = Callable[[], Iterator[bytes]]  # the rows as JSON objects, from the first one each time
Scores = Mapping[str, pa.Array]  # one value per row


def write_parquet(path: Path, lines: Lines, rows: IntArray, pool: Pool, scores: Scores) -> int:
    """Write `rows` of the pool, whose JSON `lines` yields, with their scores; return how many have added nulls.

    Raise RecipeError with the row and the field that a table cannot hold.
    """
    schema = _find_schema(lines, rows, pool)
    for name in scores:
        if name in schema.names:
            raise RecipeError(
                f"The pool's rows already have a field '{name}', and an export never overwrites a field. Export "
                "without scores and tags, or rename that field."
            )
    whole = schema
    for name, values in scores.items():
        whole = whole.append(pa.field(name, values.type))
    whole = whole.with_metadata({"huggingface": orjson.dumps({"info": {"features": features(whole)}})})
    filled = start = 0
    with pq.ParquetWriter(path, whole, compression="zstd") as writer:
        for tables in _groups(_tables(lines, schema)):
            filled += sum(added for _, added in tables)
            group = pa.concat_tables(table for table, _ in tables)
            columns = [values.slice(start, group.num_rows) for values in scores.values()]
            writer.write_table(
                pa.Table.from_arrays([*group.columns, *columns], schema=whole), row_group_size=GROUP_ROWS
            )
            start += group.num_rows
    return filled


def features(schema: pa.Schema) -> dict[str, Any]:
    """Return the `datasets` features of a schema, in the form that its versions since 2.0 read."""
    return {field.name: _feature(field.type) for field in schema}


def _feature(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        return [inner] if pa.types.is_struct(kind.value_type) else {"feature": inner, "_type": "Sequence"}
    return {"dtype": {"double": "float64", "float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}


def _find_schema(lines: Lines, rows: IntArray, pool: Pool) -> pa.Schema:
    """Return the types that hold every row."""
    types: dict[str, pa.DataType] = {}
    start = 0
    for batch in _batches(lines()):
        for name in dict.fromkeys(name for row in batch for name in row):
            types[name] = _widen(types.get(name, pa.null()), name, batch, rows[start:], pool)
        start += len(batch)
    for name, kind in types.items():
        if _has_empty_struct(kind):
            raise RecipeError(
                f"Field '{name}' holds objects without a field, which Parquet does not have. Write a .jsonl file."
            )
    return pa.schema(types)


def _widen(kind: pa.DataType, name: str, batch: Sequence[Mapping[str, Any]], rows: IntArray, pool: Pool) -> pa.DataType:
    """Return the type that holds what `kind` holds and the values of a batch; `rows` are the numbers of its rows."""
    values = [row.get(name) for row in batch]
    try:
        return _join(kind, pa.array(values).type)
    except _REFUSALS:
        for position, value in enumerate(values):
            try:
                kind = _join(kind, pa.array(values[: position + 1]).type)
            except _REFUSALS:
                row, shown = int(rows[position]), orjson.dumps(value).decode()[:40]
                id_ = pool.rows["id"][row].as_py()
                raise RecipeError(
                    f"Row '{id_}' ({row_place(pool, row)}) has {shown} in '{name}', which has no common type with "
                    "the rows before it. A Parquet column has one type, so write a .jsonl file."
                ) from None
        raise


def _join(kind: pa.DataType, other: pa.DataType) -> pa.DataType:
    schemas = [pa.schema({"x": each}) for each in (kind, other)]
    return pa.unify_schemas(schemas, promote_options="permissive").field("x").type


def _has_empty_struct(kind: pa.DataType) -> bool:
    inner = [kind.field(k).type for k in range(kind.num_fields)]
    return (pa.types.is_struct(kind) and not inner) or any(map(_has_empty_struct, inner))


def _batches(lines: Iterator[bytes]) -> Iterator[list[dict[str, Any]]]:
    while batch := [orjson.loads(line) for line in islice(lines, BATCH)]:
        yield batch


def _tables(lines: Lines, schema: pa.Schema) -> Iterator[tuple[pa.Table, int]]:
    """Yield the rows in columns, with the number of those that are not read back as they are."""
    for batch in _batches(lines()):
        try:
            table = pa.Table.from_pylist(batch, schema=schema)
        except _REFUSALS as error:  # integers that no float holds exactly
            raise RecipeError(
                f"A number of the rows cannot be a Parquet value ({error}). Write a .jsonl file."
            ) from error
        yield table, sum(row != back for row, back in zip(batch, table.to_pylist(), strict=True))


def _groups(tables: Iterable[tuple[pa.Table, int]]) -> Iterator[list[tuple[pa.Table, int]]]:
    """Gather tables for one row group each."""
    group: list[tuple[pa.Table, int]] = []
    rows = size = 0
    for table, added in tables:
        if group and (rows + table.num_rows > GROUP_ROWS or size + table.nbytes > GROUP_BYTES):
            yield group
            group, rows, size = [], 0, 0
        group.append((table, added))
        rows, size = rows + table.num_rows, size + table.nbytes
    if group:
        yield group


def score_arrays(columns: Mapping[str, NDArray[Any]], rows: IntArray, prefix: str = "") -> dict[str, pa.Array]:
    """Return score columns of these rows as Arrow arrays: null for NaN, ranks as integers."""
    return {
        prefix + name: pa.array(np.asarray(values)[rows], _score_type(name), from_pandas=True)
        for name, values in columns.items()
    }


def _score_type(name: str) -> pa.DataType | None:
    if name == TAGS_COLUMN:
        return pa.list_(pa.string())
    if name.endswith(".excluded"):
        return pa.string()
    return pa.int64() if name.endswith(".rank") else None
