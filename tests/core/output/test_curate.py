"""Curation: what only the method knows of the selected rows stands in the result, the manifest and the card."""

import json
from dataclasses import replace

import numpy as np
import pytest

from core.cli.commands import curate_run
from core.columns import SHARED_SIGNALS
from core.errors import RecipeError
from core.measurement.runs import save_run
from core.output.curate import curate
from core.output.manifest import read_manifest
from core.pool.benchmarks import find_overlap
from core.pool.pool_columns import load_columns
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.selection.recipe import FilterPart, parse_recipe
from core.workspace.folder import Workspace
from tests.pages.conftest import entropy_shift_run, write_near_duplicates

OUTSIDE = [FilterPart(column="overlap@exam", values=[0])]


@pytest.fixture
def place(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def pool(place, tmp_path):
    return load_pool(str(write_near_duplicates(tmp_path / "rows.jsonl", pairs=0)), workspace=place.root)


@pytest.fixture
def run(place, pool):
    """Return a run of answer divergence: 30 bins of 8 rows, scores ascending by row."""
    plain, n = entropy_shift_run(place, pool), np.arange(len(pool))
    method = {"name": "answer_divergence", "params": {}}
    score = (n / len(pool)).astype(np.float32)
    columns = plain.load_columns(SHARED_SIGNALS["tokens"])
    columns |= {"dispersion": score, "anisotropy": score, "semantic_bin": n % 30, "answers_counted": n * 0 + 5}
    key = "abcd000011112222"
    other = replace(plain, id=key, folder=place.folder("runs", key), method=method, columns=tuple(columns))
    return save_run(place, other, columns)


def recipe(**params):
    method = {"name": "answer_divergence", "params": params}
    return parse_recipe({"pool": {"source": "p"}, "method": method, "budget": "50"}, "test")


def test_the_rows_of_the_release_are_counted_everywhere(pool, run, tmp_path):
    """B = 50 of 240: ⌊8 · 50 / 240⌋ = 1 of each of 30 bins; 20 more are filled up by score."""
    expected = {"release_rows": 30, "filled_by_score": 20, "release_selects": 30}
    written = curate(recipe(quota="release", released_rows=50), pool, run, tmp_path / "chosen.jsonl")
    assert written.facts == read_manifest(written.manifest).facts == expected
    sentence = "- **Result**: The authors' rule for B = 50 selects 30 rows; 30 of the 50 selected rows are among them."
    assert f"{sentence} The other 20 have the next best scores or are always included.\n" in written.card.read_text()
    facts = curate_run(recipe(quota="release", released_rows=50), pool, run, tmp_path / "again.jsonl")
    assert facts["facts"] == expected


def test_the_overlap_with_a_benchmark_is_filtered_counted_and_in_the_card(place, pool, run, tmp_path):
    """Rows 200 to 239 of the pool are a benchmark; row 239 repeats row 0."""
    benchmark = tmp_path / "exam.jsonl"
    benchmark.write_text("\n".join((tmp_path / "rows.jsonl").read_text().splitlines()[200:]))
    with pytest.raises(RecipeError, match=r"decontaminate .* --against FILE --as exam"):
        curate(recipe().model_copy(update={"filters": OUTSIDE}), pool, run, tmp_path / "chosen.jsonl")
    found = find_overlap(pool, [str(benchmark)], place, SilentReporter())
    scores = load_columns(place.root, pool.fingerprint)[found.column]
    assert (scores[200:] > 0.7).all() and scores[0] > 0.7

    written = curate(recipe(), pool, run, tmp_path / "with.jsonl")
    [fact] = read_manifest(written.manifest).benchmarks
    selected = [json.loads(line) for line in written.chosen.read_text().splitlines()]
    ids = pool.rows["id"].to_pylist()
    assert fact.selected == sum(scores[ids.index(row["id"])] > 0 for row in selected) > 0
    assert f"{fact.selected:,} of the selected rows, and {found.overlapping:,} of the pool" in written.card.read_text()

    written = curate(recipe().model_copy(update={"filters": OUTSIDE}), pool, run, tmp_path / "without.jsonl")
    assert read_manifest(written.manifest).benchmarks[0].selected == 0


def test_a_method_that_knows_no_more_says_no_more(pool, run, tmp_path):
    written = curate(recipe(), pool, run, tmp_path / "chosen.jsonl")
    assert read_manifest(written.manifest).facts == {}
    assert "Reached" not in written.card.read_text()
    assert "facts" not in curate_run(recipe(), pool, run, tmp_path / "again.jsonl")


def test_the_card_says_which_measurement_is_constant(place, pool, run, tmp_path):
    """Of 240 rows 236 have the same D."""
    columns = run.load_columns(run.columns)
    columns["dispersion"] = np.where(np.arange(240) < 4, columns["dispersion"], np.float32(0.25))
    run = save_run(place, replace(run, id="abcd000011113333", folder=place.folder("runs", "abcd000011113333")), columns)
    written = curate(recipe(), pool, run, tmp_path / "chosen.jsonl")
    [sentence] = read_manifest(written.manifest).constant
    assert "236 of 240 measured rows have the same value, 0.25" in sentence
    assert f"- **Constant score**: {sentence}\n" in written.card.read_text()


@pytest.fixture
def grouped(place, pool):
    """Return a run of entropy shift per task: 160 rows of `a`, 60 of `b|c`, 20 in no group."""
    plain, group = entropy_shift_run(place, pool), np.repeat([0, 1, -1], [160, 60, 20])
    columns = plain.load_columns(plain.columns) | {"shift_group": group}
    names = {"a": 160, "`b`\n*c*": 60}
    groups = [{"name": name, "rows": n, "rounds": [{"rows": n // 10}]} for name, n in names.items()]
    summary = dict(plain.summary) | {"groups": groups, "start_model": {"kind": "tuned", "tasks": 2}}
    key, method = "abcd000011113333", {"name": "entropy_shift", "params": {"per": "task"}}
    return save_run(place, replace(plain, id=key, folder=place.folder("runs", key), method=method, summary=summary,
                                   columns=tuple(columns)), columns)  # fmt: skip


def test_groups_and_the_start_model_stand_in_result_manifest_and_card(pool, grouped, tmp_path):
    data = {"pool": {"source": "p"}, "method": {"name": "entropy_shift", "params": {"per": "task"}}, "budget": "22"}
    written = curate(parse_recipe(data, "test"), pool, grouped, tmp_path / "chosen.jsonl")
    seats = [(each["group"], each["rows"], each["warm_up"], each["selected"]) for each in written.facts["groups"]]
    assert seats == [("a", 160, 16, 16), ("`b`\n*c*", 60, 6, 6)]
    assert written.facts["start_model"]["kind"] == "tuned"
    assert read_manifest(written.manifest).facts == written.facts
    card = written.card.read_text()
    assert "  - `a`: 16 of 160 rows selected; warm-up training on 16 rows\n" in card
    assert "  - `b *c*`: 6 of 60 rows selected" in card
    assert "**Start model**: tuned, its tokenizer has a chat template" in card


def test_selected_rows_that_were_read_in_part_are_counted_by_side(place, pool, run, tmp_path):
    """Row 0 is not selected, 210 and 230 are."""
    columns = dict(run.load_columns(run.columns))
    prompts, responses = np.zeros((2, len(pool)), np.int64)
    prompts[[0, 230, 210]], responses[210] = 30, 5
    columns |= {"prompt_cut": prompts, "response_cut": responses, "truncated": prompts > 0}
    cut = save_run(place, replace(run, id="cut", folder=place.folder("runs", "cut")), columns)
    written = curate(recipe(), pool, cut, tmp_path / "chosen.jsonl")
    expected = {"rows": 2, "prompts": 2, "prompt_tokens": 60, "responses": 1, "response_tokens": 5}
    assert written.cut == read_manifest(written.manifest).cut == expected
    line = (
        "- **Shortened rows**: 2 of these rows exceed the maximum sequence length; "
        "2 prompts lost 60 tokens and 1 response lost 5 tokens\n"
    )
    assert line in written.card.read_text()
    whole = curate(recipe(), pool, run, tmp_path / "whole.jsonl")
    assert whole.cut is None and "Shortened rows" not in whole.card.read_text()


def test_a_budget_that_cannot_be_filled_is_in_the_result(pool, run, tmp_path):
    filters = [{"column": "prompt", "contains": "Question 12:"}]
    plan = recipe().model_copy(update={"filters": parse_recipe(recipe().as_data() | {"filters": filters}, "t").filters})
    facts = curate_run(plan, pool, run, tmp_path / "few.jsonl")
    assert facts["shortfall"] == "1 of 50 rows: only 1 row is eligible (239 filtered out)."
    assert "shortfall" not in curate_run(recipe(), pool, run, tmp_path / "chosen.jsonl")
