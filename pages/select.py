"""Select page: how many rows, and exactly which."""

import streamlit as st

from core.analysis.composition import RandomBand
from core.measurement.runs import Run
from core.schema import Pool
from pages.ui.data import live_selection
from pages.ui.data.live_selection import LiveSelection
from pages.ui.export import report
from pages.ui.proof import line
from pages.ui.select import composition, saved, subset, used
from pages.ui.shell import state
from pages.ui.shell.open_row import PAGE
from pages.ui.workbench import bar, layout
from pages.ui.workbench.layout import Places


@st.fragment(key=PAGE)
def what_if(pool: Pool, places: Places) -> None:
    """Draw all that a control changes, computed from arrays sorted once; a few kB reach the browser."""
    with places.heading:
        used_place, saved_place, report_place = (st.container(width="content") for _ in range(3))
    used.panel(pool, used_place)
    shown = bar.draw(pool, places.bar, st.container())
    if shown is None:
        saved.panel(pool, None, saved_place)
        return
    run, live = shown
    saved.panel(pool, live, saved_place)
    if len(live.selection.rows):
        with report_place:
            report.draw(pool, run)
    band = live_selection.chance_band(pool, run, live.selection)
    st.subheader(subset.headline(pool, live), anchor=False)
    line.draw(pool, state.recipe(pool))
    subset.metrics(pool, run, live, band)
    _details(pool, run, live, band)


def _details(pool: Pool, run: Run, live: LiveSelection, band: RandomBand) -> None:
    """Draw the histogram, the composition and the rows of the selection, or why it is empty."""
    if not len(live.selection.rows):
        subset.explain_empty(pool, live)
        return
    subset.score_histogram(run, live)
    composition.draw(pool, run, live, band)
    subset.rows_section(pool, run, live)


opened = state.need_pool()
page = layout.open_page("Select", opened, bar=True)
with page.body:
    what_if(opened, page)
