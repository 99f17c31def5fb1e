"""Colour, size and stacking order of the dots on the map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.analysis.raster import Layer, Places
from core.schema import BoolArray, IntArray
from pages.ui.charts.scales import mix_colours
from pages.ui.data.bins import Values
from pages.ui.map.colours import Colours, ContinuousColours
from pages.ui.theme import PINNED, REST

# Lightness grows from blue to yellow: readable with any colour vision, on white and on the dark background.
SCALE = ("#4B4FC4", "#8A4BB0", "#B5458F", "#DB5E62", "#E98A3F", "#E8B73A")
SCALE_STEPS = 64  # colours of the scale
SCALE_QUANTILES = (0.02, 0.98)  # quantiles at the ends of the scale
FEW, SOME = 3_000, 15_000  # row counts up to which dots are large, or medium-sized
RADII = (4.6, 3.3, 2.3)


@dataclass(frozen=True, eq=False)
class Dots:
    """Rows that are sent, with their positions. All (S,)."""

    rows: IntArray
    x: Places
    y: Places
    words: Sequence[str]  # first words of each row, escaped


def dot_layers(dots: Dots, colours: Colours, coloured: BoolArray) -> list[Layer]:
    """Layer the dots: grey rows beneath, then categories, largest first, or scored rows, later rows above."""
    is_scale = isinstance(colours, ContinuousColours)
    place = _scale_steps(colours, dots.rows) if is_scale else colours.codes[dots.rows]
    palette = mix_colours(SCALE, SCALE_STEPS) if is_scale else list(colours.colours.values())
    radius = RADII[0 if len(dots.rows) <= FEW else 1 if len(dots.rows) <= SOME else 2]
    grey = (
        ~coloured[dots.rows] | (place < 0) | np.isin(place, [k for k, colour in enumerate(palette) if colour == REST])
    )
    order = np.flatnonzero(~grey)
    if not is_scale:
        order = order[np.argsort(place[order], kind="stable")]
    return [
        Layer(dots.x[grey], dots.y[grey], [REST], np.zeros(int(grey.sum()), np.int64), radius - 0.7, 0.45),
        Layer(dots.x[order], dots.y[order], palette, place[order], radius, 0.9),
    ]


def _scale_steps(colours: ContinuousColours, rows: IntArray) -> IntArray:
    """Return each row's step of the scale, (S,), −1 without a number."""
    values = colours.values[rows].astype(np.float64)
    low, high = scale_limits(colours.values)
    step = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * (SCALE_STEPS - 1)
    return np.where(np.isfinite(step), np.round(np.nan_to_num(step)), -1).astype(np.int64)


def scale_limits(values: Values) -> tuple[float, float]:
    """Return the ends of the scale, outer quantiles of the finite values."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = np.quantile(finite, SCALE_QUANTILES).tolist()
    return low, high


def pin_rings(dots: Dots, pinned: IntArray) -> Layer:
    """Return a ring around each pinned row."""
    ringed = np.isin(dots.rows, pinned)
    return Layer(dots.x[ringed], dots.y[ringed], [PINNED], np.zeros(int(ringed.sum()), np.int64), 9.5, 1.0, 6.5)
