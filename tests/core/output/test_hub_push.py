"""An export on the hub, sent by the hub's own client to a server of the shape of the hub's API on this computer."""

import io
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from core.__main__ import app
from core.errors import OutputError
from core.output import hub_push
from core.pool.pools import iter_originals, load_pool
from tests.hub_server import serve, use_hub
from tests.test_cli_page import schema_of

ROWS = [{"id": f"row-{k}", "instruction": f"Question {k}?", "output": "word " * (k + 3)} for k in range(20)]
EXPORT = "export pool.jsonl --method longest --budget 5 --held-out 20% --push o/subset"
FILES = ["README.md", *(f"chosen.{end}" for end in ("heldout.jsonl", "heldout.parquet", "jsonl", "manifest.json"))]
FILES += ["chosen.parquet", "chosen.recipe.yaml"]


pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the client's own upload


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("measure pool.jsonl --method longest")
    return folder


@pytest.fixture
def hub(measured, tmp_path, monkeypatch):
    shutil.copytree(measured, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serve() as server:
        use_hub(monkeypatch, server, tmp_path / "cache")
        yield server


def run(line: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, line.split())
    assert result.exit_code == code, result.output
    assert "hf_secret" not in result.output
    return result.stderr if code else result.stdout


def sent(line: str = EXPORT) -> dict:
    facts = json.loads(run(f"{line} --json"))
    Draft202012Validator(schema_of("export")).validate(facts)
    return facts["push"]


def test_what_would_be_sent_is_shown_and_nothing_is_sent(hub):
    push = sent()
    assert [file["name"] for file in push["files"]] == FILES
    assert all(file["bytes"] == Path(file["file"]).stat().st_size > 0 for file in push["files"])
    assert (push["private"], push["revision"], push["commit"]) == (True, None, None)
    assert push["url"] == f"{constants.ENDPOINT}/datasets/o/subset"
    assert (push["notices"], hub.commits) == ([], {})
    assert not [one for one in hub.asked if one.startswith(("POST", "PUT"))]
    words = run(EXPORT)
    assert "(private)" in words and "nothing; add --yes to send these files" in words
    assert not list(Path("workspace").rglob("*hub*"))


def test_rows_card_manifest_and_recipe_are_one_private_commit_that_opens_as_a_pool(hub, tmp_path):
    push = sent(f"{EXPORT} --yes")
    assert (push["commit"].rpartition("/")[0], hub.private) == (f"{push['url']}/commit", {"o/subset": True})
    files = hub.files("o/subset")
    assert sorted(files) == [".gitattributes", *sorted(FILES)]
    assert files["chosen.jsonl"] == Path("chosen.jsonl").read_bytes()
    table = pq.read_table(io.BytesIO(files["chosen.parquet"]))
    assert table["id"].to_pylist() == [json.loads(line)["id"] for line in files["chosen.jsonl"].splitlines()]
    assert files["README.md"] == Path("chosen.README.md").read_bytes()
    pool = load_pool("o/subset", workspace=tmp_path / "other")  # by the card: one format, the training split
    assert [row["id"] for row in iter_originals(pool)] == table["id"].to_pylist()
    assert hub.tokens == {"Bearer hf_secret"} | (hub.tokens & {""})
    assert not [f for f in tmp_path.rglob("*") if f.is_file() and b"hf_secret" in f.read_bytes()]


def test_what_is_sent_again_builds_on_what_is_there(hub):
    sent(f"{EXPORT} --yes")
    before = hub.branches["o/subset"]["main"]
    push = sent(f"{EXPORT.replace('--budget 5', '--budget 7')} --yes")
    assert (push["revision"], all(file["replaces"] for file in push["files"])) == (before, True)
    assert len(hub.files("o/subset")["chosen.jsonl"].splitlines()) == 6


def test_what_was_shown_is_not_sent_onto_a_newer_commit(hub):
    sent(f"{EXPORT} --yes")
    push = hub_push.plan_push(hub_push.find_repository("o/subset"), Path("chosen.jsonl"))
    hub.publish("o/subset", {"theirs.txt": b"x"})
    with pytest.raises(OutputError, match="o/subset was changed by somebody else in the meantime"):
        hub_push.send(push, "Add rows")
    assert hub.files("o/subset").keys() == {".gitattributes", "theirs.txt"}


def test_a_public_repository_is_sent_to_only_if_that_is_meant(hub):
    hub.publish("o/subset", {})
    assert "o/subset is public, so all could read what is sent. Add --public" in run(f"{EXPORT} --yes", 2)
    assert not Path("chosen.jsonl").exists()
    assert sent(f"{EXPORT} --public --yes")["private"] is False
    assert sent(f"{EXPORT}-2 --public --yes")["private"] is hub.private["o/subset-2"] is False


def test_what_the_files_tell_of_this_computer_is_said(hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    push = sent(EXPORT.replace("pool.jsonl", str(Path("pool.jsonl").absolute())))
    assert str(Path("pool.jsonl").absolute()) in push["notices"][0]
    assert "You are not logged in at the hub" in push["notices"][1]


@pytest.mark.parametrize(
    ("more", "says"),
    [("--push subset", "--push subset: write it as owner/name"), ("--yes", "--public and --yes belong to --push")],
)
def test_options_that_mean_nothing_are_refused(hub, more, says):
    assert says in run(f"export pool.jsonl --method longest {more}", 2)


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/api/datasets/o/subset", 403, "The hub refuses access to o/subset. Log in with a token"),
        ("/api/repos/create", 403, "The hub refuses access to o/subset"),
    ],
)
def test_each_refusal_is_one_sentence(hub, path, status, says):
    hub.refusals[path] = (status, {})
    assert says in run(f"{EXPORT} --yes", 2)


def test_without_a_network_nothing_is_sent(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    assert "The hub cannot be reached, so nothing was sent to o/subset" in run(EXPORT, 2)


def test_a_pool_of_the_hub_is_replayed_at_its_commit_after_its_branch_has_moved(hub):
    commit = hub.publish("o/pool", {"train.jsonl": Path("pool.jsonl").read_bytes()})
    run("measure o/pool --method longest")
    run("select hf://datasets/o/pool@main --method longest --budget 5 --out mine.jsonl")
    recipe, card = Path("mine.recipe.yaml").read_text(), Path("mine.README.md").read_text()
    assert f"revision: {commit}" in recipe and "source: o/pool" in recipe
    assert f"`o/pool` on the hub, commit `{commit}`" in card and "source_datasets:\n- o/pool" in card
    hub.publish("o/pool", {"train.jsonl": b'{"instruction": "Q", "output": "A"}\n'})
    hub.asked.clear()
    run("replay mine.manifest.json --out again.jsonl")
    run("replay mine.manifest.json --out again.jsonl --pool pool.jsonl")
    assert hub.asked == []
