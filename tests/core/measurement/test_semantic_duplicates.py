"""Semantic duplicates of a pool: found in stored embeddings, stored, used by filters; the demo's planted copies."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from core.__main__ import app
from core.columns import DUPLICATES, USUAL_SEMANTIC_DUPLICATES, describe_duplicates, normalise_duplicates
from core.demo.measured import unpack_measured
from core.errors import RecipeError
from core.measurement import semantic_duplicates
from core.measurement.recipe_inputs import filter_methods, find_duplicates, find_recipe_duplicates
from core.measurement.run_data import load_measured
from core.measurement.runs import list_runs
from core.measurement.semantic_duplicates import cache_stamp, load_semantic_duplicates
from core.output.curate import curate
from core.pool.pools import load_answer_key, load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.selection.recipe import parse_recipe, require_duplicates
from core.workspace.folder import Workspace

RESPONSES = DUPLICATES["response"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("demo"))
    unpack_measured(workspace.root)
    return workspace


@pytest.fixture(scope="module")
def demo(place):
    return load_pool("demo", workspace=place.root)


def recipe(column=USUAL_SEMANTIC_DUPLICATES, method="lowest_nll", **export):
    filters = [{"column": column, "low": 0, "exclude": True}]
    data = {"pool": {"source": "demo"}, "method": {"name": method}, "filters": filters, "budget": "2400"}
    return parse_recipe(data | {"export": export}, "test")


def find(demo, place, kind=RESPONSES, similarity=0.95):
    return find_duplicates(kind, similarity, recipe(), demo, place, SilentReporter())


def test_the_demos_planted_copies_are_found(demo, place):
    at = {name: k for k, name in enumerate(demo.rows["id"].to_pylist())}
    repeats = find(demo, place, similarity=0.9)
    first = np.where(repeats < 0, np.arange(len(demo)), repeats)
    share = {}
    for fault in ("exact_duplicate", "near_duplicate"):
        pairs = [(at[i], at[about["of"]]) for i, about in load_answer_key(demo).items() if about["fault"] == fault]
        share[fault] = np.mean([first[a] == first[b] for a, b in pairs])
        assert np.mean([repeats[max(pair)] >= 0 for pair in pairs]) > 0.95
    assert share["exact_duplicate"] == 1


def test_each_is_similar_to_the_row_it_repeats_by_its_own_embedding(demo, place):
    repeats = find(demo, place)
    rows = load_semantic_duplicates(place.root, demo.fingerprint, Reading())[USUAL_SEMANTIC_DUPLICATES]
    np.testing.assert_array_equal(rows.repeats, repeats)
    assert np.nanmin(rows.similarity) >= 0.95 - 1e-5 and ((rows.repeats >= 0) == np.isfinite(rows.similarity)).all()
    prompts = find(demo, place, DUPLICATES["prompt"])
    assert (prompts != repeats).any()


def test_they_are_stored_and_not_computed_again(demo, place, monkeypatch):
    first, stamp = find(demo, place), cache_stamp(place.root, demo.fingerprint)
    monkeypatch.setattr(semantic_duplicates, "find_similar_rows", None)
    np.testing.assert_array_equal(find(demo, place), first)
    assert cache_stamp(place.root, demo.fingerprint) == stamp > 0
    assert not [file for file in place.root.rglob("tmp*") if file.is_file()]  # the scratch file leaves nothing


def test_a_filter_applies_and_runs_of_any_method_can_name_it(demo, place, tmp_path):
    repeats = find(demo, place)
    result = CliRunner().invoke(
        app,
        [
            *("select", "demo", "--method", "longest", "--budget", "2400", "--filter", "semantic duplicates once"),
            *("--out", str(tmp_path / "chosen.jsonl"), "--workspace", str(place.root), "--json"),
        ],
    )
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["rows"] == (repeats < 0).sum()
    card = (tmp_path / "chosen.README.md").read_text()
    assert "one row of each semantic duplicate group (cosine of responses ≥ 0.95)" in card


def test_the_command_says_what_was_found(demo, place):
    words = ["duplicates", "demo", "--by", "embedding", "--workspace", str(place.root)]
    facts = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    repeats = find(demo, place)
    assert facts["semantic_duplicates"] == (repeats >= 0).sum() and facts["model"] == "embedded"
    assert facts["groups"] == len(np.unique(repeats[repeats >= 0]))
    assert "embeddings by" in CliRunner().invoke(app, words).stdout
    assert "has one worker" in CliRunner().invoke(app, [*words, "--workers", "2"]).stderr
    assert "number from 0.5 to 1" in CliRunner().invoke(app, [*words, "--threshold", "0.4"]).stderr


def test_a_pool_that_no_model_has_read_ends_in_one_sentence(tmp_path):
    (tmp_path / "pool.jsonl").write_text('{"prompt": "a", "response": "b"}\n')
    workspace = Workspace(tmp_path / "workspace")
    pool = load_pool(str(tmp_path / "pool.jsonl"), workspace=workspace.root)
    with pytest.raises(RecipeError, match=r"embedded has not measured .* --method lowest_nll"):
        find(pool, workspace)
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a"}\n')
    prompts = load_pool(str(tmp_path / "prompts.jsonl"), workspace=workspace.root)
    with pytest.raises(RecipeError, match="has no responses"):
        find(prompts, workspace)


def test_a_filter_that_is_not_computed_names_the_command(demo, place):
    measured = load_measured(list_runs(place, demo.fingerprint)[0])
    with pytest.raises(RecipeError, match=r"are not computed yet .* --by embedding --of prompt --threshold 0\.7"):
        require_duplicates("semantic_prompt_duplicate_of@0.7", demo, measured)


def test_a_recipe_measures_the_embeddings_that_its_filter_needs():
    assert [method.name for method in filter_methods(recipe(method="longest"))] == ["lowest_nll"]
    assert filter_methods(recipe()) == filter_methods(recipe("near_duplicate_of@0.8", "longest")) == []


def test_held_out_rows_and_their_semantic_duplicates_stay_together(demo, place, tmp_path):
    plan = recipe("near_duplicate_of@0.8", held_out="10%", apart="semantic_duplicate_of")
    find_recipe_duplicates(plan, demo, place, SilentReporter())
    written = curate(plan, demo, list_runs(place, demo.fingerprint)[0], tmp_path / "chosen.jsonl")
    repeats = find(demo, place)
    group = dict(zip(demo.rows["id"].to_pylist(), np.where(repeats < 0, np.arange(len(demo)), repeats), strict=True))
    train, held = (
        {group[json.loads(line)["id"]] for line in file.read_text().splitlines()}
        for file in (written.chosen, written.held_out)
    )
    assert held and not train & held
    assert "its semantic duplicates (cosine of responses ≥ 0.95)" in (tmp_path / "chosen.README.md").read_text()


def test_columns_have_one_name_and_words():
    assert normalise_duplicates("semantic_duplicate_of") == normalise_duplicates("semantic_duplicate_of@0.950")
    assert normalise_duplicates("semantic_prompt_duplicate_of") == "semantic_prompt_duplicate_of@0.95"
    assert describe_duplicates("semantic_prompt_duplicate_of@0.9") == "semantic duplicates (cosine of prompts ≥ 0.9)"
    assert describe_duplicates("duplicate_of") == "exact duplicates"
