"""Output of the command line: progress bars and small tables."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from tqdm import tqdm

WIDE = 100_000  # characters: more than any line has


class TerminalReporter:
    """Reporter that draws one bar per stage on stderr, with rate and remaining time by tokens."""

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None

    def stage(self, name: str, *, rows: int, work: int, done_rows: int = 0, done_work: int = 0) -> None:
        """Start a bar; close the previous one."""
        self.close()
        self._bar = tqdm(
            total=work,
            initial=done_work,
            desc=name,
            file=sys.stderr,
            unit_scale=True,
            bar_format="{desc}: {percentage:3.0f}% |{bar:24}| {postfix[0]} {elapsed} < {remaining}",
            postfix=[_count_text(done_rows, rows)],
            dynamic_ncols=True,
        )
        self._rows = rows

    def advance(self, rows: int, work: int) -> None:
        """Move the bar to these totals."""
        if self._bar is not None:
            self._bar.postfix = [_count_text(rows, self._rows)]
            self._bar.update(work - self._bar.n)
            if work >= self._bar.total:
                self.close()

    def waiting(self, why: str) -> None:
        """Print why nothing moves."""
        tqdm.write(why, file=sys.stderr)

    def note(self, text: str) -> None:
        """Ignore the note: notes are for logs."""

    def close(self) -> None:
        """Close the current bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _count_text(done: int, total: int) -> str:
    return f"{done:,} of {total:,}" if total else ""


def format_facts(facts: Mapping[str, Any]) -> str:
    """Format facts for people: one line each, lists of mappings as tables, empty lists omitted.

    Fits the width of the terminal; if stdout is not a terminal, no line is wrapped and no cell is cut.
    """
    grid = Table.grid(Column(no_wrap=True), Column(overflow="fold"), padding=(0, 2, 0, 0))
    for name, value in facts.items():
        if value != []:
            grid.add_row(name.replace("_", " "), _render(value))
    console = Console(width=None if sys.stdout.isatty() else WIDE, markup=False, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(grid)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _render(value: Any) -> str | Table:
    if not isinstance(value, list):
        return _text(value)
    return _table(value) if isinstance(value[0], Mapping) else "\n".join(map(_text, value))


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table headed by the names of the first row; numbers are right-aligned."""
    table = Table(box=None, pad_edge=False)
    for name, value in rows[0].items():
        table.add_column(name, justify="right" if isinstance(value, int | float) else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_text, row.values()))
    return table


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_text(v)}" for k, v in value.items()) or "none"
    if isinstance(value, bool | str):
        return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
