"""Overlap with benchmark files: planted overlaps of three kinds, what is stored, and every way it is asked for."""

import json
import random

import numpy as np
import pytest

from core.errors import PoolError, RecipeError
from core.pool import benchmarks
from core.pool.pool_columns import load_columns
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.workspace.folder import Workspace

KINDS = ("exact", "reworded", "partial", "none")
WORDS = [
    f"{a}{b}" for a in ("al", "be", "co", "du", "el", "fi", "go", "hu") for b in ("ra", "ne", "mi", "to", "ku", "sa")
]


def sentence(rng, n):
    return " ".join(rng.choices(WORDS, k=n))


def plant(rng, question, kind):
    """Return a prompt that holds a question as it is, with every tenth word changed, in part, or not at all."""
    words = question.split()
    if kind == "exact":
        return question
    if kind == "reworded":
        return " ".join("other" if k % 10 == 5 else word for k, word in enumerate(words))
    if kind == "partial":
        return f"{sentence(rng, 30)} {' '.join(words[4:24])} {sentence(rng, 30)}"
    return sentence(rng, len(words))


@pytest.fixture
def planted(tmp_path):
    """Return a pool of 400 rows, 100 of each kind, and the benchmark's file."""
    rng = random.Random(0)
    questions = [sentence(rng, 28) for _ in range(300)]
    (tmp_path / "tests.jsonl").write_text(
        "".join(json.dumps({"question": q, "answer": "42"}) + "\n" for q in questions)
    )
    rows = []
    for k in range(400):
        rows.append({"instruction": plant(rng, questions[k % 300], KINDS[k % 4]), "output": sentence(rng, 20)})
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    workspace = Workspace(tmp_path / "workspace")
    return load_pool(str(tmp_path / "pool.jsonl"), workspace=workspace.root), tmp_path / "tests.jsonl", workspace


def test_planted_overlaps_are_found_and_nothing_else(planted):
    pool, file, workspace = planted
    about = benchmarks.find_overlap(pool, [str(file)], workspace, SilentReporter())
    score = load_columns(workspace.root, pool.fingerprint)[about.column]
    found = {kind: (score[np.arange(400) % 4 == k] > 0).mean() for k, kind in enumerate(KINDS)}
    assert found == {"exact": 1, "reworded": 1, "partial": 1, "none": 0}  # recall of each kind, and precision 1
    assert about.overlapping == 300 and about.by_side["prompt"] == 300
    assert (about.rows, about.short) == (300, 300)  # the answers are too short


def test_each_row_is_stored_with_the_text_it_matches(planted):
    pool, file, workspace = planted
    about = benchmarks.find_overlap(pool, [str(file)], workspace, SilentReporter(), name="tests")
    matches = benchmarks.load_matches(workspace.root, pool.fingerprint, "tests").to_pylist()
    assert len(matches) == 300 and about.column == "overlap@tests"
    exact = [one for one in matches if one["row"] % 4 == 0]
    assert all(one["text"] == pool.rows["prompt"][one["row"]].as_py() for one in exact)
    assert all(one["line"] == one["row"] % 300 + 1 and one["file"] == "tests.jsonl" for one in exact)
    scores = [max(one["coverage"], one["similarity"]) for one in matches]
    assert scores == sorted(scores, reverse=True)
    assert benchmarks.list_benchmarks(workspace.root, pool.fingerprint) == {"overlap@tests": about}


def test_overlap_by_a_response_is_said_to_be_one(tmp_path):
    rng = random.Random(1)
    question = sentence(rng, 30)
    (tmp_path / "b.csv").write_text(f"text\n{question}\n")
    rows = [{"instruction": "Ask me something.", "output": question}, {"instruction": sentence(rng, 30), "output": "x"}]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    workspace = Workspace(tmp_path / "workspace")
    pool = load_pool(str(tmp_path / "p.jsonl"), workspace=workspace.root)
    about = benchmarks.find_overlap(pool, [str(tmp_path / "b.csv")], workspace, SilentReporter())
    assert about.by_side == {"prompt": 0, "response": 1, "whole row": 0} and about.name == "b"


def test_a_second_run_reads_what_is_stored(planted, monkeypatch):
    pool, file, workspace = planted
    first = benchmarks.find_overlap(pool, [str(file)], workspace, SilentReporter())
    monkeypatch.setattr(benchmarks, "_compare", None)
    assert benchmarks.find_overlap(pool, [str(file)], workspace, SilentReporter()) == first
    assert (
        benchmarks.find_overlap(pool, [str(file)], workspace, SilentReporter(), name="other").column == "overlap@other"
    )


def test_bad_input_is_one_sentence(planted, tmp_path):
    pool, file, workspace = planted
    for files, options, words, kind in (
        ([str(tmp_path / "absent.jsonl")], {}, "cannot be read", PoolError),
        ([str(file)], {"name": "../x"}, "1 to 64 letters", RecipeError),
        ([str(file)], {"similarity": 0.1}, "from 0.3 to 1", RecipeError),
    ):
        with pytest.raises(kind, match=words):
            benchmarks.find_overlap(pool, files, workspace, SilentReporter(), **options)


def test_a_benchmark_of_several_files_is_named_by_the_first(planted, tmp_path):
    _, file, _ = planted
    assert benchmarks.default_name([str(file)]) == "tests"
    assert benchmarks.default_name(["a b/mmlu test.jsonl.gz", "x", "y"]) == "mmlu-test-and-2"
