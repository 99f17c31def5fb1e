"""Near-duplicates of a pool: computed once, stored, used by filters; those planted in the demo pool are found."""

import numpy as np
import pytest

from core.cli.commands import duplicates_facts
from core.columns import DUPLICATES, duplicates_of
from core.errors import Cancelled, RecipeError
from core.measurement.recipe_inputs import find_recipe_duplicates
from core.output.curate import curate
from core.pool import near_duplicates as duplicates
from core.pool.near_duplicates import cache_stamp, find_near_duplicates, load_near_duplicates
from core.pool.pools import load_answer_key, load_pool
from core.progress import SilentReporter
from core.selection.recipe import named_duplicates, parse_recipe
from core.workspace.folder import Workspace
from tests.pages.conftest import entropy_shift_run, write_near_duplicates


@pytest.fixture
def place(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def pool(place, tmp_path):
    """Open 240 rows: row 100 + k nearly repeats row k for k below 20, and the last repeats the first."""
    return load_pool(str(write_near_duplicates(tmp_path / "rows.jsonl", pairs=20)), workspace=place.root)


def find(pool, place, similarity=0.8, report=None):
    return find_near_duplicates(pool, place, similarity, report or SilentReporter())


class Counting(SilentReporter):
    def __init__(self, stop_after=None):
        self.advanced, self.stop_after = [], stop_after

    def advance(self, rows, work):
        self.advanced.append(rows)
        if self.stop_after is not None and len(self.advanced) >= self.stop_after:
            raise Cancelled("stop")


def test_the_demo_pools_planted_copies_are_found(place):
    demo = load_pool("demo", workspace=place.root)
    at = {name: k for k, name in enumerate(demo.rows["id"].to_pylist())}
    repeats = find(demo, place)
    first = np.where(repeats < 0, np.arange(len(demo)), repeats)
    share = {}
    for fault in ("exact_duplicate", "near_duplicate"):
        pairs = [(at[i], at[about["of"]]) for i, about in load_answer_key(demo).items() if about["fault"] == fault]
        share[fault] = np.mean([first[a] == first[b] for a, b in pairs])
    assert share["exact_duplicate"] == 1
    assert share["near_duplicate"] == pytest.approx(58 / 72)  # the share at 0.8 or more, if all pairs are compared


def test_a_row_repeats_an_earlier_one_that_repeats_none(pool, place):
    expected = np.full(240, -1)
    expected[100:120], expected[-1] = np.arange(20), 0
    assert find(pool, place, 0.6).tolist() == expected.tolist()


def test_near_duplicates_are_stored_and_not_computed_again(pool, place):
    before = cache_stamp(place.root, pool.fingerprint)
    first = find(pool, place)
    report = Counting()
    np.testing.assert_array_equal(find(pool, place, report=report), first)
    assert report.advanced == []
    assert cache_stamp(place.root, pool.fingerprint) != before
    stored = load_near_duplicates(place.root, pool.fingerprint)
    assert list(stored) == ["near_duplicate_of@0.8"]
    np.testing.assert_array_equal(stored["near_duplicate_of@0.8"], first)


def test_a_stopped_worker_repeats_no_finished_part(pool, place, tmp_path, monkeypatch):
    monkeypatch.setattr(duplicates, "PART_ROWS", 50)
    with pytest.raises(Cancelled):
        find(pool, place, report=Counting(stop_after=2))
    report = Counting()
    resumed = find(pool, place, report=report)
    assert report.advanced[0] == 150  # two parts were stored
    np.testing.assert_array_equal(resumed, find(pool, Workspace(tmp_path / "other")))


def test_turns_are_read_where_a_row_has_several():
    turns = '[{"role": "user", "content": "a b"}, {"role": "assistant", "content": "c"}]'
    assert duplicates.row_text("b", "c", turns) == "a b\nc"
    assert duplicates.row_text("b", None, None) == "b\n"


@pytest.mark.parametrize("column", ["near_duplicate_of@x", "near_duplicate_of@0.1", "near_duplicate_of@1.5"])
def test_an_invalid_similarity_is_refused(column):
    with pytest.raises(RecipeError):
        DUPLICATES["words"].similarity(column)


def test_columns_name_their_similarity_and_others_have_none():
    kind = DUPLICATES["words"]
    assert kind.column(0.8) == "near_duplicate_of@0.8"
    assert duplicates_of("near_duplicate_of@0.75") is kind and kind.similarity("near_duplicate_of@0.75") == 0.75
    assert duplicates_of("nll") is duplicates_of("duplicate_of") is None


def recipe(column):
    filters = [{"column": column, "low": 0, "exclude": True}]
    return parse_recipe({"pool": {"source": "p"}, "method": {"name": "longest"}, "filters": filters}, "test")


def test_a_filter_names_its_similarity_in_one_form_only():
    for column in ("near_duplicate_of", "near_duplicate_of@0.80", "near_duplicate_of@0.8"):
        assert named_duplicates(recipe(column)) == {"near_duplicate_of@0.8": DUPLICATES["words"]}


def test_a_filter_on_near_duplicates_applies_once_they_are_stored(pool, place, tmp_path):
    run, plan = entropy_shift_run(place, pool), recipe("near_duplicate_of@0.6").model_copy(update={"budget": "240"})
    with pytest.raises(RecipeError, match=r"not computed yet .*python -m core duplicates .* --threshold 0\.6"):
        curate(plan, pool, run, tmp_path / "chosen.jsonl")
    find_recipe_duplicates(plan, pool, place, SilentReporter())
    facts = duplicates_facts(DUPLICATES["words"], 0.6, plan, pool, place, SilentReporter())
    assert (facts["near_duplicates"], facts["groups"], facts["largest_group"]) == (21, 20, 3)
    written = curate(plan, pool, run, tmp_path / "chosen.jsonl")
    assert written.rows == 240 - 21
    assert facts["exact_duplicates"] == 1
    assert "one row of each near-duplicate group (similarity ≥ 0.6)" in (tmp_path / "chosen.README.md").read_text()
    assert "near_duplicate_of@0.6" in (tmp_path / "chosen.manifest.json").read_text()
