"""Influence section: each target's score, response length, both ends as text, agreement and pair accuracy."""

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pytest

from core.algorithms.correlation import Correlation
from core.measurement.lookup import file_facts
from core.measurement.preference_influence import SUBTASKS
from core.measurement.run_data import load_measured
from core.measurement.runs import save_run
from core.methods import build_method, describe_method
from core.methods.suggestions import with_suggestions
from core.proof.influence_check import InfluenceCheck, store_check
from core.selection.recipe import make_selection
from core.workspace.files import read_json, write_json
from core.workspace.parts import Parts
from pages.ui.shell import state
from pages.ui.shell.terms import describe
from tests.pages.conftest import store_run
from tests.pages.test_answers import chart_figure, html
from tests.pages.test_explore import choose, click, highlight, lit, marks, open_section, page_text, sections, verdict

EVIL = "![i](http://evil.example/x.png) <b>y</b>"
ROWS = np.arange(240)
UP, DOWN = (ROWS - 60) / 1000, (100 - ROWS) / 1000


def flat(columns):
    """Return (N,) columns as rows of a list array."""
    values = np.column_stack(columns).astype(np.float32)
    values[3] = np.nan
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def target_summary(name, **more):
    about = {
        "name": name,
        "pairs": 11,
        "unused": 1,
        "available": 40,
        "prompt_cut": 0,
        "answer_cut": 0,
        "subtasks": {"all pairs": 10},
    }
    about |= {"problems": {"chosen equals rejected": 2}, "shared_pairs": 3, "shared_rows": 4}
    return about | {"accuracy": [0.5, 0.6, 0.7], "margin_accuracy": [0.4, None]} | more


def influencing_run(workspace, pool, source, *, other="other"):
    """Store a current preference influence run on `good`, with a lower second sub-task, and on `other` unless ""."""
    targets = f"good={source}" + (f"; {other}=demo" if other else "")
    method = build_method(
        "preference_influence", with_suggestions("preference_influence", {"targets": targets}, "embedded")
    )
    length = pool.rows["response_chars"].to_numpy() / 1e4
    preference, sft = [UP, -0.1 - ROWS / 1e5, DOWN], [UP / 2, -0.1 - ROWS / 1e5, length]
    folder = workspace.folder("measurements", "influences00000")
    wide = 3 if other else 2
    parts = Parts.open(folder, {}, [np.arange(len(pool))])
    parts.write(0, pa.table({"preference": flat(preference[:wide]), "sft": flat(sft[:wide])}))
    write_json(folder / SUBTASKS, {"good": ["x", EVIL]} | ({other: ["all pairs"]} if other else {}))
    summary = {
        "seconds": {},
        "tokens": 0,
        "given": file_facts(method),
        "warnings": ["good: the chosen answer is the longer one in 90% of the pairs.", "other: nothing of yours."],
        "targets": [target_summary(name) for name in ("good", other) if name],
        "warm_up": {
            "rows": 24, "rank": 8, "learning_rate": 5e-4, "batch_size": 8, "steps": 6, "epoch_rates": [4e-4, 1e-4],
            "loss": [3.0, 2.9, 2.8, 2.8, 2.7, 2.6],
        },
    }  # fmt: skip
    run = store_run(
        workspace,
        pool,
        "preference_influence",
        {"nll_adapted": np.linspace(1, 2, 240, dtype=np.float32)},
        kept={"influences": folder.name},
        summary=summary,
    )
    columns = load_measured(run).columns
    key = f"{run.id[:-2]}{len(other):02d}"
    run = save_run(
        workspace,
        replace(run, id=key, method=describe_method(method), folder=workspace.folder("runs", key)),
        dict(columns),
    )
    use(workspace, pool, {"targets": targets})
    return run


def use(workspace, pool, params):
    """Store the settings as a user would have left them."""
    settings = state.Settings(method="preference_influence", params={"preference_influence": params})
    write_json(workspace.folder("selections", pool.fingerprint) / "current.json", {"format": 1, **asdict(settings)})


def stored_settings(workspace, pool):
    return read_json(workspace.folder("selections", pool.fingerprint) / "current.json")


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "good.jsonl"
    pair = {"prompt": "Ask", "chosen": "A good answer", "rejected": "No"}
    file.write_text(json.dumps(pair) + "\n")
    return str(file)


@pytest.fixture
def influencing(workspace, pool, source):
    return influencing_run(workspace, pool, source)


@pytest.fixture
def at(influencing, app):
    at = app("explore")
    assert not at.exception
    return at


def target(at, name):
    at.get_by_key("select.preference_influence.target").set_value(name).run()
    assert not at.exception


def test_the_title_states_how_many_rows_help(at):
    assert verdict(at) == 'Influence on "good": 75% of rows help.'  # 179 of 239
    assert "above 0, training on the row helps the target" in page_text(at)
    assert "Rows without a response have no score (1)." in page_text(at)


def test_each_target_has_a_histogram_and_only_the_current_one_a_cut(at):
    figure = chart_figure(at, "explore.influence.ridges")
    row_counts = {}
    for trace in figure["data"]:
        row_counts[trace["yaxis"]] = row_counts.get(trace["yaxis"], 0) + sum(trace["y"])
    assert row_counts == {"y": 239, "y2": 239}
    words = [note["text"] for note in figure["layout"]["annotations"]]
    assert words == ["<b>good</b> · 75% help, median 0.06", "cutoff 0.156", "<b>other</b> · 41% help, median −0.02"]


def test_selected_rows_are_highlighted_in_every_target(at):
    selected = [t for t in chart_figure(at, "explore.influence.ridges")["data"] if t["name"] == "selected"]
    assert [sum(trace["y"]) for trace in selected] == [24, 24]
    assert selected[0]["y"][-1] > 0 and not selected[1]["y"][-1]  # the targets prefer opposite rows


def test_a_clicked_bar_highlights_its_rows_in_every_target(at):
    bars = [t["y"] for t in chart_figure(at, "explore.influence.ridges")["data"] if t["yaxis"] == "y2"]
    counts = np.sum(bars, axis=0)
    fullest = int(np.argmax(counts))
    click(at, "explore.influence.ridges", [{"customdata": [1, fullest, ""]}])
    rows = lit(at)
    assert len(rows) == counts[fullest] > 1 and rows == list(range(rows[0], rows[0] + len(rows)))
    assert describe(highlight(at)[0]).startswith("Influence: other ")
    own, other = marks(chart_figure(at, "explore.influence.ridges"))
    assert other["y"][fullest] == sum(other["y"]) == sum(own["y"]) == len(rows)
    assert re.search(r"Highlighted among the top 24 rows: ROSE \d+, LESS \d+", page_text(at))


def test_a_lasso_in_the_length_plane_highlights_all_rows_inside_it(at, pool):
    square = {"x": [-1, 9, 9, -1], "y": [0.1495, 0.1495, 9, 9]}
    click(at, "explore.influence.length", lasso=[square])
    assert "**30 rows highlighted**, highest Influence: good first" in page_text(at)
    assert lit(at) == list(range(210, 240))
    assert at.dataframe[-1].value["Id"].tolist()[0] == "again"
    short = {"x": [0, 1, 1, 0], "y": [-9, -9, 9, 9]}  # 1 to 10 tokens
    click(at, "explore.influence.length", lasso=[short])
    tokens = pool.rows["response_chars"].to_numpy() // 4
    assert lit(at) == np.flatnonzero((tokens > 1) & (tokens < 10) & (ROWS != 3)).tolist() != []


def test_a_lasso_stays_the_same_under_another_target_and_another_method(influencing, run, app):
    at = choose(app("explore"), "entropy_shift")
    open_section(at, "Influence")
    at.selectbox(key=f"explore.influence.{influencing.id}").set_value("other").run()
    square = {"x": [-1, 9, 9, -1], "y": [0.0005, 0.0005, 9, 9]}
    click(at, "explore.influence.length", lasso=[square])
    expected = [row for row in range(100) if row != 3]  # DOWN above 0
    assert lit(at) == expected
    choose(at, "preference_influence")
    assert lit(at) == expected


def test_the_rows_at_either_end_are_opened_in_the_reader(at):
    ids = at.dataframe[0].value["Id"].tolist()
    assert ids[:2] == ["again", "row-238"] and len(ids) == 50
    at.get_by_key("explore.influence.end").set_value("worst").run()
    assert not at.exception
    assert at.dataframe[0].value["Id"].tolist()[:2] == ["row-0", "row-1"]
    assert at.get_by_key("explore.influence.end").options == ["Most helpful", "Most harmful"]
    target(at, "other")
    assert at.dataframe[0].value["Id"].tolist()[:2] == ["again", "row-238"]  # the targets prefer opposite rows


def test_agreement_is_described_for_targets_for_less_and_for_subtasks(at):
    words = page_text(at)
    apart = "Spearman **−1.00**; their top 24 rows share **0** (overlap 0%, expected by chance 5%)."
    assert f"good and other: {apart}" in words
    assert "ROSE and LESS: Spearman **1.00**; their top 24 rows share **24** (overlap 100%" in words
    assert "The rejected answers change almost nothing here." in words
    assert f"x and {EVIL}: {apart}" in words.replace("\u2060", "")  # which ends what would become a link
    assert " of the top 24 rows, in %" in words


def test_subtask_names_are_escaped(at):
    escaped = "\n".join(str(one.value) for kind in ("markdown", "caption") for one in at.get(kind))
    assert "![i](" not in escaped and "evil.example" in page_text(at)
    assert "<b>y" not in html(at) and "&lt;b&gt;y" in html(at)


def test_without_a_selected_row_no_overlap_is_described(at):
    at.get_by_key("select.unit").set_value("rows").run()
    at.number_input(key="select.exact.rows").set_value(0).run()
    assert not at.exception
    assert "good and other: Spearman **−1.00**." in page_text(at)


def test_a_single_target_has_no_agreement_and_no_choice(workspace, pool, source, app):
    influencing_run(workspace, pool, source, other="")
    at = app("explore")
    assert not at.exception
    assert "Only one target was measured: good." in page_text(at)
    assert "ROSE and LESS: Spearman **1.00**" in page_text(at)
    assert "select.preference_influence.target" not in {one.key for one in at.get("button_group")}


def test_pair_accuracy_is_described_before_and_after_the_warm_up(at):
    assert (
        "prefers the chosen answer to the rejected one in 50% of 10 pairs before warm-up training, 70% after."
        in page_text(at)
    )
    figure = chart_figure(at, "explore.influence.accuracy")
    solid, dashed = figure["data"][:2]
    assert solid["y"] == [50, 60, 70] and solid["x"] == [0, 1, 2]
    assert dashed["y"] == [40, None] and dashed["x"] == [1, 2]


def influence_check(low, high, target="good"):
    found = Correlation((low + high) / 2, low, high)
    pairs = {"predicted": (1.0, 2.0, 3.0), "measured": (0.01, -0.02, 0.04)}
    counts = {"loss": 0.69, "rows": 120, "steps": 7, "tokens_per_step": 640, "seconds": 3.0}
    return InfluenceCheck(target, "preference", found, found, **pairs, **counts)


def test_a_check_of_the_influence_is_shown_where_it_was_run(influencing, app):
    assert "Influence check" not in page_text(app("explore"))
    store_check(influencing, influence_check(0.21, 0.83))
    at = app("explore")
    assert not at.exception
    text = page_text(at)
    assert "Influence predicts what training does: over 3 random halves, Spearman +0.52 (95% interval +0.21 to" in text
    assert "a random half of the rows (120), trained on for 7 steps × 640 response tokens" in text
    (dots,) = chart_figure(at, "explore.influence.check")["data"]
    assert (dots["x"], dots["y"]) == ([1, 2, 3], [0.01, -0.02, 0.04])
    target(at, "other")  # which was not checked
    assert "Influence check" not in page_text(at)


@pytest.mark.parametrize(
    ("low", "high", "found", "words"),
    [
        (-0.2, 0.4, "is not shown to predict", "The interval contains 0"),
        (-0.8, -0.1, "predicts the opposite of", "Halves with more influence helped the target less"),
    ],
)
def test_a_check_without_a_positive_correlation_warns(influencing, app, low, high, found, words):
    store_check(influencing, influence_check(low, high))
    at = app("explore")
    assert f"Influence {found} what training does" in page_text(at)
    assert any(words in warning.value for warning in at.warning)


def test_the_pairs_can_be_read(at):
    at.session_state["targets.pairs"] = True
    at.run()
    assert not at.exception
    assert {"A good answer", "No"} <= {block.value for block in at.text}


def test_the_run_s_warnings_about_the_current_target_are_shown(at):
    assert [one.value.replace("\\", "") for one in at.warning] == [
        "1 of 240 rows (0.4%) have no score and cannot be selected by it.",
        "good: the chosen answer is the longer one in 90% of the pairs.",
    ]


def test_influence_that_follows_length_is_reported(at):
    assert "Influence **barely tracks response length**" in page_text(at)
    target(at, "other")
    at.get_by_key("select.preference_influence.objective").set_value("sft").run()
    assert not at.exception
    assert verdict(at).startswith(
        'Influence on "other" (chosen answers only, LESS) mostly tracks response length (ρ = +'
    )
    assert "Influence **mostly tracks response length** (ρ = +1.00), longer responses score higher." in page_text(at)
    assert any("This score mostly tracks length" in one.value for one in at.warning)


def test_another_target_changes_the_score_and_clears_the_threshold(influencing, app, workspace, pool):
    at = app("select")
    assert not at.exception
    at.slider(key="select.threshold.influence.high").set_value(0.17).run()
    assert (
        at.subheader[0].value == "10 of 240 rows are selected (4.2%)."
        and stored_settings(workspace, pool)["threshold"] == 0.17
    )
    assert "cutoff 0.17" in html(at)
    target(at, "other")
    assert (
        at.subheader[0].value == "24 of 240 rows are selected (10.0%)."
        and stored_settings(workspace, pool)["threshold"] is None
    )
    assert "cutoff 0.076" in html(at)  # the score of row 24, because row 3 has none
    at.get_by_key("select.view").set_value("Top ranked").run()
    threshold_rows = [i for i in range(25) if i != 3]
    assert at.dataframe[0].value["Id"].tolist() == [f"row-{i}" for i in threshold_rows]
    at.slider(key="select.threshold.influence.high").set_value(0.09).run()
    assert at.subheader[0].value == "10 of 240 rows are selected (4.2%)."
    at.button(key="select.undo").click().run()
    at.button(key="select.undo").click().run()
    assert not at.exception
    assert (
        at.subheader[0].value == "10 of 240 rows are selected (4.2%)."
        and stored_settings(workspace, pool)["threshold"] == 0.17
    )


def test_long_target_names_are_shown_as_a_list(workspace, pool, source, app):
    name = "a-target-set-of-answers-with-a-name-that-will-not-end-before-the-line"
    influencing_run(workspace, pool, source, other=name)
    at = app("select")
    at.selectbox(key="select.preference_influence.target").set_value(name).run()
    assert not at.exception
    assert stored_settings(workspace, pool)["params"]["preference_influence"]["target"] == name
    assert "cutoff 0.076" in html(at)


def test_the_recipe_of_a_target_selects_the_rows_shown(influencing, app, pool):
    at = app("select")
    target(at, "other")
    recipe = state_recipe(at, pool)
    assert recipe.method.params["target"] == "other"
    rows = make_selection(recipe, pool, load_measured(influencing)).rows
    assert rows.tolist() == [i for i in range(25) if i != 3]


def state_recipe(at, pool):
    return state.recipe(pool, at.session_state[state.SETTINGS])


def test_subtasks_in_turn_select_the_best_of_each(influencing, app):
    at = app("select")
    keys = {one.key for one in at.get("button_group")}
    assert {f"select.preference_influence.{name}" for name in ("target", "objective", "subtasks")} <= keys
    at.get_by_key("select.preference_influence.subtasks").set_value("in turn").run()
    assert not at.exception
    assert "the best of each sub-task are selected" in html(at)
    assert not [one for one in at.slider if one.key.startswith("select.threshold")]
    at.get_by_key("select.preference_influence.subtasks").set_value("max").run()
    target(at, "other")  # without sub-tasks
    assert "select.preference_influence.subtasks" not in {one.key for one in at.get("button_group")}


def test_the_score_section_treats_influences_as_related(at):
    open_section(at, "Score")
    assert verdict(at).startswith("Influence ")
    labels = chart_figure(at, "explore.follows")["data"][0]["y"]
    assert "Influence: other" in labels and "Influence: good" not in labels  # the score itself


def test_under_another_method_the_section_uses_the_measured_settings(influencing, run, app):
    at = choose(app("explore"), "entropy_shift")
    assert "Influence" in sections(at)
    open_section(at, "Influence")
    assert verdict(at) == 'Influence on "good": 75% of rows help.'
    at.selectbox(key=f"explore.influence.{influencing.id}").set_value("other").run()
    assert not at.exception
    assert verdict(at) == 'Influence on "other": 41% of rows help.'
    assert "cut" not in json.dumps(chart_figure(at, "explore.influence.ridges")["layout"]["annotations"])


def test_the_score_page_describes_pairs_and_the_warm_up(influencing, app):
    at = app("measure")
    assert not at.exception
    words = page_text(at)
    assert (
        "Target good: 10 of 40 pairs used; skipped: 2 × chosen equals rejected and 1 × no difference within the "
        "maximum length; the model prefers the chosen answer in 50% of the pairs before the warm-up, in 70% after it; "
        "prompts that are also in the pool: 3." in words
    )
    assert "rank 8 on 24 rows: 6 steps of 8 rows, 2 epochs, peak learning rate 0.0005" in words
    assert chart_figure(at, "Preference influence")["data"][0]["y"] == [3.0, 2.9, 2.8, 2.8, 2.7, 2.6]
