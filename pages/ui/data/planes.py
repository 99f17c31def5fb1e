"""Scatter plots of two columns: which dots are in which layer, and which rows are inside a lasso."""

from typing import Any

import numpy as np

from core.schema import IntArray
from pages.ui.data import bins
from pages.ui.data.bins import Values
from pages.ui.data.live_selection import LiveSelection

Points = dict[str, tuple[Values, Values, IntArray]]


def split_by_layer(live: LiveSelection, dots: IntArray, x: Values, y: Values) -> Points:
    """Split `dots` by layer (of LAYERS) into x, y and row numbers: selected, unselected, excluded."""
    selected, order = live.selection.rows, live.selection.order.rows
    sets = {"selected": selected, "unselected": order[len(selected) :]}
    layers = {name: dots[np.isin(dots, rows)] for name, rows in sets.items()}
    layers["excluded"] = np.setdiff1d(dots, np.concatenate(list(layers.values())))
    return {name: (x[rows], y[rows], rows) for name, rows in layers.items()}


def find_marked_rows(selection: Any, x: Values, y: Values) -> IntArray:
    """Return all rows inside a lasso or box, with a dot or not, or else the clicked dots."""
    if selection["lasso"]:
        return bins.rows_in_lasso(x, y, selection["lasso"][0]["x"], selection["lasso"][0]["y"])
    if selection["box"]:
        return bins.rows_in_box(x, y, selection["box"][0]["x"], selection["box"][0]["y"])
    return np.array(sorted({int(point["customdata"]) for point in selection["points"]}), np.int64)
