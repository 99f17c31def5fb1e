"""What the command line shows: progress bars and small tables."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm


class TerminalReporter:
    """A Reporter that draws one bar a stage on stderr, with rate and remaining time by tokens."""

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None

    def stage(self, name: str, *, rows: int, work: int, done_rows: int = 0, done_work: int = 0) -> None:
        """Begin a bar; close the one before."""
        self.close()
        self._bar = tqdm(
            total=work,
            initial=done_work,
            desc=name,
            file=sys.stderr,
            unit_scale=True,
            bar_format="{desc}: {percentage:3.0f}% |{bar:24}| {postfix[0]} {elapsed} < {remaining}",
            postfix=[_of(done_rows, rows)],
            dynamic_ncols=True,
        )
        self._rows = rows

    def advance(self, rows: int, work: int) -> None:
        """Move the bar to these totals."""
        if self._bar is not None:
            self._bar.postfix = [_of(rows, self._rows)]
            self._bar.update(work - self._bar.n)
            if work >= self._bar.total:
                self.close()

    def waiting(self, why: str) -> None:
        """Say why nothing moves."""
        tqdm.write(why, file=sys.stderr)

    def note(self, text: str) -> None:
        """Notes are for logs; the bar says enough."""

    def close(self) -> None:
        """End the current bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _of(done: int, total: int) -> str:
    return f"{done:,} of {total:,}" if total else ""


def facts_text(facts: Mapping[str, Any]) -> str:
    """Facts for people: one line each; mappings in columns, lists of mappings as tables."""
    lines: list[str] = []
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        label = f"{name.replace('_', ' '):<{width}}  "
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            lines += ["", table(list(value[0]), [list(row.values()) for row in value]), ""]
        elif isinstance(value, list):
            lines += [f"{label if k == 0 else ' ' * len(label)}{_text(v)}" for k, v in enumerate(value)]
        else:
            lines.append(f"{label}{_text(value)}")
    return "\n".join(lines)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_text(v)}" for k, v in value.items()) or "none"
    if isinstance(value, bool | str):
        return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A plain table; numbers to the right."""
    cells = [[_text(cell) for cell in row] for row in (head, *rows)]
    numeric = [isinstance(value, int | float) for value in rows[0]] if rows else [False] * len(head)
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    return "\n".join(
        "  ".join(f"{c:>{w}}" if n else f"{c:<{w}}" for c, w, n in zip(row, widths, numeric, strict=True)).rstrip()
        for row in cells
    )
