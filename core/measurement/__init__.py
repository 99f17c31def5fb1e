"""Measurements: what a model says of every row, stored and resumable. The only room that uses models.

MEASUREMENTS lists them by the method they serve. To add one: write its file, add it here.

measurement           what a measurement is: columns, run, cost, warnings, files
measure               measure a pool: a run for each method, from one pass
stages                tokens and passes of a model over a pool, as stored stages
entropy_shift         the calibrated model (InstructDiff)
activation_coverage   active neurons, coverage gains, clusters (MADS)
task_confidence       tasks, confidence of continuations (Weighted Task Diversity)
preference_influence  influence of rows on target sets (ROSE, LESS)
answer_divergence     generated answers, their geometry, semantic bins (ADG)
imported              scores that rows already hold
warm_up               trainings, stored
target_pairs          the pairs of a target set as a model reads them
prompt_embeddings     embeddings of prompts, of the base pass or by a sentence-transformer
answer_file           answers generated elsewhere
runs                  finished runs: records on disk
lookup                which finished run serves a method
run_data              the columns, artifacts and stages of a finished run
activation_files      activations on disk
token_files           one row token by token, on disk
token_view            read a row token by token
cost, trial           what a measurement would cost, from a trial on a few rows
"""

from typing import Any

from core.columns import Column, Signals
from core.measurement.activation_coverage import CoverageMeasurement
from core.measurement.answer_divergence import DivergenceMeasurement
from core.measurement.entropy_shift import ShiftMeasurement
from core.measurement.imported import ImportedMeasurement
from core.measurement.measurement import Measurement, SharedOnly
from core.measurement.preference_influence import InfluenceMeasurement
from core.measurement.task_confidence import ConfidenceMeasurement

MEASUREMENTS: dict[str, Measurement[Any]] = {
    "entropy_shift": ShiftMeasurement(),
    "activation_coverage": CoverageMeasurement(),
    "task_confidence": ConfidenceMeasurement(),
    "preference_influence": InfluenceMeasurement(),
    "answer_divergence": DivergenceMeasurement(),
    "imported": ImportedMeasurement(),
}
SHARED = SharedOnly()


def measurement_of(method: str) -> Measurement[Any]:
    """Return the measurement of a method; for one that needs nothing of its own, the shared passes alone."""
    return MEASUREMENTS.get(method, SHARED)


def all_signals() -> Signals:
    """Return every signal that a method may need, and its columns."""
    return {signal: columns for each in (SHARED, *MEASUREMENTS.values()) for signal, columns in each.signals.items()}


def find_column(name: str) -> Column | None:
    """Return a stored or computed column in words; None for one that no measurement describes."""
    for each in (SHARED, *MEASUREMENTS.values()):
        for columns in (*each.signals.values(), each.scores):
            if name in columns:
                return columns[name]
    return None
