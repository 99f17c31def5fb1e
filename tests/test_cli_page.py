"""docs/cli.md agrees with the command line: its options, and the schemas of what `--json` prints."""

import json
import re
from pathlib import Path

import pytest
import typer
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from core.__main__ import app
from core.cli import reports
from core.errors import Cancelled

PAGE = (Path(__file__).parent.parent / "docs" / "cli.md").read_text()
COMMANDS = typer.main.get_command(app).commands
OPTION = re.compile(r"`(--[a-z-]+)`")
SECTIONS = dict(re.findall(r"^## ([a-z-]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
SHARED = dict(re.findall(r"^### Options of (.+?)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
ROWS = [
    {"id": f"row-{k}", "instruction": f"Question {k}?", "output": "word " * (k + 3), "kind": "ab"[k % 2]}
    for k in range(12)
]


def schema_of(command: str) -> dict:
    section = SECTIONS[command]
    same = re.search(r"The result is that of \[.*?\]\(#([a-z-]+)\)", section)
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", section, re.DOTALL)]
    if not same:
        return blocks[0]
    schema = schema_of(same[1])
    for more in blocks:
        schema["properties"] |= more
    return schema


def test_every_command_has_a_section():
    assert SECTIONS.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_of_a_command_are_listed(name):
    line = re.search(r"^Options: (.*)\.$", SECTIONS[name], re.MULTILINE)[1]
    own, _, groups = line.rpartition("those of ")
    listed = set(OPTION.findall(own))
    for group in re.findall(r"\[(.+?)\]", groups):
        listed |= {row.group(1) for row in re.finditer(r"^\| `(--[a-z-]+)`", SHARED[group], re.MULTILINE)}
    listed -= set(OPTION.findall(groups))  # "a recipe but `--method`"
    options = (param for param in COMMANDS[name].params if param.param_type_name == "option" and not param.hidden)
    assert listed == {option.opts[0] for option in options}


@pytest.mark.parametrize("name", COMMANDS)
def test_schemas_are_schemas(name):
    Draft202012Validator.check_schema(schema_of(name))


def write_rows(path: str, rows: list[dict]) -> None:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_results_fit_their_schemas(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rows("pool.jsonl", [*ROWS, ROWS[3] | {"id": "again"}, {"id": "empty", "instruction": ""}])
    write_rows("bench.jsonl", ROWS[:1])
    write_rows("used.jsonl", [{"id": "row-0"}, {"id": "nowhere"}])
    write_rows(
        "judge.jsonl", [{"id": row["id"], "quality": k / 3} for k, row in enumerate(ROWS)] + [{"id": "x", "quality": 1}]
    )
    select = "pool.jsonl --method longest --task kind --budget 5"
    for line in (
        "inspect pool.jsonl --task kind",
        "duplicates pool.jsonl",
        "decontaminate pool.jsonl --against bench.jsonl",
        "import-scores pool.jsonl judge.jsonl",
        "estimate pool.jsonl --method longest",
        "measure pool.jsonl --method longest --also random --task kind",
        "export-scores pool.jsonl",
        f"select {select} --rejected --held-out 20% --scores all.parquet",
        f"select {select}00 --out all.jsonl",
        f"select {select.removesuffix('5')}8 --given chosen.manifest.json --given used.jsonl --out more.jsonl",
        f"report {select.removesuffix('5')}8 --given chosen.jsonl",
        "replay chosen.manifest.json --out same.jsonl",
        f"export {select} --for trl folder",
        "run chosen.recipe.yaml --out run.jsonl",
        "workspace",
        "workspace delete runs all --yes",
    ):
        result = CliRunner().invoke(app, [*line.split(), "--json"])
        assert result.exit_code == 0, result.stderr
        Draft202012Validator(schema_of(line.split()[0])).validate(json.loads(result.stdout))


def test_exit_codes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rows("pool.jsonl", ROWS)

    def code(*words: str) -> int:
        result = CliRunner().invoke(app, [*words, "--json"])
        assert result.exit_code == 0 or (result.stdout == "" and result.stderr)
        return result.exit_code

    def cancel(_pool):
        raise Cancelled("Cancelled.")

    assert code("inspect", "pool.jsonl") == 0
    assert code("inspect", "missing.jsonl") == code("inspect", "--nonsense") == code("nonsense") == 2
    monkeypatch.setattr(reports, "pool_facts", cancel)
    assert code("inspect", "pool.jsonl") == 130
    codes = re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)
    assert codes == ["0", "2", "130"]
