"""Measurements: what a model computes for every row of a pool. The only user of core.models.

MEASUREMENTS lists them by the name of their method. To add one: write its file, add it here.

measure               measure a pool with some methods, stored as a run for each
measurement           the base class: columns, work, cost, warnings and artifacts of one measurement
entropy_shift         NLL and entropy under a calibrated model (InstructDiff)
activation_coverage   active neurons, gains of the greedy order, clusters (MADS)
task_confidence       tasks, and confidence of greedy continuations (Weighted Task Diversity)
answer_divergence     generated answers, their geometry, semantic bins (ADG)
preference_influence  influence of rows on target sets (ROSE, LESS)
target_pairs          target sets as tokens, with log-likelihoods
imported              scores of another tool
stages                passes of a model over a pool, as stored stages
kinds                 kinds of devices that computed the parts of a stage
prompt_embeddings     embeddings of prompts
warm_up               warm-up trainings, each stored once
shift_groups          groups of rows that entropy shift calibrates each by itself
start_model           whether calibration starts from a base or a tuned model
runs                  finished runs in the workspace
lookup                the finished run that serves a method
run_data              what a run was made from: stages, trained state, columns
recipe_inputs         the pool, runs and duplicates that a recipe names
semantic_duplicates   rows with nearly the same embedding
cost, trial           estimates, scaled up from a trial on a few rows
stage_times           time by stage: of a run, and of one to come
activation_files      active neurons on disk
answer_file           generated answers from a file
token_view            a few rows token by token
token_files           token views on disk
"""

from typing import Any

from core.columns import OVERLAP_PREFIX, SCORE_PREFIX, Column, Signals, pool_column
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
    """Return the measurement of a method; `SHARED` for one that has none of its own."""
    return MEASUREMENTS.get(method, SHARED)


def all_signals() -> Signals:
    """Return the columns of every signal that a method may need."""
    return {signal: columns for each in (SHARED, *MEASUREMENTS.values()) for signal, columns in each.signals.items()}


def find_column(name: str) -> Column | None:
    """Return the description of a stored or computed column; None if no measurement describes it."""
    if name.startswith((OVERLAP_PREFIX, SCORE_PREFIX)):
        return pool_column(name)
    for each in (SHARED, *MEASUREMENTS.values()):
        for columns in (*each.signals.values(), each.scores):
            if name in columns:
                return columns[name]
    return None
