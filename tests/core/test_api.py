"""The public API: lazy, with examples that run, and the same files as the command line writes."""

import doctest
import inspect
import json
import os
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import core as winnow
from core import api
from core.demo.pool import clean_rows
from core.errors import MethodError, PoolError, RecipeError
from core.methods.suggestions import SUGGESTED_PARAMS
from core.progress import SilentReporter

FUNCTIONS = [name for name in winnow.__all__ if inspect.isfunction(getattr(winnow, name))]
ROWS = 60
FILES = ("chosen.jsonl", "chosen.manifest.json", "chosen.recipe.yaml", "chosen.README.md")


def run_python(*arguments: str, folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(Path(winnow.__file__).parent.parent)}
    result = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with 60 clean rows of the demo in small.jsonl, and a copy of half of them in half.jsonl."""
    folder = tmp_path_factory.mktemp("api")
    lines = [json.dumps({"id": f"row-{i}"} | row) for i, row in enumerate(clean_rows(0)[::38][:ROWS])]
    (folder / "small.jsonl").write_text("\n".join(lines))
    (folder / "half.jsonl").write_text("\n".join(lines[: ROWS // 2]))
    (folder / "ids.jsonl").write_text("".join(f'{{"id": "row-{i}"}}\n' for i in range(0, ROWS, 7)))
    return folder


@pytest.fixture(autouse=True)
def in_place(place, monkeypatch):
    monkeypatch.chdir(place)


@pytest.fixture
def pool():
    return winnow.load_pool("small.jsonl", report=None)


@pytest.fixture
def run(pool):
    return winnow.measure(pool, "longest", report=None)


def lengths(rows):
    return [len(row["output"]) for row in rows]


@pytest.mark.parametrize(
    ("statement", "libraries"),
    [
        ("import core", {"torch", "transformers", "streamlit", "pandas", "numpy", "pyarrow"}),
        ("from core import measure, METHODS", {"torch", "transformers", "streamlit"}),
    ],
)
def test_importing_brings_no_model_library(tmp_path, statement, libraries):
    loaded = run_python("-c", f"{statement}; import sys; print(*sys.modules)", folder=tmp_path).split()
    assert libraries & set(loaded) == set()


def test_every_public_name_is_there_and_no_other():
    assert set(winnow.__all__) <= set(dir(winnow))
    assert all(getattr(winnow, name) is not None for name in winnow.__all__)
    own = [
        function for _, function in inspect.getmembers(api, inspect.isfunction) if function.__module__ == api.__name__
    ]
    assert {function.__name__ for function in own if not function.__name__.startswith("_")} == set(FUNCTIONS)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = winnow.nonsense


def test_no_public_name_is_hidden_by_a_module():
    assert {path.stem for path in Path(winnow.__file__).parent.iterdir()} & set(winnow.__all__) == set()


def test_no_parameter_of_a_method_is_an_argument_of_measure():
    arguments = inspect.signature(api.measure).parameters.keys()
    assert {f.name for method in winnow.METHODS.values() for f in fields(method)} & arguments == set()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_examples_run(name):
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(winnow, name), name, globs={})
    assert doctest.DocTestRunner(verbose=False).run(example).failed == 0
    assert example.examples


def test_rows_are_those_of_the_source_best_first(run):
    selection = winnow.select(run, budget=5)
    source = {row["id"]: row for row in map(json.loads, Path("small.jsonl").read_text().splitlines())}
    assert selection.rows == [source[name] for name in selection.ids] and len(selection) == 5
    assert selection.scores.loc[selection.ids, "longest.rank"].tolist() == [0, 1, 2, 3, 4]
    assert selection.scores.index.name == "id" and len(selection.scores) == len(run.scores) == ROWS
    assert selection.tokens == selection.scores.loc[selection.ids, "response_tokens"].sum()


def test_filters_pins_and_threshold_apply(run):
    tasks = {row["task"] for row in winnow.select(run, ROWS, filters="task!=story|recipe").rows}
    assert not tasks & {"story", "recipe"} and len(tasks) > 5
    selection = winnow.select(run, ROWS, threshold=40, pins={"row-3": "in", "row-4": "out"})
    assert selection.ids[0] == "row-3" and selection.excluded == {"always excluded": ["row-4"]}
    assert (selection.scores.loc[selection.ids[1:], "response_tokens"] >= 40).all()


@pytest.mark.parametrize(
    ("options", "error"),
    [({"budget": "much"}, "budget"), ({"filters": "nonsense<=1"}, "nonsense"), ({"pins": {"row-x": "in"}}, "row-x")],
)
def test_what_cannot_be_selected_is_one_sentence(run, options, error):
    with pytest.raises(RecipeError, match=error):
        winnow.select(run, **options)


def test_methods_that_share_a_run_each_keep_their_order(pool):
    longest, other = (winnow.measure(pool, name, report=None) for name in ("longest", "random"))
    assert longest.run.id == other.run.id
    assert repr(other) == "<Run Random on small.jsonl: 60 rows, embedded>"
    by_length = winnow.select(longest, ROWS).scores["response_tokens"].sort_values(ascending=False)
    picked = winnow.select(longest, 10)
    assert sorted(picked.scores.loc[picked.ids, "response_tokens"]) == sorted(by_length[:10])
    assert winnow.select(other, 10).ids != picked.ids


def test_a_combination_has_the_files_of_the_command_line(place, pool, tmp_path):
    members = ["random", {"name": "longest", "params": {}}]
    run = winnow.measure(pool, "combined", members=members, keep=0.4, report=None)
    assert [member.method["name"] for member in run.run.members] == ["longest", "longest"]  # which measured for both
    written = winnow.export(winnow.select(run, 9), tmp_path / "a" / "chosen.jsonl", with_scores=True)
    command = ["-m", "core", "select", "small.jsonl", "--method", "combined", "--set", f"members={json.dumps(members)}"]
    command += ["--set", "keep=0.4", "--budget", "9", "--with-scores", "--out", str(tmp_path / "b" / "chosen.jsonl")]
    run_python(*command, folder=place)
    assert written.recipe.read_bytes() == (tmp_path / "b" / "chosen.recipe.yaml").read_bytes()
    assert written.chosen.read_bytes() == (tmp_path / "b" / "chosen.jsonl").read_bytes()


def test_other_methods_are_named_or_all_and_may_have_parameters():
    built = {method.name: method for method in api._other_methods("all", "embedded")}
    assert built.keys() == winnow.METHODS.keys() - {"imported", "combined"}
    assert built["entropy_shift"].learning_rate == SUGGESTED_PARAMS["entropy_shift"]["learning_rate"]
    given = {"answer_divergence": {"answers": 3}, "imported": {"field": "quality"}}
    first, second = api._other_methods(given, "embedded")
    assert (first.answers, second.field) == (3, "quality")


def test_a_seed_gives_another_random_order(pool):
    first, second = (winnow.measure(pool, "random", seed=seed, report=None) for seed in (0, 1))
    comparison = winnow.compare([first, second, winnow.select(first, 6)], budget=6)
    assert comparison.overlap[["first", "second"]].to_numpy().tolist() == [
        ["random", "random (2)"],
        ["random", "random (3)"],
        ["random (2)", "random (3)"],
    ]
    assert comparison.overlap["jaccard"].tolist()[1] == 1 and comparison.overlap["shared"].tolist()[0] < 6
    assert comparison.rank_correlation.loc["random", "random (3)"] == 1


def test_selections_of_different_pools_are_not_compared(run):
    half = winnow.measure(winnow.load_pool("half.jsonl", report=None), "longest", report=None)
    with pytest.raises(PoolError, match=r"different pools: small\.jsonl and half\.jsonl"):
        winnow.compare([run, half])


def test_a_run_is_stored_in_the_workspace_of_its_pool(tmp_path):
    pool = winnow.load_pool(Path("small.jsonl"), workspace=tmp_path / "elsewhere", task="", report=None)
    assert pool.fields.task is None
    assert winnow.find_run(pool, "longest") is None
    run = winnow.measure(pool, "longest", also=["random"], report=None)
    assert run.run.folder.is_relative_to(tmp_path / "elsewhere")
    assert winnow.find_run(pool, "random") is not None and winnow.find_run(pool, "longest").run == run.run


def test_unknown_settings_are_refused_before_anything_is_measured(pool):
    with pytest.raises(RecipeError, match=r"measure, reading\.templat"):
        winnow.measure(pool, "longest", reading={"templat": "chat"})
    with pytest.raises(MethodError, match="nonsense"):
        winnow.measure(pool, "entropy_shift", nonsense=1)
    with pytest.raises(MethodError, match="no method 'best'"):
        winnow.measure(pool, "best")


def test_progress_is_a_bar_or_nothing_or_a_reporter(tmp_path, capfd, monkeypatch):
    class Stages(SilentReporter):
        def __init__(self):
            self.names = []

        def stage(self, name, **counts):
            self.names.append(name)

    pool = winnow.load_pool("small.jsonl", workspace=tmp_path / "a", report=None)
    winnow.measure(pool, "lowest_nll", report=None)
    assert capfd.readouterr() == ("", "")
    stages = Stages()
    pool = winnow.load_pool("small.jsonl", workspace=tmp_path / "b", report=stages)
    winnow.measure(pool, "longest", report=stages)
    assert stages.names == ["Loading the pool", "Tokenising"] and capfd.readouterr() == ("", "")
    winnow.load_pool("half.jsonl", workspace=tmp_path / "b")
    assert capfd.readouterr() == ("", "")  # no terminal, and over before a line is due
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    winnow.load_pool("half.jsonl", workspace=tmp_path / "c")
    out, err = capfd.readouterr()
    assert out == "" and "Loading the pool: 100%" in err


def test_suggestions_for_the_embedded_model_are_the_command_lines(pool):
    for name, suggested in SUGGESTED_PARAMS.items():
        built = api._method_recipe(pool, name, "embedded", None, 0, {}).method.build()
        assert {key: getattr(built, key) for key in suggested} == suggested
    given = api._method_recipe(pool, "entropy_shift", "embedded", None, 0, {"learning_rate": 1e-3}).method.build()
    assert given.learning_rate == 1e-3


SEVENTH = [f"row-{i}" for i in range(0, ROWS, 7)]
FIRST_HALF = [f"row-{i}" for i in range(ROWS // 2)]
SELECTIONS = {
    "plain": ("longest", "--budget 10%", {"budget": "10%"}, {}),
    "all options": (
        "random",
        "--seed 3 --budget 1ktok --filter task!=story --filter response_tokens>=10 --filter 'near duplicates once' "
        "--schema messages --with-scores --rejected --held-out 10%",
        {"budget": "1ktok", "filters": ["task!=story", "response_tokens>=10", "near duplicates once"]},
        {"schema": "messages", "with_scores": True, "rejected": True, "held_out": "10%"},
    ),
    "tags": (
        "longest",
        "--budget 5 --tag seventh=ids.jsonl --tag 'first half=half.jsonl' --filter tag.seventh=1 --tags",
        {"budget": 5, "filters": "tag.seventh=1", "tags": {"seventh": SEVENTH, "first half": FIRST_HALF}},
        {"tags": True},
    ),
}


@pytest.mark.parametrize("case", SELECTIONS)
def test_the_files_are_those_of_the_command_line_byte_for_byte(place, tmp_path, case):
    method, options, selecting, exporting = SELECTIONS[case]
    seed = 3 if "--seed" in options else 0
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    theirs.mkdir()
    run = winnow.measure(winnow.load_pool("small.jsonl", report=None), method, seed=seed, report=None)
    selection = winnow.select(run, **selecting)
    written = winnow.export(selection, ours / "chosen.jsonl", scores=ours / "scores.parquet", **exporting)
    command = ["-m", "core", "select", "small.jsonl", "--method", method, "--json", *shlex.split(options)]
    command += ["--scores", str(theirs / "scores.parquet")]
    facts = json.loads(run_python(*command, "--out", str(theirs / "chosen.jsonl"), folder=place))
    assert (facts["rows"], facts["sha256"], facts["tokens"]) == (written.rows, written.sha256, written.tokens)
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in (ours, theirs)]
    assert contents[0] == contents[1] and contents[0].keys() >= {"scores.parquet", *FILES}


def test_the_command_line_finds_what_was_measured_here(place, pool, tmp_path):
    """The run of a method whose parameters have suggestions: the same key, so the same parameters."""
    run = winnow.measure(pool, "entropy_shift", report=None)
    chosen = winnow.export(winnow.select(run, "20%"), tmp_path / "a.jsonl")
    command = ["-m", "core", "select", "small.jsonl", "--budget", "20%", "--out", str(tmp_path / "b.jsonl")]
    run_python(*command, folder=place)
    assert (tmp_path / "b.jsonl").read_bytes() == chosen.chosen.read_bytes()


def test_a_replayed_file_is_the_same(run, tmp_path):
    written = winnow.export(winnow.select(run, 7), tmp_path / "chosen.jsonl")
    for options in ({}, {"rows_only": True}, {"pool": Path("small.jsonl").absolute()}):
        replayed = winnow.replay(written.manifest, out=tmp_path / "again.jsonl", report=None, **options)
        assert (replayed.sha256, replayed.rows) == (written.sha256, 7)
        assert (tmp_path / "again.jsonl").read_bytes() == written.chosen.read_bytes()


def test_a_report_is_that_of_the_command_line_but_for_the_commands_in_it(place, pool, run, tmp_path):
    other = winnow.measure(pool, "random", report=None)
    written = winnow.report(winnow.select(run, 7), tmp_path / "all.html")
    assert (written.rows, written.proved, written.map) == (7, False, False)
    command = ["-m", "core", "report", "small.jsonl", "--budget", "7", "--method", run.method.name, "--json"]
    facts = json.loads(run_python(*command, "--out", str(tmp_path / "theirs.html"), folder=place))
    assert tuple(facts["compared"]) == written.compared
    ours, theirs = ((tmp_path / name).read_text().split("<h3>Commands")[0] for name in ("all.html", "theirs.html"))
    assert ours == theirs
    against = winnow.report(winnow.select(run, 7), tmp_path / "one.html", against=[other])
    assert against.compared == ("Random",)


def test_groups_are_calibrated_and_weighed_from_python(place):
    rows = [
        json.loads(line) | {"half": "ab"[i % 2]}
        for i, line in enumerate((place / "small.jsonl").read_text().splitlines())
    ]
    (place / "halves.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:24]))
    pool = winnow.load_pool("halves.jsonl", report=None)
    run = winnow.measure(
        pool, per="half", alpha=0.7, epochs=1, group_weights={"b": 3}, reading={"max_length": 64}, report=None
    )
    selection = winnow.select(run, budget=8, report=None)
    seats = [(each["group"], each["rows"], each["warm_up"], each["selected"]) for each in selection.facts["groups"]]
    assert seats == [("a", 12, 8, 2), ("b", 12, 8, 6)]
    assert [row["half"] for row in selection.rows].count("b") == 6


@pytest.mark.slow
def test_runs_selections_and_words_are_arms_of_a_proof(pool, run):
    selection = winnow.select(run, budget=6, filters="task!=story", report=None)
    options = {
        "seeds": 2,
        "rates": [1e-3],
        "steps": 1,
        "tokens_per_step": 32,
        "epochs": 0,
        "held_out": 5,
        "report": None,
    }
    arms = {"whole": run, "mine": selection, "worst": "reversed:longest"}
    with pytest.raises(RecipeError, match="'mine' has the budget 6, and the proof 10%"):
        winnow.prove(pool, arms, **options)
    with pytest.raises(
        RecipeError, match=r"Answer divergence is not measured .* First call measure\(pool, \"answer_divergence\""
    ):
        winnow.prove(pool, ["answer_divergence"], **options)
    proof = winnow.prove(pool, arms, budget=6, **options)
    assert set(proof.verdicts["arm"]) == {"longest", "worst", "whole", "mine"}
    assert len(proof.runs) == 1 + 5 * 2
    kinds = {arm["name"]: (arm["kind"], arm["rows"]) for arm in proof.plan["arms"]}
    assert kinds["whole"] == kinds["worst"] == ("method", (6,)) and kinds["mine"] == ("recipe", (6,))
    assert proof.headline.startswith("Indication from 2 seeds") and proof.headline in repr(proof)
