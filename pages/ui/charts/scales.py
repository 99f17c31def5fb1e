"""Axis positions, number formats and row colours, shared by Plotly figures and HTML charts."""

from collections.abc import Sequence

import numpy as np

from core.analysis.axes import axis_transform as axis_transform
from core.analysis.axes import format_number as format_number
from core.analysis.axes import space_labels as space_labels
from core.analysis.axes import tick_values as tick_values
from pages.ui.data.bins import Values
from pages.ui.theme import REST, SELECTED, faint

LAYERS = {"selected": SELECTED, "unselected": faint(REST, 0.75), "excluded": faint(REST, 0.28)}


def mix_colours(stops: Sequence[str], n: int) -> list[str]:
    """Return n colours "#RRGGBB" at equal steps from the first stop to the last; the first if n is 1."""
    levels = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in stops], np.float64)
    at = np.linspace(0, len(stops) - 1, n)
    mixed = np.stack([np.interp(at, np.arange(len(stops)), level) for level in levels.T], axis=1).round().astype(int)
    return [f"#{red:02X}{green:02X}{blue:02X}" for red, green, blue in mixed.tolist()]


def describe_bin(edges: Values, number: int) -> str:
    """Describe the range of one bin; the outermost bins are open."""
    end = len(edges) - 2
    if end == 0:
        return format_number(edges.mean())
    if number == 0:
        return f"below {format_number(edges[1])}"
    if number == end:
        return f"{format_number(edges[number])} and above"
    return f"{format_number(edges[number])} to {format_number(edges[number + 1])}"
