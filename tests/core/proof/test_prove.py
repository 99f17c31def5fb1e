"""A proof is run in order, resumably, by one process or several, and says beforehand what it will take."""

import json
import pickle
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest

from core.algorithms.paired_comparison import NONE
from core.errors import ModelError
from core.models.training import finetune
from core.progress import SilentReporter
from core.proof import cost, workers
from core.proof.plan import RunSpec, Work
from core.proof.prove import estimate_proof, list_runs, prove, training_runs
from core.proof.stored import open_proof
from tests.core.proof.tiny import make_design, make_stages

SILENT = SilentReporter()


@pytest.fixture
def design(tiny_model_dir, tmp_path):
    return make_design(make_stages(tiny_model_dir, tmp_path / "a"), "other")


@pytest.fixture
def again(tiny_model_dir, tmp_path):
    """Return the same design in another workspace."""
    return make_design(make_stages(tiny_model_dir, tmp_path / "b"), "other")


def content(proof):
    """Return a proof's data without what the clock says."""
    data = json.loads(json.dumps(proof.as_data()))
    del data["made"], data["cost"]
    for run in data["runs"]:
        del run["seconds"]
    return data


class Killed(BaseException):
    pass


def test_runs_are_in_an_order_that_gives_verdicts_early(design):
    plan = replace(design.plan, rates=(0.1, 0.2))
    first, *others = list_runs(plan)
    assert first == RunSpec("untrained", 0, 0.0, "steps")
    assert others[:5] == [
        RunSpec("random", 0, 0.1, "steps"),
        RunSpec("other", 0, 0.1, "steps"),
        RunSpec("random", 0, 0.2, "steps"),
        RunSpec("other", 0, 0.2, "steps"),
        RunSpec("random", 1, 0.1, "steps"),
    ]
    assert [run.work for run in others] == ["steps"] * 8 + ["epochs"] * 8
    assert len(list_runs(replace(plan, work=Work(epochs=0)))) == 9


def test_the_plan_is_stored_before_the_first_step(design, monkeypatch):
    def step(_):
        assert open_proof(design.stages.workspace, design.plan.id).plan == design.plan
        raise Killed

    monkeypatch.setattr(finetune, "_run_step", step)
    with pytest.raises(Killed):
        prove(design, SILENT)


def test_a_killed_proof_goes_on_where_it_was_to_the_same_result(design, again, monkeypatch):
    whole = prove(again, SILENT)
    assert whole.state == "finished" and len(whole.runs) == 9 and whole.verdicts
    seen = []

    class Watch(SilentReporter):
        def note(self, text):
            proof = open_proof(design.stages.workspace, design.plan.id)
            seen.append((len(proof.runs), proof.state, bool(proof.verdicts)))
            if len(seen) == 6:
                raise Killed

    with pytest.raises(Killed):
        prove(design, Watch())
    assert seen == [(k, "running", k == 5) for k in range(6)]  # a verdict once both arms have two seeds
    steps, step = [], finetune._run_step
    monkeypatch.setattr(finetune, "_run_step", lambda run: (steps.append(1), step(run)))
    assert content(prove(design, SILENT)) == content(whole)
    epochs = [run for run in training_runs(design).values() if run.settings and not run.settings.steps]
    assert len(steps) == sum(run.counts.steps for run in epochs[-3:])


def test_a_finished_proof_trains_nothing(design, monkeypatch):
    whole = prove(design, SILENT)
    monkeypatch.setattr(finetune, "_run_step", None)
    assert content(prove(design, SILENT)) == content(whole)


def test_another_arm_trains_that_arm_alone(design, monkeypatch):
    prove(design, SILENT)
    rows = {**design.rows, "third": design.rows["other"][::-1]}
    arms = (*design.plan.arms, replace(design.plan.arms[1], name="third"))
    wider = replace(design, plan=replace(design.plan, arms=arms), rows=rows, choosing_seconds={})
    steps, step = [], finetune._run_step
    monkeypatch.setattr(finetune, "_run_step", lambda run: (steps.append(1), step(run)))
    assert len(prove(wider, SILENT).runs) == 13
    assert len(steps) == sum(run.counts.steps for spec, run in training_runs(wider).items() if spec.arm == "third")


def test_progress_counts_models_and_tokens(design):
    calls = []

    class Watch(SilentReporter):
        def stage(self, name, *, rows, work, done_rows=0, done_work=0):
            calls.append((name, rows, work, done_rows, done_work))

        def advance(self, rows, work):
            calls.append((rows, work))

    prove(design, Watch())
    title, models, total, *_ = next(call for call in calls if len(call) > 2)
    assert (title, models) == ("Training and evaluating 9 models", 9)
    done = [call for call in calls if len(call) == 2]
    assert done == sorted(done) and done[-1] == (9, total)


def test_figures_are_the_same_by_one_process_and_by_several(design, again):
    assert content(prove(design, SILENT, workers=2)) == content(prove(again, SILENT, workers=1))


def test_the_error_of_a_run_is_raised_by_a_worker_too(tiny_model_dir, tmp_path):
    design = make_design(make_stages(tiny_model_dir, tmp_path / "a"), "other", rates=(1e30,))
    with pytest.raises(ModelError, match="Lower the learning rate"):
        prove(design, SILENT, workers=2)


def test_a_worker_that_is_lost_is_one_sentence(design, monkeypatch):
    @contextmanager
    def lost():
        with subprocess.Popen([sys.executable, "-c", ""], stdin=-1, stdout=-1) as process:
            yield process

    monkeypatch.setattr(workers, "_start_worker", lost)
    with pytest.raises(ModelError, match="ended without a message"):
        prove(design, SILENT, workers=2)


def test_a_worker_ends_with_the_process_that_asks(tiny_model_dir, tmp_path):
    work = Work(steps=100_000, tokens_per_step=60, epochs=0)
    design = make_design(make_stages(tiny_model_dir, tmp_path / "a"), work=work)
    run = training_runs(design)[RunSpec("random", 0, 1e-2, "steps")]
    with workers._start_worker() as process:
        pickle.dump(run.task(), process.stdin)
        process.stdin.flush()
        assert pickle.load(process.stdout) == ("step", 1)
        process.stdout.close()
        assert process.wait(60) == 0
        process.stdout = None


def test_an_estimate_stores_nothing_and_counts_what_is_left(design):
    found = estimate_proof(design)["cost"]
    assert found["models"] == 9 and found["stored"] == 0 and found["workers"] == 1
    assert found["tokens"] == sum(run.counts.tokens for run in training_runs(design).values())
    assert found["training_seconds"] > 0 and found["evaluation_seconds"] > 0
    assert found["estimated_seconds"] == pytest.approx(found["training_seconds"] + found["evaluation_seconds"])
    assert not any(run.is_stored for run in training_runs(design).values())
    prove(design, SILENT)
    found = estimate_proof(design)["cost"]
    assert found["stored"] == 9 and found["estimated_seconds"] == found["tokens"] == 0


def test_a_processor_is_filled_and_its_memory_is_not(design, monkeypatch):
    missing = list(training_runs(design).values())
    assert cost.count_workers(missing) == 1  # so little work is done before workers have started
    monkeypatch.setattr(cost, "WORKER_WORK", 0)
    monkeypatch.setattr(cost.os, "sched_getaffinity", lambda _: range(4))
    assert cost.count_workers(missing) == 4
    assert cost.count_workers(missing[:3]) == 3
    monkeypatch.setattr(cost, "BYTES_PER_PARAMETER", 1e12)
    assert cost.count_workers(missing) == 1
    assert cost.count_workers([]) == 1


def test_two_random_arms_show_no_difference(tiny_model_dir, tmp_path):
    work = Work(steps=6, tokens_per_step=60, epochs=0)
    plan = {"seeds": (0, 1, 2, 3, 4), "rates": (5e-3, 1e-2), "work": work}
    design = make_design(make_stages(tiny_model_dir, tmp_path / "a"), "other", **plan)
    (verdict,) = [each for each in prove(design, SILENT).verdicts if not each.task]
    assert verdict.verdict == NONE and verdict.seeds == 5
