"""What a run keeps of one row's answers: the texts, how long each is and how it ended, and their similarities.

Only the part that holds the row is read; which part that is comes from the plan that was stored with it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from core.errors import WorkspaceError
from core.measurement.run_data import kept_folder
from core.measurement.runs import Run, find_signal
from core.models.generation.answers import ANSWER_COLUMNS, AnswerCounts
from core.schema import Pool, Reading
from core.workspace.parts import Parts
from pages.ui.data import cached

GRAM = "gram"


@dataclass(frozen=True, eq=False)
class RowAnswers:
    """One row."""

    texts: tuple[str | None, ...]  # K; None: missing
    tokens: tuple[int | None, ...]  # K; None: not known
    ended: tuple[str | None, ...]  # K; core.models.generation.answers.STOP or LENGTH; None: not known
    gram: NDArray[Any]  # (K, K) similarities; NaN with a missing answer


@dataclass(frozen=True, eq=False)
class PartIndex:
    """Which part holds a row, and where in it; −1: none."""

    parts: Parts
    part: NDArray[np.int32]  # (N,)
    place: NDArray[np.int32]  # (N,)


def find_answers_run(pool: Pool, run: Run) -> Run | None:
    """The newest run that holds answers, under the reading of `run`, `run` itself first; None where there is none."""
    if "answers" in run.signals:
        return run
    return find_signal(cached.workspace(), pool, "answers", Reading(**run.reading))


def load_answers(pool: Pool, run: Run, row: int) -> RowAnswers | None:
    """The answers of one row; None where none were kept for it. WorkspaceError where they are gone."""
    texts = _line(pool, run, "answers", row, list(ANSWER_COLUMNS))
    if texts is None:
        return None
    k = len(texts["answers"])
    gram = _line(pool, run, "grams", row, [GRAM])
    square = np.full((k, k), np.nan) if gram is None else np.asarray(gram[GRAM], np.float64).reshape(k, k)
    return RowAnswers(tuple(texts["answers"]), tuple(texts["answer_tokens"]), tuple(texts["ended"]), square)


def _line(pool: Pool, run: Run, what: str, row: int, columns: list[str]) -> dict[str, Any] | None:
    index = _index(run.id, what, str(cached.workspace().root), run, len(pool))
    if index is None or index.part[row] < 0:
        return None
    table = index.parts.read(int(index.part[row]), columns)
    return {name: table[name][int(index.place[row])].as_py() for name in columns}


@st.cache_resource(show_spinner=False, max_entries=2 * cached.MAX_POOLS)
def _index(run_id: str, what: str, root: str, _run: Run, _rows: int) -> PartIndex | None:
    folder = kept_folder(_run, what)
    if folder is None:
        return None
    parts = open_parts(folder)
    part, place = np.full(_rows, -1, np.int32), np.full(_rows, -1, np.int32)
    for number, rows in enumerate(parts.plan):
        part[rows], place[rows] = number, np.arange(len(rows))
    return PartIndex(parts, part, place)


def open_parts(folder: Path) -> Parts:
    """The parts of a finished measurement; WorkspaceError when they are no longer there."""
    if not (folder / "plan.parquet").exists():
        raise WorkspaceError(f"{folder}: the answers of this run are gone. Measure again.")
    return Parts.open(folder, {}, [])


def answer_counts(run: Run) -> AnswerCounts | None:
    """How many answers are missing, empty, refused or cut, as the run tells; None where it does not."""
    told = run.summary.get("answers")
    return None if told is None else AnswerCounts(**told)
