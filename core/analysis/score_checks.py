"""Checks of a score column: does it mostly track length, is it constant, saturated or missing?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from core.schema import IntArray

MOSTLY_LENGTH = 0.6  # |Spearman| with response length from which a score adds little else
SATURATED = 0.5  # share of the scored rows with one value above which a score hardly ranks them


@dataclass(frozen=True)
class ScoreCheck:
    """Result of the checks of one score."""

    length_rho: float  # Spearman with response tokens; NaN where undefined
    missing: int  # rows without a score
    constant: bool  # at most one distinct value
    top_share: float  # share of the scored rows with the commonest value; 0 = no row is scored
    warnings: tuple[str, ...]  # sentences for the user


def assess_score(values: NDArray[Any], response_tokens: IntArray) -> ScoreCheck:
    """Check a score (N,) for missing, constant and saturated values and for correlation with length."""
    numbers = values.astype(np.float64)
    scored = np.isfinite(numbers)
    present = numbers[scored]
    _, counts = np.unique(present, return_counts=True)
    constant = len(counts) <= 1
    top_share = float(counts.max() / len(present)) if len(present) else 0.0
    rho = float("nan") if constant else _rank_correlation(present, response_tokens[scored])
    missing = len(values) - len(present)
    return ScoreCheck(rho, missing, constant, top_share, _warnings(rho, missing, len(values), constant, top_share))


def _rank_correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    if len(a) < 3 or b.min() == b.max():
        return float("nan")
    return float(spearmanr(a, b).statistic)


def _warnings(rho: float, missing: int, n: int, constant: bool, top_share: float) -> tuple[str, ...]:
    warnings = []
    if missing == n:
        return ("No row has this score.",)
    if missing:
        warnings.append(f"{missing:,} of {n:,} rows ({missing / n:.1%}) have no score and cannot be selected by it.")
    if constant:
        warnings.append("Every row has the same score, so it ranks nothing.")
    elif top_share > SATURATED:
        warnings.append(f"{top_share:.0%} of the scored rows share one value and rank in the pool's order.")
    if abs(rho) >= MOSTLY_LENGTH:  # False for NaN
        longer, shown = "longer" if rho > 0 else "shorter", f"{rho:.2f}".replace("-", "−")
        warnings.append(
            f"This score mostly tracks length: {longer} responses score higher (Spearman {shown}). Check it "
            'against the "Longest response" baseline.'
        )
    return tuple(warnings)
