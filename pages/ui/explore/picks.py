"""Figures in which rows are picked, by a click or by dragging, and the rows picked in them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import streamlit as st

from core.schema import IntArray
from pages.ui.charts import figures
from pages.ui.charts.figures import Figure
from pages.ui.data import bins, planes
from pages.ui.data.bins import Values
from pages.ui.shell import show, state

Pick = tuple[IntArray, str]  # rows, and a description of them
CLICK, RANGE, LASSO = "Click", "Range", "Lasso"
ICONS = {CLICK: "ads_click", RANGE: "arrow_range", LASSO: "lasso_select"}
DOTS_HELP = "Shading: all rows; dots: a sample. Click a dot to open its row, or lasso several."
DRAG_MODES = {RANGE: "select", LASSO: "lasso"}


def clicked_points(figure: Figure, key: str, alt: str) -> list[Any]:
    """Draw a figure of bars or dots; return the clicked ones."""
    event = show.chart(figure, key=key, config=figures.CONFIG, on_select="rerun", selection_mode="points", alt=alt)
    return list(event["selection"]["points"])


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


def clicked_or_dragged(figure: Figure, drag: str, caption: str, key: str, alt: str) -> Any:
    """Draw a figure to click or to drag in (RANGE or LASSO), under a caption and the choice between the two.

    It is a choice because Streamlit ignores clicks on a figure in which dragging selects. While clicks count, dragging
    zooms where the axes allow it. Return Streamlit's selection: points, box and lasso.
    """
    labels = {name: f":material/{ICONS[name]}: {name}" for name in (CLICK, drag)}
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(caption, width="stretch")
        gesture = show.choose(
            "Pick rows by", labels, f"{key}.gesture", label_visibility="collapsed", persist_state="session"
        )
    figure["layout"]["dragmode"] = DRAG_MODES.get(gesture, "zoom")
    event = show.chart(figure, key=key, config=figures.CONFIG, on_select="rerun", alt=alt)
    return event["selection"]


def marked_rows(figure: Figure, caption: str, key: str, alt: str, x: Values, y: Values) -> IntArray:
    """Draw a plane of two columns; return the rows inside a lasso, or of a clicked dot."""
    return planes.find_marked_rows(clicked_or_dragged(figure, LASSO, caption, key, alt), x, y)


def best_marked_rows(
    figure: Figure, caption: str, key: str, alt: str, x: Values, y: Values, score: Values, first: str
) -> Pick | None:
    """Draw a plane; return the marked rows, highest `score` first. `first`: words for a high score."""
    rows = marked_rows(figure, caption, key, alt, x, y)
    description = f"inside the lasso, {first} first" if len(rows) > 1 else "the clicked row"
    return (bins.sort_by_value(rows, -score), description) if len(rows) else None


def intersect(a: Pick | None, b: Pick | None) -> Pick | None:
    """Intersect two picks of rows, in the order of the second; a single pick is returned as it is."""
    if a is None or b is None:
        return a or b
    return b[0][np.isin(b[0], a[0])], f"{a[1]} · {b[1]}"
