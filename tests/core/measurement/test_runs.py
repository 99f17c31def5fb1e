"""Runs of an earlier version, which read rows in another way: never used, never mixed with new ones, and named."""

from dataclasses import replace

import pytest

from core.cli.commands import require_run
from core.errors import RecipeError
from core.measurement.lookup import find_run, find_signal
from core.measurement.measure import measure
from core.measurement.runs import describe_outdated, list_runs, save_run
from core.methods import build_method
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.selection.recipe import parse_recipe
from tests.pages.conftest import entropy_shift_run, write_near_duplicates


@pytest.fixture
def pool(workspace, tmp_path):
    return load_pool(str(write_near_duplicates(tmp_path / "rows.jsonl", pairs=0)), workspace=workspace.root)


@pytest.fixture
def run(workspace, pool):
    return entropy_shift_run(workspace, pool)


def make_outdated(workspace, run, name="old"):
    """Store a copy of the run as an earlier version did, whose reading had no share of the prompt."""
    before = {key: value for key, value in run.reading.items() if key != "prompt_share"}
    columns = run.load_columns(run.columns)
    return save_run(workspace, replace(run, id=name, reading=before, folder=workspace.folder("runs", name)), columns)


def test_an_outdated_run_is_not_listed_or_found_and_is_counted_in_a_sentence(workspace, pool, run):
    assert describe_outdated(workspace, pool.fingerprint) == ""
    old = make_outdated(workspace, run)
    assert old.outdated and not run.outdated
    assert [each.id for each in list_runs(workspace, pool.fingerprint)] == [run.id]
    assert find_signal(workspace, pool, "base", Reading(**run.reading)).id == run.id
    assert describe_outdated(workspace, pool.fingerprint).startswith(
        "1 measurement of this pool was made by an earlier"
    )
    make_outdated(workspace, run, "older")
    assert describe_outdated(workspace, pool.fingerprint).startswith("2 measurements of this pool were made")
    assert describe_outdated(workspace, "another") == ""


def test_measuring_says_so_and_so_does_a_selection_without_a_run(workspace, pool, run):
    make_outdated(workspace, run)
    (run.folder / "run.json").unlink()
    method, notes = build_method("longest", {}), []
    assert find_run(workspace, pool, method, Reading(), 0) is None
    recipe = parse_recipe({"pool": {"source": "p"}, "method": {"name": "longest"}, "budget": "5"}, "test")
    with pytest.raises(
        RecipeError, match=r"an earlier version, which shortened long rows differently\. .* First run: "
    ):
        require_run(recipe, pool, workspace)

    class Recorder(SilentReporter):
        def note(self, text):
            notes.append(text)

    measure(pool, method, Reading(), workspace, report=Recorder())
    assert describe_outdated(workspace, pool.fingerprint) in notes
