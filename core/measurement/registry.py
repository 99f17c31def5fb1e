"""All measurements, by the name of the method they serve. To add one: write its file, add it here."""

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
