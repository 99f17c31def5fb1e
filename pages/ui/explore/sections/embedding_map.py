"""Map: the rows by their embeddings, with the highlighted ones lit."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from core.analysis.maps import EmbeddingSource
from core.measurement.runs import Run
from core.schema import BoolArray, Pool
from core.selection.filters import Filter
from pages.ui.data import bins, live_selection
from pages.ui.data.grouping import find_grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import coverage, scores
from pages.ui.map import canvas, clusters, comparison, dots, job, legend, view
from pages.ui.map import colours as mapcolours
from pages.ui.map.canvas import Look, Polygon
from pages.ui.map.clusters import Clusters
from pages.ui.map.colours import Colours
from pages.ui.map.dots import Sent
from pages.ui.map.view import MapLayout
from pages.ui.shell import state
from pages.ui.shell.open_row import FOLLOWER, PAGE
from pages.ui.shell.terms import MapArea, MapCluster, Match
from pages.ui.words import display_column

MAX_LISTED = 200  # highlighted rows in the list beside the map
COMPARE_KEY = "explore.map.compare"


def draw(verdict: Any, pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw the map of the rows, with the selected ones in colour and the highlighted ones lit."""
    st.session_state[FOLLOWER] = PAGE  # the open row has a ring
    controls = st.container(horizontal=True, vertical_alignment="bottom")
    with controls:
        source, layout = view.choose_map(view.find_sources(pool, run))
        kind = clusters.choose_clusters(pool, run)
        by = mapcolours.choose_colours(pool, run, live)
    map_layout = view.load_layout(source, layout)
    if map_layout is None:
        verdict.subheader("The map is being computed.", anchor=False)
        job.draw_pending(pool, run, source, "pca")
        return
    if layout == view.UMAP and map_layout.layout != "umap":
        job.draw_pending(pool, run, source, "umap")
    random = coverage.random_selections(run, live.selection)
    verdict.subheader(view.headline(map_layout, live, random), anchor=False)
    named = clusters.find_clusters(kind, pool, run, source, map_layout)
    colours = mapcolours.colour_rows(by, pool, run, live, named)
    with controls:
        bright = mapcolours.choose_bright_rows(by, pool, live)
        legend.draw_legend(colours, pinned=bool(state.settings().pins))
    pick_cluster = partial(_pick_cluster, map_layout, named, kind)
    sent = _draw_map(pool, run, live, map_layout, named, colours, bright, pick_cluster)
    st.caption(view.describe(map_layout, source, sent.words, pool))
    if named is not None:
        clusters.choose_cluster(named, pick_cluster)
    _draw_highlighted(pool, run, live, source)


def _draw_map(
    pool: Pool, run: Run, live: LiveSelection, map_layout: MapLayout, named: Clusters | None,
    colours: Colours, bright: BoolArray, pick_cluster: Callable[[int], None],
) -> Sent:  # fmt: skip
    pinned = mapcolours.find_pinned_rows(pool)
    sent = dots.choose_dots(
        pool, map_layout, find_grouping(pool, run), pinned, live.highlight, canvas.visible_window(map_layout)
    )
    listed = bins.sort_by_value(live.highlighted, mapcolours.ranks(live, len(pool)))[:MAX_LISTED]
    opened = state.find_open()
    look = Look(
        colours, bright, live.highlight, pinned, named, _outline(map_layout), opened.row if opened else None, listed
    )
    canvas.draw(
        pool, map_layout, sent, look,
        on_lasso=partial(_pick_area, map_layout),
        on_open=partial(_open, pool, listed),
        on_cluster=pick_cluster,
    )  # fmt: skip
    return sent


def _outline(map_layout: MapLayout) -> Polygon | None:
    """Return the area of this map that the highlight names, if it names one."""
    for term in state.settings().highlight:
        if isinstance(term, MapArea) and term.map == map_layout.name:
            return [x for x, _ in term.outline], [y for _, y in term.outline]
    return None


# What the visitor does on the map


def _pick_area(map_layout: MapLayout, polygon: Polygon) -> None:
    state.pick(MapArea(map_layout.name, tuple(zip(*polygon, strict=True))))


def _pick_cluster(map_layout: MapLayout, named: Clusters | None, kind: str, number: int) -> None:
    if named is None or not 0 <= number < len(named.names):
        return
    words = named.names[number]
    if kind == clusters.DENSITY:
        state.pick(MapCluster(map_layout.name, number, words))
    else:
        state.pick(Match(Filter(clusters.ACTIVATION_COLUMN, values=(number,)), f"activation cluster: {words}"))


def _open(pool: Pool, listed: Any, row: int) -> None:
    """Open a row in the reader: among the highlighted rows if it is one of them, else by itself."""
    if not 0 <= row < len(pool):
        return
    at = np.flatnonzero(listed == row)
    state.open_row(pool, *((listed, int(at[0])) if len(at) else ([row],)))


# The highlighted rows


def _draw_highlighted(pool: Pool, run: Run, live: LiveSelection, source: EmbeddingSource) -> None:
    scores.draw_highlighted(pool, run, live, display_column(live.method))
    if len(live.highlighted) and st.toggle("Compare the highlighted rows with the others", key=COMPARE_KEY):
        columns, groups = live_selection.numbers(run, live), find_grouping(pool, run)
        comparison.draw_comparison(pool, live.highlighted, columns, groups, texts=clusters.text_reader(pool, source))
