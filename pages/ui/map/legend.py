"""What the colours of the map mean: squares for categories, a bar for a number."""

import numpy as np
import streamlit as st

from pages.ui.charts import html_bars
from pages.ui.charts.scales import format_number
from pages.ui.map.colours import CategoricalColours, Colours
from pages.ui.map.dots import SCALE, scale_limits
from pages.ui.theme import PINNED

TICKS = 5


def draw_legend(colours: Colours, *, pinned: bool) -> None:
    """Draw the legend; `pinned`: rows with a ring are on the map."""
    ring = {"always included or excluded": PINNED} if pinned else {}
    if isinstance(colours, CategoricalColours):
        st.html(html_bars.legend({**colours.colours, **ring}))
        return
    low, high = scale_limits(colours.values)
    ticks = [format_number(float(tick)) for tick in (np.linspace(low, high, TICKS) if high > low else [low])]
    st.html(html_bars.colour_bar(SCALE, ticks, colours.title) + html_bars.legend(ring))
