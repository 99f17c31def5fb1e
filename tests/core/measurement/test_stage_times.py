"""Times by stage: of runs, of an estimate, and of one method by the rates of a trial."""

import json
from dataclasses import asdict
from time import monotonic

import pytest

from core.measurement import measurement_of
from core.measurement.cost import estimate
from core.measurement.measure import measure_all
from core.measurement.measurement import Work
from core.measurement.stage_times import STAGES, pass_seconds, planned_times, run_times, work_seconds
from core.methods import build_method
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.workspace.folder import Workspace

QUICK = {
    "entropy_shift": {"epochs": 1},
    "activation_coverage": {"clusters": 2},
    "task_confidence": {"prompts_per_task": 2, "new_tokens": 2},
    "answer_divergence": {"answers": 2, "max_new_tokens": 2},
    "preference_influence": {"epochs": 1, "pairs": 2},
}


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """Measure 40 rows with five methods; return the runs, the seconds waited, methods, pool and estimate."""
    folder = tmp_path_factory.mktemp("times")
    file, workspace = folder / "pool.jsonl", Workspace(folder / "workspace")
    rows = [{"instruction": f"say {i}", "output": f"it is {i}", "task": "ab"[i % 2]} for i in range(40)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = load_pool(str(file), workspace=workspace.root)
    methods = [build_method(name, params) for name, params in QUICK.items()]
    reading = Reading(max_length=128)
    cost = asdict(estimate(pool, methods, reading, workspace, report=SilentReporter()))
    began = monotonic()
    runs = measure_all(pool, methods, reading, workspace, report=SilentReporter())
    return runs, monotonic() - began, methods, pool, cost


def test_the_stages_of_all_runs_add_up_to_the_time_waited(tried):
    runs, waited, *_ = tried
    times = run_times(runs)
    assert sum(time.seconds for time in times) == pytest.approx(waited, rel=0.05, abs=0.2)
    assert {kind for run in runs for kind in run.summary["seconds"]} <= set(STAGES)  # each has words
    stages = [time.stage for time in times]
    assert {"Forward passes", "Warm-up training", "Row gradients", "Generated answers"} <= set(stages)
    assert len(set(stages)) == len(stages)


def test_the_stages_of_an_estimate_add_up_to_its_time(tried):
    *_, cost = tried
    assert [stage["stage"] for stage in cost["stages"]] == [
        "Loading", "Tokenization", "Forward passes", "Warm-up training", "Row gradients", "Continuations",
        "Generated answers", "Answer geometry",
    ]  # fmt: skip
    assert cost["seconds"] == pytest.approx(sum(stage["seconds"] for stage in cost["stages"]))
    assert [stage["what"] for stage in cost["stages"][-2:]] == ["up to 160 tokens", "of up to 80 answers"]
    parts = ("calibration_seconds", "gradient_seconds", "asking_seconds", "answering_seconds")
    assert [stage["seconds"] for stage in cost["stages"]][3:-1] == pytest.approx([cost[part] for part in parts])
    assert cost["stages"][-1]["seconds"] == pytest.approx(80 * cost["rates"]["seconds_per_embedded"])


def test_the_rates_of_a_trial_price_each_method(tried):
    *_, methods, pool, cost = tried
    works = [measurement_of(method.name).cost(method, pool) for method in methods]
    each = [work_seconds(work, cost["rates"], len(pool), cost["tokens"]) for work in works]
    loading = cost["rates"]["seconds_to_load"]
    whole = pass_seconds(cost["rates"], len(pool), cost["tokens"]) + sum(each) + loading
    assert whole == pytest.approx(cost["seconds"])


def test_work_that_no_trial_timed_has_no_price():
    rates = {"seconds_per_token": 1e-3}
    assert work_seconds(Work(base_pass=True), rates, 10, 100) == 0
    assert work_seconds(Work(trained_passes=1), rates, 10, 100) == pytest.approx(0.1)
    assert work_seconds(Work(training=1, steps=4), rates, 10, 100) == pytest.approx(0.1)  # an older trial
    assert work_seconds(Work(training=1, steps=4), rates | {"seconds_per_step": 0.2}, 10, 100) == pytest.approx(0.9)
    assert work_seconds(Work(generated=5), rates, 10, 100) is None
    assert work_seconds(Work(embedded=5), rates, 10, 100) is None
    assert work_seconds(Work(embedded=5), rates | {"seconds_per_embedded": 1e-3}, 10, 100) == pytest.approx(0.05)
    assert work_seconds(Work(served=5), rates, 10, 100) == 0  # a server's time is not this machine's
    assert planned_times([Work(generated=5)], base=True, rates=rates, rows=10, tokens=100) is None
    assert planned_times([Work()], base=True, rates={}, rows=10, tokens=100) is None


def test_the_steps_of_warm_ups_are_counted_as_they_are_taken(tried):
    runs, _, methods, pool, _ = tried
    (shift,), influence = runs[0].summary["rounds"], runs[-1].summary["warm_up"]
    planned = [measurement_of(method.name).cost(method, pool).steps for method in methods]
    assert planned == [shift["steps"], 0, 0, 0, influence["steps"]]
