"""Writer: selected rows as JSON lines or Parquet, for a trainer or for people to answer; scores as a table.

Rows are written in the pool's order, so that a file can be compared with its source and a trainer's own shuffle starts
from the same order; the order of selection is the score column `<method>.rank`. Everything is streamed: a few
thousand rows are in memory at a time. A file is whole or absent.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.errors import RecipeError
from core.output.formats import TURNS_FIELD, check_schema, convert_row, one_line, prompt_turns
from core.output.parquet_rows import TAGS_COLUMN, score_arrays
from core.output.row_files import SCORES_FIELD, RowSource, Scores, open_lines, open_rows, sibling_path
from core.pool.pools import read_rows
from core.schema import IntArray, Pool, Row
from core.workspace.files import atomic_path

BATCH = 2048  # neighbouring rows of the pool that are read together

Tasks = Sequence[str | None]
Convert = Callable[[Row], dict[str, Any]]


@dataclass(frozen=True)
class ExportResult:
    """Files written by one export."""

    path: Path
    rows: int
    sha256: str  # over the bytes of `path`
    rejected_path: Path | None
    schema: str
    with_scores: bool
    fields: tuple[str, ...]  # top-level fields that occur, in a converted schema; () for the original
    held_out: "HeldOutFile | None" = None
    filled: int = 0  # rows with null in Parquet for a field that only other rows have


@dataclass(frozen=True)
class HeldOutFile:
    """The second file: selected rows held out of training."""

    path: Path
    rows: int
    sha256: str


def write_selection(
    pool: Pool,
    rows: IntArray,
    out: Path,
    *,
    schema: str = "original",
    scores: Scores | None = None,
    tags: NDArray[Any] | None = None,
    rejected: bool = False,
    tasks: Tasks | None = None,
    held_out: IntArray | None = None,
) -> ExportResult:
    """Write `rows` (row numbers, any order) of the pool to `out`, in the pool's order: Parquet if its name ends so.

    held_out   those of `rows` that go to `<out>.heldout.jsonl` (or .parquet) instead, in the same format
    scores     (N,) columns; adds one object field "winnow" with each row's values, null for NaN; in Parquet, one column
               "winnow.NAME" each
    tags       (N,) lists of names; added in the same field, as its list "tags"; in Parquet, the column "winnow.tags"
    rejected   also writes all other rows, in the original schema, to `<out>.rejected.jsonl` (or .parquet)
    tasks      (N,) derived names instead of the pool's labels, in an annotation queue, which marks them as derived
               with "task_derived"; the other schemas have no field for them

    In the original schema each line is the row's own text; with scores, the same text with one more field. Parquet has
    the same values in columns (core.output.parquet_rows).
    RecipeError if nothing is selected, a row cannot be expressed in the schema or has a field "winnow" already;
    WorkspaceError if the disk fails. After either, no file has changed.
    """
    if not len(rows):
        raise RecipeError(
            "No row is selected, so there is nothing to write. Raise the budget, or relax the score cutoff or filters."
        )
    check_schema(schema)
    if tasks is not None and len(tasks) != len(pool):
        raise RecipeError(f"There are {len(tasks):,} task names for {len(pool):,} rows. Give one name or null per row.")
    held_out_rows = np.empty(0, np.int64) if held_out is None else np.sort(held_out)
    fields_seen: dict[str, None] = {}
    added = scores if tags is None else {**(scores or {}), TAGS_COLUMN: tags}
    own = RowSource(pool, partial(_own_lines, pool), added)
    source = own
    if schema != "original":
        to_record = _converter(pool, rows, schema, tasks)
        source = RowSource(pool, partial(_converted_lines, pool, to_record, fields_seen), added)
    second = rejected_path = None
    with ExitStack() as files:
        training = files.enter_context(open_rows(out))
        training.write_rows(np.setdiff1d(rows, held_out_rows), source)
        sha256, filled = training.sha256, training.filled
        if len(held_out_rows):
            path = sibling_path(out, ".heldout.jsonl")
            held_out_file = files.enter_context(open_rows(path))
            held_out_file.write_rows(held_out_rows, source)
            second = HeldOutFile(path, held_out_file.count, held_out_file.sha256)
            filled += held_out_file.filled
        if rejected:
            rejected_path = sibling_path(out, ".rejected.jsonl")
            rest = np.setdiff1d(np.arange(len(pool)), rows)
            files.enter_context(open_rows(rejected_path)).write_rows(rest, own)
    about = (schema, scores is not None, tuple(fields_seen), second, filled)
    return ExportResult(out, training.count, sha256, rejected_path, *about)


def _own_lines(pool: Pool, rows: IntArray, scores: Scores | None) -> Iterator[bytes]:
    """Yield the original text of the rows (ascending), without line ends."""
    for batch in _batches(rows):
        texts = _originals(pool, batch)
        if scores is None:
            yield from (one_line(text).encode() for text in texts)
        else:
            yield from map(_with_field, texts, _records(scores, batch))


def preview_line(pool: Pool, rows: IntArray, schema: str, *, tasks: Tasks | None = None) -> str:
    """Return the first line that `write_selection` would write of these rows, without scores.

    RecipeError if the row cannot be expressed in the schema.
    """
    first = np.array([rows.min()], np.int64)
    if schema == "original":
        return next(_own_lines(pool, first, None)).decode()
    (row,) = read_rows(pool, first.tolist())
    return orjson.dumps(_converter(pool, rows, schema, tasks)(row)).decode()


def _converter(pool: Pool, rows: IntArray, schema: str, tasks: Tasks | None) -> Convert:
    """Return the function that converts one of these rows to a schema other than its own."""
    if schema != "annotation":
        return lambda row: convert_row(row, schema, pool.fields)
    has_turns = bool(pc.is_valid(pool.rows["turns"]).to_numpy()[rows].any())
    return lambda row: _queue_row(pool, row, tasks, has_turns=has_turns)


def _queue_row(pool: Pool, row: Row, tasks: Tasks | None, *, has_turns: bool) -> dict[str, Any]:
    """Convert one row of an annotation queue.

    `has_turns`: some row of the file has several turns, so all rows get the field of turns. One mapping then reads them
    all, and no row's conversation is flattened or lost.
    """
    labelled = row if tasks is None else replace(row, task=tasks[row.index])
    converted = convert_row(labelled, "annotation", pool.fields)
    blank = converted.pop("response")  # moved to the end, where people look for it
    turns = {TURNS_FIELD: prompt_turns(row)} if has_turns else {}
    derived = {"task_derived": True} if tasks is not None else {}
    return converted | turns | derived | {"response": blank}


def _converted_lines(
    pool: Pool, to_record: Convert, fields_seen: dict[str, None], rows: IntArray, scores: Scores | None
) -> Iterator[bytes]:
    """Yield the rows (ascending) in another schema; record in `fields_seen` the fields that occur.

    Goes through all rows before it raises, so that the RecipeError can give the number of rows that cannot be
    converted.
    """
    refused: list[RecipeError] = []
    for batch in _batches(rows):
        added = _records(scores, batch) if scores is not None else [{}] * len(batch)
        for row, values in zip(read_rows(pool, batch.tolist()), added, strict=True):
            try:
                converted = to_record(row)
            except RecipeError as error:
                refused.append(error)
                continue
            converted |= {SCORES_FIELD: values} if values else {}
            fields_seen.update(dict.fromkeys(converted))
            yield orjson.dumps(converted, option=orjson.OPT_SERIALIZE_NUMPY)
    if len(refused) > 1:
        raise RecipeError(f"{refused[0]} The same applies to {len(refused) - 1:,} more of the {len(rows):,} rows.")
    if refused:
        raise refused[0]


def _batches(rows: IntArray) -> Iterator[IntArray]:
    """Split ascending rows into groups that are close together, so that reading them touches little else."""
    if len(rows):
        yield from np.split(rows, np.flatnonzero(np.diff(rows // BATCH)) + 1)


def _originals(pool: Pool, rows: IntArray) -> list[str]:
    """Return the texts of one batch.

    A slice first: taking rows of a whole column may gather all of it, over 2 GB in large pools.
    """
    start = int(rows[0])
    nearby = pool.rows["original"].slice(start, int(rows[-1]) - start + 1)
    texts: list[str] = nearby.take(pa.array(rows - start)).to_pylist()
    return texts


def _with_field(text: str, added: Mapping[str, Any]) -> bytes:
    """Return the row's own text with one more field at its end, all else unchanged."""
    line = one_line(text)
    if SCORES_FIELD in orjson.loads(line):
        raise RecipeError(
            f"The pool's rows already have a field '{SCORES_FIELD}', and an export never overwrites a field. "
            "Export without scores and tags, or rename that field."
        )
    value = orjson.dumps(added, option=orjson.OPT_SERIALIZE_NUMPY)
    return line[:-1].rstrip().encode() + b', "' + SCORES_FIELD.encode() + b'": ' + value + b"}"


def _records(columns: Scores, rows: IntArray) -> list[dict[str, Any]]:
    """Return one dictionary per row, ready for JSON (NaN becomes null there)."""
    values = [_plain(name, column[rows]) for name, column in columns.items()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]


def _plain(name: str, values: NDArray[Any]) -> Sequence[Any]:
    """Return the values of one column; ranks, stored as floats because some are missing, become integers again."""
    if name.endswith(".rank"):
        return [None if np.isnan(v) else int(v) for v in values]
    return list(values)


def check_scores_file(path: Path) -> None:
    """Raise RecipeError if the ending of a file for scores is not one of those they are written with."""
    if path.suffix not in (".parquet", ".jsonl"):
        raise RecipeError(f"{path}: scores are written as .parquet or .jsonl. Give the file one of these endings.")


def write_scores(path: Path, pool: Pool, columns: Scores) -> None:
    """Write every row's id, task label and score columns, as .parquet or .jsonl by the suffix of `path`.

    Missing is null; `task` is left out if no row has a label.
    """
    check_scores_file(path)
    labels = ["id"] + ["task"] * (pool.rows["task"].null_count < len(pool))
    own = pool.rows.select(labels)
    if path.suffix == ".parquet":
        everything = np.arange(len(pool))
        table = pa.table({name: own[name] for name in labels} | score_arrays(columns, everything))
        with atomic_path(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")
        return
    with open_lines(path) as file:
        for batch in _batches(np.arange(len(pool))):
            texts = own.slice(int(batch[0]), len(batch)).to_pylist()
            records = (text | record for text, record in zip(texts, _records(columns, batch), strict=True))
            file.write(orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY) for record in records)
