"""Scores of other tools in the app: read, imported, used on every page, removed; and ours as a file."""

import json
from dataclasses import replace

import numpy as np
import pytest

from core.measurement.lookup import find_run
from core.measurement.run_data import load_measured
from core.methods import build_method
from core.pool.outside_scores import import_scores, list_scores
from core.pool.pool_columns import load_columns
from core.schema import Reading
from core.selection.filters import Filter
from core.selection.recipe import MethodPart, PoolPart, Recipe
from pages.ui.data import live_selection
from pages.ui.shell import state
from pages.ui.shell.state import Contender
from tests.pages.conftest import ROWS, run_until

COLUMN = "score@loss"


@pytest.fixture
def file(pool, tmp_path):
    """Write scores of the first 200 rows in OpenDataArena's form, and of a row that the pool does not have."""
    rows = [{"id": f"row-{k}", "scores": {"loss": {"score": k % 50}, "judge": 5 - k % 5}} for k in range(200)]
    path = tmp_path / "judge.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"id": "other", "scores": {"loss": 1}}]))
    return path


@pytest.fixture
def scored(pool, workspace, file):
    return import_scores(pool, str(file), workspace, ends={"loss": "low"})


def open_panel(at):
    at.session_state["scores"] = True
    at.run()
    assert not at.exception
    return at


def press(at, key):
    at.button(key=key).click().run()
    assert not at.exception


def captions(at) -> str:
    return "\n".join(each.value for each in at.caption).replace("\\", "")


def test_a_file_is_read_its_ends_asked_and_it_is_imported(app, run, pool, workspace, file):
    at = open_panel(app("pool"))
    at.session_state["scores.file"] = str(file)
    at.run()
    assert "judge.jsonl, 201 rows: 200 ids are in the pool; 1 id is not in the pool, such as other." in captions(at)
    table = at.dataframe[0].value if "Score" in at.dataframe[0].value else at.dataframe[1].value
    assert table.to_dict("records")[0] == {"Score": "loss", "Rows": 201, "Lowest": 0.0, "Highest": 49.0}
    at.pills(key=f"scores.{file}.low").set_value(["loss"]).run()
    press(at, "scores.start")
    run_until(at, lambda: list_scores(workspace.root, pool.fingerprint))
    run_until(at, lambda: any("the lowest is best" in each.value for each in at.markdown))
    assert {c: a["end"] for c, a in list_scores(workspace.root, pool.fingerprint).items()} == {
        COLUMN: "low",
        "score@judge": "high",
    }
    assert "judge.jsonl: 201 rows; 1 id is not in the pool, such as other." in captions(at)


def test_a_file_outside_the_folders_is_refused_in_one_sentence(app, run):
    at = open_panel(app("pool"))
    at.session_state["scores.file"] = "/etc/passwd"
    at.run()
    assert not at.exception and "/etc/passwd" in at.error[0].value


def test_an_upload_is_read_like_a_file(app, run, file):
    at = open_panel(app("pool"))
    at.file_uploader(key="scores.upload").upload("mine.jsonl", file.read_bytes()).run()
    assert not at.exception and "mine.jsonl, 201 rows: 200 ids" in captions(at)


def test_imported_scores_are_columns_of_every_page(app, run, pool, scored):
    recipe = Recipe(pool=PoolPart(source="-"), method=MethodPart(name="entropy_shift"), budget="10%")
    assert COLUMN in live_selection.numbers(
        run, live_selection.evaluate(pool, run, recipe)
    )  # what a map is coloured by
    at = app("explore")
    assert "loss" in at.selectbox(key="explore.column.entropy_shift").options
    at.selectbox(key="explore.column.entropy_shift").set_value(COLUMN).run()
    assert not at.exception and "The lowest is best, as chosen on import. 200 rows scored; 40 without" in captions(at)
    at.switch_page("pages/select.py").run()
    assert "loss" in at.selectbox(key="filter.column").options
    at.selectbox(key="filter.column").set_value(COLUMN).run()
    at.number_input(key="filter.high").set_value(9.0).run()
    press(at, "filter.add")
    assert at.session_state[state.SETTINGS].filters == (Filter(COLUMN, high=9.0),)


def test_an_imported_score_ranks_from_the_end_named_once(app, run, scored, pool, workspace):
    at = open_panel(app("pool"))
    press(at, f"scores.rank.{COLUMN}")
    now = at.session_state[state.SETTINGS]
    assert (now.method, now.params["imported"]) == ("imported", {"field": COLUMN, "end": "low"})
    at.switch_page("pages/compare.py").run()
    assert at.selectbox(key="compare.field").options[:2] == ["score@judge", COLUMN]
    press(at, "compare.import")
    judge = Contender("imported", {"field": "score@judge", "end": "high"})
    assert judge in at.session_state[state.SETTINGS].contenders
    at.switch_page("pages/select.py").run()
    at.session_state[state.SETTINGS] = replace(now, method="combined")
    at.run()
    assert {"Imported score", "score@judge (highest first)"} <= set(at.pills(key="combination.methods").options)


def test_a_removed_score_leaves_no_filter_and_no_ranking(app, run, scored, pool, workspace, file):
    at = open_panel(app("pool"))
    press(at, f"scores.rank.{COLUMN}")
    assert "Lowest imported score is selected first." in captions(at)
    now = at.session_state[state.SETTINGS]
    at.session_state[state.SETTINGS] = replace(now, filters=(Filter(COLUMN, low=1.0), Filter("nll", low=0.0)))
    open_panel(at.switch_page("pages/pool.py"))
    press(at, f"scores.remove.{COLUMN}")
    assert COLUMN not in load_columns(workspace.root, pool.fingerprint)
    assert at.session_state[state.SETTINGS].filters == (Filter("nll", low=0.0),)
    assert not at.button(key="scores.rank.score@judge").disabled
    file.write_text(json.dumps({"id": "row-3", "loss": 7}) + "\n")
    import_scores(pool, str(file), workspace)
    open_panel(at.switch_page("pages/pool.py"))
    press(at, f"scores.rank.{COLUMN}")
    ranked = find_run(workspace, pool, build_method("imported", {"field": COLUMN}), Reading(), 0)
    assert np.flatnonzero(load_measured(ranked).columns["imported"] == 7).tolist() == [3]  # not the numbers before


def test_all_scores_are_downloaded_in_the_form_of_opendataarena(app, run, scored, workspace):
    at = app("export")
    press(at, "scores.save")
    assert any(link.proto.label.startswith("Download scores.jsonl") for link in at.get("link_button"))
    (path,) = workspace.root.glob("exports/*/scores.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == ROWS and {"nll", "delta_entropy", COLUMN} <= lines[0]["scores"].keys()
