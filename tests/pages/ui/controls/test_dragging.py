"""Actions for a range dragged over a histogram. The events are those that Plotly sends for bars in a box."""

from dataclasses import replace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.selection.filters import Filter
from pages.ui.charts import scales
from pages.ui.controls.dragging import marked_bars
from pages.ui.data import cached
from pages.ui.shell import state
from tests.pages.conftest import activation_coverage_run


def event(*marked):
    points = [{"customdata": [k, "words"], "curve_number": layer} for k in marked for layer in range(3)]
    return {"selection": {"points": points, "box": [], "lasso": []}}


def test_the_bars_of_all_layers_are_one_range():
    assert marked_bars(event(7, 5, 6)["selection"]) == (5, 7)
    assert marked_bars(event(3)["selection"]) == (3, 3)
    assert marked_bars(event()["selection"]) is None


def test_a_range_is_open_at_the_last_bar():
    edges = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    assert scales.describe_bins(edges, 1, 1) == scales.describe_bin(edges, 1)
    assert scales.describe_bins(edges, 1, 2) == "1 to 3"
    assert scales.describe_bins(edges, 0, 2) == "below 3"
    assert scales.describe_bins(edges, 2, 3) == "2 and above"
    assert scales.describe_bins(edges, 0, 3) == "of any value"


def page(column, marked):
    from pages.ui.controls import dragging
    from pages.ui.data import live_selection  # AppTest runs this function as a script of its own
    from pages.ui.shell import state, visit

    visit.init()
    pool = state.need_pool()
    run = state.need_run()
    dragging.draw_actions(run, live_selection.evaluate(pool, run, state.recipe(pool)), column, marked)


@pytest.fixture
def draw(run):
    def run_page(column, marked):
        at = AppTest.from_function(page, args=(column, marked)).run()
        assert not at.exception
        return at

    return run_page


def labels(at):
    return {button.key: button.label for button in at.button}


def press(at, key):
    at.button(key=key).click().run()
    assert not at.exception
    return at.session_state[state.SETTINGS]


def test_keep_and_leave_out_add_filters_on_exactly_these_rows(run, draw):
    values = cached.measurements(run).columns["nll"]
    at = draw("nll", (10, 30))
    count = int(labels(at)["drag.only"].split("(")[1].rstrip(")"))
    (filtered,) = press(at, "drag.only").filters
    assert filtered.column == "nll" and not filtered.exclude
    assert ((values >= filtered.low) & (values <= filtered.high)).sum() == count > 0
    (left,) = press(draw("nll", (10, 30)), "drag.out").filters[1:]
    assert left == Filter("nll", filtered.low, filtered.high, exclude=True)


def test_a_range_from_the_first_bar_has_no_lower_limit(draw):
    (filtered,) = press(draw("nll", (0, 20)), "drag.only").filters
    assert filtered.low is None and filtered.high is not None


def test_a_cut_on_the_ranking_score_can_be_undone(draw):
    assert "drag.cut" not in labels(draw("nll", (10, 30)))
    at = draw("delta_entropy", (10, 30))
    assert labels(at)["drag.cut"].startswith("Set maximum: ")
    threshold = press(at, "drag.cut").threshold
    assert threshold is not None
    assert press(at, "select.undo").threshold is None


def test_if_the_order_computes_its_own_values_only_the_cut_is_offered(pool, workspace, app):
    activation_coverage_run(workspace, pool)
    at = app("select")
    settings = replace(at.session_state[state.SETTINGS], method="activation_coverage")
    one_task = replace(settings, filters=(Filter("task", values=("sums",)),))
    for now, filters in ((settings, True), (one_task, False)):
        at = AppTest.from_function(page, args=("coverage_gain", (0, 5)))
        at.run()
        at.session_state[state.SETTINGS] = now
        at.run()
        assert ("drag.only" in labels(at)) == filters
        assert "drag.cut" in labels(at)


def test_without_marked_bars_no_action_is_offered(draw):
    assert labels(draw("nll", None)) == {}
