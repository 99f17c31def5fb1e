"""Progress reporting. The engine calls a `Reporter`; the terminal, a job file or nothing displays it."""

from collections.abc import Callable
from typing import Protocol


class Reporter(Protocol):
    """Receiver of progress calls. The calls are cheap and never raise."""

    def stage(self, name: str, *, rows: int, work: int, done_rows: int = 0, done_work: int = 0) -> None:
        """Begin a stage of `rows` rows and `work` tokens; `done_rows` and `done_work` are done already."""

    def advance(self, rows: int, work: int) -> None:
        """Report how much of this stage is done (totals, not increments)."""

    def waiting(self, why: str) -> None:
        """Report that the work is blocked until another worker has finished."""

    def note(self, text: str) -> None:
        """Log a fact."""


class SilentReporter:
    """A reporter that displays nothing."""

    def stage(self, name: str, *, rows: int, work: int, done_rows: int = 0, done_work: int = 0) -> None:
        """Ignore it."""

    def advance(self, rows: int, work: int) -> None:
        """Ignore it."""

    def waiting(self, why: str) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""


def percent_callback(report: Reporter) -> Callable[[int, int], None]:
    """Return a callback for a stage with work=100. It takes (done, total) in any unit."""
    return lambda done, total: report.advance(0, done * 100 // max(total, 1))
