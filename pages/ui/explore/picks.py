"""Figures in which rows are picked: bars to click, ranges to drag over, dots to open, areas to lasso."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from core.schema import Pool
from pages.ui.charts import figures
from pages.ui.charts.figures import Figure
from pages.ui.shell import show, state
from pages.ui.shell.terms import Area

CLICK, RANGE, LASSO = "Click", "Range", "Lasso"
ICONS = {CLICK: "ads_click", RANGE: "arrow_range", LASSO: "lasso_select"}
DOTS_HELP = "Shading: all rows; dots: a sample. Click a dot to open its row, or lasso several to highlight them."
DRAG_MODES = {RANGE: "select", LASSO: "lasso"}


def clickable(figure: Figure, key: str, alt: str, *, take: Callable[[Any], None]) -> None:
    """Draw a figure of bars or dots; `take` is called with the one that is clicked."""

    def clicked() -> None:
        points = state.widget_value(key)["selection"]["points"]
        if points:
            take(points[0])

    show.chart(figure, key=key, config=figures.CONFIG, on_select=clicked, selection_mode="points", alt=alt)


def pickable(figure: Figure, drag: str, caption: str, key: str, alt: str, *, take: Callable[[Any], None]) -> None:
    """Draw a figure to click or to drag in (RANGE or LASSO), under a caption and the choice between the two.

    It is a choice because Streamlit ignores clicks on a figure in which dragging selects. While clicks count, dragging
    zooms where the axes allow it. `take` is called with Streamlit's selection (points, box, lasso) whenever the visitor
    picks something; Plotly forgets the pick when the figure changes, which picks nothing.
    """
    labels = {name: f":material/{ICONS[name]}: {name}" for name in (CLICK, drag)}
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(caption, width="stretch")
        gesture = show.choose(
            "Pick rows by", labels, f"{key}.gesture", label_visibility="collapsed", persist_state="session"
        )
    figure["layout"]["dragmode"] = DRAG_MODES.get(gesture, "zoom")

    def picked() -> None:
        selection = state.widget_value(key)["selection"]
        if selection["points"] or selection["box"] or selection["lasso"]:
            take(selection)

    show.chart(figure, key=key, config=figures.CONFIG, on_select=picked, alt=alt)


def draw_plane(
    pool: Pool, figure: Figure, caption: str, key: str, alt: str, *, x: str, y: str, log: bool = False
) -> None:
    """Draw a plane of two columns: a lasso highlights the rows inside it, a click on a dot opens its row.

    The customdata of a dot is its row. `log`: the figure shows log10 of x.
    """

    def take(selection: Any) -> None:
        if selection["lasso"]:
            corners = (selection["lasso"][0][axis] for axis in ("x", "y"))
            state.pick(Area(x, y, tuple((float(a), float(b)) for a, b in zip(*corners, strict=True)), log=log))
        elif selection["points"]:
            state.open_row(pool, [int(selection["points"][0]["customdata"])])

    pickable(figure, LASSO, caption, key, alt, take=take)
