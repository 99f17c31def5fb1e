"""Figures in which rows are picked, by a click or a lasso, and the rows picked in them."""

from typing import Any

import numpy as np
import streamlit as st

from core.schema import IntArray
from pages.ui.charts import entropy_shift, figures
from pages.ui.charts.figures import Figure
from pages.ui.data import bins, planes
from pages.ui.data.bins import Values

Pick = tuple[IntArray, str]  # rows, and a description of them


def clicked_points(figure: Figure, key: str, alt: str) -> list[Any]:
    """Draw a figure of bars or dots; return the clicked ones."""
    event = st.plotly_chart(figure, key=key, config=figures.CONFIG, on_select="rerun", selection_mode="points", alt=alt)
    return list(event["selection"]["points"])


def marked_rows(figure: Figure, key: str, alt: str, x: Values, y: Values) -> IntArray:
    """Draw a plane of two columns; return the rows inside a lasso, or of a clicked dot."""
    event = st.plotly_chart(figure, key=key, config=entropy_shift.LASSO_CONFIG, on_select="rerun", alt=alt)
    return planes.find_marked_rows(event["selection"], x, y)


def best_marked_rows(
    figure: Figure, key: str, alt: str, x: Values, y: Values, score: Values, first: str
) -> Pick | None:
    """Draw a plane; return the marked rows, highest `score` first. `first`: words for a high score."""
    rows = marked_rows(figure, key, alt, x, y)
    description = f"inside what you drew, {first} first" if len(rows) > 1 else "the row that you clicked"
    return (bins.sort_by_value(rows, -score), description) if len(rows) else None


def intersect(a: Pick | None, b: Pick | None) -> Pick | None:
    """Intersect two picks of rows, in the order of the second; a single pick is returned as it is."""
    if a is None or b is None:
        return a or b
    return b[0][np.isin(b[0], a[0])], f"{a[1]} · {b[1]}"
