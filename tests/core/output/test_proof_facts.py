"""An export carries the proof of its selection: in the manifest, and on the card as plainly where random wins."""

from dataclasses import replace

import orjson
import pyarrow.parquet as pq
import pytest

from core.cli.commands import require_run
from core.output.curate import curate, find_proof_facts
from core.output.manifest import read_manifest
from core.output.replay import replay_manifest
from core.progress import SilentReporter
from core.proof.headline import describe_verdict, main_verdict
from core.proof.plan import HELD_OUT, MACRO, Work
from core.proof.stored import begin_proof, save_proof
from core.proof.verdicts import Verdict
from tests.core.proof.conftest import make_recipe

WORSE = Verdict(
    arm="longest",
    target=HELD_OUT,
    task=MACRO,
    figure="nll",
    work="steps",
    difference=0.1234,
    low=0.05,
    high=0.2,
    p=0.001,
    verdict="worse than random",
    seeds=5,
    rates={"0.0003": 0.1234, "0.001": 0.2},
    random=1.5,
    smallest=0.015,
)
SENTENCE = (
    "Worse than random on the held-out rows, at equal steps: +0.123 nats per response token (95% interval +0.050 to "
    "+0.200; 5 seeds; learning rates 0.0003, 0.001)."
)


@pytest.fixture(scope="module")
def recipe():
    return make_recipe("longest", budget="7")


@pytest.fixture(scope="module")
def exported(demo, recipe, tmp_path_factory):
    """Export a selection before there is a proof of it, and after."""
    folder = tmp_path_factory.mktemp("exported")
    run = require_run(recipe, demo.pool, demo.workspace)
    before = curate(recipe, demo.pool, run, folder / "before.jsonl")
    (folder / "mine.recipe.yaml").write_bytes(before.recipe.read_bytes())
    options = {"budget": "7", "seeds": 2, "held_out": "20", "work": Work(1, 64, 0)}
    design = demo.design(f"mine={folder}/mine.recipe.yaml", **options)
    begun = begin_proof(demo.workspace, design.plan, design.rows, design.evaluated)
    save_proof(replace(begun, verdicts=(replace(WORSE, arm="mine"),)))
    return design.plan, before, curate(recipe, demo.pool, run, folder / "after.jsonl")


def test_the_manifest_holds_the_verdict_and_its_figures(exported):
    plan, before, after = exported
    assert read_manifest(before.manifest).proof is None
    proof = read_manifest(after.manifest).proof
    assert proof is not None
    assert (proof.id, proof.arm, proof.sentence) == (plan.id, "mine", SENTENCE)
    assert (proof.verdict, proof.difference, proof.low, proof.high, proof.seeds) == (
        "worse than random", 0.1234, 0.05, 0.2, 5
    )  # fmt: skip
    assert proof.rates == {"0.0003": 0.1234, "0.001": 0.2}
    assert proof.model.name == "embedded"


def test_the_card_says_that_random_wins(exported):
    plan, before, after = exported
    assert "Proof" not in before.card.read_text()
    assert f"- **Proof**: `{SENTENCE}` Trained model: `embedded`" in after.card.read_text()
    assert f"Plan: `{plan.id}`" in after.card.read_text()


def test_a_proof_changes_no_byte_of_the_rows_and_replay_gives_them_again(demo, exported, tmp_path):
    _, before, after = exported
    assert before.sha256 == after.sha256
    for made in (before, after):
        again = replay_manifest(made.manifest, demo.workspace, SilentReporter(), out=tmp_path / made.chosen.name)
        assert again.path.read_bytes() == before.chosen.read_bytes()


def test_another_selection_has_no_proof(demo, exported):
    assert find_proof_facts(demo.workspace, demo.pool, make_recipe("longest", budget="8")) is None


def test_the_main_verdict_is_on_the_first_target_that_was_given():
    given = replace(WORSE, target="mine", verdict="no difference shown", difference=-0.001, low=-0.01, high=0.008)
    assert main_verdict([WORSE, given, replace(given, target="other")], "longest") == given
    assert main_verdict([replace(WORSE, task="qa"), replace(WORSE, work="epochs")], "longest") is None
    assert describe_verdict(given).startswith("No difference shown on mine, at equal steps: −0.001 nats")
    accuracy = replace(given, figure="preference_accuracy", rates={"0.001": 0.0}, difference=0.02, low=-0.01, high=0.05)
    assert "+2.0 percentage points of preference accuracy (95% interval −1.0 to +5.0" in describe_verdict(accuracy)
    assert describe_verdict(accuracy).endswith("learning rate 0.001).")


def test_a_bundle_holds_the_proof_and_the_rows_in_both_formats(exported, demo, recipe, tmp_path):
    plan, _, after = exported
    written = curate(
        recipe, demo.pool, require_run(recipe, demo.pool, demo.workspace), tmp_path / "b.jsonl", bundle=True
    )
    assert orjson.loads((tmp_path / "b.proof.json").read_bytes())["id"] == plan.id
    assert pq.read_metadata(tmp_path / "b.parquet").num_rows == written.rows
    assert (tmp_path / "b.jsonl").read_bytes() == after.chosen.read_bytes()
    card = written.card.read_text()
    assert "- **Also in** `b.parquet`: the selected rows in the other format" in card
    assert "- **Also in** `b.proof.json`: the proof of the selection" in card
    assert "Also in" not in after.card.read_text()
    files = read_manifest(written.manifest).files
    assert {"b.proof.json", "b.parquet"} <= files.keys() and not {"after.proof.json"} & read_manifest(
        after.manifest
    ).files.keys()
