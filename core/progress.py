"""Progress reporting. The engine calls a `Reporter`; a progress bar, a job file or nothing displays it."""

import sys
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Protocol

BAR = "{desc}: {percentage:3.0f}% |{bar}| {postfix[0]} {elapsed} < {remaining}"


class Reporter(Protocol):
    """Receiver of progress calls. The calls are cheap and never raise."""

    def stage(self, name: str, *, rows: int, work: int, done_rows: int = 0, done_work: int = 0) -> None:
        """Begin a stage of `rows` rows and `work` tokens; `done_rows` and `done_work` are done already."""

    def advance(self, rows: int, work: int) -> None:
        """Report how much of this stage is done (totals, not increments)."""

    def part(self, number: int, of: int, rows: int) -> None:
        """Report that a stored part of this stage begins, by its number from 0."""

    def waiting(self, why: str) -> None:
        """Report that the work is blocked until another worker has finished."""

    def workers(self, task: str, replaced: Sequence[str] = ()) -> None:
        """Report that workers share the work: the key of their task, and a sentence on each that was replaced."""

    def note(self, text: str) -> None:
        """Log a fact."""


class SilentReporter:
    """A reporter that displays nothing."""

    def stage(self, name: str, *, rows: int, work: int, done_rows: int = 0, done_work: int = 0) -> None:
        """Ignore it."""

    def advance(self, rows: int, work: int) -> None:
        """Ignore it."""

    def part(self, number: int, of: int, rows: int) -> None:
        """Ignore it."""

    def waiting(self, why: str) -> None:
        """Ignore it."""

    def workers(self, task: str, replaced: Sequence[str] = ()) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""


class TerminalReporter(SilentReporter):
    """Base class of reporters that write to stderr; close them at the end."""

    def waiting(self, why: str) -> None:
        """Write why nothing moves."""
        self._write(why)

    def workers(self, task: str, replaced: Sequence[str] = ()) -> None:
        """Write which worker was replaced last."""
        if replaced:
            self._write(replaced[-1])

    def _write(self, sentence: str) -> None:
        sys.stderr.write(f"{sentence}\n")

    def close(self) -> None:
        """End the current stage."""


class LineReporter(TerminalReporter):
    """Reporter for a log: a line about once a minute, so none at all of short work."""

    INTERVAL_S = 60.0

    def stage(self, name: str, *, rows: int, work: int, done_rows: int = 0, done_work: int = 0) -> None:
        """Begin a stage, without a line."""
        self._name, self._rows, self._work = name, rows, work
        self._written = monotonic()

    def advance(self, rows: int, work: int) -> None:
        """Write how much of the stage is done, if the last line is a minute old."""
        if monotonic() - self._written >= self.INTERVAL_S:
            self._written = monotonic()
            count = _count_text(rows, self._rows)
            sys.stderr.write(f"{self._name}: {100 * work // max(self._work, 1)}% {count}".rstrip() + "\n")


class BarReporter(TerminalReporter):
    """Reporter that draws one bar per stage, on stderr or in a notebook, with rate and remaining time by tokens."""

    def __init__(self) -> None:
        self._bar: Any = None

    def stage(self, name: str, *, rows: int, work: int, done_rows: int = 0, done_work: int = 0) -> None:
        """Start a bar; close the previous one."""
        from tqdm.auto import tqdm  # imports asyncio, which most uses of this module do not need

        self.close()
        in_notebook = any(kind.__module__ == "tqdm.notebook" for kind in tqdm.__mro__)  # it draws the bar itself
        self._bar = tqdm(
            total=work,
            initial=done_work,
            desc=name,
            file=sys.stderr,
            unit_scale=True,
            bar_format=BAR.replace("{bar}", "{bar}" if in_notebook else "{bar:24}"),
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

    def _write(self, sentence: str) -> None:
        from tqdm.auto import tqdm

        tqdm.write(sentence, file=sys.stderr)

    def close(self) -> None:
        """Close the current bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def show_progress() -> TerminalReporter:
    """Return a reporter that draws bars at a terminal and in a notebook, and writes lines elsewhere."""
    return BarReporter() if sys.stderr.isatty() or "ipykernel" in sys.modules else LineReporter()


def format_duration(seconds: float) -> str:
    """Format seconds: < 0.1 s, 8 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if 0 < seconds < 0.05:
        return "< 0.1 s"
    rounded = round(seconds)
    for large, small, big, little in ((86400, 3600, "d", "h"), (3600, 60, "h", "min"), (60, 1, "min", "s")):
        if rounded >= large:
            rest = rounded % large // small
            return f"{rounded // large} {big}" + (f" {rest} {little}" if rest else "")
    return f"{seconds:.1f} s" if seconds < 10 and seconds != rounded else f"{rounded} s"


def _count_text(done: int, total: int) -> str:
    return f"{done:,} of {total:,}" if total else ""


def percent_callback(report: Reporter) -> Callable[[int, int], None]:
    """Return a callback for a stage with work=100. It takes (done, total) in any unit."""
    return lambda done, total: report.advance(0, done * 100 // max(total, 1))
