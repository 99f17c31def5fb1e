"""Scatter plots of two columns: which dots are in which layer."""

import numpy as np

from core.schema import IntArray
from pages.ui.data import bins
from pages.ui.data.bins import Values
from pages.ui.data.live_selection import LiveSelection

LAYERS = ("selected", "unselected", "excluded")
HIGHLIGHTED = "highlighted"  # layer of dots over all others
MIN_HIGHLIGHTED = 400  # highlighted dots, if so many rows are highlighted
Points = dict[str, tuple[Values, Values, IntArray]]


def split_by_layer(live: LiveSelection, dots: IntArray, x: Values, y: Values) -> Points:
    """Split `dots` by layer (of LAYERS) into x, y and row numbers: selected, unselected, excluded.

    If rows are highlighted, those among the dots are a layer of their own, HIGHLIGHTED, with a sample of the others if
    they are few.
    """
    layer = np.full(len(x), 2, np.int8)
    layer[live.selection.order.rows] = 1
    layer[live.selection.rows] = 0
    lit = np.zeros(len(x), np.bool_) if live.highlight is None else live.highlight
    layers = {name: dots[(layer[dots] == number) & ~lit[dots]] for number, name in enumerate(LAYERS)}
    if live.highlight is not None:
        shown = dots[lit[dots]]
        others = lit & np.isfinite(x) & np.isfinite(y)
        others[dots] = False
        more = bins.sample_rows(np.flatnonzero(others), max(MIN_HIGHLIGHTED - len(shown), 0))
        layers[HIGHLIGHTED] = np.union1d(shown, more)
    return {name: (x[rows], y[rows], rows) for name, rows in layers.items()}
