"""The map as a chart on the page, and the user's lasso."""

import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from core.analysis.projection import sample_by_group
from core.measurement.runs import Run
from core.schema import BoolArray, IntArray, Pool
from pages.ui.charts import html_bars
from pages.ui.charts.figures import escape_label
from pages.ui.data import cached
from pages.ui.data.grouping import Grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.map import colours as mapcolours
from pages.ui.map import figure as mapcharts
from pages.ui.map import job
from pages.ui.map.dots import Dots
from pages.ui.map.figure import Polygon
from pages.ui.map.view import MapLayout
from pages.ui.shell import show, state
from pages.ui.theme import PINNED

MAX_DOTS = 50_000  # dots that are sent to the browser
MAX_CHARACTERS = 56  # characters of a row's text; fewer if the total would exceed the next limit
MAX_TEXT_BYTES = 2_500_000  # bytes of text over all rows
MAX_FIGURES = 4  # cached; about 3 MB each at 50,000 dots
CHART_KEY, OUTLINE_KEY, CLEARED_KEY = "explore.map", "explore.map.drawn", "explore.map.cleared"


def choose_colours(pool: Pool, run: Run, live: LiveSelection) -> tuple[mapcolours.Colours, BoolArray]:
    """Let the user choose a colouring; return the colour of every row and the mask of rows that show it."""
    choices = mapcolours.colour_choices(pool, run, live)
    bound = state.view_choice("colour", list(choices), "explore.map.colour")
    by = st.selectbox("Colour by", list(choices), format_func=choices.__getitem__, **bound)
    plain = by == mapcolours.SELECTION
    bound = state.view_choice("dim", (True, False), "explore.map.grey")
    grey = st.toggle("Dim unselected rows", disabled=plain, **bound)
    colours = mapcolours.colour_rows(by, pool, run, live)
    if isinstance(colours, mapcolours.CategoricalColours):
        st.html(
            html_bars.legend(
                {**colours.colours, **({"always included or excluded": PINNED} if state.settings().pins else {})}
            )
        )
    coloured = np.full(len(pool), plain or not grey, np.bool_)
    coloured[live.selection.rows] = True
    return colours, coloured


def sample_dots(pool: Pool, map_layout: MapLayout, groups: Grouping, pinned: IntArray) -> Dots:
    """Return the rows to send: all, or a fixed sample by task that includes every pinned row."""
    return _dots(pool, map_layout.key, groups.key, pinned.tobytes(), map_layout, groups)


@cached.keep(cached.MAX_POOLS)
def _dots(pool: Pool, key: str, tasks: str, pinned: bytes, _placed: MapLayout, _groups: Grouping) -> Dots:
    keep = np.flatnonzero(np.isin(_placed.rows, np.frombuffer(pinned, np.int64)))
    rows = _placed.rows[sample_by_group(_groups.codes[_placed.rows], MAX_DOTS, seed=job.SEED, include=keep)]
    x, y = (np.round(side[rows]).astype(np.uint16) for side in (_placed.x, _placed.y))
    return Dots(rows, x, y, first_words(pool, rows))


def first_words(pool: Pool, rows: IntArray) -> list[str]:
    """Return the start of each prompt on one line, escaped because Plotly interprets tags."""
    starts = pc.utf8_slice_codeunits(pool.rows["prompt"], 0, MAX_CHARACTERS + 1).take(pa.array(rows))
    size = pc.sum(pc.binary_length(starts)).as_py() or 0
    longest = min(MAX_CHARACTERS, MAX_CHARACTERS * MAX_TEXT_BYTES // max(size, 1))
    return [escape_label(" ".join(text.split()), longest) for text in starts.to_pylist()]


def draw(
    pool: Pool, map_layout: MapLayout, dots: Dots, colours: mapcolours.Colours, coloured: BoolArray
) -> Polygon | None:
    """Draw the chart; return the user's lasso."""
    pinned = mapcolours.find_pinned_rows(pool)
    stamp = _stamp(map_layout, dots, colours, coloured, pinned)
    outline, chart = state.session_value(OUTLINE_KEY), f"{CHART_KEY}.{state.session_value(CLEARED_KEY) or 0}"
    event = state.session_value(chart)
    if outline is not None and outline.map_key != map_layout.key:  # positions on another map mean nothing here
        outline, event = None, None
    outline = update_outline(outline, event, stamp, map_layout.key)
    state.set_widget(OUTLINE_KEY, outline)
    drawn_outline = None if outline is None or outline.figure is not None else outline.polygon
    figure = _figure(stamp, drawn_outline, (map_layout.density, dots, colours, coloured, pinned))
    alt = "Map of the rows, with similar rows near each other; lasso rows to read, pin, filter or compare them"
    events = {"on_select": "rerun", "selection_mode": ("lasso", "box")}
    show.chart(figure, key=chart, config=mapcharts.CONFIG, alt=alt, **events)
    return None if outline is None else outline.polygon


def _stamp(
    map_layout: MapLayout, dots: Dots, colours: mapcolours.Colours, coloured: BoolArray, pinned: IntArray
) -> int:
    """Return a number that identifies the figure."""
    amount = isinstance(colours, mapcolours.ContinuousColours)
    shade = colours.values if amount else colours.codes
    name = f"{map_layout.key} {colours.title if amount else list(colours.colours)}"
    parts = [shade[dots.rows], coloured[dots.rows], dots.rows, pinned]
    return zlib.crc32(b"".join([name.encode(), *(np.ascontiguousarray(part).tobytes() for part in parts)]))


@st.cache_resource(show_spinner=False, max_entries=MAX_FIGURES)
def _figure(stamp: int, outline: Polygon | None, _parts: tuple[Any, ...]) -> mapcharts.Figure:
    """Build the figure from its parts; cached, so a lasso is answered without a new one."""
    return mapcharts.build_figure(*_parts, outline)


@dataclass(frozen=True)
class Outline:
    """A lasso, its map, and the figure on which it is visible."""

    polygon: Polygon
    map_key: str
    figure: int | None  # stamp of the figure on which Plotly shows it; None: the figure contains it as an outline


def update_outline(outline: Outline | None, event: Any, stamp: int, map_key: str) -> Outline | None:
    """Return the current lasso. Plotly forgets it when the figure changes; it is then drawn as an outline.

    `event`: Plotly's event from the last figure; None if the map was not open just before. `stamp`: of the next figure.
    """
    polygon = mapcharts.read_polygon(event["selection"]) if event else None
    if polygon is None:
        cleared = event is not None and outline is not None and outline.figure == stamp  # this very figure showed it
        return None if outline is None or cleared else replace(outline, figure=None)
    if outline is None:
        return Outline(polygon, map_key, stamp)
    outlined = outline.figure is None  # in the last figure: a new one must drop both the outline and Plotly's lasso
    if polygon != outline.polygon:
        return Outline(polygon, map_key, None if outlined else stamp)
    return outline if outline.figure == stamp else replace(outline, figure=None)


def clear_outline() -> None:
    """Clear the lasso, also in Plotly, by starting a new chart."""
    state.set_widget(OUTLINE_KEY, None)
    state.set_widget(CLEARED_KEY, (state.session_value(CLEARED_KEY) or 0) + 1)
