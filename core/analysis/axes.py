"""Axes of figures: positions, round values to name, and number formats."""

from collections.abc import Callable, Mapping

import numpy as np

from core.analysis.bins import Values

LABEL_ROOM = 0.05  # of the width; room for the name of a quantile


def axis_transform(log: bool) -> Callable[[Values], Values]:
    """Return the transform from values to axis positions: identity, or log10 for bins of equal ratio."""
    return np.log10 if log else np.asarray


def tick_values(edges: Values, log: bool, *, count: int = 8) -> list[tuple[float, str]]:
    """Return about `count` round values between the outer edges with their names; 1, 2, 5, 10, ... with `log`."""
    low, high = float(edges[0]), float(edges[-1])
    if log:
        powers = [t * 10**p for p in range(8) for t in (1, 2, 5)]
        return [(t, f"{t:,}") for t in powers if low <= t <= high]
    raw = (high - low) / count
    size = 10.0 ** np.floor(np.log10(raw))
    step = size * next(m for m in (1, 2, 5, 10) if m * size >= raw * 0.999)
    places = np.arange(np.ceil(low / step), np.floor(high / step) + 1)
    digits = max(0, -int(np.floor(np.log10(step))))
    names = [f"{p * step + 0.0:,.{digits}f}".replace("-", "−") for p in places]  # + 0.0 turns −0.0 into 0.0
    return [(float(p * step), name) for p, name in zip(places, names, strict=True)]


def space_labels(marks: Mapping[float, float], width: float) -> list[tuple[float, str]]:
    """Place the names of quantiles (share -> position); a name is empty if one nearer the median is close."""
    placed: list[tuple[float, str]] = []
    for share in sorted(marks, key=lambda s: abs(s - 0.5)):
        near = any(name and abs(marks[share] - other) < LABEL_ROOM * width for other, name in placed)
        name = "median" if share == 0.5 else f"{share:.0%}"
        placed.append((marks[share], "" if near else name))
    return placed


def format_number(value: float) -> str:
    """Format a score with enough digits to distinguish it from its neighbours."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}".replace("-", "−")
