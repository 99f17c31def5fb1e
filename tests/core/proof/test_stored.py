"""Proofs are stored before their first step, read back as they were, and found by their selection."""

from dataclasses import replace

import numpy as np
import pytest

from core.algorithms.paired_comparison import NONE, WORSE
from core.errors import WorkspaceError
from core.proof.plan import HELD_OUT, MACRO, RunSpec
from core.proof.runs import RunCounts, RunFigures
from core.proof.stored import begin_proof, find_proof, list_proofs, open_proof, save_proof
from core.proof.verdicts import Verdict, describe_run
from core.workspace.files import read_json, write_json
from core.workspace.folder import Workspace
from tests.core.proof.conftest import make_recipe


@pytest.fixture
def begun(demo, workspace):
    built = demo.design("entropy_shift", "bottom=reversed:lowest_nll", "demo.csv=random", targets=("demo",))
    return built, begin_proof(workspace, built.plan, built.rows, built.evaluated)


def verdict(arm, words=NONE):
    return Verdict(arm, HELD_OUT, MACRO, "nll", "steps", 0.1, 0.05, 0.15, 0.01, words, 5, {"0.0003": 0.1}, 2.0, 0.02)


def test_a_proof_that_has_begun_has_its_plan_rows_and_targets(begun, workspace):
    built, proof = begun
    assert (proof.id, proof.state, proof.runs, proof.verdicts) == (built.plan.id, "running", (), ())
    again = open_proof(workspace, built.plan.id)
    assert again.plan == proof.plan
    assert again.plan.as_data() == built.plan.as_data()
    assert {arm: [one.tolist() for one in rows] for arm, rows in again.arm_rows.items()} == {
        arm: [one.tolist() for one in rows] for arm, rows in built.rows.items()
    }
    for read, given in zip(again.targets, built.evaluated, strict=True):
        assert read.target == given.target
        for name in ("rows", "task", "response_tokens", "short"):
            assert getattr(read, name).tolist() == getattr(given, name).tolist()


def test_a_saved_proof_is_read_back_as_it_was(begun, workspace):
    built, proof = begun
    nll = {one.target.name: np.arange(1.0, len(one.rows) + 1) for one in built.evaluated}
    margins = {"demo": np.linspace(-1, 1, 24)}
    matches = {HELD_OUT: np.ones(200, np.bool_)}
    figures = RunFigures(RunCounts(1, 2, 3, 4), np.float32([2, 1]), 5.0, 6.0, nll, margins, matches)
    run = describe_run(RunSpec("random", 0, 3e-4, "steps"), figures, built.evaluated, "0" * 16)
    done = replace(proof, state="finished", runs=(run,), verdicts=(verdict("entropy_shift", WORSE),), cost={"x": 1.0})
    saved = save_proof(done)
    assert saved.as_data() == done.as_data() | {"made": saved.made}
    data = open_proof(workspace, built.plan.id).as_data()
    assert {"id", "plan", "state", "made", "runs", "verdicts", "cost", "headline"} == data.keys()
    assert {"arm", "target", "task", "difference", "low", "high", "verdict", "seeds", "rates"} < data["verdicts"][
        0
    ].keys()
    assert data["headline"].startswith("Indication from 5 seeds") is False
    assert data["headline"].startswith("On the held-out rows, at equal steps: random is better than every other arm")
    assert data["runs"][0]["preference_accuracy"] == {"demo": 0.5}
    again = begin_proof(workspace, built.plan, built.rows, built.evaluated)
    assert again.as_data() == data  # beginning again loses nothing


def test_proofs_of_a_pool_are_listed_newest_first_without_damaged_ones(demo, workspace):
    plans = [demo.design(seed=seed) for seed in (0, 1, 2)]
    proofs = [begin_proof(workspace, each.plan, each.rows, each.evaluated) for each in plans]
    save_proof(proofs[0])
    assert list_proofs(workspace, demo.pool.fingerprint)[0].id == proofs[0].id
    assert {proof.id for proof in list_proofs(workspace, demo.pool.fingerprint)} == {proof.id for proof in proofs}
    assert list_proofs(workspace, "0" * 32) == []
    (proofs[1].folder / "proof.json").write_text("{")
    assert len(list_proofs(workspace, demo.pool.fingerprint)) == 2
    data = read_json(proofs[2].folder / "proof.json")
    write_json(proofs[2].folder / "proof.json", data | {"plan": data["plan"] | {"other": 1}})
    assert [proof.id for proof in list_proofs(workspace, demo.pool.fingerprint)] == [proofs[0].id]
    with pytest.raises(WorkspaceError, match="There is no proof 'nothing'"):
        open_proof(workspace, "nothing")


def test_the_proof_of_a_selection_is_found_by_what_decides_its_rows(begun, demo, workspace: Workspace):
    _, proof = begun
    recipe = make_recipe("entropy_shift", params={"learning_rate": 5e-4})
    assert find_proof(workspace, demo.pool, recipe) is None  # no verdict yet
    proof = save_proof(replace(proof, verdicts=(verdict("entropy_shift"), verdict("bottom"))))
    found, arm = find_proof(workspace, demo.pool, recipe)
    assert (found.id, arm) == (proof.id, "entropy_shift")
    same = recipe.model_copy(update={"pool": recipe.pool.model_copy(update={"source": "elsewhere"})})
    assert find_proof(workspace, demo.pool, same.model_copy(update={"budget": "10.0%"})) is not None
    others = [
        {"budget": "5%"},
        {"seed": 1},
        {"params": {"learning_rate": 5e-4, "gamma": 0.2}},
        {"filters": [{"column": "nll", "high": 2.0}]},
        {"pins": [{"id": "x", "side": "in"}]},
        {"threshold": 1.0},
        {"reading": {"max_length": 512}},
    ]
    for other in others:
        changed = make_recipe("entropy_shift", **{"params": {"learning_rate": 5e-4}} | other)
        assert find_proof(workspace, demo.pool, changed) is None
    assert find_proof(workspace, demo.pool, make_recipe("lowest_nll")) is None  # its worst rows were judged
