"""Score: the distribution of one column, and its correlations."""

from typing import Any

from core.measurement.runs import Run
from core.schema import Pool
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import scores
from pages.ui.shell import hints, show


def draw(verdict: Any, pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw the distribution of one column and its correlations."""
    chooser, text = show.columns([1, 3], vertical_alignment="bottom")
    with chooser:
        column = scores.choose_column(run, live.method)
    verdict.subheader(scores.verdict(run, live, column), anchor=False)
    with verdict:
        hints.draw("explore")
    text.caption(f"{scores.describe_direction(run, live, column)} {scores.describe_counts(run, live, column)}")
    _draw_figures(pool, run, live, column)


def _draw_figures(pool: Pool, run: Run, live: LiveSelection, column: str) -> None:
    left, right = show.columns([7, 3])
    with left:
        scores.draw_histogram(run, live, column)
    with right:
        if column != "response_tokens":  # length itself
            scores.draw_warnings(scores.check_score(run, live.method, column).warnings)
        scores.draw_correlations(run, live.method, column)
    scores.draw_highlighted(pool, run, live, column)
