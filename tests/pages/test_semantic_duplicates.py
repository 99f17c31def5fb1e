"""Semantic duplicates on screen: found by a job, filtered, coloured, and shown with the row that is kept."""

import time

import numpy as np
import pyarrow as pa
import pytest

from core.columns import DUPLICATES, USUAL_SEMANTIC_DUPLICATES
from core.measurement.recipe_inputs import find_duplicates
from core.progress import SilentReporter
from core.selection.recipe import parse_recipe
from core.workspace.files import read_json
from core.workspace.jobs import list_jobs
from core.workspace.parts import Parts
from pages.ui.map.colours import colour_by_duplicates
from pages.ui.shell.open_row import OPEN, OpenRow
from pages.ui.theme import REST, SELECTED, WARNING
from tests.pages.conftest import entropy_shift_run
from tests.pages.test_explore import open_section

TOGGLE = f"select.{USUAL_SEMANTIC_DUPLICATES}"


@pytest.fixture
def run(workspace, pool):
    """Return a run with embeddings: row k + 200 has nearly those of row k, for k below 20; no other two are similar."""
    run = entropy_shift_run(workspace, pool, dtype="float32")
    vectors = np.random.default_rng(0).normal(size=(len(pool), 64)) + 3
    vectors[200:220] = vectors[:20] + 0.1 * (vectors[200:220] - 3)
    vectors[-1] = vectors[0]
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float16).ravel()), 64)
    parts = Parts.open(run.stage_folder("base"), {}, [np.arange(len(pool))])
    parts.write(0, pa.table({"prompt_embedding": flat, "response_embedding": flat}))
    return run


@pytest.fixture
def repeats(run, pool, workspace):
    """Store which row each row repeats in meaning, (N,)."""
    recipe = parse_recipe({"pool": {"source": "-"}, "method": {"name": "lowest_nll"}, "reading": run.reading}, "test")
    return find_duplicates(DUPLICATES["response"], 0.95, recipe, pool, workspace, SilentReporter())


def test_one_row_of_each_group_is_eligible(repeats, app):
    at = app("select")
    at.slider(key="select.entropy_shift.gamma").set_value(0.0).run()
    tagged = int((repeats >= 0).sum())
    assert tagged == 21 and repeats[200:220].tolist() == list(range(20))
    label = f"Keep one of each semantic duplicate (cosine of responses ≥ 0.95): excludes {tagged} rows"
    assert at.toggle(key=TOGGLE).label == label
    at.toggle(key=TOGGLE).set_value(True).run()
    assert not at.exception
    shown = next(one for one in at.metric if one.label == "ΔH at the cutoff").delta
    assert shown == f"{240 - tagged} eligible rows"
    assert at.button(key="filter.remove.0").label.startswith("one row of each semantic duplicate group")


def test_a_row_is_shown_with_the_row_that_is_kept(repeats, pool, app):
    row = int(np.flatnonzero(repeats >= 0)[0])
    kept = int(repeats[row])
    at = app("select")
    at.session_state[OPEN] = OpenRow(pool.rows["id"][row].as_py(), row)
    at.run()
    shown = "".join(one.value for one in at.markdown).replace("\\", "")
    assert f"semantic duplicate of line {kept + 1} (cosine " in shown
    at.segmented_control(key="reader.part").set_value("Similar").run()
    assert not at.exception
    shown = " ".join(one.value for one in at.markdown)
    assert "rows form a group of semantic duplicates (cosine of responses ≥ 0.95)**; " in shown
    assert "Kept in place of this row, at a cosine of" in shown
    assert pool.rows["prompt"][kept].as_py() in [text.value for text in at.text]
    table = at.dataframe[-1].value
    assert table["Which"].iloc[0] == "kept" and table["Cosine"].iloc[0] == 1
    assert table["Cosine"].iloc[1:].min() >= 0.95


def test_they_are_found_in_the_background_with_the_model_of_the_settings(run, pool, workspace, app):
    at = app("select")
    at.segmented_control(key="near.by").set_value("prompt").run()
    assert at.number_input(key="near.alike.prompt").value == 0.95
    at.number_input(key="near.alike.prompt").set_value(0.9)
    at.button(key="near.find").click().run()
    assert not at.exception
    (job,) = list_jobs(workspace)
    command = read_json(job.folder / "job.json")["command"]
    assert command[:7] == ["duplicates", pool.fingerprint, "--by", "embedding", "--of", "prompt", "--threshold"]
    while (job := list_jobs(workspace)[0]).live:
        time.sleep(0.1)
    assert job.state == "done", job.message
    at.run()
    assert "select.semantic_prompt_duplicate_of@0.9" in {one.key for one in at.toggle}


def test_the_map_colours_duplicates_and_the_rows_that_are_kept():
    colours = colour_by_duplicates(np.array([-1, -1, 0, 0, -1]))
    shown = [list(colours.colours)[code] for code in colours.codes]
    assert shown == ["kept of a group", "no duplicate", "duplicate", "duplicate", "no duplicate"]
    assert list(colours.colours.values()) == [WARNING, SELECTED, REST]


def test_the_map_offers_them_as_a_colour(run, repeats, pool, app):
    at = open_section(app("explore"), "Map")
    box = at.selectbox(key="explore.map.colour")
    assert "Semantic duplicates (cosine of responses ≥ 0.95)" in box.options
    box.set_value(f"duplicates.{USUAL_SEMANTIC_DUPLICATES}").run()
    assert not at.exception
