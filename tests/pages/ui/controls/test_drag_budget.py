"""What the dragged budget is drawn from: a table whose entries are the selections of its budgets."""

import base64
import json
import zlib
from dataclasses import replace

import numpy as np
import pytest

from core.schema import Order
from core.selection.recipe import find_limit, parse_recipe
from core.selection.selection import Selection
from pages.ui.charts.scales import format_number
from pages.ui.controls import drag_budget
from pages.ui.controls.drag_budget import Drawn, amounts, make_table, pack
from pages.ui.data import cached, distribution, live_selection
from pages.ui.data.bins import bin_values
from pages.ui.shell import state
from tests.pages.conftest import activation_coverage_run, answer_divergence_run, entropy_shift_run, task_confidence_run

RUNS = {
    "entropy_shift": entropy_shift_run,
    "activation_coverage": activation_coverage_run,
    "answer_divergence": answer_divergence_run,
    "task_confidence": task_confidence_run,
    "random": entropy_shift_run,
    "longest": entropy_shift_run,
}
LIMITS = {"entropy_shift": 0.05, "longest": 20.0}


def sent(at):
    """Return what the slider of a page was sent: its table, unpacked, and the current selection."""
    (slider,) = (one.proto for one in at.get("bidi_component") if one.proto.component_name == "winnow.budget")
    data = json.loads(slider.json)
    return unpack(data["table"]), data["now"]


def unpack(packed):
    """Return a table as the browser reads it: with sums in place of differences."""
    table = json.loads(zlib.decompress(base64.b64decode(packed)))
    for name in ("rows", "tokens", "bins", "tasks"):
        if name in table:
            table[name] = np.cumsum(table[name], axis=-1).tolist()
    return table


def test_the_slider_stops_at_each_tenth_of_a_percent_or_at_round_numbers():
    assert amounts("percent", 7)[:4] == [0, 0.1, 0.2, 0.3] and len(amounts("percent", 7)) == 1001
    assert amounts("rows", 5) == [0, 1, 2, 3, 4, 5]
    assert amounts("rows", 1_001)[-3:] == [998, 1000, 1001]
    assert amounts("rows", 52_002)[-2:] == [52_000, 52_002] and len(amounts("rows", 52_002)) == 522
    assert amounts("tokens", 7_100_000)[1] == 10_000
    assert amounts("tokens", 0) == [0]


def test_a_table_worked_by_hand():
    values, tokens = np.array([0.5, 1.0, np.nan, 0.0]), np.array([10, 20, 30, 40])
    order = Order(np.array([2, 1, 0]), {"no score": np.array([3])})  # row 2 is pinned in
    selection = Selection("pool", np.array([2]), 1, 30, order)
    drawn = Drawn(selection, tokens, np.array([0, 1, 0, -1]), ["a", "b"], values, bin_values(values, bins=2), "score")
    assert make_table(drawn, "rows", limit=2) == {
        "unit": "rows",
        "amount": [0, 1, 2, 3, 4],
        "rows": [1, 0, 1, 0, 0],
        "tokens": [30, 0, 20, 0, 0],
        "cutoff": ["", "", "1", "1", "1"],
        "place": [None, None, 1.0, 1.0, 1.0],
        "tasks": [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0]],
        "bins": [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0]],
        "pool": {"tasks": [2, 1], "bins": [1, 2], "rows": 4, "tokens": 100},
        "names": ["a", "b"],
        "title": "score",
    }


@pytest.mark.parametrize("unit", ["percent", "rows", "tokens"])
@pytest.mark.parametrize("name", RUNS)
def test_each_entry_is_the_selection_of_its_budget(workspace, pool, name, unit):
    run, ids = RUNS[name](workspace, pool), pool.rows["id"].to_pylist()
    recipe = parse_recipe(
        {
            "pool": {"source": pool.source},
            "method": {"name": name},
            "budget": "10%",
            "pins": [{"id": ids[i], "side": side} for i, side in ((3, "in"), (5, "out"), (200, "in"))],
            "threshold": LIMITS.get(name),
        },
        "test",
    )
    method = recipe.method.build()
    live = live_selection.evaluate(pool, run, recipe)
    limit = find_limit(recipe, cached.measurements(run), method, live.selection.order, live.selection.n_pinned)
    drawn = drag_budget.describe(pool, run, live.selection, method)
    table = unpack(pack(make_table(drawn, unit, limit)))
    assert ("bins" in table) == (name not in ("random", "task_confidence"))
    suffix = {"percent": "%", "rows": "", "tokens": "tok"}[unit]
    for i in range(0, len(table["amount"]), 37):
        budget = f"{table['amount'][i]}{suffix}"
        now = live_selection.evaluate(pool, run, recipe.model_copy(update={"budget": budget}))
        assert table["rows"][i] == len(now.selection.rows)
        assert table["tokens"][i] == now.selection.tokens
        assert [counts[i] for counts in table["tasks"]] == now.subset.tasks.tolist()
        if drawn.values is not None:
            assert table["cutoff"][i] == ("" if now.cutoff is None else format_number(now.cutoff))
        if drawn.binned is not None:
            binned = distribution.bins(run, now, drag_budget.display_column(method))
            assert [counts[i] for counts in table["bins"]] == binned.counts(now.selection.rows).tolist()
    assert table["rows"][-1] < len(pool) - 1 or name not in LIMITS  # the limit ended the order


def test_the_page_sends_the_current_selection_even_between_two_stops(run, app):
    at = app("select")
    at.number_input(key="select.exact.percent").set_value(12.92).run()
    table, now = sent(at)
    assert (now["amount"], now["rows"]) == (12.92, 31)
    assert now["tokens"] == int(next(one for one in at.metric if one.label == "Response tokens").value.replace(",", ""))
    assert now["cutoff"] == next(one for one in at.metric if one.label == "ΔH at the cutoff").value
    assert table["rows"][table["amount"].index(10)] == 24
    assert sum(now["bins"]) == sum(now["tasks"]) == 31


def test_a_pin_a_filter_and_another_unit_change_the_table(run, app):
    at = app("select")
    before, _ = sent(at)
    at.text_input(key="select.contains").set_value("Question 12").run()
    filtered, now = sent(at)
    assert (before["rows"][-1], filtered["rows"][-1]) == (192, 9)  # eligible rows
    at.get_by_key("select.unit").set_value("rows").run()
    table, now = sent(at)
    assert (table["unit"], len(table["amount"]), now["amount"]) == ("rows", 241, 9)
    settings = at.session_state[state.SETTINGS]
    at.session_state[state.SETTINGS] = replace(settings, budget="0")
    at.run()
    assert sent(at)[1] | {"bins": 0, "tasks": 0} == {
        "amount": 0, "rows": 0, "tokens": 0, "cutoff": "", "place": None, "bins": 0, "tasks": 0
    }  # fmt: skip
