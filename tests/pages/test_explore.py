"""Explore page: verdict on the score, and the rows behind a bar or a dot."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit.testing.v1 import AppTest

from core.analysis.coverage_curve import PoolCoverage, trace_curve
from core.measurement.run_data import load_measured
from core.measurement.runs import save_run
from core.methods import METHODS
from core.selection.filters import Filter
from pages.ui.data import cached
from pages.ui.shell import state
from pages.ui.shell.changes import NARROW
from pages.ui.shell.open_row import OPEN
from pages.ui.shell.terms import Area
from pages.ui.theme import HIGHLIGHT
from tests.pages.conftest import activation_coverage_run, entropy_shift_run, task_confidence_run
from tests.pages.ui.workbench.test_highlight import page as highlighted_page


def page_text(at) -> str:
    parts = [*at.title, *at.caption, *at.markdown, *at.warning]
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


def verdict(at) -> str:
    """Return the sentence under the heading of the Explore page."""
    assert at.title[0].value == "Explore"
    return str(at.main.subheader[0].value).replace("\\", "")


def figures(at) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]


@pytest.fixture
def remeasure(workspace, run):
    """Store a newer finished run with some columns replaced."""

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


def test_a_sound_score_is_described_with_its_direction(run, app):
    at = app("explore")
    assert not at.exception
    assert verdict(at).startswith("ΔH adds information: its strongest correlation is with ")
    assert "Lowest ΔH is selected first: rows where the model became less certain" in page_text(at)
    assert not at.warning


def test_every_row_of_the_pool_is_in_the_histogram_once(run, app):
    layers = {trace["name"]: sum(trace["y"]) for trace in figures(app("explore"))[0]["data"]}
    assert layers == {"selected": 24, "unselected": 168, "excluded": 48}


def test_missing_and_excluded_rows_are_counted(run, app, remeasure):
    entropy = load_measured(run).columns["entropy"].copy()
    entropy[:5] = np.nan
    remeasure(entropy=entropy)
    words = page_text(app("explore"))
    assert "235 rows scored; 5 without a score; 5 excluded: not measured; 46 excluded: outside" in words


def test_a_score_that_is_mostly_length_is_reported(run, app, remeasure):
    columns = load_measured(run).columns
    remeasure(entropy_cal=columns["entropy"] - columns["response_tokens"].astype(np.float32) / 100)
    at = app("explore")
    assert verdict(at).startswith("ΔH mostly tracks response length (ρ = +1.00)")
    assert 'Check it against the "Longest response" baseline' in at.warning[0].value.replace("\\", "")


def test_a_score_that_follows_another_one_is_reported(run, app, remeasure):
    columns = load_measured(run).columns
    remeasure(entropy_cal=columns["entropy"] - columns["nll"])  # delta_entropy is the NLL itself
    assert verdict(app("explore")) == "ΔH mostly tracks NLL (ρ = +1.00)."


def test_a_constant_score_ranks_nothing(run, app, remeasure):
    remeasure(entropy_cal=load_measured(run).columns["entropy"])
    at = app("explore")
    assert not at.exception
    assert verdict(at) == "ΔH has one value for all rows, so it ranks nothing."


def test_a_pool_without_responses_shows_no_response_columns(run, app, remeasure):
    nothing = np.full(240, np.nan, np.float32)
    states = {name: nothing for name in ("nll", "entropy", "nll_cal", "entropy_cal")}
    remeasure(**states, response_tokens=np.zeros(240, np.int64))
    at = app("explore")
    assert not at.exception
    assert "0 rows scored; 240 without a score; 240 excluded: no response" in page_text(at)
    assert "No row has this score" in page_text(at)
    at.switch_page("pages/select.py").run()
    assert not at.exception
    assert at.subheader[0].value == "0 of 240 rows are selected (0.0%)."
    at.switch_page("pages/export.py").run()
    assert not at.exception
    assert "Go to Select" in [button.label for button in at.button]


def open_section(at, section):
    at.get_by_key("explore.section").set_value(section).run()
    assert not at.exception
    return at


def test_expansion_and_compression_are_counted_in_the_pool_and_among_the_selected(run, app):
    columns = load_measured(run).columns
    below = int((columns["entropy"] - columns["entropy_cal"] < 0).sum())
    at = open_section(app("explore"), "Entropy shift")
    words = page_text(at)
    assert verdict(at) == f"100% of selected rows expand, compared with {100 * below / 240:.0f}% of all rows."
    assert f"All rows: {100 * below / 240:.0f}% expand ({below:,})" in words
    assert "Selected rows: 100% expand (24), 0% compress (0)" in words


def test_any_score_column_can_be_shown(run, app):
    at = app("explore")
    box = at.selectbox(key="explore.column.entropy_shift")
    assert box.value == "delta_entropy"
    assert "in_nll_band" not in box.options  # not a score
    for column in ("delta_nll", "nll", "response_tokens", "prompt_tokens"):
        at.selectbox(key="explore.column.entropy_shift").set_value(column).run()
        assert not at.exception
        shapes = figures(at)[0]["layout"].get("shapes", [])
        assert not [line for line in shapes if line["line"]["width"] == 2]  # only the ranking score has a cut


def test_a_method_without_a_score_shows_the_measured_columns(run, app):
    at = app("explore")
    at.selectbox(key="select.method").set_value("random").run()
    assert not at.exception
    assert at.selectbox(key="explore.column.random").value == "prompt_tokens"


def click(at, key, points=(), lasso=()):
    """Click on bars or dots of the figure with this key, or draw a lasso in it, as a browser reports it."""
    figure = next(chart for chart in at.get("plotly_chart") if chart.proto.id.endswith(f"-{key}"))
    selection = {"points": list(points), "point_indices": [], "box": [], "lasso": list(lasso)}
    states = at._tree.get_widget_states()
    states.widgets.append(WidgetState(id=figure.proto.id, string_value=json.dumps({"selection": selection})))
    at._run(states)
    assert not at.exception


def highlight(at):
    return at.session_state[state.SETTINGS].highlight


def lit(at):
    """Return the highlighted rows, evaluated anew from the stored settings."""
    other = AppTest.from_function(highlighted_page, args=(highlight(at),), default_timeout=60).run()
    mask, failures = other.session_state["result"]
    assert not failures
    assert f"**{mask.sum()} row{'' if mask.sum() == 1 else 's'} highlighted**" in page_text(at)
    return np.flatnonzero(mask).tolist()


def marks(figure, colour=HIGHLIGHT):
    """Return the traces of a figure in the colour of the highlight."""
    return [t for t in figure["data"] if colour in (t.get("marker", {}).get("color"), t.get("line", {}).get("color"))]


def test_a_clicked_bar_lists_its_rows_lowest_score_first(run, app):
    at = app("explore")
    assert not marks(figures(at)[0])
    inside = next(trace for trace in figures(at)[0]["data"] if trace["name"] == "unselected")
    fullest = int(np.argmax(inside["y"]))
    counts = sum(trace["y"][fullest] for trace in figures(at)[0]["data"])
    click(at, "explore.histogram.delta_entropy", [{"customdata": [fullest, ""]}])
    table = at.dataframe[0].value
    assert len(table) == counts == len(lit(at)) > 3
    assert table["Score"].is_monotonic_increasing
    assert f"**{counts} rows highlighted**, lowest ΔH first" in page_text(at)
    (steps,) = marks(figures(at)[0])
    assert steps["y"][fullest] == sum(steps["y"]) == counts


def test_an_empty_event_keeps_the_highlight(run, app):
    at = app("explore")
    click(at, "explore.histogram.delta_entropy", [{"customdata": [30, ""]}])
    now = highlight(at)
    click(at, "explore.histogram.delta_entropy")
    assert highlight(at) == now != ()


def test_a_lasso_highlights_all_rows_inside_it_not_only_the_dots(run, app):
    at = open_section(app("explore"), "Entropy shift")
    everything = {"x": [-9.0, 9.0, 9.0, -9.0], "y": [-9.0, -9.0, 9.0, 9.0]}
    click(at, "explore.shift", lasso=[everything])
    assert highlight(at) == (Area("delta_nll", "delta_entropy", ((-9, -9), (9, -9), (9, 9), (-9, 9))),)
    assert "**240 rows highlighted**, lowest ΔH first" in page_text(at)
    (dots,) = marks(figures(at)[0])
    assert dots["name"] == "highlighted" and sorted(dots["customdata"]) == list(range(240))


def test_a_clicked_dot_opens_its_row_and_changes_no_highlight(run, app):
    at = open_section(app("explore"), "Entropy shift")
    click(at, "explore.shift", [{"customdata": 11}])
    assert at.session_state[OPEN].id == "row-11" and not highlight(at)
    assert any(block.value.startswith("Question 11:") for block in at.text)


def test_a_clicked_bar_of_a_task_highlights_one_side_of_zero(run, pool, app):
    columns = load_measured(run).columns
    shifted = columns["entropy"] - columns["entropy_cal"]
    at = open_section(app("explore"), "Entropy shift")
    names = [label.split(" · ")[0] for label in figures(at)[1]["layout"]["yaxis"]["ticktext"]]
    task = np.array(pool.rows["task"].to_pylist())
    for side, expected in enumerate((shifted < 0, shifted >= 0)):
        click(at, "explore.tasks", [{"curve_number": side, "point_index": 1}])
        assert lit(at) == np.flatnonzero(expected & (task == names[1])).tolist()
        assert [term.words for term in highlight(at)] == [f"task {names[1]}", ("expansion", "compression")[side]]
        (circles,) = marks(figures(at)[1])
        assert circles["x"] == [None, (100, 0)[side], None]
        assert circles["hovertext"][1] == f"{len(lit(at))} of {sum(task == names[1])} rows highlighted"
    now = highlight(at)
    click(at, "explore.tasks", [{"curve_number": 2, "point_index": 0}])  # a mark, not a bar
    assert highlight(at) == now


def test_a_bar_of_quantiles_highlights_the_rows_of_the_task_that_have_a_shift(run, app, remeasure, pool):
    columns = load_measured(run).columns
    at = open_section(app("explore"), "Entropy shift")
    assert at.get_by_key(f"explore.view.{run.id}").value == "Share expanding"
    calibrated = columns["entropy_cal"] - 5  # all compress
    calibrated[:3] = np.nan
    other = remeasure(entropy_cal=calibrated)
    at = open_section(app("explore"), "Entropy shift")
    assert verdict(at).startswith("The median ΔH of selected rows is ")
    assert at.get_by_key(f"explore.view.{other.id}").value == "Quantiles of ΔH"
    assert "All rows: 0% expand (0), 100% compress (237)" in page_text(at)
    click(at, "explore.spread", [{"curve_number": 0, "point_index": 1}])
    name = figures(at)[1]["layout"]["yaxis"]["ticktext"][1].split(" · ")[0]
    rows = [row for row, task in enumerate(pool.rows["task"].to_pylist()) if task == name and row > 2]
    assert lit(at) == rows and len(rows) in (79, 80)
    assert [term.words for term in highlight(at)] == [f"task {name}", "with ΔH"]


def test_a_bar_narrows_a_lasso_if_that_is_switched_on(run, app):
    at = open_section(app("explore"), "Entropy shift")
    below = {"x": [-9.0, 9.0, 9.0, -9.0], "y": [-9.0, -9.0, 0.0, 0.0]}
    click(at, "explore.shift", lasso=[below])
    at.toggle(key=NARROW).set_value(True).run()
    click(at, "explore.tasks", [{"curve_number": 1, "point_index": 0}])  # compression: above 0
    assert lit(at) == [] and len(highlight(at)) == 3
    assert "**0 rows highlighted**" in page_text(at)


def test_rows_of_one_view_stay_lit_in_every_section_and_under_every_method(
    run, coverage_run, confidence_run, divergence_run, app
):
    at = choose(app("explore"), "answer_divergence")
    click(at, "explore.bins", [{"customdata": 1}])
    expected = lit(at)
    assert expected == np.flatnonzero(load_measured(divergence_run).columns["semantic_bin"] == 1).tolist()
    for method in ("answer_divergence", "entropy_shift"):
        choose(at, method)
        for section, count in {"Score": 1, "Entropy shift": 2, "Coverage": 2, "Tasks": 1, "Answers": 2}.items():
            if section not in sections(at):
                continue
            open_section(at, section)
            assert lit(at) == expected, (method, section)
            assert sum(bool(marks(figure)) for figure in figures(at)) == count, (method, section)


# Sections


def choose(at, method):
    at.selectbox(key="select.method").set_value(method).run()
    assert not at.exception
    return at


def sections(at):
    return at.get_by_key("explore.section").options


def test_only_measured_topics_have_a_section_and_one_line_suggests_more(run, app):
    at = app("explore")
    assert sections(at) == ["Score", "Entropy shift", "Tasks"]
    methods = "Activation coverage, Answer divergence, Preference influence"
    assert f"More sections appear after you measure: {methods}." in page_text(at)


def test_measurements_are_shown_under_every_method(run, coverage_run, confidence_run, divergence_run, app):
    at = app("explore")
    for method in METHODS:
        if method in ("preference_influence", "imported", "combined"):  # these need a run of their own
            continue
        choose(at, method)
        assert {"Score", "Coverage", "Tasks", "Answers"} <= set(sections(at)), method
        for section in sections(at):
            open_section(at, section)
            assert verdict(at).endswith("."), (method, section)
    assert "after you measure: Preference influence." in page_text(at)


def test_the_default_section_follows_the_method_until_the_user_opens_one(run, coverage_run, confidence_run, app):
    at = app("explore")
    assert at.get_by_key("explore.section").value == "Score"
    assert choose(at, "activation_coverage").get_by_key("explore.section").value == "Coverage"
    assert choose(at, "task_confidence").get_by_key("explore.section").value == "Tasks"
    open_section(at, "Coverage")
    for method in ("longest", "task_confidence", "entropy_shift"):
        assert choose(at, method).get_by_key("explore.section").value == "Coverage"
    at.switch_page("pages/select.py").run()
    at.switch_page("pages/explore.py").run()
    assert at.get_by_key("explore.section").value == "Coverage"


def test_labels_are_not_offered_as_scores(coverage_run, confidence_run, app):
    at = choose(app("explore"), "activation_coverage")
    options = open_section(at, "Score").selectbox(key="explore.column.activation_coverage").options
    assert "Coverage gain" in options and "Activation cluster" not in options
    options = choose(at, "task_confidence").selectbox(key="explore.column.task_confidence").options
    assert options[0] == "Task confidence" and "Task number" not in options


# Coverage


@pytest.fixture
def coverage(run, coverage_run, app):
    return choose(app("explore"), "activation_coverage")


def traces(at, which=0):
    return {trace.get("name", i): trace for i, trace in enumerate(figures(at)[which]["data"])}


def test_the_verdict_states_the_coverage_at_the_budget_as_the_curve_does(coverage, coverage_run):
    measured = load_measured(coverage_run)
    order = np.argsort(-measured.columns["coverage_gain"], kind="stable")
    coverage_of_pool = PoolCoverage.of(measured.need("activations"), "sqrt", 1)
    share = trace_curve(coverage_of_pool, order, np.array([24])).shares[0]
    assert verdict(coverage).startswith("10% of the rows cover ")
    assert verdict(coverage).endswith(" of the neurons that the pool activates.")
    mark = figures(coverage)[0]["data"][-1]
    assert (mark["x"], mark["y"]) == ([10], [pytest.approx(100 * share, abs=1e-3)])
    assert "This is above the [chance range](#glossary-chance_range), **" in page_text(coverage)
    assert "The band is the chance range, from 39 random orders." in page_text(coverage)


def test_the_current_order_is_drawn_with_greedy_search_if_they_differ(coverage):
    assert "Activation coverage" in traces(coverage)
    assert not [name for name in traces(coverage) if "greedy" in str(name)]
    choose(coverage, "longest")
    open_section(coverage, "Coverage")
    own, greedy = (next(t for n, t in traces(coverage).items() if w in str(n)) for w in ("Longest", "greedy"))
    assert own["y"][-1] == greedy["y"][-1] == pytest.approx(100)
    assert max(np.interp(10, own["x"], own["y"]), 1) < np.interp(10, greedy["x"], greedy["y"])


def test_the_slider_moves_the_mark_but_no_curve(coverage):
    before = traces(coverage)["Activation coverage"]
    coverage.number_input(key="select.exact.percent").set_value(50.0).run()
    assert not coverage.exception
    assert verdict(coverage).startswith("50% of the rows cover ")
    assert traces(coverage)["Activation coverage"] == before
    coverage.number_input(key="select.exact.percent").set_value(0.0).run()
    assert verdict(coverage) == "No row is selected."


def test_under_a_filter_greedy_search_runs_again_and_the_cut_uses_its_gains(coverage, coverage_run, pool):
    at = coverage
    at.session_state[state.SETTINGS] = replace(
        at.session_state[state.SETTINGS], filters=(Filter("task", values=("sums",)),)
    )
    at.run()
    assert not at.exception
    assert [name for name in traces(at) if "greedy" in str(name)]
    own = traces(at)["Activation coverage"]
    assert own["x"][-1] == pytest.approx(100 * 81 / 240, abs=1e-3)
    open_section(at, "Score")
    histogram = figures(at)[0]
    assert "81 rows scored" in page_text(at)
    cut = next(line["x0"] for line in histogram["layout"]["shapes"] if line["line"]["width"] == 2)
    gains = METHODS["activation_coverage"]().gains(
        load_measured(coverage_run).need("activations"),
        np.flatnonzero(np.array(pool.rows["task"].to_pylist()) == "sums"),
    )
    assert cut == pytest.approx(np.sort(gains[np.isfinite(gains)])[::-1][23])


def test_a_filter_that_excludes_every_row_draws_no_curve(coverage):
    coverage.session_state[state.SETTINGS] = replace(
        coverage.session_state[state.SETTINGS], filters=(Filter("prompt", contains="no row says this"),)
    )
    for section in sections(coverage.run()):
        assert verdict(open_section(coverage, section)).endswith(".")


def test_a_clicked_cluster_lists_its_rows(coverage, coverage_run):
    clusters = load_measured(coverage_run).columns["activation_cluster"]
    assert sum(traces(coverage, 1)[2]["y"]) == 240  # sizes
    click(coverage, "explore.clusters", [{"point_index": 2, "curve_number": 1}])
    assert lit(coverage) == np.flatnonzero(clusters == 2).tolist()
    assert highlight(coverage)[0].words == "activation cluster 3"
    assert "highlighted**, highest Coverage gain first" in page_text(coverage)
    curves, bars = figures(coverage)
    assert marks(bars)[0]["y"] == [len(lit(coverage)) if k == 2 else 0 for k in range(len(marks(bars)[0]["y"]))]
    assert marks(curves)[0]["y"][0] == 0 and marks(curves)[0]["y"][-1] == pytest.approx(100)  # of these rows


def test_the_last_bar_highlights_all_clusters_that_it_combines(coverage, coverage_run, monkeypatch):
    monkeypatch.setattr("pages.ui.explore.clusters.MAX_BARS", 3)
    clusters = load_measured(coverage_run).columns["activation_cluster"]
    coverage.run()
    click(coverage, "explore.clusters", [{"point_index": 2, "curve_number": 1}])
    assert lit(coverage) == np.flatnonzero(clusters >= 2).tolist()
    assert highlight(coverage)[0].words == f"{clusters.max() - 1} more activation clusters"


# Tasks


@pytest.fixture
def tasks(run, confidence_run, app):
    return choose(app("explore"), "task_confidence")


def test_the_verdict_names_the_tasks_of_lowest_and_highest_confidence(tasks, pool):
    names = cached.tasks(pool)[0]  # confidence 0.5, 0.25, 0.8
    least, most = f"least confident on {names[1]} (0.25)", f"most confident on {names[2]} (0.80)"
    assert verdict(tasks) == f"The model is {least} and {most}."


def test_tasks_are_sorted_by_confidence_and_one_prompt_has_no_error(tasks, pool):
    names = cached.tasks(pool)[0]
    chart = figures(tasks)[0]
    assert chart["layout"]["yaxis"]["ticktext"] == [
        f"{names[1]} · 8",
        f"{names[0]} · 8",
        f"{names[2]} · 1, no error bar",
    ]
    assert [bool(e) for e in chart["data"][1]["error_x"]["array"]] == [True, True, False]
    assert "are 1 / confidence: " in page_text(tasks)
    assert "derived" not in page_text(tasks).lower()


def test_a_clicked_task_lists_its_rows_measured_ones_first(tasks, pool, confidence_run):
    click(tasks, "explore.confidence", [{"point_index": 0, "curve_number": 0}])
    least = cached.tasks(pool)[0][1]
    assert lit(tasks) == [row for row, name in enumerate(pool.rows["task"].to_pylist()) if name == least]
    assert figures(tasks)[0]["data"][0]["x"][1:] == [0, 0]  # the share of each line that is lit
    labels = tasks.dataframe[0].value
    assert set(labels["Task"]) == {least}
    first = [int(i.removeprefix("row-")) for i in labels["Id"][:8]]
    assert np.isfinite(load_measured(confidence_run).columns["confidence"][first]).all()


def test_allocation_bands_add_up_to_the_method_s_allocation(tasks):
    bands = [trace for trace in figures(tasks)[1]["data"] if trace["type"] == "scatter"]
    assert len(bands) == 3
    np.testing.assert_allclose(np.sum([band["y"] for band in bands], axis=0), 100, atol=0.02)
    at = np.searchsorted(bands[0]["x"], 30)
    shares = [band["y"][at] for band in bands]
    weights = 1 / np.array([0.25, 0.5, 0.8])
    np.testing.assert_allclose(shares, 100 * weights / weights.sum(), atol=1.5)


def test_without_confidence_the_allocation_is_still_drawn(run, app):
    at = open_section(app("explore"), "Tasks")
    assert "% of the selection, " in verdict(at)
    assert "Measure Task confidence to see the model's confidence for each task." in page_text(at)
    assert len(at.get("plotly_chart")) == 1


def test_derived_tasks_are_labelled_as_derived(unlabelled, workspace, app):
    run = task_confidence_run(workspace, unlabelled)
    at = choose(app("explore"), "task_confidence")
    assert "least confident on derived 2 (0.25) and most confident on derived 3 (0.80)" in verdict(at)
    assert (
        "Tasks are derived: clusters of similar prompts, by k-means over embeddings by the built-in model."
        in page_text(at)
    )
    assert "Confidence by derived task" in [part.value for part in at.subheader]
    click(at, "explore.confidence", [{"point_index": 0, "curve_number": 0}])
    assert set(at.dataframe[0].value["Task"]) == {"derived 2: plus"}
    assert lit(at) == np.flatnonzero(load_measured(run).columns["task_code"] == 1).tolist()


def test_derived_tasks_are_shown_under_a_method_measured_earlier(unlabelled, workspace, app):
    task_confidence_run(workspace, unlabelled)
    entropy_shift_run(workspace, unlabelled)
    at = open_section(app("explore"), "Tasks")
    assert at.selectbox(key="select.method").value == "entropy_shift"
    assert "least confident on derived 2" in verdict(at)
    open_section(at, "Entropy shift")
    assert "ΔH by derived task" in [part.value for part in at.subheader]
    click(at, "explore.tasks", [{"curve_number": 0, "point_index": 0}])
    assert len(set(at.dataframe[0].value["Task"])) == 1 and lit(at)


def test_a_pool_of_prompts_is_explored_without_mention_of_responses(prompts_only, workspace, app):
    task_confidence_run(workspace, prompts_only)
    activation_coverage_run(workspace, prompts_only)
    at = choose(app("explore"), "task_confidence")
    for method in ("task_confidence", "random"):
        choose(at, method)
        for section in sections(at):
            open_section(at, section)
            assert "response" not in page_text(at).lower()
        assert "Response length" not in open_section(at, "Score").selectbox(key=f"explore.column.{method}").options
