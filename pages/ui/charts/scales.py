"""Axis positions, number formats and row colours, shared by Plotly figures and HTML charts."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pages.ui.data.bins import Values
from pages.ui.theme import REST, SELECTED, faint

LAYERS = {"selected": SELECTED, "unselected": faint(REST, 0.75), "excluded": faint(REST, 0.28)}
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


def mix_colours(stops: Sequence[str], n: int) -> list[str]:
    """Return n colours "#RRGGBB" at equal steps from the first stop to the last; the first if n is 1."""
    levels = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in stops], np.float64)
    at = np.linspace(0, len(stops) - 1, n)
    mixed = np.stack([np.interp(at, np.arange(len(stops)), level) for level in levels.T], axis=1).round().astype(int)
    return [f"#{red:02X}{green:02X}{blue:02X}" for red, green, blue in mixed.tolist()]


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


def describe_bins(edges: Values, first: int, last: int) -> str:
    """Describe the range of several adjacent bins; the outermost bins are open."""
    end = len(edges) - 2
    if end == 0:
        return format_number(edges.mean())
    if first == 0:
        return "of any value" if last == end else f"below {format_number(edges[last + 1])}"
    if last == end:
        return f"{format_number(edges[first])} and above"
    return f"{format_number(edges[first])} to {format_number(edges[last + 1])}"


def describe_bin(edges: Values, bin_number: int) -> str:
    """Describe the range of one bin; the outermost bins are open."""
    return describe_bins(edges, bin_number, bin_number)
