"""The map in the browser: a canvas with zoom, lasso, clicks, hover, names of clusters and a list of rows.

It is a component of our own, because Streamlit reports neither zooming nor clicks beside a lasso of a Plotly figure,
and a figure of 50,000 dots is sent again with every change. Here the dots are fetched once (pages.ui.map.dots), and a
change sends a byte of colour and a byte of flags for each.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import streamlit as st

from core.analysis.raster import SIDE
from core.schema import BoolArray, IntArray, Pool
from pages.ui.map import dots as mapdots
from pages.ui.map.clusters import Clusters
from pages.ui.map.colours import CategoricalColours, Colours
from pages.ui.map.dots import Dots, Sent, Window, pack
from pages.ui.map.view import MapLayout
from pages.ui.shell import server
from pages.ui.theme import HIGHLIGHT, PINNED, REST

KEY = "explore.map"
ALT = "Map of the rows, with similar rows near each other. Drag to highlight rows, click a dot to open its row."
Polygon = tuple[Sequence[float], Sequence[float]]  # x and y of the corners, 0..SIDE

_SCRIPTS = ("canvas_dots.js", "canvas_picture.js", "canvas_gestures.js", "canvas.js")  # one module, in this order


def _read(*names: str) -> str:
    return "\n".join(Path(__file__).with_name(name).read_text("utf-8") for name in names)


_canvas = st.components.v2.component(
    "winnow.map", html=_read("canvas.html"), css=_read("canvas.css"), js=_read(*_SCRIPTS)
)


@dataclass(frozen=True, eq=False)
class Look:
    """What is drawn on the dots, besides their positions."""

    colours: Colours
    bright: BoolArray  # (N,) rows in their colour; the others are grey
    lit: BoolArray | None  # (N,) highlighted rows; None: no row is
    pinned: IntArray
    clusters: Clusters | None
    outline: Polygon | None  # the area that is highlighted
    opened: int | None  # the row in the reader
    listed: IntArray  # highlighted rows in the list beside the map, best first


def draw(
    pool: Pool, map_layout: MapLayout, sent: Sent, look: Look, *,
    on_lasso: Callable[[Polygon], None], on_open: Callable[[int], None], on_cluster: Callable[[int], None],
) -> None:  # fmt: skip
    """Draw the map. The callbacks get a lasso, the row of a clicked dot, the number of a clicked cluster."""

    def event(name: str) -> Any:
        return st.session_state[KEY][name]

    data = _data(pool, map_layout, sent, look)
    data["stamp"] = str(crc32(repr(sorted(data.items())).encode()))
    _canvas(
        key=KEY,
        data=data,
        on_window_change=lambda: None,
        on_lasso_change=lambda: on_lasso((event("lasso")["x"], event("lasso")["y"])),
        on_open_change=lambda: on_open(int(event("open")["row"])),
        on_cluster_change=lambda: on_cluster(int(event("cluster")["number"])),
    )


def visible_window(map_layout: MapLayout) -> Window | None:
    """Return the part of the map that the browser shows since the last zoom; None: the whole map, or another one."""
    asked = (st.session_state.get(KEY) or {}).get("window")
    if not asked or asked["map"] != _map_key(map_layout):
        return None
    left, right, low, high = map(float, asked["frame"])
    return left, right, low, high


def _map_key(map_layout: MapLayout) -> str:
    return str(crc32(map_layout.key.encode()))


def _data(pool: Pool, map_layout: MapLayout, sent: Sent, look: Look) -> dict[str, Any]:
    names = list(look.colours.colours) if isinstance(look.colours, CategoricalColours) else None
    return {
        "key": _map_key(map_layout),
        "alt": ALT,
        "dark": st.context.theme.type,  # the canvas is drawn again in the other theme
        "sets": [_set(dots, look) for dots in sent.sets if len(dots.rows)],
        "partial": not sent.whole,  # so a zoom asks for the rows in view
        "palette": mapdots.palette(look.colours),
        "names": names,
        "colours": {"rest": REST, "pinned": PINNED, "highlight": HIGHLIGHT},
        "radius": mapdots.dot_radius(sent.rows),
        "lit": look.lit is not None,
        "shade": pack(map_layout.shade),
        "bounds": map_layout.bounds,
        "labels": [] if look.clusters is None else _labels(look.clusters),
        "outline": look.outline,
        "open": None if look.opened is None else _place(map_layout, look.opened),
        "listed": _listed(pool, map_layout, look.listed),
        "heading": _heading(look),
    }


def _heading(look: Look) -> str:
    rows = 0 if look.lit is None else int(look.lit.sum())
    return f"{rows:,} highlighted" + (f", the first {len(look.listed):,} by rank" if len(look.listed) < rows else "")


def _set(dots: Dots, look: Look) -> dict[str, str]:
    flags = mapdots.flags(dots.rows, look.bright, look.lit, look.pinned)
    url = server.data_url(dots.key, dots.body)
    return {"url": url, "codes": pack(mapdots.colour_codes(look.colours, dots.rows)), "flags": pack(flags)}


def _labels(clusters: Clusters) -> list[dict[str, Any]]:
    places = clusters.places
    return [
        {"text": clusters.names[k], "title": f"Highlight these {clusters.sizes[k]:,} rows", "cluster": k,
         "x": round(float(places[k, 0])), "y": round(float(places[k, 1]))}
        for k in np.flatnonzero(np.isfinite(places).all(axis=1)).tolist()
    ]  # fmt: skip


def _listed(pool: Pool, map_layout: MapLayout, rows: IntArray) -> list[Mapping[str, Any]]:
    words = mapdots.first_words(pool, rows)
    return [{"row": int(row), "words": text} | _place(map_layout, row) for row, text in zip(rows, words, strict=True)]


def _place(map_layout: MapLayout, row: int) -> dict[str, Any]:
    """Return a row with its position; none if it is not on the map, which is then off the canvas."""
    x, y = float(map_layout.x[row]), float(map_layout.y[row])
    return {"row": int(row), "x": round(x), "y": round(y)} if np.isfinite(x) else {"row": int(row), "x": -SIDE, "y": 0}
