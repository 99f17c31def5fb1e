"""How long work tells of itself. The engine reports; who listens decides what is shown."""

from collections.abc import Callable
from typing import Protocol


class Reporter(Protocol):
    """Told what is being done, by whoever does it. Calls are cheap and never raise."""

    def stage(self, name: str, *, rows: int, work: int, done_rows: int = 0, done_work: int = 0) -> None:
        """A stage begins: `rows` to do and `work` in tokens, some of which may be done already."""

    def advance(self, rows: int, work: int) -> None:
        """In this stage, so much is done now (totals, not increments)."""

    def waiting(self, why: str) -> None:
        """Nothing moves until another worker is through."""

    def note(self, text: str) -> None:
        """A fact worth keeping in the log."""


class SilentReporter:
    """Listens to nothing."""

    def stage(self, name: str, *, rows: int, work: int, done_rows: int = 0, done_work: int = 0) -> None:
        """Ignore it."""

    def advance(self, rows: int, work: int) -> None:
        """Ignore it."""

    def waiting(self, why: str) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""


def percent_callback(report: Reporter) -> Callable[[int, int], None]:
    """For a stage of 100: takes (done, total) in whatever unit the caller counts."""
    return lambda done, total: report.advance(0, done * 100 // max(total, 1))
