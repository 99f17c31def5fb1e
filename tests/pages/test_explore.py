"""The Explore page: is the score to be trusted, and what lies behind a bar or a dot?"""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from core.runs import load_measured, save_run
from pages.ui import state


def said(at) -> str:
    parts = [*at.title, *at.caption, *at.markdown, *at.warning]
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


def figures(at) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]


@pytest.fixture
def remeasure(workspace, run):
    """Put a newer finished run beside the first, with some figures of its own."""

    def put(**columns):
        key = hashlib.sha256(b"".join(np.ascontiguousarray(v).tobytes() for v in columns.values())).hexdigest()[:16]
        other = replace(run, id=key, folder=workspace.folder("runs", key))
        return save_run(workspace, other, {**load_measured(run).columns, **columns})

    return put


def test_without_a_measurement_it_says_where_to_get_one(pool, app):
    at = app("explore")
    assert not at.exception
    assert at.title[0].value == "Explore"
    assert "not measured" in at.subheader[0].value


def test_a_sound_score_is_called_so_with_its_direction_in_words(run, app):
    at = app("explore")
    assert not at.exception
    assert at.title[0].value == "ΔH says something of its own"
    assert "Lower is taken first: the model grew less certain" in said(at)
    assert not at.warning


def test_every_row_of_the_pool_is_in_the_histogram_once(run, app):
    layers = {trace["name"]: sum(trace["y"]) for trace in figures(app("explore"))[0]["data"]}
    assert layers == {"selected": 24, "not selected": 168, "not eligible": 48}


def test_missing_and_excluded_rows_are_counted(run, app, remeasure):
    entropy = load_measured(run).columns["entropy"].copy()
    entropy[:5] = np.nan
    remeasure(entropy=entropy)
    assert "235 rows have this score · 5 have none · 5 left out: not measured · 46 left out" in said(app("explore"))


def test_a_score_that_is_mostly_length_is_called_so(run, app, remeasure):
    columns = load_measured(run).columns
    remeasure(entropy_cal=columns["entropy"] - columns["response_tokens"].astype(np.float32) / 100)
    at = app("explore")
    assert at.title[0].value == "ΔH is mostly length"
    assert "Compare with Longest response before you trust it" in at.warning[0].value.replace("\\", "")


def test_a_score_that_follows_another_one_is_called_so(run, app, remeasure):
    columns = load_measured(run).columns
    remeasure(entropy_cal=columns["entropy"] - columns["nll"])  # delta_entropy is the NLL itself
    assert app("explore").title[0].value == "ΔH mostly follows NLL"


def test_a_score_that_is_the_same_everywhere_orders_nothing(run, app, remeasure):
    remeasure(entropy_cal=load_measured(run).columns["entropy"])
    at = app("explore")
    assert not at.exception
    assert at.title[0].value == "ΔH orders nothing"


def test_a_pool_without_responses_is_shown_for_what_it_is(run, app, remeasure):
    nothing = np.full(240, np.nan, np.float32)
    states = {name: nothing for name in ("nll", "entropy", "nll_cal", "entropy_cal")}
    remeasure(**states, response_tokens=np.zeros(240, np.int64))
    at = app("explore")
    assert not at.exception
    assert "0 rows have this score · 240 have none · 240 left out: no response" in said(at)
    assert "No row has this score" in said(at)
    at.switch_page("pages/select.py").run()
    assert not at.exception
    assert at.title[0].value == "0 of 240 rows, 0.0 %"
    at.switch_page("pages/export.py").run()
    assert not at.exception
    assert [button.label for button in at.button] == ["Go to Select"]


def test_expansion_and_compression_are_counted_in_the_pool_and_among_the_selected(run, app):
    columns = load_measured(run).columns
    below = int((columns["entropy"] - columns["entropy_cal"] < 0).sum())
    words = said(app("explore"))
    assert f"All rows: {100 * below / 240:.0f} % expand ({below:,})" in words
    assert "Selected: 100 % expand (24), 0 % compress (0)" in words


def test_any_score_column_can_be_looked_at(run, app):
    at = app("explore")
    box = at.selectbox(key="explore.column.entropy_shift")
    assert box.value == "delta_entropy"
    assert "in_nll_band" not in box.options  # it is no score
    for column in ("delta_nll", "nll", "response_tokens", "prompt_tokens"):
        at.selectbox(key="explore.column.entropy_shift").set_value(column).run()
        assert not at.exception
        shapes = figures(at)[0]["layout"].get("shapes", [])
        assert not [line for line in shapes if line["line"]["width"] == 2]  # the cut is of the ranking score


def test_a_method_without_a_score_shows_what_there_is(run, app):
    at = app("explore")
    at.selectbox(key="select.method").set_value("random").run()
    assert not at.exception
    assert at.selectbox(key="explore.column.random").value == "prompt_tokens"


def click(at, key, points=(), lasso=()):
    at.session_state[key] = {"selection": {"points": list(points), "box": [], "lasso": list(lasso)}}
    at.run()
    assert not at.exception


def test_a_bar_gives_its_rows_lowest_score_first(run, app):
    at = app("explore")
    inside = next(trace for trace in figures(at)[0]["data"] if trace["name"] == "not selected")
    fullest = int(np.argmax(inside["y"]))
    click(at, "explore.histogram.delta_entropy", [{"customdata": [fullest, ""]}])
    table = at.dataframe[0].value
    counts = sum(trace["y"][fullest] for trace in figures(at)[0]["data"])
    assert len(table) == counts > 3
    assert table["Score"].is_monotonic_increasing
    assert f"**{counts} rows** · ΔH" in said(at)


def test_a_lasso_takes_all_rows_inside_it_and_not_only_the_dots(run, app):
    at = app("explore")
    everything = {"x": [-9.0, 9.0, 9.0, -9.0], "y": [-9.0, -9.0, 9.0, 9.0]}
    click(at, "explore.shift", lasso=[everything])
    assert "**240 rows** · inside what you drew" in said(at)


def test_where_nearly_no_row_expands_the_spread_is_shown_instead_of_shares(run, app, remeasure):
    columns = load_measured(run).columns
    assert app("explore").get_by_key(f"explore.view.{run.id}").value == "Share that expands"
    other = remeasure(entropy_cal=columns["entropy_cal"] - 5)  # all compress
    at = app("explore")
    assert not at.exception
    assert at.get_by_key(f"explore.view.{other.id}").value == "Spread of ΔH"
    assert "All rows: 0 % expand (0), 100 % compress (240)" in said(at)
    click(at, "explore.spread", [{"curve_number": 0, "point_index": 1}])
    assert len(at.dataframe[0].value["Task"].unique()) == 1
    assert "**80 rows**" in said(at) or "**81 rows**" in said(at)


def test_what_is_drawn_and_a_task_that_is_clicked_are_taken_together(run, app):
    at = app("explore")
    below = {"x": [-9.0, 9.0, 9.0, -9.0], "y": [-9.0, -9.0, 0.0, 0.0]}
    click(at, "explore.shift", lasso=[below])
    click(at, "explore.tasks", [{"curve_number": 1, "point_index": 0}])  # compression: above 0
    assert "**0 rows** · inside what you drew" in said(at)
    click(at, "explore.tasks", [{"curve_number": 0, "point_index": 0}])
    task = at.dataframe[0].value["Task"].unique().tolist()
    assert len(task) == 1


def test_a_row_can_be_pinned_from_here(run, app):
    at = app("explore")
    click(at, "explore.shift", [{"customdata": 11}])
    assert at.dataframe[0].value["Id"].tolist() == ["row-11"]
    at.button(key="explore.shift.pin.in").click().run()
    assert [(pin.id, pin.side) for pin in at.session_state[state.SETTINGS].pins] == [("row-11", "in")]
