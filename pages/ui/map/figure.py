"""Figure of the map: density of all rows, a dot for each row sent, and its first words on hover.

Dots are an image (core.analysis.raster); a trace of mode "none" at their positions shows the hover text. Plotly
reports every dot inside a lasso (150 bytes each, sent again with each later click), but no invisible point.
So only the lasso is sent, and the server computes which rows it contains.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from core.analysis.raster import SIDE, Places, encode_png
from core.schema import BoolArray, IntArray
from pages.ui.charts.figures import Figure, base_figure, escape_label, scatter
from pages.ui.charts.scales import format_number
from pages.ui.data import bins
from pages.ui.data.bins import Values
from pages.ui.map.colours import Colours, ContinuousColours
from pages.ui.map.dots import SCALE, Dots, dot_layers, pin_rings, scale_limits
from pages.ui.theme import REST, SELECTED, WARNING, faint

HEIGHT = 640
TOOL_BAR = 34  # pixels above the map for the tool bar
TOOL_COLOUR = "#727C88"  # at least 4 to 1 on both backgrounds
CONFIG = {
    "displayModeBar": True,
    "displaylogo": False,
    "scrollZoom": True,
    "modeBarButtonsToRemove": ["toImage", "autoScale2d", "zoom2d"],
}
MARGIN = 0.02  # of SIDE, around the rows
BLUR = 1.0  # of the density, in cells
Polygon = tuple[list[float], list[float]]  # x and y of the corners, 0..SIDE


def build_figure(
    density: IntArray, dots: Dots, colours: Colours, coloured: BoolArray, pinned: IntArray, outline: Polygon | None
) -> Figure:
    """Plot density (G, G), rows per cell, and the dots; rows outside the mask `coloured` (N,) are grey and beneath.

    `pinned` rows have a ring. `outline`: a lasso from an earlier figure.
    """
    marker = _scale(colours) if isinstance(colours, ContinuousColours) else {}
    traces = [_density(density), _hover_text(dots), _empty_marker(marker)]
    return base_figure(
        traces,
        HEIGHT,
        xaxis={"range": _reach(dots.x), "visible": False},
        yaxis={"range": _reach(dots.y), "visible": False, "scaleanchor": "x"},  # one scale: circles stay circles
        images=[_dots(dots, colours, coloured, pinned)],
        dragmode="lasso",
        newselection={"line": {"color": WARNING, "width": 2, "dash": "dot"}},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": TOOL_COLOUR, "activecolor": SELECTED},
        hoverdistance=12,
        showlegend=False,
        shapes=[] if outline is None else [_outline(outline)],
        margin={"l": 0, "r": 0, "t": TOOL_BAR, "b": 0},
    )


def _reach(places: Places) -> list[float]:
    """Return the range of an axis around these positions."""
    if not len(places):
        return [0, SIDE]
    return [float(places.min()) - MARGIN * SIDE, float(places.max()) + MARGIN * SIDE]


def _density(counts: IntArray) -> Figure:
    """Shade cells by the logarithm of the rows in and around them; empty cells are transparent."""
    cell = SIDE / len(counts)
    shade = np.log1p(gaussian_filter(counts.astype(np.float32), BLUR))
    z = (255 * shade / max(float(shade.max()), 1e-9)).astype(np.uint8)
    cells = {"x0": cell / 2, "dx": cell, "y0": cell / 2, "dy": cell, "zmin": 0, "zmax": 255}
    scale = [[0, faint(REST, 0)], [0.02, faint(REST, 0.08)], [1, faint(REST, 0.5)]]
    look = {"colorscale": scale, "showscale": False, "zsmooth": "fast", "hoverinfo": "skip"}
    return {"type": "heatmap", "z": z} | cells | look


def _dots(dots: Dots, colours: Colours, coloured: BoolArray, pinned: IntArray) -> dict[str, Any]:
    whole = {"xref": "x", "yref": "y", "x": 0, "y": SIDE, "sizex": SIDE, "sizey": SIDE, "sizing": "stretch"}
    source = encode_png([*dot_layers(dots, colours, coloured), pin_rings(dots, pinned)])
    return whole | {"source": source, "layer": "above"}


def _scale(colours: ContinuousColours) -> dict[str, Any]:
    """Return an invisible marker with the colour bar of the scale."""
    low, high = scale_limits(colours.values)
    ticks = np.linspace(low, high, 5) if high > low else np.array([low])
    bar = {"tickvals": ticks.tolist(), "ticktext": [format_number(float(tick)) for tick in ticks], "outlinewidth": 0}
    bar |= {"thickness": 12, "len": 1, "y": 0, "yanchor": "bottom"}
    bar |= {"title": {"text": escape_label(colours.title, 40), "side": "right"}}
    scale = [[k / (len(SCALE) - 1), colour] for k, colour in enumerate(SCALE)]
    limits = {"cmin": low, "cmax": high if high > low else low + 1}
    return {"color": [low], "colorscale": scale, "showscale": True, "colorbar": bar} | limits


def _empty_marker(marker: dict[str, Any]) -> dict[str, Any]:
    """Return a dot without a position; without a marker trace Plotly shows neither lasso nor colour bar."""
    return scatter("markers", [None], [None], marker=marker, hoverinfo="skip")


def _hover_text(dots: Dots) -> Figure:
    """Return the trace with the hover text (see the module docstring)."""
    look = {"hovertemplate": "%{text}<extra></extra>", "hoverlabel": {"align": "left"}}
    return scatter("none", dots.x, dots.y, text=np.array(dots.words, object), **look)


def _outline(polygon: Polygon) -> dict[str, Any]:
    path = "M" + "L".join(f"{x:.0f},{y:.0f}" for x, y in zip(*polygon, strict=True)) + "Z"
    return {"type": "path", "path": path, "line": {"color": WARNING, "width": 1.5, "dash": "dot"}}


# Events


def read_polygon(selection: Mapping[str, Any]) -> Polygon | None:
    """Return the last lasso, or a box as its four corners; None if there is neither."""
    if selection["lasso"]:
        return list(selection["lasso"][0]["x"]), list(selection["lasso"][0]["y"])
    if selection["box"]:
        (x0, x1), (y0, y1) = selection["box"][0]["x"], selection["box"][0]["y"]
        return [x0, x1, x1, x0], [y0, y0, y1, y1]
    return None


def rows_inside(polygon: Polygon, x: Values, y: Values) -> IntArray:
    """Return all rows inside a polygon, sent or not; ascending."""
    return bins.rows_in_lasso(x, y, *polygon)
