"""Map: the rows by their embeddings, and actions for those inside a lasso."""

from typing import Any

import streamlit as st

from core.analysis.maps import EmbeddingSource
from core.measurement.runs import Run
from core.schema import Pool
from pages.ui.data.grouping import find_grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import coverage
from pages.ui.map import colours as mapcolours
from pages.ui.map import figure, job, lasso, picture, view


def draw(verdict: Any, pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw the map of the rows, with the selected ones highlighted."""
    source, layout = view.choose_map(view.find_sources(pool, run))
    map_layout = view.load_layout(source, layout)
    if map_layout is None:
        verdict.subheader("The map is being computed.", anchor=False)
        job.draw_pending(pool, run, source, "pca")
        return
    if layout == view.UMAP and map_layout.layout != "umap":
        job.draw_pending(pool, run, source, "umap")
    random = coverage.random_selections(run, live.selection)
    verdict.subheader(view.headline(map_layout, live, random), anchor=False)
    _draw_figures(pool, run, live, source, map_layout)


def _draw_figures(
    pool: Pool, run: Run, live: LiveSelection, source: EmbeddingSource, map_layout: view.MapLayout
) -> None:
    """Draw the map; a lasso stays while colours change."""
    dots = picture.sample_dots(pool, map_layout, find_grouping(pool, run), mapcolours.find_pinned_rows(pool))
    left, right = st.columns([7, 3], gap="medium")
    with right:
        colours, bright = picture.choose_colours(pool, run, live)
        st.caption(view.describe(map_layout, source, len(dots.rows), pool))
    with left:
        polygon = picture.draw(pool, map_layout, dots, colours, bright)
    if polygon is None:
        right.caption(
            "Lasso rows to read, pin, filter or compare them. Hover over a dot to see the start of its prompt."
        )
        return
    rows = figure.rows_inside(polygon, map_layout.x, map_layout.y)
    with right:
        action = lasso.choose_action(live, rows, clear=picture.clear_outline)
    lasso.draw_action(action, pool, run, live, source, rows)
