"""Generated answers from a file of rows {"id": ..., "generated_answers": [text, ...]}, joined to a pool by id.

JSON Lines, plain or gzipped; other fields are ignored. The file is read in blocks: only the answers are in memory, as
Arrow text, twice while they are sorted. The file does not state how an answer ended, so none counts as truncated.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from core.errors import PoolError
from core.models.generation.answers import ANSWER_COLUMNS
from core.pool.readers.bytestream import ByteStream
from core.pool.readers.lines import LongRow, iter_lines
from core.schema import IntArray, Progress, ignore_progress

BLOCK_BYTES = 4 << 20
SLICE = 8192  # rows of one chunk of the table
WIDE = pa.list_(pa.large_string())  # all answers of a file may be more than the 2 GiB that `string` holds
ID, ANSWERS = "id", "generated_answers"


@dataclass(frozen=True, eq=False)
class AnswerFile:
    """Answers from a file, joined to N rows."""

    table: pa.Table  # N rows of core.models.generation.answers.ANSWER_COLUMNS, K values each; null if missing
    matched: int  # rows of the pool with answers in the file
    missing: int  # rows of the pool without
    unknown: int  # rows of the file whose id is not in the pool
    short: int  # matched rows with fewer than K answers, which are used
    long: int  # matched rows with more than K answers, of these the first K are used


def read_answers(path: Path, ids: Sequence[str], answers: int, progress: Progress = ignore_progress) -> AnswerFile:
    """Read the first K = `answers` answers to each of the rows with these ids, in the order of the ids.

    `progress` counts bytes. Raises PoolError, with the line number, for an invalid line or the second line of an id;
    also if the file has no id of the pool.
    """
    row_of = {name: row for row, name in enumerate(ids)}
    line_of = np.zeros(len(ids), np.int64)  # line number of each row; 0: not read yet
    at = np.full(len(ids), -1, np.int64)  # position of each row among the matched ones
    blocks: list[pa.Array] = []
    counts = {"unknown": 0, "short": 0, "long": 0}
    matched = 0
    with ByteStream(path) as stream:
        for lines in _blocks(stream, progress):
            texts: list[list[str | None]] = []
            for number, line in lines:
                name, given = _row(line, f"{path.name}, line {number}")
                row = row_of.get(name)
                if row is None:
                    counts["unknown"] += 1
                    continue
                if line_of[row]:
                    raise PoolError(
                        f"{path.name}, line {number}: the id {_short(name)} is already in line {line_of[row]}. "
                        "Remove one of the two."
                    )
                line_of[row], at[row] = number, matched
                matched += 1
                present = sum(text is not None for text in given[:answers])
                counts["short"] += present < answers
                counts["long"] += len(given) > answers
                texts.append([*given[:answers], *[None] * (answers - len(given))])
            blocks.append(pa.array(texts, WIDE))
    if not matched:
        raise PoolError(
            f"{path.name}: none of its {counts['unknown']:,} rows has an id of this pool. Write the pool's own ids "
            f"in its field '{ID}'."
        )
    table = _build_table(blocks, at, answers)
    return AnswerFile(table, matched, len(ids) - matched, **counts)


def _build_table(blocks: list[pa.Array], at: IntArray, answers: int) -> pa.Table:
    """Return the answers in pool order, null for rows without any; `at`: position of each row in the blocks, or -1."""
    blank = pa.array([[None] * answers], WIDE)
    rows = pa.concat_arrays([*blocks, blank])
    places = np.where(at < 0, len(rows) - 1, at)
    parts = [
        rows.take(pa.array(places[n : n + SLICE])).cast(ANSWER_COLUMNS["answers"]) for n in range(0, len(at), SLICE)
    ]
    unknown = pa.nulls(len(at) * answers, pa.null())
    offsets = pa.array(np.arange(len(at) + 1, dtype=np.int32) * np.int32(answers))
    columns = {
        name: pa.ListArray.from_arrays(offsets, unknown.cast(kind.value_type)) for name, kind in ANSWER_COLUMNS.items()
    }
    return pa.table(columns | {"answers": pa.chunked_array(parts, ANSWER_COLUMNS["answers"])})


def _blocks(stream: ByteStream, progress: Progress) -> Iterator[list[tuple[int, bytes | LongRow]]]:
    """Yield blocks of numbered lines, without blank ones. Lines end at \\n only, as in pools."""
    number = 1
    for lines in iter_lines(stream, BLOCK_BYTES):
        yield [(n, line) for n, line in enumerate(lines, number) if isinstance(line, LongRow) or line.strip()]
        number += len(lines)
        progress(stream.done(), stream.total)


def _row(line: bytes | LongRow, where: str) -> tuple[str, list[str | None]]:
    """Return the id and the answers of a line. A whole number as id becomes its digits, as in pools."""
    if isinstance(line, LongRow):
        raise PoolError(f"{where}: {line.set_aside('this line').reason}. Shorten or remove it.")
    try:
        row: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise PoolError(f"{where}: not valid JSON ({error.msg}). Correct or remove the line.") from error
    name, given = (row.get(ID), row.get(ANSWERS)) if isinstance(row, dict) else (None, None)
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise PoolError(f"{where}: no '{ID}' that is text or a whole number. Each line needs the id of its row.")
    if not isinstance(given, list) or not all(text is None or isinstance(text, str) for text in given):
        raise PoolError(f"{where}: '{ANSWERS}' is not a list of texts. Each line needs one, as {ANSWERS}: [\"…\", …].")
    return str(name), given


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:57]}...")
