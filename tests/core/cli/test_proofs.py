"""The command `prove`: from options to facts, one sentence for what is wrong, a table for people."""

import orjson
import pytest
from typer.testing import CliRunner

from core.cli.app import app
from core.cli.display import in_words
from core.cli.terminal import format_facts
from core.demo.measured import unpack_measured
from core.workspace.folder import Workspace

SMALL = [
    "--seeds",
    "2",
    "--steps",
    "2",
    "--tokens-per-step",
    "64",
    "--epochs",
    "0",
    "--held-out",
    "20",
    "--rates",
    "1e-3",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("cli"))
    unpack_measured(workspace.root)
    return workspace


def prove(place, *words):
    return CliRunner().invoke(app, ["prove", *words, "--workspace", str(place.root)])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["demo", "--rates", "fast"], "--rates fast: write learning rates as numbers, such as 1e-5,3e-5."),
        (["demo", "--smallest-effect", "tiny"], "--smallest-effect tiny: write a share, such as 1% or 0.01."),
        (["demo", "--arms", "longes"], "--arms: 'longes' is neither a method nor a file."),
        (["demo", "--set", "gamma=0.1"], "--set gamma=0.1: write it as NAME.key=value"),
        (["demo", "--seeds", "1"], "--seeds 1 is not valid: it must be 2 to 100"),
        (["demo", "--steps", "0"], "--steps 0 is not valid"),
        (["demo", "--budget", "all"], "The budget 'all' is not valid."),
        (["demo", "--target", "nowhere.jsonl"], "The target 'nowhere' cannot be used. There is no file or folder"),
        (["demo", "--arms", "imported"], "is not measured on this pool with these settings. First run: python -m core"),
        (["demo", "other"], "Write `prove POOL`, or `prove collect FOLDER`"),
        (["collect"], "Write `prove POOL`, or `prove collect FOLDER`"),
    ],
)
def test_what_is_wrong_is_one_sentence(place, words, sentence):
    result = prove(place, *words)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not any(place.root.glob("proofs/*"))


@pytest.mark.slow
def test_a_proof_is_estimated_run_and_shown(place):
    words = ["demo", "--arms", "worst=reversed:entropy_shift", "--set", "worst.gamma=0.2", *SMALL]
    planned = orjson.loads(prove(place, *words, "--estimate", "--json").stdout)
    assert planned["plan"]["arms"][2]["recipe"]["method"]["params"]["gamma"] == 0.2
    assert planned["cost"]["estimated_seconds"] > 0
    assert not any(place.root.glob("proofs/*"))
    proof = orjson.loads(prove(place, *words, "--json").stdout)
    assert (proof["id"], proof["plan"], proof["state"]) == (planned["id"], planned["plan"], "finished")
    assert {"plan", "runs", "verdicts", "cost"} < proof.keys()
    assert [run["arm"] for run in proof["runs"]] == ["untrained", *["random", "longest", "worst"] * 2]
    judged = {each["arm"]: each for each in proof["verdicts"]}
    assert {"target", "task", "difference", "low", "high", "verdict", "seeds", "rates"} < judged["worst"].keys()
    assert judged.keys() == {"longest", "worst"}
    again = orjson.loads(prove(place, *words, "--json").stdout)
    assert again["runs"] == proof["runs"]
    shown = format_facts(in_words("prove", proof))
    assert "held out" in shown
    assert proof["headline"] in shown
    assert proof["headline"].startswith("Indication from 2 seeds and 1 learning rate, on the held-out rows")
