"""Topping up from files: the rows of one larger selection, the same bytes again, and unmatched rows by name."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import core as winnow
from core.__main__ import app

ROWS = [{"id": f"row-{k}", "instruction": f"Question {k}?", "output": "word " * (k + 3)} for k in range(12)]
WORDS = ["pool.jsonl", "--method", "longest"]


def run(*words: str, code: int = 0) -> dict:
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if code == 0 else {"error": result.stderr}


def ids(name: str) -> list[str]:
    return [json.loads(line)["id"] for line in Path(name).read_text().splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("place")


@pytest.fixture(autouse=True)
def measured(place, monkeypatch):
    """Work in a folder with a pool, a run of it, and an export of 4 rows of which 1 is held out."""
    monkeypatch.chdir(place)
    if not Path("first.jsonl").exists():
        Path("pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        run("measure", *WORDS)
        run("select", *WORDS, "--budget", "4", "--held-out", "25%", "--out", "first.jsonl")


def test_topping_up_twice_gives_what_one_larger_selection_has_and_replays_to_the_same_bytes():
    top_up = [*WORDS, "--given"]
    second = run("select", *top_up, "first.manifest.json", "--budget", "50%", "--out", "second.jsonl")
    assert (second["rows"], second["used"], second["unmatched"]) == (2, 4, 0)
    assert second["excluded"] == {"used already": 4}
    run("select", *top_up, "second.manifest.json", "--budget", "9", "--out", "third.jsonl")
    run("select", *WORDS, "--budget", "9", "--out", "whole.jsonl")
    assert sorted(
        [*ids("first.jsonl"), *ids("first.heldout.jsonl"), *ids("second.jsonl"), *ids("third.jsonl")]
    ) == sorted(ids("whole.jsonl"))
    manifest = json.loads(Path("third.manifest.json").read_text())
    assert [row["id"] for row in manifest["given"]] == manifest["recipe"]["given"] == [f"row-{k}" for k in range(6, 12)]
    assert "**Used already**: 6 rows of the pool" in Path("third.README.md").read_text()
    run("replay", "third.manifest.json", "--out", "again.jsonl")
    run("run", "third.recipe.yaml", "--out", "run.jsonl")
    assert Path("again.jsonl").read_bytes() == Path("run.jsonl").read_bytes() == Path("third.jsonl").read_bytes()
    assert "given" not in Path("first.manifest.json").read_text() + Path("first.recipe.yaml").read_text()


def test_files_of_rows_and_ids_may_be_mixed_and_unmatched_rows_are_named():
    Path("ids.txt").write_text("row-0\nrow-11\nnowhere\n")
    files = ["--given", "first.jsonl", "--given", "ids.txt"]
    facts = run("select", *WORDS, *files, "--budget", "6", "--out", "mixed.jsonl")
    assert (facts["used"], facts["unmatched"], facts["unmatched_rows"]) == (4, 1, ["'nowhere'"])
    shown = CliRunner().invoke(app, ["select", *WORDS, *files, "--budget", "6", "--out", "mixed.jsonl"]).stdout
    assert "rows used already" in shown and "1 (such as 'nowhere')" in shown


@pytest.mark.parametrize(
    ("given", "budget", "words"),
    [
        ("first.manifest.json", "4", "The 4 rows used already fill the budget of 4. Raise it to select more rows."),
        ("foreign.txt", "4", "foreign.txt lists no row of pool.jsonl, such as 'x'."),
        ("first.manifest.json", "first.jsonl", "would overwrite a file of rows used already"),
        ("missing.jsonl", "4", "There is no file or folder missing.jsonl"),
    ],
)
def test_what_cannot_be_topped_up_is_one_sentence(given, budget, words):
    Path("foreign.txt").write_text("x\n")
    out, budget = (budget, "9") if budget.endswith("jsonl") else ("none.jsonl", budget)
    error = run("select", *WORDS, "--given", given, "--budget", budget, "--out", out, code=2)["error"]
    assert words in " ".join(error.split())
    assert not Path("none.jsonl").exists()


def test_in_python_a_selection_or_files_are_topped_up_to_the_same_bytes():
    longest = winnow.measure(winnow.load_pool("pool.jsonl"), "longest", report=None)
    first = winnow.select(longest, budget=4)
    more = winnow.select(longest, budget="50%", given=first)
    assert more.ids == ["row-7", "row-6"]
    assert winnow.select(longest, budget=7, given=more).ids == ["row-5"]
    same = winnow.select(longest, budget="50%", given=["first.manifest.json"])
    winnow.export(same, "python.jsonl", report=None)
    run("select", *WORDS, "--given", "first.manifest.json", "--budget", "50%", "--out", "command.jsonl")
    names = [Path(f"{name}.manifest.json").read_text() for name in ("python", "command")]
    assert names[0].replace("python", "command").split('"files"')[0] == names[1].split('"files"')[0]


def test_no_row_that_nearly_repeats_a_used_one_is_held_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [" ".join(f"w{k}-{n}" for n in range(30)) for k in range(8)]
    rows = [
        {"id": f"{k}{end}", "instruction": "Say it.", "output": words[k] + end} for k in range(8) for end in ("", "!")
    ]
    Path("pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("used.txt").write_text("0\n1\n2\n3\n4\n5\n")
    run("measure", *WORDS)
    run("duplicates", "pool.jsonl")
    facts = run("select", *WORDS, "--given", "used.txt", "--budget", "100%", "--held-out", "40%")
    assert facts["rows"] == 8 and ids("chosen.heldout.jsonl") in (["6", "6!"], ["7", "7!"])
