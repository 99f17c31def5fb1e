"""Estimates of a measurement's cost: work is counted, and its rates are timed on a few rows."""

import json

import pytest

from core.measurement import measurement_of, trial
from core.measurement.cost import estimate
from core.measurement.measurement import TrialBatch
from core.measurement.preference_influence import adapter_share
from core.measurement.trial import rows_to_fill
from core.measurement.warm_up import TRAINING_COST
from core.methods import METHODS, build_method
from core.models.batching import BatchCost
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.workspace.folder import Workspace


@pytest.fixture
def pool(tmp_path):
    """Return 40 rows of task a, 3 of task b."""
    rows = [{"instruction": f"say {i}", "output": f"it is {i}", "task": "a" if i < 40 else "b"} for i in range(43)]
    file = tmp_path / "pool.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_pool(str(file), workspace=tmp_path)


@pytest.fixture
def cost(pool, tmp_path, tiny_model_dir):
    def of(*methods, device="auto"):
        reading = Reading(model=str(tiny_model_dir), max_length=128, device=device)
        return estimate(pool, methods, reading, Workspace(tmp_path), report=SilentReporter())

    return of


def work(name, pool, **params):
    method = build_method(name, params)
    return measurement_of(name).cost(method, pool)


def test_a_task_has_at_most_its_own_prompts_continued(pool):
    assert work("task_confidence", pool, prompts_per_task=10).prompts == 10 + 3
    assert work("task_confidence", pool, confidence="response").prompts == 0
    assert work("task_confidence", pool, tasks="derived", derived_tasks=4).prompts == 43
    assert work("entropy_shift", pool).prompts == 0


def test_the_whole_pool_is_read_only_where_a_method_needs_it(pool):
    assert not work("task_confidence", pool).base_pass
    assert work("task_confidence", pool, tasks="derived").base_pass
    assert not work("task_confidence", pool, tasks="derived", embeddings="some/encoder").base_pass
    assert work("activation_coverage", pool).base_pass


def test_generated_tokens_are_counted_at_most(pool):
    assert work("answer_divergence", pool, answers=3, max_new_tokens=7).generated == 21
    assert work("answer_divergence", pool, source="file").generated == 0
    assert work("random", pool).generated == 0


def test_several_methods_share_one_pass(cost):
    alone = cost(build_method("activation_coverage", {}))
    together = cost(*(build_method(name, {}) for name in METHODS if name != "answer_divergence"))
    assert alone.takes == together.takes == "NLL, entropy, embeddings, activations"
    assert (alone.passes, together.passes) == (1, 2)  # the second is the calibrated model's
    assert together.asked == 43
    assert together.asking_seconds > 0 < together.calibration_seconds
    assert together.seconds > together.asking_seconds + together.calibration_seconds


def test_answers_of_a_server_are_counted_and_not_timed(cost):
    method = {"answers": 2, "max_new_tokens": 4}
    served = cost(build_method("answer_divergence", method | {"source": "server"}))
    own = cost(build_method("answer_divergence", method))
    assert served.generated == own.generated == 43 * 8
    assert (served.answering_seconds, own.answering_seconds > 0) == (0, True)


def test_the_tokenizer_alone_costs_no_pass(cost):
    nothing = cost(build_method("random", {}))
    assert (nothing.passes, nothing.takes, nothing.dtype) == (0, "", "none")


def test_gpus_that_may_share_the_work_are_counted(cost, monkeypatch):
    method = build_method("random", {})
    assert cost(method).cards == 0
    monkeypatch.setattr("core.measurement.cost.count_cards", lambda: 3)
    assert [cost(method, device=device).cards for device in ("auto", "cuda", "cuda:1", "cpu")] == [3, 3, 0, 0]


def test_gradients_of_every_row_are_counted_once_per_epoch(cost, pool):
    method = {"epochs": 3, "warmup": 0.5}
    one, three = (cost(build_method("preference_influence", method | {"epochs": epochs})) for epochs in (1, 3))
    assert (one.epochs, three.epochs, three.passes) == (1, 3, 0)
    assert three.gradient_seconds > 0 < three.calibration_seconds
    assert three.seconds > three.gradient_seconds + three.calibration_seconds
    assert work("preference_influence", pool, **method).training == TRAINING_COST * 3  # 256 rows at least: all


def test_a_warm_up_trains_on_its_share_of_a_large_pool():
    assert adapter_share(build_method("preference_influence", {"warmup": 0.5}), 10_000) == 0.5


def test_the_trial_fills_a_batch_where_starting_one_is_dear(cost, monkeypatch):
    """All 43 rows instead of 32: a pass takes as long to start as over 4,000 tokens."""
    method = build_method("lowest_nll", {})
    assert cost(method).trial_rows == 32
    monkeypatch.setattr(trial, "batch_cost", lambda *_: BatchCost(launch=4000, capacity=10**9))
    assert cost(method).trial_rows == 43
    monkeypatch.setattr(trial, "batch_cost", lambda *_: BatchCost(launch=4000, capacity=100))
    assert cost(method).trial_rows == 32


def test_a_filled_batch_is_mostly_work_and_fits_into_memory():
    batch = TrialBatch({"tokens": [range(100)] * 32}, lambda _room: [])
    assert rows_to_fill(BatchCost(launch=44_000, capacity=10**7), batch) == 8 * 440
    assert rows_to_fill(BatchCost(launch=44_000, capacity=10**5), batch) == 1000
    assert rows_to_fill(BatchCost(launch=50, capacity=2048), batch) == 32
