"""Losses row by row: means over the seeds whose figures are stored, in nats per response token."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from core.errors import WorkspaceError
from core.proof.plan import HELD_OUT
from core.proof.row_losses import load_row_losses
from core.proof.stored import begin_proof
from core.workspace.parts import Parts


@pytest.fixture
def proof(demo, workspace):
    """Return a proof with two stored training runs of random, and one of longest whose figures were deleted."""
    built = demo.design(targets=("demo",), held_out="20")
    begun = begin_proof(workspace, built.plan, built.rows, built.evaluated)
    tokens = begun.targets[0].response_tokens
    runs = []
    for number, (arm, factor) in enumerate([("random", 1.0), ("random", 3.0), ("longest", 0)]):
        stage = f"{number:016x}"
        runs.append({"arm": arm, "work": "steps", "rate": 3e-4, "stage": stage})
        if factor:
            parts = Parts.open(workspace.folder("measurements", stage), {}, [np.arange(1)])
            columns = {f"nll:{HELD_OUT}": [factor * tokens], "margin:demo": [np.full(24, factor)]}
            parts.write(0, pa.table(columns))
    return replace(begun, runs=tuple(runs))


def test_the_nll_of_rows_is_a_mean_over_seeds_per_response_token(workspace, proof):
    losses = load_row_losses(workspace, proof, HELD_OUT, "steps", ["random"])
    assert losses.by_arm["random"].tolist() == [2.0] * 20
    assert losses.difference("random", "random").tolist() == [0.0] * 20


def test_of_pairs_a_larger_margin_is_a_lower_loss(workspace, proof):
    assert load_row_losses(workspace, proof, "demo", "steps", ["random"]).by_arm["random"].tolist() == [-2.0] * 24


@pytest.mark.parametrize(("arm", "work"), [("longest", "steps"), ("random", "epochs")])
def test_without_stored_figures_the_error_names_the_arm_and_the_remedy(workspace, proof, arm, work):
    with pytest.raises(WorkspaceError, match=f"No figures of the arm '{arm}'.*Run the same proof again"):
        load_row_losses(workspace, proof, HELD_OUT, work, [arm])
