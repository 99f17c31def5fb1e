"""A run's stored answers to one row: texts, lengths, how each ended, and their similarities.

Only the part that holds the row is read; the plan stored with the parts gives its number.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import WorkspaceError
from core.measurement.lookup import find_signal, signals_of
from core.measurement.runs import Run
from core.models.generation.answers import ANSWER_COLUMNS, AnswerCounts
from core.schema import Pool, Reading
from core.workspace.parts import PLAN, Parts
from pages.ui.data import cached

GRAM = "gram"


@dataclass(frozen=True, eq=False)
class RowAnswers:
    """The K answers generated for one row."""

    texts: tuple[str | None, ...]  # K; None: missing
    tokens: tuple[int | None, ...]  # K; None: unknown
    ended: tuple[str | None, ...]  # K; core.models.generation.answers.STOP or LENGTH; None: unknown
    gram: NDArray[Any]  # (K, K) similarities; NaN with a missing answer


@dataclass(frozen=True, eq=False)
class PartIndex:
    """Part of every row, and position in it; −1: none."""

    parts: Parts
    part: NDArray[np.int32]  # (N,)
    place: NDArray[np.int32]  # (N,)


def find_answers_run(pool: Pool, run: Run) -> Run | None:
    """Return the newest run with answers under the reading of `run`, `run` itself first; None if there is none."""
    if "answers" in signals_of(run):
        return run
    return find_signal(cached.workspace(), pool, "answers", Reading(**run.reading))


def load_answers(pool: Pool, run: Run, row: int) -> RowAnswers | None:
    """Load the answers of one row; None if none are stored for it. Raise WorkspaceError if their files are gone."""
    texts = _load_row(pool, run, "answers", row, list(ANSWER_COLUMNS))
    if texts is None:
        return None
    k = len(texts["answers"])
    gram = _load_row(pool, run, "grams", row, [GRAM])
    similarities = np.full((k, k), np.nan) if gram is None else np.asarray(gram[GRAM], np.float64).reshape(k, k)
    return RowAnswers(tuple(texts["answers"]), tuple(texts["answer_tokens"]), tuple(texts["ended"]), similarities)


def _load_row(pool: Pool, run: Run, kind: str, row: int, columns: list[str]) -> dict[str, Any] | None:
    index = _index_parts(run, kind, len(pool))
    if index is None or index.part[row] < 0:
        return None
    table = index.parts.read(int(index.part[row]), columns)
    return {name: table[name][int(index.place[row])].as_py() for name in columns}


@cached.keep(2 * cached.MAX_POOLS)
def _index_parts(run: Run, kind: str, n: int) -> PartIndex | None:
    folder = run.stage_folder(kind)
    if folder is None:
        return None
    parts = open_parts(folder)
    part, place = np.full(n, -1, np.int32), np.full(n, -1, np.int32)
    for number, rows in enumerate(parts.plan):
        part[rows], place[rows] = number, np.arange(len(rows))
    return PartIndex(parts, part, place)


def open_parts(folder: Path) -> Parts:
    """Open the parts of a finished measurement. Raise WorkspaceError if their files are gone."""
    if not (folder / PLAN).exists():
        raise WorkspaceError(f"{folder}: the answers of this run are missing. Measure again.")
    return Parts.stored(folder)


def answer_counts(run: Run) -> AnswerCounts | None:
    """Return how many answers are missing, empty, refused or cut; None if the run did not record it."""
    counts = run.summary.get("answers")
    return None if counts is None else AnswerCounts(**counts)
