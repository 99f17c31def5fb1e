"""Durations in words, and what is written on a terminal."""

import pytest

from core.progress import BarReporter, LineReporter, format_duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.01, "< 0.1 s"),
        (0.4, "0.4 s"),
        (8, "8 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations(seconds, words):
    assert format_duration(seconds) == words


@pytest.mark.parametrize("reporter", [LineReporter, BarReporter])
def test_a_terminal_says_which_worker_was_replaced(reporter, capsys):
    report = reporter()
    report.workers("task")
    report.workers("task", ["Worker 1 was replaced.", "Worker 2 was replaced."])
    assert capsys.readouterr().err == "Worker 2 was replaced.\n"
