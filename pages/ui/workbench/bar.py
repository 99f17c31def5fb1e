"""The bar: method, budget, settings, filters, undo and highlight, the same on every page that shows a selection."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.errors import WinnowError
from core.measurement.runs import Run
from core.methods.combined import NAME as COMBINED
from core.schema import BoolArray, Pool
from pages.ui.controls import budget, combination, filters, tags
from pages.ui.data import live_selection
from pages.ui.data.live_selection import LiveSelection
from pages.ui.shell import show, state
from pages.ui.shell.open_row import FOLLOWER, HAS_PAGE
from pages.ui.shell.terms import Term
from pages.ui.workbench import chips, highlight


def draw(pool: Pool, place: DeltaGenerator, limits: DeltaGenerator | None = None) -> tuple[Run, LiveSelection] | None:
    """Draw the bar; return the run and the selection of its settings.

    `limits`: where the method's live parameters and the threshold are in sight; None: behind a button of the bar.
    Return None if the settings cannot be applied: the reason and ways out are then drawn instead of the page. Without
    a run the page stops. It is called in a fragment with the key PAGE.
    """
    st.session_state[HAS_PAGE], st.session_state[FOLLOWER] = True, None
    with place:
        method, amount, more = st.columns([2, 5, 2.4], vertical_alignment="bottom")
        with method:
            budget.method(pool)
        second_line = st.container(horizontal=True, vertical_alignment="center", gap="small")
    right = more.container(horizontal=True, horizontal_alignment="right")
    method_settings = right.popover("Settings", icon=":material/tune:") if limits is None else limits
    if not _combine(pool, method_settings, place):
        return None
    run = state.need_run()
    try:
        live, failures = _evaluate(pool, run)
    except WinnowError as error:
        show.error(error)
        budget.recovery_buttons(run)
        return None
    with amount:
        budget.budget(pool, run, live.selection)
    with method_settings if limits is None else limits.grid(4, min_column_width=200, vertical_alignment="bottom"):
        budget.limits(run, live)
    with right:
        filters.panel(pool, run)
    with second_line:
        budget.undo_buttons()
        filters.active_filters()
        chips.search_box()
        tags.panel()
        chips.draw(pool, run, live.highlight, live.selection.rows)
    show.warning(*failures)
    return run, live


def draw_highlight(pool: Pool, place: DeltaGenerator, listed: Sequence[Term]) -> list[BoolArray | None]:
    """Draw the highlight alone, for a page without a selection, where there is one. Return its rows.

    Return also the rows that match only the terms `listed`.
    """
    run, live, terms = state.run(pool), None, state.settings().highlight
    if run is not None and terms:
        with suppress(WinnowError):  # of settings that cannot be applied; the pages of the selection show it
            live = live_selection.evaluate(pool, run, state.recipe(pool))
    mask, failures = highlight.evaluate(pool, run, live, terms)
    with place.container(horizontal=True, vertical_alignment="center", gap="small"):  # a place, if empty, for later
        chips.draw(pool, run, mask, None if live is None else live.selection.rows)
    show.warning(*failures)
    return [mask, mask if len(listed) == len(terms) else highlight.evaluate(pool, run, live, listed)[0]]


def _evaluate(pool: Pool, run: Run) -> tuple[LiveSelection, list[str]]:
    """Return the selection with the highlighted rows, and why parts of the highlight cannot be applied."""
    live = live_selection.evaluate(pool, run, state.recipe(pool))
    mask, failures = highlight.evaluate(pool, run, live, state.settings().highlight)
    live = replace(live, highlight=mask)
    state.list_rows(live.highlighted if mask is not None else live.selection.order.rows)
    return live, failures


def _combine(pool: Pool, method_settings: DeltaGenerator, below: DeltaGenerator) -> bool:
    """Draw the methods of a combination: before they are chosen in sight, later among the settings.

    They need no run, so others can be chosen if one is not measured. Return whether the method can be used.
    """
    ready = state.is_set_up(state.settings().method)
    if state.settings().method == COMBINED:
        with method_settings if ready else below:
            combination.draw(pool)
    return ready
