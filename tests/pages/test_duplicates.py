"""Near-duplicates on screen: found by a job, filtered, and named at the row that repeats one."""

import json
import time

import pytest

from core.pool.near_duplicates import find_near_duplicates
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.workspace.files import read_json
from core.workspace.jobs import list_jobs
from pages.ui.shell.open_row import OPEN, OpenRow
from tests.pages.conftest import write_rows


@pytest.fixture
def pool(workspace, tmp_path):
    """Return 240 rows; 20 of them repeat an earlier one plus "please"; the last is an exact duplicate of the first."""
    rows = [json.loads(line) for line in write_rows(tmp_path / "small.jsonl").read_text().splitlines()]
    for k in range(20):
        words = " ".join(f"word{k}-{w}" for w in range(20))
        rows[k] |= {"output": words}
        rows[200 + k] |= {"instruction": f"Please! {rows[k]['instruction']}", "output": words}
    rows[-1] |= {"output": rows[0]["output"]}
    (tmp_path / "small.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_pool(str(tmp_path / "small.jsonl"), workspace=workspace.root)


@pytest.fixture
def repeats(pool, workspace):
    """Store which row each row nearly repeats, (N,)."""
    return find_near_duplicates(pool, workspace, 0.8, SilentReporter())


def choices(at) -> str:
    return next(one for one in at.metric if one.label == "ΔH at the cutoff").delta


def test_one_row_of_each_group_is_eligible(run, repeats, app):
    at = app("select")
    at.slider(key="select.entropy_shift.gamma").set_value(0.0).run()
    toggle = at.toggle(key="select.near_duplicate_of@0.8")
    tagged = int((repeats >= 0).sum())
    assert tagged == 21
    assert toggle.label == f"Keep one of each near-duplicate (similarity ≥ 0.8): excludes {tagged} rows"
    toggle.set_value(True).run()
    assert not at.exception
    assert choices(at) == f"{240 - tagged} eligible rows"
    assert [b.label for b in at.button if b.key == "filter.remove.0"] == [
        r"one row of each near\-duplicate group \(similarity ≥ 0\.8\)"
    ]
    at.button(key="filter.remove.0").click().run()
    assert choices(at) == "240 eligible rows"
    assert not at.toggle(key="select.near_duplicate_of@0.8").value


def test_a_row_shows_which_line_it_repeats(run, pool, repeats, app):
    near = next(i for i in range(239) if repeats[i] >= 0)
    at = app("select")
    at.session_state[OPEN] = OpenRow(f"row-{near}", near)
    at.run()
    assert not at.exception
    shown = "".join(one.value for one in at.markdown).replace("\\", "")
    assert f"near-duplicate of line {repeats[near] + 1}" in shown


def test_near_duplicates_are_found_in_the_background(run, pool, workspace, app):
    at = app("select")
    assert "select.near_duplicate_of@0.9" not in {one.key for one in at.toggle}
    at.number_input(key="near.alike").set_value(0.9)
    at.button(key="near.find").click().run()
    assert not at.exception
    (job,) = list_jobs(workspace)
    command = read_json(job.folder / "job.json")["command"]
    assert command == ["duplicates", pool.fingerprint, "--threshold", "0.9", "--workspace", str(workspace.root)]
    for _ in range(600):  # until it ends
        (job,) = list_jobs(workspace)
        if not job.live:
            break
        time.sleep(0.1)
    assert job.state == "done"
    at.run()
    assert not at.exception
    assert "select.near_duplicate_of@0.9" in {one.key for one in at.toggle}
