"""A control of the instrument, with real trainings of the embedded model: rows with planted faults lose."""

import json
from dataclasses import replace

import numpy as np
import pytest

from core.algorithms.paired_comparison import WORSE, compare
from core.pool.pools import load_answer_key
from core.progress import SilentReporter
from core.proof.plan import HELD_OUT, MACRO, RunSpec, Work
from core.proof.prove import prove, training_runs

FAULTS = ("swapped", "truncated", "gibberish")
ROWS = 200  # of each arm


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rows_without_planted_faults_beat_rows_of_faults(demo, tmp_path):
    key = load_answer_key(demo.pool)
    ids = demo.pool.rows["id"].to_pylist()
    clean = np.random.default_rng(0).permutation([name for name in ids if name not in key])
    faulty = [name for name in ids if name in key and key[name]["fault"] in FAULTS]
    for name, rows in {"clean": clean, "faults": faulty}.items():
        lines = "".join(json.dumps({"id": str(each)}) + "\n" for each in rows[:ROWS])
        (tmp_path / f"{name}.jsonl").write_text(lines)
    words = [f"{name}={tmp_path / name}.jsonl" for name in ("clean", "faults")]
    work = Work(steps=8, tokens_per_step=384, epochs=0)
    design = demo.design(*words, budget=str(ROWS), held_out="40", seeds=5, rates=(1e-3,), work=work)
    arms = tuple(arm for arm in design.plan.arms if arm.name != "longest")  # a third less to train
    design = replace(design, plan=replace(design.plan, arms=arms))
    found = {each.arm: each for each in prove(design, SilentReporter()).verdicts if each.task == MACRO}
    assert found["faults"].plain == WORSE
    assert found["clean"].plain != WORSE and found["clean"].high < found["faults"].difference
    runs, (rows,) = training_runs(design), design.evaluated
    nll = {
        arm: np.array([runs[RunSpec(arm, seed, 1e-3, "steps")].load().nll[HELD_OUT] for seed in range(5)])
        for arm in ("clean", "faults")
    }
    straight = compare(nll["clean"], nll["faults"], rows.response_tokens.astype(np.float64))
    assert straight.high < 0 and straight.p < 0.05
