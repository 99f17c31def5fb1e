"""Output of the command line: small tables."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table

WIDE = 100_000  # characters: more than any line has


def format_facts(facts: Mapping[str, Any]) -> str:
    """Format facts for people: one line each, lists of mappings as tables, empty lists omitted.

    A mapping that holds a table has a line for each of its facts.

    Fits the width of the terminal; if stdout is not a terminal, no line is wrapped and no cell is cut.
    """
    console = Console(width=None if sys.stdout.isatty() else WIDE, markup=False, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(_grid(facts))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _grid(facts: Mapping[str, Any]) -> Table:
    grid = Table.grid(Column(no_wrap=True), Column(overflow="fold"), padding=(0, 2, 0, 0))
    for name, value in facts.items():
        if value != []:
            grid.add_row(name.replace("_", " "), _render(value))
    return grid


def one_line(text: str) -> str:
    """Return a text on one line, without characters that a terminal obeys."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _render(value: Any) -> str | Table:
    if isinstance(value, Mapping) and any(map(_is_table, value.values())):
        return _grid(value)
    if not isinstance(value, list):
        return _text(value)
    return _table(value) if _is_table(value) else "\n".join(map(_text, value))


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


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
        return {True: "yes", False: "no"}[value] if isinstance(value, bool) else _shown(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _shown(text: str) -> str:
    """Return a text without characters that a terminal obeys; a pool may hold any."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
