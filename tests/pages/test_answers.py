"""Answers section: dispersion, directions, semantic bins, and the generated answers of a row."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from core.measurement.run_data import load_measured
from core.measurement.runs import save_run
from core.methods import build_method
from pages.ui.shell.changes import NARROW
from tests.pages.test_explore import choose, click, figures, highlight, lit, marks, open_section, page_text, verdict


@pytest.fixture
def at(divergence_run, app):
    return choose(app("explore"), "answer_divergence")


def html(at):
    return "\n".join(str(one.value) for one in at.get("html"))


def chart_figure(at, key):
    """Return the figure of one chart."""
    return next(json.loads(c.proto.spec) for c in at.get("plotly_chart") if c.proto.id.endswith(f"-{key}"))


def texts(at):
    return [block.value for block in at.text]


def test_the_title_states_both_medians_of_the_selected_rows_and_of_all(at):
    # selected: only rows whose answers all differ, D = 0.8 and I = 3/4; the median of all has similar answers
    words = verdict(at)
    assert words.startswith("Answers to selected rows vary ") and "× as much (0.8, compared with 0." in words
    assert ", in 4.0 directions (all rows: " in words
    assert "0.8 = unrelated" in page_text(at) and "4 = the maximum" in page_text(at)


def test_missing_empty_refused_and_truncated_answers_are_counted(at):
    words = page_text(at)
    assert "1,200 answers to 240 rows · 5 missing (0.4%) · 1 empty (under 0.1%)" in words
    assert "1 started with a refusal" in words and "1 hit the token limit" in words
    assert "2 rows with fewer than 5 answers" in words and "1 row with fewer than two answers: no score" in words


def test_lines_of_equal_score_turn_with_the_weight(at):
    def steepness():
        lines = [trace for trace in chart_figure(at, "explore.answers")["data"] if trace.get("mode") == "lines"]
        return {round((b["y"][1] - b["y"][0]) / (b["x"][1] - b["x"][0]), 3) for b in lines}

    assert steepness() == {-1.5}
    at.slider(key="select.answer_divergence.dispersion_weight").set_value(0.2).run()
    assert not at.exception
    assert steepness() == {-0.25}
    assert "0.2 · D + 0.8 · I" in page_text(at)


def test_a_lasso_highlights_all_rows_inside_it_highest_score_first(at):
    square = {"x": [0.4, 0.9, 0.9, 0.4], "y": [-0.1, -0.1, 0.9, 0.9]}
    click(at, "explore.answers", lasso=[square])
    assert "**119 rows highlighted**, highest Divergence first" in page_text(at)  # half of 240 but a row with 1 answer
    assert sorted(marks(chart_figure(at, "explore.answers"))[0]["customdata"]) == lit(at)
    assert sum(len(ring["x"]) for ring in marks(chart_figure(at, "explore.bins"))) == 6
    scores = at.dataframe[0].value["Score"]
    assert scores.is_monotonic_decreasing and scores.max() == pytest.approx(0.6 * 0.8 + 0.4 * 0.75)


def test_a_clicked_bin_shows_its_distinctive_words(at, divergence_run):
    click(at, "explore.bins", [{"customdata": 0}])
    size = int((load_measured(divergence_run).columns["semantic_bin"] == 0).sum())
    assert len(lit(at)) == size and highlight(at)[0].words.startswith("bin 1 (")
    (rings,) = marks(chart_figure(at, "explore.bins"))
    assert rings["customdata"] == [0] and rings["hovertext"] == [f"bin 1: {size} of {size} rows highlighted"]
    assert at.dataframe[0].value["Score"].dropna().is_monotonic_decreasing


def test_a_bin_and_a_lasso_are_combined(at, divergence_run):
    square = {"x": [0.4, 0.9, 0.9, 0.4], "y": [-0.1, -0.1, 0.9, 0.9]}
    click(at, "explore.bins", [{"customdata": 0}])
    at.toggle(key=NARROW).set_value(True).run()
    click(at, "explore.answers", lasso=[square])
    columns = load_measured(divergence_run).columns
    both = (columns["semantic_bin"] == 0) & (columns["dispersion"] > 0.4)
    assert lit(at) == np.flatnonzero(both).tolist() and len(highlight(at)) == 2


def test_bins_without_a_selected_row_are_counted(at):
    assert "The selection has rows from **6 of 6** bins" in page_text(at)
    at.get_by_key("select.unit").set_value("rows").run()
    at.number_input(key="select.exact.rows").set_value(2).run()
    assert not at.exception
    assert "The selection has rows from **2 of 6** bins" in page_text(at)
    assert "The other **4** hold " in page_text(at)


def test_the_number_of_bins_can_be_reduced_live(at):
    at.number_input(key="select.answer_divergence.bins").set_value(3).run()
    assert not at.exception
    assert "of 3** bins" in page_text(at)


def test_a_bin_of_several_measured_ones_highlights_the_rows_of_all(at, divergence_run):
    at.number_input(key="select.answer_divergence.bins").set_value(3).run()
    bin_of = build_method("answer_divergence", {"bins": 3}).bin_of(load_measured(divergence_run))
    click(at, "explore.bins", [{"customdata": 0}])
    assert lit(at) == np.flatnonzero(bin_of == 0).tolist()
    assert len(highlight(at)[0].filter.values) > 1


def test_a_row_shows_its_answers_their_ends_and_what_is_missing(at):
    everything = {"x": [-1, 2, 2, -1], "y": [-1, -1, 2, 2]}
    click(at, "explore.answers", lasso=[everything])
    best = int(at.dataframe[0].value["Id"][0].removeprefix("row-"))
    click(at, "explore.answers", points=[{"customdata": best}])
    at.get_by_key("reader.part").set_value("Answers").run()
    words = page_text(at)
    assert "**1** · 4 tokens · complete" in words
    assert [f"Answer {k}" for k in range(5)] == [text[:8] for text in texts(at) if re.match(r"Answer \d", text)]
    assert "the generated answers differ more; the highest value, shared by " in html(at)
    assert "Map of 5 generated answers" in html(at) and "1 and 2" in html(at)


@pytest.fixture
def opener(at, divergence_run):
    """Return a function that opens the answers of a row by a click on its dot."""

    def put(row):
        click(at, "explore.answers", points=[{"customdata": row}])
        at.get_by_key("reader.part").set_value("Answers").run()
        assert not at.exception
        return at

    return put


def test_a_missing_answer_is_reported(opener):
    at = opener(5)
    assert "**2** · missing" in page_text(at)
    assert "Answer 2 of 5 is missing. D and I are computed from the others" in page_text(at)


def test_a_single_answer_has_no_score(opener):
    at = opener(6)
    assert "Answers 2, 3, 4 and 5 of 5 are missing. D and I need two answers." in page_text(at)
    assert "D, dispersion" not in html(at)


def test_text_of_a_model_is_never_markdown(opener):
    at = opener(9)
    assert "![beacon](http://evil.example/x.png) **bold**" in texts(at)
    interpreted = "\n".join([*(one.value for kind in (at.markdown, at.caption) for one in kind), html(at)])
    assert "evil.example" not in interpreted and "beacon" not in interpreted
    assert "Empty answer." in page_text(at) and "**3** · 6 tokens · hit the token limit" in page_text(at)


def test_deleted_answers_are_reported(opener, workspace):
    for file in workspace.root.glob("measurements/answers000000000/*"):
        file.unlink()
    at = opener(5)
    assert "the answers of this run are missing. Measure again" in at.error[0].value.replace("\\", "")


def test_a_row_opened_under_another_method_shows_its_answers_too(divergence_run, run, app):
    at = choose(app("explore"), "entropy_shift")
    open_section(at, "Entropy shift")
    click(at, "explore.shift", [{"customdata": 12}])
    assert "Map of 5" not in html(at)
    at.get_by_key("reader.part").set_value("Answers").run()
    assert "Map of 5 generated answers" in html(at)
    open_section(at, "Answers")
    assert verdict(at).startswith("Answers to selected rows vary ")


def test_the_score_section_shows_divergence_first(at):
    open_section(at, "Score")
    assert at.selectbox(key="explore.column.answer_divergence").value == "divergence"
    assert "semantic_bin" not in at.selectbox(key="explore.column.answer_divergence").options
    assert (
        "Highest divergence is selected first in each bin: rows where the generated answers differ more"
        in page_text(at)
    )
    assert verdict(at).startswith("Divergence adds information: ")  # D and I are its parts
    labels = next(f["data"][0]["y"] for f in figures(at) if "NLL" in f["data"][0].get("y", []))
    assert {"Response length", "NLL", "D, dispersion, a part", "I, anisotropy, a part"} <= set(labels)


def test_a_divergence_that_is_mostly_length_is_reported(divergence_run, workspace, app):
    measured = load_measured(divergence_run).columns
    longer = measured["response_tokens"].argsort().argsort() / 240
    key = "abcd000011112222"
    other = replace(divergence_run, id=key, folder=workspace.folder("runs", key))
    save_run(workspace, other, {**measured, "dispersion": longer.astype(np.float32)})
    at = choose(app("explore"), "answer_divergence")
    assert any("mostly tracks length" in warning.value for warning in at.warning)
    assert verdict(open_section(at, "Score")).startswith("Divergence mostly tracks response length (ρ = +")


def test_select_shows_the_best_rows_of_each_bin(divergence_run, app):
    at = choose(app("select"), "answer_divergence")
    assert "the best of each bin are selected" in html(at)
    keys = {one.key for kind in ("slider", "number_input") for one in at.get(kind)}
    live = {"dispersion_weight", "bins"}
    assert {f"select.answer_divergence.{name}" for name in live} <= keys
    assert "select.answer_divergence.released_rows" not in keys
    at.get_by_key("select.answer_divergence.quota").set_value("release").run()
    assert not at.exception
    at.number_input(key="select.answer_divergence.released_rows").set_value(40).run()
    assert not at.exception
    rule = re.compile(r"The authors' rule for B = 40 selects (\d+) rows; 24 of the 24 selected rows are among them\.")
    assert rule.search(page_text(at))
    assert at.subheader[0].value == "24 of 240 rows are selected (10.0%)."
