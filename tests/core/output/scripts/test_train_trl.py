"""The script that is handed over trains on the plan's steps, and evaluates as a proof run here does."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np

from core.progress import SilentReporter
from core.proof.collect import collect_results
from core.proof.plan import RunSpec
from core.proof.runs import TrainingRun, run_settings
from core.workspace.folder import Workspace

RUN = "random/0-0.001-steps"


def read_lines(path):
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def run_script(folder, *words):
    env = os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "train_trl.py", *words], cwd=folder, env=env, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_what_the_script_evaluates_is_what_a_proof_here_evaluates(design, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "proof")
    run_script(tmp_path / "proof", "untrained/0-0-steps")
    collected = collect_results(tmp_path / "proof", Workspace(tmp_path / "ws"), SilentReporter())
    own = TrainingRun(design.stages, None, np.empty(0, np.int64), design.evaluated).figures()
    lines = read_lines(tmp_path / "proof/results/untrained/0-0-steps.jsonl")
    for one in design.evaluated:
        found = [line for line in lines[1:] if line["target"] == one.target.name]
        assert np.allclose([line["nll"] for line in found], own.nll[one.target.name], rtol=1e-4)
        assert [line["tokens"] for line in found] == one.response_tokens.tolist()
    margins = [line["rejected_nll"] / line["rejected_tokens"] - line["nll"] / line["tokens"] for line in found]
    assert np.allclose(margins, own.margins["my pairs"], atol=1e-4)
    assert collected.found == 1 and len(collected.missing) == 24
    assert collected.proof.runs[0]["nll"]["held out"][""] > 0


def test_the_script_trains_with_trl_on_the_same_steps(design, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "proof")
    run_script(tmp_path / "proof", RUN)
    about, *lines = read_lines(tmp_path / f"proof/results/{RUN}.jsonl")
    run = TrainingRun(
        design.stages, run_settings(design.plan, RunSpec("random", 0, 1e-3, "steps")), design.arm_rows("random", 0),
        design.evaluated,
    )  # fmt: skip
    own = run.figures()
    assert np.allclose(about["losses"], own.losses, rtol=1e-3)
    held_out = [line["nll"] for line in lines if line["target"] == "held out"]
    assert np.allclose(held_out, own.nll["held out"], rtol=1e-2)
