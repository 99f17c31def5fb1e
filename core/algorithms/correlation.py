"""Correlation of paired values with a bootstrap interval: the pairs are resampled, the interval is of percentiles."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

RESAMPLES = 5000
LEVEL = 0.95


@dataclass(frozen=True)
class Correlation:
    """A coefficient in -1 to 1 and its 95% interval; NaN where one side is constant."""

    value: float
    low: float
    high: float

    @property
    def is_shown(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def correlate(a: NDArray[np.float64], b: NDArray[np.float64], *, ranks: bool, seed: int = 0) -> Correlation:
    """Correlate (M,) paired values: Spearman's ρ with `ranks` (ties share their mean rank), else Pearson's r.

    Resamples in which one side is constant have no coefficient and are left out. ValueError for fewer than 3 pairs or
    lengths that differ.
    """
    if a.shape != b.shape or len(a) < 3:
        raise ValueError(f"Cannot correlate {a.shape} with {b.shape}: need at least 3 pairs.")
    draws = np.random.default_rng(seed).integers(len(a), size=(RESAMPLES, len(a)))
    sides = [np.vstack([values[None], values[draws]]).astype(np.float64) for values in (a, b)]
    sides = [rankdata(side, axis=1) for side in sides] if ranks else sides
    value, *resampled = _pearson(*sides).tolist()
    if not np.isfinite(value):
        return Correlation(float("nan"), float("nan"), float("nan"))
    low, high = np.nanquantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Correlation(value, float(low), float(high))


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the coefficient of each row of (B, M) and (B, M)."""
    a, b = (side - side.mean(axis=1, keepdims=True) for side in (a, b))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products = (a * b).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(norms > 0, np.clip(products / norms, -1, 1), np.nan))
