"""Curation: what only the method knows of the selected rows stands in the result, the manifest and the card."""

from dataclasses import replace

import numpy as np
import pytest

from core.cli.commands import curate_run
from core.measurement.runs import save_run
from core.output.curate import curate
from core.output.manifest import read_manifest
from core.pool.pools import load_pool
from core.selection.recipe import parse_recipe
from core.workspace.folder import Workspace
from tests.pages.conftest import entropy_shift_run, write_near_duplicates


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
    columns = plain.load_columns(["prompt_tokens", "response_tokens"])
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
    sentence = "- **Reached**: The release's rule for B = 50 selects 30 rows; 30 of the 50 rows here are among them."
    assert f"{sentence} The other 20 are the next by score or pinned.\n" in written.card.read_text()
    facts = curate_run(recipe(quota="release", released_rows=50), pool, run, tmp_path / "again.jsonl")
    assert facts["facts"] == expected


def test_a_method_that_knows_no_more_says_no_more(pool, run, tmp_path):
    written = curate(recipe(), pool, run, tmp_path / "chosen.jsonl")
    assert read_manifest(written.manifest).facts == {}
    assert "Reached" not in written.card.read_text()
    assert "facts" not in curate_run(recipe(), pool, run, tmp_path / "again.jsonl")
