"""The Export page writes the same files as the command line, and shows the equivalent commands."""

import hashlib
import json
import shlex
from dataclasses import replace

import orjson
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from core.__main__ import app as commands
from core.output.curate import curate
from core.pool.pools import load_pool
from core.selection.recipe import load_recipe
from core.selection.selection import Pin
from pages.ui.shell import state
from tests.pages.conftest import entropy_shift_run


def texts(at) -> str:
    parts = [*at.title, *at.caption, *at.text, *at.subheader, *at.error, *at.code]
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


def links(at) -> list[str]:
    return [link.proto.label for link in at.get("link_button")]


def write(at):
    at.button(key="export.write").click().run()
    assert not at.exception
    return at


@pytest.fixture
def folder(workspace):
    """Return the folder of the only export."""

    def only():
        (only_folder,) = (workspace.root / "exports").iterdir()
        return only_folder

    return only


def test_without_a_measurement_it_leads_to_the_measure_page(pool, app):
    at = app("export")
    assert not at.exception
    assert "not measured" in texts(at)


def test_with_nothing_selected_it_leads_back_to_select(run, app):
    at = app("export")
    at.session_state[state.SETTINGS] = replace(at.session_state[state.SETTINGS], budget="0")
    at.run()
    assert not at.exception
    assert "No rows are selected" in texts(at)
    assert "Go to Select" in [button.label for button in at.button]


def test_nothing_is_written_before_the_button_is_pressed(run, app, workspace):
    at = app("export")
    assert not at.exception
    assert not list((workspace.root / "exports").iterdir())
    assert not links(at)
    assert at.button(key="export.write").label == "Write 24 rows"


def test_the_files_are_those_of_the_command_line(pool, run, app, folder, tmp_path):
    write(app("export"))
    recipe = load_recipe(folder() / "chosen.recipe.yaml")
    written = curate(recipe, pool, run, tmp_path / "out" / "chosen.jsonl")
    for name in ("chosen.jsonl", "chosen.manifest.json", "chosen.README.md", "chosen.recipe.yaml"):
        assert (folder() / name).read_bytes() == (written.chosen.parent / name).read_bytes()


def test_the_page_shows_what_was_written_and_links_to_it(run, app, folder):
    at = write(app("export"))
    assert "export.write" not in {button.key for button in at.button}
    data = (folder() / "chosen.jsonl").read_bytes()
    assert hashlib.sha256(data).hexdigest() in texts(at)
    assert "24 rows · " in texts(at)
    assert links(at) == [
        "Download chosen.jsonl",
        "chosen.manifest.json",
        "chosen.recipe.yaml",
        "README.md (dataset card)",
    ]


def test_the_commands_name_the_files_that_were_written(run, app, folder, workspace):
    words = texts(write(app("export")))
    recipe, manifest = folder() / "chosen.recipe.yaml", folder() / "chosen.manifest.json"
    assert f"python -m core run {recipe} --out chosen.jsonl --workspace {workspace.root}" in words
    assert f"python -m core replay {manifest} --out again.jsonl --workspace {workspace.root}" in words
    exports = [line for line in words.splitlines() if " core export " in line]
    assert [" ".join(shlex.split(line)[-4:]) for line in exports] == [
        "--for trl --out trainer",
        "--push OWNER/NAME --out chosen.jsonl",  # shows, and sends nothing
    ]
    for line in exports:
        typer.main.get_command(commands).commands["export"].make_context("export", shlex.split(line)[4:])


def test_a_finished_export_is_shown_at_once(run, app, folder):
    write(app("export"))
    before = (folder() / "chosen.jsonl").stat().st_mtime_ns
    at = app("export")
    assert links(at)
    assert "export.write" not in {button.key for button in at.button}
    assert (folder() / "chosen.jsonl").stat().st_mtime_ns == before


def test_another_schema_is_previewed_and_is_another_export(run, app, workspace):
    at = write(app("export"))
    at.get_by_key("export.schema").set_value("messages").run()
    assert '"role": "user"' in at.code[0].value
    write(at)
    assert len(list((workspace.root / "exports").iterdir())) == 2


def test_scores_and_rejected_rows_come_on_request(pool, run, app, folder):
    at = app("export")
    at.toggle(key="export.scores").set_value(True).run()
    at.toggle(key="export.rejected").set_value(True).run()
    write(at)
    rows = [orjson.loads(line) for line in (folder() / "chosen.jsonl").read_bytes().splitlines()]
    assert sorted(row["winnow"]["entropy_shift.rank"] for row in rows) == list(range(24))
    assert len((folder() / "chosen.rejected.jsonl").read_bytes().splitlines()) == len(pool) - 24
    assert "chosen.rejected.jsonl" in links(at)


def test_a_share_is_held_out_and_is_in_the_command(pool, run, app, folder, workspace):
    at = app("select")
    at.pills(key="select.task").set_value(["words", "sums"]).run()
    at.switch_page("pages/export.py").run()
    at.slider(key="export.held_out").set_value(25).run()
    assert "Exact duplicates stay in the same file" in texts(at)
    write(at)
    first, second = ((folder() / name).read_bytes().splitlines() for name in ("chosen.jsonl", "chosen.heldout.jsonl"))
    assert (len(first), len(second)) == (18, 6)
    assert orjson.loads(first[0]) == orjson.loads(at.code[0].value)
    assert "chosen.heldout.jsonl" in links(at)
    assert "18 rows + 6 in the validation split" in texts(at)
    line = next(code.value for code in at.code if " core select " in code.value)
    assert "--filter 'task=words|sums'" in line
    written = CliRunner().invoke(commands, [*shlex.split(line)[3:-1], str(folder() / "again.jsonl")])
    assert written.exit_code == 0, written.output
    assert (folder() / "again.jsonl").read_bytes().splitlines() == first
    assert (folder() / "again.heldout.jsonl").read_bytes().splitlines() == second


def test_pins_and_filters_reach_the_manifest(run, app, folder):
    at = app("select")
    at.pills(key="select.task").set_value(["words"]).run()
    at.session_state[state.SETTINGS] = replace(
        at.session_state[state.SETTINGS], pins=(Pin("row-6", "in", "kept by hand"),)
    )
    at.switch_page("pages/export.py").run()
    at = write(at)
    manifest = json.loads((folder() / "chosen.manifest.json").read_text())
    assert manifest["recipe"]["filters"][0]["values"] == ["words"]
    assert manifest["recipe"]["pins"] == [{"id": "row-6", "side": "in", "reason": "kept by hand"}]
    assert "row-6" in {row["id"] for row in manifest["rows"]}
    assert not [code for code in at.code if " core select " in code.value]  # no option can express a pin


def test_a_full_disk_shows_one_sentence(run, app, workspace):
    at = app("export")
    exports = workspace.root / "exports"
    exports.rmdir()
    exports.write_text("a file where the folder should be")
    at.button(key="export.write").click().run()
    assert not at.exception
    assert at.error and "exports" in at.error[0].value.replace("\\", "")


def open_prompts(workspace, tmp_path):
    """Open and measure a pool of prompts, and select ten of them at random."""
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        "".join(json.dumps({"id": f"p{i}", "prompt": f"Why {i}?", "task": "ab"[i % 2]}) + "\n" for i in range(40))
    )
    pool = load_pool(str(path), workspace=workspace.root)
    entropy_shift_run(workspace, pool)
    return pool


def test_prompts_without_responses_are_exported_as_an_annotation_queue(workspace, tmp_path, app, folder):
    open_prompts(workspace, tmp_path)
    at = app("select")
    at.session_state[state.SETTINGS] = replace(at.session_state[state.SETTINGS], method="random", budget="10")
    at.switch_page("pages/export.py").run()
    at.get_by_key("export.schema").set_value("annotation").run()
    assert not at.exception
    assert "Annotation queue: prompt, task and an empty response for annotators to fill in" in texts(at)
    first = orjson.loads(at.code[0].value)
    assert first["response"] == ""
    write(at)
    assert not at.error
    assert "10 rows · 0 response tokens" in texts(at)
    rows = [orjson.loads(line) for line in (folder() / "chosen.jsonl").read_bytes().splitlines()]
    assert rows[0] == first
    assert {tuple(row) for row in rows} == {("id", "prompt", "task", "response")}
    assert "nan" not in (folder() / "chosen.README.md").read_text().lower()


@pytest.mark.parametrize("schema", ["alpaca", "sharegpt"])
def test_prompts_cannot_be_exported_as_rows_with_responses(workspace, tmp_path, app, schema):
    open_prompts(workspace, tmp_path)
    at = app("select")
    at.session_state[state.SETTINGS] = replace(at.session_state[state.SETTINGS], method="random", budget="10")
    at.switch_page("pages/export.py").run()
    at.get_by_key("export.schema").set_value(schema).run()
    assert not at.exception
    assert "it has no response" in at.error[0].value


def test_a_queue_of_rows_with_responses_leaves_them_out(run, app, folder):
    at = app("export")
    at.get_by_key("export.schema").set_value("annotation").run()
    write(at)
    assert not at.error
    rows = [orjson.loads(line) for line in (folder() / "chosen.jsonl").read_bytes().splitlines()]
    assert len(rows) == 24 and all(row["prompt"] and row["response"] == "" for row in rows)
    assert "The pool's own responses are not in the file." in (folder() / "chosen.README.md").read_text()


def test_a_budget_in_tokens_of_prompts_shows_one_sentence(workspace, tmp_path, app):
    open_prompts(workspace, tmp_path)
    at = app("select")
    settings = replace(at.session_state[state.SETTINGS], method="random", budget="2ktok")
    at.session_state[state.SETTINGS] = settings
    at.switch_page("pages/export.py").run()
    assert not at.exception
    assert "a budget in response tokens (2ktok) cannot be used" in at.error[0].value.replace("\\", "")


def test_parquet_is_another_export_and_the_commands_write_it(pool, run, app, folder, workspace):
    at = app("export")
    at.get_by_key("export.file").set_value("Parquet").run()
    at.toggle(key="export.scores").set_value(True).run()
    at.slider(key="export.held_out").set_value(25).run()
    write(at)
    table, held_out = (pq.read_table(folder() / f"chosen{part}.parquet") for part in ("", ".heldout"))
    assert (table.num_rows, held_out.num_rows) == (18, 6)
    ranks = table["winnow.entropy_shift.rank"].to_pylist() + held_out["winnow.entropy_shift.rank"].to_pylist()
    assert sorted(ranks) == list(range(24))
    assert {"Download chosen.parquet", "chosen.heldout.parquet", "chosen.manifest.json"} <= set(links(at))
    card = (folder() / "chosen.README.md").read_text()
    assert "Columns `winnow.*` hold each row's scores." in card
    assert "path: chosen.parquet" in card
    assert "--out again.parquet" in next(code.value for code in at.code if " core replay " in code.value)
    line = next(code.value for code in at.code if " core select " in code.value)
    written = CliRunner().invoke(commands, [*shlex.split(line)[3:-1], str(folder() / "again.parquet")])
    assert written.exit_code == 0, written.output
    for part in ("", ".heldout"):
        assert (folder() / f"again{part}.parquet").read_bytes() == (folder() / f"chosen{part}.parquet").read_bytes()
