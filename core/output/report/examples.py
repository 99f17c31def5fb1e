"""Examples of a report: rows as text, on both sides of the cutoff, with what is left out counted."""

from dataclasses import dataclass

import numpy as np

from core.analysis.axes import format_number
from core.methods import display_column
from core.output.report.subject import Subject, describe_column
from core.pool.pools import read_rows
from core.schema import IntArray, Row

ROWS = 5  # of each kind
MAX_TURNS = 6  # of a row: its last ones
MAX_CHARACTERS = 1_200  # of a turn
MAX_NAME = 120  # characters of an id, a task or a place


@dataclass(frozen=True)
class Turn:
    """A turn of a row, as far as it is shown."""

    role: str
    text: str
    left_out: int  # characters


@dataclass(frozen=True)
class Example:
    """A row of a report."""

    id: str
    place: str  # in the source
    task: str
    score: str
    rank: str
    turns: tuple[Turn, ...]
    left_out: int  # turns


@dataclass(frozen=True)
class Group:
    """Rows of one kind."""

    title: str
    empty: str  # a sentence for a kind without rows
    rows: tuple[Example, ...]


def choose_examples(subject: Subject) -> list[Group]:
    """Return the top rows, those on both sides of the cutoff, and random unselected ones."""
    by_method, order = subject.by_method, subject.selection.order.rows
    after = len(subject.selection.rows)
    unselected = np.setdiff1d(np.arange(len(subject.pool)), subject.selection.rows)
    seed = np.random.default_rng(subject.recipe.seed)
    drawn = np.sort(seed.choice(unselected, min(ROWS, len(unselected)), replace=False))
    kinds: list[tuple[str, str, IntArray]] = [
        ("Top ranked", "No row is selected.", by_method[:ROWS]),
        ("Near the cutoff: the last selected rows", "No further row is selected.", by_method[ROWS:][-ROWS:]),
        ("Just missed: the next rows in the order", "Every eligible row is selected.", order[after : after + ROWS]),
        ("Random unselected rows", "Every row is selected.", drawn),
    ]
    rank = subject.selection.order.rank(len(subject.pool))
    groups = []
    for title, empty, numbers in kinds:
        rows = read_rows(subject.pool, numbers.tolist())
        groups.append(Group(title, empty, tuple(_describe(subject, row, int(rank[row.index])) for row in rows)))
    return groups


def _describe(subject: Subject, row: Row, rank: int) -> Example:
    name = display_column(subject.method)
    value = float(subject.columns[name][row.index]) if name in subject.columns else float("nan")
    task = subject.tasks.names[subject.tasks.codes[row.index]]
    turns = row.turns[-MAX_TURNS:]
    return Example(
        id=clip(row.id, MAX_NAME),
        place=clip(row.place, MAX_NAME),
        task=clip(task or "no task", MAX_NAME),
        score=f"{describe_column(name).label} {format_number(value)}" if np.isfinite(value) else "no score",
        rank=f"rank {rank + 1:,} of {len(subject.selection.order.rows):,} eligible" if rank >= 0 else "not eligible",
        turns=tuple(
            Turn(t["role"], t["content"][:MAX_CHARACTERS], max(0, len(t["content"]) - MAX_CHARACTERS)) for t in turns
        ),
        left_out=len(row.turns) - len(turns),
    )


def clip(text: str, length: int) -> str:
    """Return a text on one line, with an ellipsis if it is longer."""
    return " ".join(text[:length].split()) + ("…" if len(text) > length else "")
