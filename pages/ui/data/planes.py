"""Scatter plots of two columns: which dots are in which layer."""

import numpy as np

from core.schema import IntArray
from pages.ui.data import bins
from pages.ui.data.bins import Values
from pages.ui.data.live_selection import LiveSelection

LAYERS = ("selected", "unselected", "excluded")
HIGHLIGHTED = "highlighted"  # layer of dots over all others
Points = dict[str, tuple[Values, Values, IntArray]]


def split_by_layer(live: LiveSelection, dots: IntArray, x: Values, y: Values) -> Points:
    """Split `dots` by layer (of LAYERS) into x, y and row numbers: selected, unselected, excluded.

    If rows are highlighted, a sample of them is a layer of its own, HIGHLIGHTED.
    """
    layer = np.full(len(x), 2, np.int8)
    layer[live.selection.order.rows] = 1
    layer[live.selection.rows] = 0
    layers = {name: dots[layer[dots] == number] for number, name in enumerate(LAYERS)}
    if live.highlight is not None:
        lit = live.highlight & np.isfinite(x) & np.isfinite(y)
        layers[HIGHLIGHTED] = bins.sample_rows(np.flatnonzero(lit), bins.MAX_DOTS)
    return {name: (x[rows], y[rows], rows) for name, rows in layers.items()}
