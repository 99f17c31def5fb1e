"""Out of Winnow: the chosen rows as JSON lines, for a trainer or for people to answer; scores as a table.

Rows are written in the pool's order, so that a file can be compared with its source and a trainer's own shuffle starts
from the same place; the order of choice is the score column `<method>.rank`. Everything is streamed: a few
thousand rows are in memory at a time. A file is whole or absent.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.errors import RecipeError
from core.output.formats import CONVERSIONS, TURNS_FIELD, convert_row, one_line
from core.pool.pools import read_rows
from core.schema import IntArray, Pool, Row
from core.workspace.files import atomic_path

SCORES_FIELD = "winnow"  # the one field that an export with scores adds to a row
BATCH = 2048  # neighbouring rows of the pool that are looked at together

Scores = Mapping[str, NDArray[Any]]
Tasks = Sequence[str | None]


@dataclass(frozen=True)
class ExportResult:
    """What was written."""

    path: Path
    rows: int
    sha256: str  # over the bytes of `path`
    rejected_path: Path | None
    schema: str
    with_scores: bool
    fields: tuple[str, ...]  # top-level fields that occur, in a converted schema; () for the original
    held_out: "HeldOutFile | None" = None


@dataclass(frozen=True)
class HeldOutFile:
    """The second file, of chosen rows that are kept from training."""

    path: Path
    rows: int
    sha256: str


class _Lines:
    """A file of lines that knows its length and checksum."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.count = 0

    def write(self, line: bytes) -> None:
        self._digest.update(line)
        self._digest.update(b"\n")
        self._file.write(line)
        self._file.write(b"\n")
        self.count += 1

    def fill(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self.write(line)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


@contextmanager
def _lines(path: Path) -> Iterator[_Lines]:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        yield _Lines(file)


def write_selection(
    pool: Pool,
    rows: IntArray,
    out: Path,
    *,
    schema: str = "original",
    scores: Scores | None = None,
    rejected: bool = False,
    tasks: Tasks | None = None,
    held_out: IntArray | None = None,
) -> ExportResult:
    """Write `rows` (row numbers, any order) of the pool to `out`, in the pool's order.

    held_out   those of `rows` that go, in the same way, to `<out>.heldout.jsonl` instead
    scores     (N,) columns; adds one object field "winnow" with each row's values, null for NaN
    rejected   also writes all other rows, in the original schema, to `<out>.rejected.jsonl`
    tasks      (N,) derived names instead of the pool's labels, in an annotation queue, which marks them as derived
               with "task_derived"; the other schemas have no place for them

    In the original schema each line is the row's own text; with scores, the same text with one more field.
    RecipeError when nothing is chosen, a row cannot be said in the schema or has a field "winnow" already;
    WorkspaceError when the disk will not. After either, no file has changed.
    """
    if not len(rows):
        raise RecipeError("No row is chosen, so there is nothing to write. Raise the budget or loosen the filters.")
    if schema != "original" and schema not in CONVERSIONS:
        raise RecipeError(f"There is no schema '{schema}'. There are original, {', '.join(CONVERSIONS)}.")
    if tasks is not None and len(tasks) != len(pool):
        raise RecipeError(f"There are {len(tasks):,} task names for {len(pool):,} rows. Give one name or null per row.")
    kept_out = np.empty(0, np.int64) if held_out is None else np.sort(held_out)
    chosen = np.setdiff1d(rows, kept_out)
    rejected_path, held_path = (
        out.with_name(out.name.removesuffix(".jsonl") + s) for s in (".rejected.jsonl", ".heldout.jsonl")
    )
    seen: dict[str, None] = {}
    say = None if schema == "original" else _said(pool, rows, schema, tasks)
    with ExitStack() as files:
        kept = files.enter_context(_lines(out))
        kept.fill(_lines_of(pool, chosen, scores, say, seen))
        second = None
        if len(kept_out):
            apart = files.enter_context(_lines(held_path))
            apart.fill(_lines_of(pool, kept_out, scores, say, seen))
            second = HeldOutFile(held_path, apart.count, apart.sha256)
        if rejected:
            rest = np.setdiff1d(np.arange(len(pool)), rows)
            files.enter_context(_lines(rejected_path)).fill(_own_lines(pool, rest, scores))
    return ExportResult(
        path=out,
        rows=kept.count,
        sha256=kept.sha256,
        rejected_path=rejected_path if rejected else None,
        schema=schema,
        with_scores=scores is not None,
        fields=tuple(seen),
        held_out=second,
    )


def _lines_of(
    pool: Pool,
    rows: IntArray,
    scores: Scores | None,
    say: Callable[[Row], dict[str, Any]] | None,
    seen: dict[str, None],
) -> Iterator[bytes]:
    """The rows (ascending), in their own words or as `say` says them."""
    return _own_lines(pool, rows, scores) if say is None else _converted_lines(pool, say, rows, scores, seen)


def _own_lines(pool: Pool, rows: IntArray, scores: Scores | None) -> Iterator[bytes]:
    """The rows (ascending) in their own words, without line ends."""
    for some in _batches(rows):
        texts = _originals(pool, some)
        if scores is None:
            yield from (one_line(text).encode() for text in texts)
        else:
            yield from map(_with_field, texts, _records(scores, some))


def preview_line(pool: Pool, rows: IntArray, schema: str, *, tasks: Tasks | None = None) -> str:
    """The first line that `write_selection` would write of these rows, without scores; RecipeError when it
    cannot be said in the schema."""
    first = np.array([rows.min()], np.int64)
    if schema == "original":
        return next(_own_lines(pool, first, None)).decode()
    (row,) = read_rows(pool, first.tolist())
    return orjson.dumps(_said(pool, rows, schema, tasks)(row)).decode()


def _said(pool: Pool, rows: IntArray, schema: str, tasks: Tasks | None) -> Callable[[Row], dict[str, Any]]:
    """How one of these rows is said in a schema other than its own."""
    if schema != "annotation":
        return lambda row: convert_row(row, schema, pool.fields)
    talks = bool(pc.is_valid(pool.rows["turns"]).to_numpy()[rows].any())
    return lambda row: _queued(pool, row, tasks, talks=talks)


def _queued(pool: Pool, row: Row, tasks: Tasks | None, *, talks: bool) -> dict[str, Any]:
    """One row of an annotation queue. `talks`: some row of the file has several turns, so all rows get the field of
    turns. Then one mapping reads them all, and no row's conversation is flattened or lost."""
    named = row if tasks is None else replace(row, task=tasks[row.index])
    said = convert_row(named, "annotation", pool.fields)
    blank = said.pop("response")  # put last, where people look for it
    turns = {TURNS_FIELD: row.turns} if talks else {}
    derived = {"task_derived": True} if tasks is not None else {}
    return said | turns | derived | {"response": blank}


def _converted_lines(
    pool: Pool,
    say: Callable[[Row], dict[str, Any]],
    rows: IntArray,
    scores: Scores | None,
    seen: dict[str, None],
) -> Iterator[bytes]:
    """The rows (ascending) in another schema; notes in `seen` which fields occur.

    Goes through all rows before it gives up, so that the RecipeError can say how many are in the way.
    """
    refused: list[RecipeError] = []
    for some in _batches(rows):
        added = _records(scores, some) if scores is not None else [{}] * len(some)
        for row, values in zip(read_rows(pool, some.tolist()), added, strict=True):
            try:
                said = say(row)
            except RecipeError as error:
                refused.append(error)
                continue
            said |= {SCORES_FIELD: values} if values else {}
            seen.update(dict.fromkeys(said))
            yield orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY)
    if len(refused) > 1:
        raise RecipeError(f"{refused[0]} The same goes for {len(refused) - 1:,} more of the {len(rows):,} rows.")
    if refused:
        raise refused[0]


def _batches(rows: IntArray) -> Iterator[IntArray]:
    """Ascending rows in groups that lie close together, so that picking them touches little else."""
    if len(rows):
        yield from np.split(rows, np.flatnonzero(np.diff(rows // BATCH)) + 1)


def _originals(pool: Pool, rows: IntArray) -> list[str]:
    """Texts of one batch. A slice first: picking from a whole column may gather all of it, over 2 GB in large pools."""
    start = int(rows[0])
    near = pool.rows["original"].slice(start, int(rows[-1]) - start + 1)
    texts: list[str] = near.take(pa.array(rows - start)).to_pylist()
    return texts


def _with_field(text: str, added: Mapping[str, Any]) -> bytes:
    """The row's own text with one more field at its end, nothing else touched."""
    line = one_line(text)
    if SCORES_FIELD in orjson.loads(line):
        raise RecipeError(
            f"The pool's rows have a field '{SCORES_FIELD}' already, and an export never overwrites one. "
            f"Export without scores, or rename that field."
        )
    value = orjson.dumps(added, option=orjson.OPT_SERIALIZE_NUMPY)
    return line[:-1].rstrip().encode() + b', "' + SCORES_FIELD.encode() + b'": ' + value + b"}"


def _records(columns: Scores, rows: IntArray) -> list[dict[str, Any]]:
    """One dictionary per row, ready for JSON (NaN becomes null there)."""
    values = [_plain(name, column[rows]) for name, column in columns.items()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]


def _plain(name: str, values: NDArray[Any]) -> Sequence[Any]:
    """Values of one column; ranks, kept as floats because some are missing, become whole numbers again."""
    if name.endswith(".rank"):
        return [None if np.isnan(v) else int(v) for v in values]
    return list(values)


def write_scores(path: Path, pool: Pool, columns: Scores) -> None:
    """Every row's id and score columns, by the suffix of `path`: .parquet or .jsonl. Missing is null."""
    if path.suffix not in (".parquet", ".jsonl"):
        raise RecipeError(f"{path}: scores are written as .parquet or .jsonl. Give the file one of these endings.")
    ids = pool.rows["id"]
    if path.suffix == ".parquet":
        table = pa.table({"id": ids} | {name: _arrow(name, values) for name, values in columns.items()})
        with atomic_path(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")
        return
    with _lines(path) as file:
        for some in _batches(np.arange(len(pool))):
            names = ids.slice(int(some[0]), len(some)).to_pylist()
            for row_id, record in zip(names, _records(columns, some), strict=True):
                file.write(orjson.dumps({"id": row_id} | record, option=orjson.OPT_SERIALIZE_NUMPY))


def _arrow(name: str, values: NDArray[Any]) -> pa.Array:
    if name.endswith(".rank"):
        return pa.array(values, pa.int64(), from_pandas=True)
    return pa.array(values, from_pandas=True)  # from_pandas: NaN becomes null
