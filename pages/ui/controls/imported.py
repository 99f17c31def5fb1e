"""Imported scores: which the pool has, and the run that ranks by one. It needs no model, only the tokens of a run."""

from typing import Any

from core.measurement.lookup import reads_alike
from core.measurement.measure import measure
from core.measurement.runs import Run
from core.methods import build_method
from core.pool import outside_scores
from core.progress import SilentReporter
from core.schema import Pool, Reading
from pages.ui.controls import contenders
from pages.ui.data import cached
from pages.ui.shell import state
from pages.ui.shell.state import Contender


def good_ends(pool_id: str) -> dict[str, Any]:
    """Return the good end of every score that was imported for a pool, by column."""
    stored = outside_scores.list_scores(cached.workspace().root, pool_id)
    return {column: about["end"] for column, about in stored.items()}


def find_measured(pool: Pool) -> Run | None:
    """Return a run under the current reading, whose tokens an imported score needs; None if there is none."""
    reading = state.settings().reading
    return next((run for run in contenders.list_pool_runs(pool) if reads_alike(run, reading)), None)


def make_run(pool: Pool, measured: Run, contender: Contender) -> None:
    """Make the run of an imported score, if there is none. Raise WinnowError if the rows have no such number."""
    if contenders.find_run_of(pool, contenders.list_pool_runs(pool), contender) is None:
        method = build_method(contender.method, contender.params or {})
        reading, seed = Reading(**measured.reading), state.settings().seed
        measure(pool, method, reading, cached.workspace(), seed=seed, report=SilentReporter())


def rank_by(pool: Pool, field: str, end: str) -> None:
    """Make an imported score the current method. Raise WinnowError if it cannot be."""
    params, measured = {"field": field, "end": end}, find_measured(pool)
    if measured is not None:
        make_run(pool, measured, Contender("imported", params))
        state.set_params(params, of="imported", method="imported", threshold=None)
