"""Held-out rows: a partition, by groups, in proportion, same seed same rows; written, described and replayed."""

import hashlib
import json

import numpy as np
import pytest
import yaml

from core.errors import RecipeError, ReplayError
from core.output.curate import curate
from core.output.dataset_card import dataset_info_snippet
from core.output.manifest import read_manifest
from core.output.replay import replay_rows
from core.pool.near_duplicates import find_near_duplicates
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.selection.holdout import hold_out_rows
from core.selection.recipe import load_recipe, parse_recipe
from core.workspace.folder import Workspace
from tests.pages.conftest import entropy_shift_run, write_near_duplicates


def alone(n):
    return np.arange(n)


def one_task(n):
    return np.zeros(n, np.int64)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.333, 0.5])
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_groups_are_never_split_and_the_share_is_met(share, seed):
    random = np.random.default_rng(seed)
    n = 1000
    groups = np.minimum(np.arange(n), random.integers(0, n, n))  # of many sizes
    groups = groups[groups]
    rows = random.permutation(n)[:600]
    apart = hold_out_rows(rows, groups, random.integers(0, 5, n), share, seed=seed)
    train = np.setdiff1d(rows, apart)
    assert len(np.intersect1d(rows, apart)) == len(apart) == len(rows) - len(train)
    assert not set(groups[apart]) & set(groups[train])
    assert len(apart) == round(share * 600)


def test_every_task_is_held_out_in_proportion():
    tasks = np.repeat([0, 1, 2], [100, 60, 40])
    apart = hold_out_rows(alone(200), alone(200), tasks, 0.1, seed=0)
    assert np.bincount(tasks[apart]).tolist() == [10, 6, 4]


def test_a_task_too_small_for_its_share_leaves_it_to_the_others():
    tasks, groups = np.array([0] * 10 + [1] * 10), np.array([0] * 10 + list(range(10, 20)))
    assert hold_out_rows(alone(20), groups, tasks, 0.25, seed=0).min() >= 10  # task 0 is one group of ten
    assert len(hold_out_rows(alone(20), groups, tasks, 0.25, seed=0)) == 5


def test_the_seed_decides_and_the_order_of_rows_does_not():
    rows = np.random.default_rng(0).permutation(300)[:200]
    first = hold_out_rows(rows, alone(300), one_task(300), 0.1, seed=3)
    np.testing.assert_array_equal(first, hold_out_rows(np.sort(rows), alone(300), one_task(300), 0.1, seed=3))
    assert first.tolist() == sorted(first)
    assert first.tolist() != hold_out_rows(rows, alone(300), one_task(300), 0.1, seed=4).tolist()


def test_if_the_share_is_below_every_group_the_smallest_is_held_out():
    groups = np.array([0, 0, 0, 3, 3, 5, 5, 5])
    assert hold_out_rows(alone(8), groups, one_task(8), 0.05, seed=0).tolist() == [3, 4]
    assert len(hold_out_rows(alone(3), alone(3), one_task(3), 0.01, seed=0)) == 1


def test_one_group_cannot_be_split():
    with pytest.raises(RecipeError, match="None of the 4 selected rows can go to a validation split"):
        hold_out_rows(alone(4), one_task(4), one_task(4), 0.5, seed=0)


# Written


@pytest.fixture
def place(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def pool(place, tmp_path):
    """Return 240 rows; row 100 + k nearly repeats row k, k below 30, and row 239 repeats row 0."""
    return load_pool(str(write_near_duplicates(tmp_path / "rows.jsonl", pairs=30)), workspace=place.root)


@pytest.fixture
def run(place, pool):
    return entropy_shift_run(place, pool)


def recipe(**export):
    data = {"pool": {"source": "p"}, "method": {"name": "longest"}, "budget": "60%", "seed": 5}
    return parse_recipe(data | {"export": export}, "test")


def ids(path):
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


@pytest.fixture
def written(place, pool, run, tmp_path):
    find_near_duplicates(pool, place, 0.8, SilentReporter())
    plan = recipe(held_out="20%", apart="near_duplicate_of", rejected=True, with_scores=True)
    return curate(plan, pool, run, tmp_path / "out" / "chosen.jsonl")


def test_train_held_out_and_rejected_are_the_pool(written, pool):
    files = [ids(file) for file in (written.chosen, written.held_out, written.rejected)]
    assert [len(one) for one in files] == [115, 29, 96]
    assert sorted(one for file in files for one in file) == sorted(pool.rows["id"].to_pylist())
    assert (written.rows, written.held_out_rows) == (115, 29)


def test_no_near_duplicate_is_in_both_files(written):
    train, apart = set(ids(written.chosen)), set(ids(written.held_out))
    pairs = [(f"row-{k}", f"row-{100 + k}") for k in range(30)]
    both = [pair for pair in pairs if set(pair) <= train | apart]
    assert len(both) == 30
    assert not [pair for pair in both if len(set(pair) & train) == 1]


def test_the_manifest_names_both_files_and_every_row(written):
    manifest = read_manifest(written.manifest)
    second = manifest.output.held_out
    assert (second.file, second.rows) == ("chosen.heldout.jsonl", 29)
    assert second.sha256 == hashlib.sha256(written.held_out.read_bytes()).hexdigest()
    assert [row.id for row in manifest.rows] == ids(written.chosen)
    assert [row.id for row in manifest.held_out] == ids(written.held_out)
    assert manifest.recipe["export"]["apart"] == "near_duplicate_of@0.8"


def test_the_card_and_the_trainers_entry_list_the_held_out_file(written, pool):
    card = written.card.read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["configs"][0]["data_files"] == [
        {"split": "train", "path": "chosen.jsonl"},
        {"split": "test", "path": "chosen.heldout.jsonl"},
    ]
    assert "# 144 rows selected" in card
    assert "29 of the 144 rows, in `chosen.heldout.jsonl`" in card
    assert "near-duplicates (similarity ≥ 0.8)" in card
    entry = json.loads(dataset_info_snippet(read_manifest(written.manifest)))
    assert {name: about["file_name"] for name, about in entry.items()} == {
        "chosen": "chosen.jsonl",
        "chosen.heldout": "chosen.heldout.jsonl",
    }


def again(written, pool, run, out):
    return replay_rows(read_manifest(written.manifest), load_recipe(written.recipe), pool, run, out)


def test_replay_reproduces_every_file(written, pool, run, tmp_path):
    replayed = again(written, pool, run, tmp_path / "again" / "chosen.jsonl")
    for name in ("chosen.jsonl", "chosen.heldout.jsonl", "chosen.rejected.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (written.chosen.parent / name).read_bytes()
    assert len(list((tmp_path / "again").iterdir())) == 3
    assert replayed.held_out.path == tmp_path / "again" / "chosen.heldout.jsonl"


def test_replay_reproduces_every_file_of_parquet(pool, run, tmp_path):
    plan = recipe(held_out="20%", rejected=True, with_scores=True)
    written = curate(plan, pool, run, tmp_path / "out" / "chosen.parquet")
    replayed = again(written, pool, run, tmp_path / "again" / "chosen.parquet")
    for name in ("chosen.parquet", "chosen.heldout.parquet", "chosen.rejected.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (written.chosen.parent / name).read_bytes()
    assert replayed.held_out.path == tmp_path / "again" / "chosen.heldout.parquet"
    assert dataset_info_snippet(read_manifest(written.manifest)).count(".parquet") == 2


def test_the_rows_alone_give_both_files_too(place, pool, run, tmp_path):
    written = curate(recipe(held_out=0.1), pool, run, tmp_path / "out" / "chosen.jsonl")
    replayed = again(written, pool, None, tmp_path / "again.jsonl")
    assert replayed.path.read_bytes() == written.chosen.read_bytes()
    assert replayed.held_out.path.read_bytes() == written.held_out.read_bytes()


def test_another_split_is_refused_and_leaves_nothing(written, pool, run, tmp_path):
    manifest = read_manifest(written.manifest)
    other = load_recipe(written.recipe)
    other = other.model_copy(update={"export": other.export.model_copy(update={"held_out": 0.1})})
    with pytest.raises(ReplayError, match="The recipe selects other rows here"):
        replay_rows(manifest, other, pool, run, tmp_path / "again" / "chosen.jsonl")
    assert not (tmp_path / "again").exists()


def test_without_a_share_nothing_is_held_out(pool, run, tmp_path):
    written = curate(recipe(), pool, run, tmp_path / "chosen.jsonl")
    assert written.held_out is None and written.rows == 144
    assert not (tmp_path / "chosen.heldout.jsonl").exists()
    assert "Held out" not in written.card.read_text()


@pytest.mark.parametrize(
    ("export", "reason"),
    [
        ({"held_out": "a few"}, "held_out must be a valid number"),
        ({"held_out": 0.9}, "held_out must be less than or equal to 0.5"),
        ({"held_out": 0.1, "apart": "nll"}, "'nll' is not a column of duplicates"),
    ],
)
def test_an_impossible_share_gives_one_sentence(export, reason):
    with pytest.raises(RecipeError, match=reason):
        recipe(**export)
