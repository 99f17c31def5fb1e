"""The map as drawn on the page, and the lasso drawn on it."""

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
from pages.ui.shell import state
from pages.ui.theme import PINNED

MAX_DOTS = 50_000  # dots that are sent to the browser
MAX_CHARACTERS = 56  # characters of a row's text; fewer if the total would exceed the next limit
MAX_TEXT_BYTES = 2_500_000  # bytes of text over all rows
MAX_FIGURES = 4  # cached; about 3 MB each at 50,000 dots
CHART_KEY, OUTLINE_KEY, CLEARED_KEY = "explore.map", "explore.map.drawn", "explore.map.cleared"


def choose_colours(pool: Pool, run: Run, answer: LiveSelection) -> tuple[mapcolours.Colours, BoolArray]:
    """Let the user choose a colouring; return the colour of every row and the mask of rows that show it."""
    known = mapcolours.colour_choices(pool, run, answer)
    by = st.selectbox(
        "Colour by", list(known), format_func=known.__getitem__, key="explore.map.colour", persist_state="session"
    )
    grey = st.toggle(
        "Grey what is not selected",
        value=True,
        key="explore.map.grey",
        persist_state="session",
        disabled=by == mapcolours.SELECTION,
    )
    found = mapcolours.colour_rows(by, pool, run, answer)
    if isinstance(found, mapcolours.CategoricalColours):
        st.html(html_bars.legend({**found.colours, **({"pinned by hand": PINNED} if state.settings().pins else {})}))
    bright = np.ones(len(pool), np.bool_)
    if grey and by != mapcolours.SELECTION:
        bright[:] = False
        bright[answer.selection.rows] = True
    return found, bright


def sample_dots(pool: Pool, where: MapLayout, groups: Grouping, pinned: IntArray) -> Dots:
    """Return the rows to send: all, or a fixed sample by task that includes every pinned row."""
    return _dots(where.key, groups.key, zlib.crc32(pinned.tobytes()), pool, where, groups, pinned)


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_POOLS)
def _dots(
    key: str, tasks: str, pins: int, _pool: Pool, _where: MapLayout, _groups: Grouping, _pinned: IntArray
) -> Dots:
    keep = np.flatnonzero(np.isin(_where.rows, _pinned))
    rows = _where.rows[sample_by_group(_groups.codes[_where.rows], MAX_DOTS, seed=job.SEED, include=keep)]
    x, y = (np.round(side[rows]).astype(np.uint16) for side in (_where.x, _where.y))
    return Dots(rows, x, y, first_words(_pool, rows))


def first_words(pool: Pool, rows: IntArray) -> list[str]:
    """Return the start of each prompt on one line, escaped because Plotly interprets tags."""
    starts = pc.utf8_slice_codeunits(pool.rows["prompt"], 0, MAX_CHARACTERS + 1).take(pa.array(rows))
    size = pc.sum(pc.binary_length(starts)).as_py() or 0
    longest = min(MAX_CHARACTERS, MAX_CHARACTERS * MAX_TEXT_BYTES // max(size, 1))
    return [escape_label(" ".join(text.split()), longest) for text in starts.to_pylist()]


def draw(pool: Pool, where: MapLayout, known: Dots, colours: mapcolours.Colours, bright: BoolArray) -> Polygon | None:
    """Draw the chart; return the lasso drawn on it."""
    pinned = mapcolours.find_pinned_rows(pool)
    stamp = _stamp(where, known, colours, bright, pinned)
    kept, chart = state.session_value(OUTLINE_KEY), f"{CHART_KEY}.{state.session_value(CLEARED_KEY) or 0}"
    if kept is not None and kept.on_map != where.key:  # positions on another map mean nothing here
        kept, event = None, None
    else:
        event = state.session_value(chart)
    kept = update_outline(kept, event, stamp, where.key)
    state.set_widget(OUTLINE_KEY, kept)
    outline = None if kept is None or kept.figure is not None else kept.around
    st.plotly_chart(
        _figure(stamp, str(outline), where, known, colours, bright, pinned, outline),
        key=chart,
        config=mapcharts.CONFIG,
        on_select="rerun",
        selection_mode=("lasso", "box"),
        alt="Map of the rows, alike ones near each other; draw around some to read, pin, filter or compare them",
    )
    return None if kept is None else kept.around


def _stamp(where: MapLayout, known: Dots, colours: mapcolours.Colours, bright: BoolArray, pinned: IntArray) -> int:
    """Return a number that identifies the figure."""
    amount = isinstance(colours, mapcolours.ContinuousColours)
    shade = colours.values if amount else colours.codes
    words = f"{where.key} {colours.title if amount else list(colours.colours)}"
    parts = [shade[known.rows], bright[known.rows], known.rows, pinned]
    return zlib.crc32(b"".join([words.encode(), *(np.ascontiguousarray(part).tobytes() for part in parts)]))


@st.cache_resource(show_spinner=False, max_entries=MAX_FIGURES)
def _figure(
    stamp: int,
    outline: str,
    _where: MapLayout,
    _known: Dots,
    _colours: mapcolours.Colours,
    _bright: BoolArray,
    _pinned: IntArray,
    _outline: Polygon | None,
) -> mapcharts.Figure:
    """Build the figure; cached, so a lasso is answered without a new one."""
    return mapcharts.build_figure(_where.density, _known, _colours, bright=_bright, pinned=_pinned, around=_outline)


@dataclass(frozen=True)
class Outline:
    """A lasso, the map it was drawn on, and where it is visible."""

    around: Polygon
    on_map: str
    figure: int | None  # stamp of the figure on which Plotly shows it; None: the figure contains it as an outline


def update_outline(kept: Outline | None, event: Any, stamp: int, on_map: str) -> Outline | None:
    """Return the current lasso. Plotly forgets it when the figure changes; it is then drawn as an outline.

    `event`: Plotly's event from the figure drawn last; None if the map was not open just before. `stamp`: of the figure
    to be drawn.
    """
    now = mapcharts.read_polygon(event["selection"]) if event else None
    if now is None:
        cleared = event is not None and kept is not None and kept.figure == stamp  # this very figure showed it
        return None if kept is None or cleared else replace(kept, figure=None)
    if kept is None:
        return Outline(now, on_map, stamp)
    outlined = kept.figure is None  # in the last figure: a new one must drop both the outline and Plotly's lasso
    if now != kept.around:
        return Outline(now, on_map, None if outlined else stamp)
    return kept if kept.figure == stamp else replace(kept, figure=None)


def clear_outline() -> None:
    """Clear the lasso, also in Plotly, by starting a new chart."""
    state.set_widget(OUTLINE_KEY, None)
    state.set_widget(CLEARED_KEY, (state.session_value(CLEARED_KEY) or 0) + 1)
