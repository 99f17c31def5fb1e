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


# Read once: METHODS and MEASUREMENTS are literals.
SIGNALS: Signals = {
    signal: columns for each in (SHARED, *MEASUREMENTS.values()) for signal, columns in each.signals.items()
}
COLUMNS: dict[str, Column] = {
    name: column
    for each in (SHARED, *MEASUREMENTS.values())
    for columns in (*each.signals.values(), each.scores)
    for name, column in columns.items()
}
