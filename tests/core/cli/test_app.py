"""What the command line says when it cannot do as asked: one sentence, exit code 2, and nothing else on stderr."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import core
from core.__main__ import app

RECIPE = {"pool": {"source": "pool.jsonl"}, "method": {"name": "longest"}}
BOMB = "a: &a [x, x]\n" + "".join(
    f"{k}: &{k} [{', '.join(['*' + p] * 9)}]\n" for p, k in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"instruction": f"Question {k}?", "output": "Answer."} for k in range(4)]
    Path("pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def refused(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == "" and result.stderr.count("\n") == 1 and "Traceback" not in result.stderr
    return result.stderr


def test_the_workspace_is_that_of_the_app_unless_named(place, monkeypatch):
    monkeypatch.setenv("WINNOW_WORKSPACE", str(place / "shared"))
    for words, folder in (([], "shared"), (["--workspace", "own"], "own")):
        assert CliRunner().invoke(app, ["inspect", "pool.jsonl", *words]).exit_code == 0
        assert len(list(place.glob(f"{folder}/pools/*"))) == 1 and not (place / "workspace").exists()


@pytest.mark.parametrize("option", ["--filter", "--task", "--method", "--model", "--workspace", "--out"])
def test_bytes_that_are_no_text_are_refused(option):
    assert "contains bytes that are not UTF-8" in refused("select", "pool.jsonl", option, "x\udcff")


@pytest.mark.parametrize("folder", ["/proc/x", ".", "", "a" * 5000])
def test_a_folder_that_holds_no_job_is_refused(folder):
    said = refused("inspect", "pool.jsonl", "--job", folder) if folder else ""
    assert not folder or "holds no job" in said or "too long" in said
    assert not Path("progress.json").exists()


@pytest.mark.parametrize("model", ["a" * 5000, "a/" * 2500, "~nobody-here/x", "a--b/c", "a b"])
def test_a_model_name_that_can_be_none_is_refused(model):
    said = refused("measure", "pool.jsonl", "--method", "lowest_nll", "--model", model)
    assert "no such folder" in said and len(said) < 300


@pytest.mark.parametrize("device", ["", "--", "meta", "cuda:-1", "CPU", "/etc"])
def test_a_device_that_is_none_is_refused(device):
    said = refused("measure", "pool.jsonl", "--method", "lowest_nll", "--device", device)
    assert f"Device '{device}' cannot be used here" in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pool: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        (BOMB, "too many values for a recipe"),
        ("&a [*a]", "must be a mapping"),
        ("pool: &a {source: *a}", "too many values for a recipe"),
        ("pool: !!int ''", "a value does not fit its type"),
        ("pool: 2026-99-99", "a value does not fit its type"),
        ("pool: !!python/object/apply:os.system [id]", "is not a YAML file"),
        (yaml.safe_dump(RECIPE | {"seed": 2**64}), "a whole number of more than 63 bits"),
        (yaml.safe_dump(RECIPE | {"threshold": float("nan")}), "threshold must be a finite number"),
        (yaml.safe_dump(RECIPE) + 'budget: "\\ud800"', "contains half a character"),
    ],
)
def test_a_recipe_that_is_none_is_refused(text, sentence):
    Path("odd.yaml").write_text(text)
    assert sentence in refused("run", "odd.yaml")


@pytest.mark.parametrize("name", ["", ".", "..", "/", "../x.jsonl", "a/b.jsonl", "a\0b"])
@pytest.mark.parametrize("field", ["file", "rejected"])
def test_a_manifest_whose_file_is_no_plain_name_is_refused(field, name):
    runner = CliRunner()
    assert runner.invoke(app, ["measure", "pool.jsonl", "--method", "longest"]).exit_code == 0
    assert runner.invoke(app, ["select", "pool.jsonl", "--method", "longest", "--budget", "2"]).exit_code == 0
    data = json.loads(Path("chosen.manifest.json").read_text())
    data["output"][field] = name
    Path("odd.manifest.json").write_text(json.dumps(data))
    before = sorted(Path().rglob("*"))
    assert "a file name, without a folder" in refused("replay", "odd.manifest.json")
    assert sorted(Path().rglob("*")) == before


def test_a_file_of_another_process_is_blamed_for_its_own_error():
    assert refused("inspect", "/proc/self/mem").startswith("/proc/self/mem: cannot be read")


def test_a_device_without_end_is_not_read():
    assert "is a device" in refused("replay", "/dev/zero")
    assert "larger than a recipe may be" in refused("run", "/dev/zero")
    divergence = ["--method", "answer_divergence", "--set", "source=file", "--set", "answers_file=/dev/zero"]
    assert "is a device" in refused("measure", "pool.jsonl", *divergence)


def test_a_limit_that_a_manifest_could_not_hold_is_refused():
    said = refused("select", "pool.jsonl", "--method", "longest", "--filter", "response_tokens<=inf")
    assert "not a finite number" in said


def test_a_result_that_cannot_be_printed_is_one_sentence(place):
    environment = os.environ | {"PYTHONPATH": str(Path(core.__file__).parent.parent)}
    with open("/dev/full", "w") as full:  # noqa: PTH123
        command = [sys.executable, "-m", "core", "inspect", "pool.jsonl"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, text=True, timeout=120)
    assert ended.returncode == 2
    assert ended.stderr == "The result cannot be written to standard output: No space left on device.\n"


def test_control_characters_do_not_reach_the_terminal():
    said = refused("inspect", "\x1b[31mred\nline")
    assert "\x1b" not in said and "[31mred line" in said


@pytest.mark.parametrize(
    "options",
    [
        ["combined", "--set", "members=" + "[" * 3000],
        ["combined", "--set", f"members=[{'9' * 5000}]"],
        ["entropy_shift", "--set", "group_weights=" + '{"a":' * 3000],
    ],
)
def test_parameters_nested_too_deep_are_refused(options):
    assert "is not JSON" in refused("measure", "pool.jsonl", "--method", *options)


@pytest.mark.parametrize("folder", ["empty", "/", "workspace"])
def test_a_folder_that_holds_no_pool_is_refused(folder):
    Path("empty").mkdir()
    CliRunner().invoke(app, ["inspect", "pool.jsonl"])
    said = refused("inspect", folder)
    assert folder != "workspace" or said == (
        "workspace is a workspace. Give one of the files that its pools were opened from.\n"
    )


@pytest.mark.parametrize(
    "command", [["inspect"], ["measure", "--method", "longest"], ["duplicates"], ["export"], ["export", "--for", "trl"]]
)
def test_a_pattern_that_the_shell_expanded_is_refused_with_what_to_do(command):
    said = refused(*command, "a-1.jsonl", "a-2.jsonl", "a-3.jsonl")
    assert said == (
        "3 pools are given, the first a-1.jsonl. Give one, or quote a pattern of files, such as 'data/*.jsonl', "
        "so that the shell leaves it as it is.\n"
    )


def test_the_folder_of_a_trainer_may_follow_the_pool():
    CliRunner().invoke(app, ["measure", "pool.jsonl", "--method", "longest"])
    export = ["export", "pool.jsonl", "--method", "longest", "--budget", "2", "--json"]
    for words, folder in ((["--for", "trl", "mine"], "mine"), (["--for", "trl"], "trl")):
        assert json.loads(CliRunner().invoke(app, [*export, *words]).stdout)["folder"] == folder
    assert {file.name for file in Path("mine").iterdir()} == {file.name for file in Path("trl").iterdir()}
    assert "2 pools are given" in refused(*export, "mine")
    assert "2 pools are given" in refused(*export, "mine", "--for", "trl", "--out", "other")
    assert "pool.jsonl" in refused(*export, "pool.jsonl", "--for", "trl")


def test_the_files_of_a_folder_are_a_pool_without_those_of_a_workspace_in_it():
    first = CliRunner().invoke(app, ["inspect", ".", "--json"])
    Path("workspace/exports/chosen.jsonl").write_text("{}")
    for source in (".", "**/*.jsonl"):
        again = json.loads(CliRunner().invoke(app, ["inspect", source, "--json"]).stdout)
        assert (again["rows"], again["fingerprint"]) == (4, json.loads(first.stdout)["fingerprint"])
        assert [file["name"] for file in again["files"]] == ["pool.jsonl"]


def test_a_seed_has_63_bits():
    assert CliRunner().invoke(app, ["measure", "pool.jsonl", "--method", "random", "--seed", str(2**63)]).exit_code == 2
    assert (
        CliRunner().invoke(app, ["measure", "pool.jsonl", "--method", "random", "--seed", str(2**63 - 1)]).exit_code
        == 0
    )
