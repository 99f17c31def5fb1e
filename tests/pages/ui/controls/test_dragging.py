"""Ranges of bars as terms, and the cut at one of them. The events are those that Plotly sends for bars in a box."""

from dataclasses import replace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.analysis.bins import bin_values
from core.selection.filters import Filter, apply_filters
from pages.ui.controls.dragging import range_of
from pages.ui.data import cached
from pages.ui.shell import state
from pages.ui.shell.terms import Match
from tests.pages.conftest import activation_coverage_run


@pytest.mark.parametrize("bars", [(0, 0), (0, 59), (59, 59), (10, 30), (0, 20), (30, 59), (25, 25)])
def test_a_range_holds_exactly_the_rows_of_its_bars(bars):
    values = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    values[:7] = np.nan
    binned = bin_values(values)
    term = range_of("nll", values, binned, *bars)
    expected = (binned.place >= bars[0]) & (binned.place <= bars[1])
    assert expected.any()
    np.testing.assert_array_equal(apply_filters([term.filter], {"nll": values}), expected)


def test_the_outermost_bars_are_open():
    values = np.arange(1000.0)
    binned = bin_values(values)
    assert range_of("nll", values, binned, 0, 20).filter.low is None
    assert range_of("nll", values, binned, 30, 59).filter.high is None
    both = range_of("nll", values, binned, 20, 30).filter
    assert both.low is not None and both.high is not None


def test_bars_without_rows_are_their_range():
    values = np.array([0.0, 1.0, 1.0, 2.0])
    binned = bin_values(values)
    empty = range_of("nll", values, binned, 10, 12).filter
    assert (empty.low, empty.high) == (binned.edges[10], binned.edges[13])


def page(column, marked):
    from dataclasses import replace  # AppTest runs this function as a script of its own

    import streamlit as st

    from pages.ui.controls import dragging
    from pages.ui.data import live_selection
    from pages.ui.shell import state, visit
    from pages.ui.workbench import highlight

    visit.init()
    pool, run = state.need_pool(), state.need_run()
    live = live_selection.evaluate(pool, run, state.recipe(pool))
    points = [{"customdata": [k, "words"], "curve_number": layer} for k in marked for layer in range(3)]
    term = dragging.range_of_bars(run, live, column, {"points": points, "box": [], "lasso": []})
    if "picked" not in st.session_state:
        st.session_state["picked"] = True
        state.pick(term)
    mask, _ = highlight.evaluate(pool, run, live, state.settings().highlight)
    dragging.draw_cut(run, replace(live, highlight=mask), column)


@pytest.fixture
def draw(run):
    def run_page(column, *marked):
        at = AppTest.from_function(page, args=(column, marked)).run()
        assert not at.exception
        return at

    return run_page


def labels(at):
    return {button.key: button.label for button in at.button}


def highlight(at):
    return at.session_state[state.SETTINGS].highlight


def test_the_bars_of_all_layers_in_any_order_are_one_range(draw, run):
    values = cached.measurements(run).columns["nll"]
    (term,) = highlight(draw("nll", 30, 10, 20))
    assert isinstance(term, Match) and term.filter.column == "nll"
    place = bin_values(values).place
    np.testing.assert_array_equal(apply_filters([term.filter], {"nll": values}), (place >= 10) & (place <= 30))


def test_a_cut_on_the_ranking_score_can_be_undone(draw, run):
    assert "drag.cut" not in labels(draw("nll", 10, 30))
    at = draw("delta_entropy", 10, 30)
    assert labels(at)["drag.cut"].startswith("Set maximum: ")
    at.button(key="drag.cut").click().run()
    assert not at.exception
    threshold = at.session_state[state.SETTINGS].threshold
    columns = cached.measurements(run).columns
    shifted = columns["entropy"] - columns["entropy_cal"]
    (term,) = highlight(at)
    assert threshold == shifted[apply_filters([term.filter], {"delta_entropy": shifted})].max()


def test_a_cut_is_offered_on_values_that_the_order_computes_itself(pool, workspace, app):
    activation_coverage_run(workspace, pool)
    at = app("select")
    settings = replace(at.session_state[state.SETTINGS], method="activation_coverage")
    one_task = replace(settings, filters=(Filter("task", values=("sums",)),))
    for now in (settings, one_task):
        at = AppTest.from_function(page, args=("coverage_gain", (0, 5)))
        at.session_state["picked"] = True
        at.run()
        at.session_state[state.SETTINGS] = replace(now, highlight=(Match(Filter("coverage_gain", high=1e9)),))
        at.run()
        assert not at.exception
        assert labels(at)["drag.cut"].startswith("Set minimum: ")
