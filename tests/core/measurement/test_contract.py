"""Contract of every measurement. A new measurement is tested here by being in MEASUREMENTS."""

import json
from dataclasses import replace

import numpy as np
import pytest

from core.measurement import MEASUREMENTS, measurement_of
from core.measurement import stages as stages_module
from core.measurement.lookup import all_signals, find_run, run_key, signals_of
from core.measurement.measure import measure, uses_model
from core.measurement.run_data import load_measured
from core.methods import METHODS, build_method
from core.models.reference import resolve_model
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.workspace.folder import Workspace

# Parameters that make measuring a small pool with a tiny model quick, or that have no default that works.
QUICK = {
    "entropy_shift": {"epochs": 1, "alpha": 0.5},
    "activation_coverage": {"clusters": 2},
    "task_confidence": {"new_tokens": 3, "prompts_per_task": 4},
    "preference_influence": {"epochs": 1, "pairs": 2},
    "answer_divergence": {"answers": 2, "max_new_tokens": 3},
    "imported": {"field": "quality"},
}
ROWS = 24
every_measurement = pytest.mark.parametrize("name", MEASUREMENTS)


class Recorder(SilentReporter):
    """Record the titles of the stages that had work to do."""

    def __init__(self):
        self.titles = []

    def stage(self, name, *, rows, work, done_rows=0, done_work=0):
        if done_work < work or not work:
            self.titles.append(name)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("contract") / "workspace")


@pytest.fixture(scope="module")
def pool(workspace):
    rows = [
        {"instruction": f"Say {i}", "output": "so it is " * (1 + i % 4) + str(i), "task": "ab"[i % 2], "quality": i}
        for i in range(ROWS)
    ]
    file = workspace.root.parent / "pool.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_pool(str(file), workspace=workspace.root)


@pytest.fixture(scope="module")
def reading(tiny_model_dir):
    return Reading(model=str(tiny_model_dir), max_length=128)


@pytest.fixture(scope="module")
def run_of(pool, workspace, reading):
    """Return a function that measures a method once for all tests."""
    runs = {}

    def find(name):
        if name not in runs:
            method = build_method(name, QUICK.get(name, {}))
            runs[name] = measure(pool, method, reading, workspace, report=SilentReporter())
        return runs[name]

    return find


@every_measurement
def test_it_serves_a_method_that_needs_its_signals(name):
    needs = build_method(name, QUICK.get(name, {})).needs
    assert set(MEASUREMENTS[name].signals) & set(needs)
    assert set(needs) <= set(all_signals())


def test_no_two_measurements_store_the_same_signal_or_column():
    signals = [signal for each in MEASUREMENTS.values() for signal in each.signals]
    columns = [column for signal in all_signals().values() for column in signal]
    assert len(set(signals)) == len(signals)
    assert len(set(columns)) == len(columns)


@every_measurement
def test_every_column_is_described(name):
    measurement = MEASUREMENTS[name]
    columns = {k: v for group in (*measurement.signals.values(), measurement.scores) for k, v in group.items()}
    assert columns
    for column in columns.values():
        assert column.label and column.help.endswith(".")
        assert bool(column.low) == bool(column.high)  # both ends mean something, or neither is better


@every_measurement
def test_scores_of_its_method_are_described(name, run_of):
    method = build_method(name, QUICK.get(name, {}))
    described = {c for group in (*all_signals().values(), MEASUREMENTS[name].scores) for c in group}
    scores = {score.partition(".")[0] for score in method.scores(load_measured(run_of(name)))}
    assert scores - described <= {"in_nll_band"}  # a mark, no amount


@every_measurement
def test_a_run_holds_just_what_its_method_needs(name, run_of):
    needs = build_method(name, QUICK.get(name, {})).needs
    run = run_of(name)
    assert set(needs) <= set(signals_of(run))
    assert set(run.columns) == {column for signal in needs for column in all_signals()[signal]}


@every_measurement
def test_a_run_names_stages_that_are_stored(name, run_of, workspace):
    run = run_of(name)
    assert "tokens" in run.kept
    assert all((run.stage_folder(stage) / "plan.parquet").exists() for stage in run.kept)


@every_measurement
def test_what_is_measured_is_not_measured_again(name, run_of, pool, reading, workspace):
    first, recorder = run_of(name), Recorder()
    again = measure(pool, build_method(name, QUICK.get(name, {})), reading, workspace, report=recorder)
    assert again == first
    assert recorder.titles == []


@every_measurement
def test_it_measures_the_same_in_parts_of_another_size(name, run_of, pool, reading, tmp_path, monkeypatch):
    monkeypatch.setattr(stages_module, "PART_SECONDS", 1e-9)
    monkeypatch.setattr(stages_module, "TOKEN_PART_ROWS", 5)
    method = build_method(name, QUICK.get(name, {}))
    other = load_measured(measure(pool, method, reading, Workspace(tmp_path), report=SilentReporter()))
    for column, values in load_measured(run_of(name)).columns.items():
        np.testing.assert_allclose(other.columns[column], values, rtol=1e-4, atol=1e-5, err_msg=column)


@every_measurement
def test_what_it_loads_is_what_its_method_orders_by(name, run_of):
    measured = load_measured(run_of(name))
    assert set(MEASUREMENTS[name].load(run_of(name))) <= set(measured.artifacts)
    method = build_method(name, QUICK.get(name, {}))
    assert len(method.order(measured, np.ones(ROWS, bool), seed=0).rows)


@every_measurement
def test_its_cost_is_never_negative_and_states_whether_a_model_runs(name, pool):
    work = MEASUREMENTS[name].cost(build_method(name, QUICK.get(name, {})), pool)
    amounts = (work.trained_passes, work.training, work.gradient_passes, work.prompts, work.generated)
    assert min(amounts) >= 0
    assert uses_model(build_method(name, QUICK.get(name, {}))) == (work.base_pass or any(amounts))


@every_measurement
def test_warnings_are_sentences(name, run_of):
    assert all(sentence.endswith(".") for sentence in run_of(name).summary["warnings"])


@every_measurement
def test_files_that_it_reads_are_part_of_the_key(name, pool, reading, tmp_path):
    file = tmp_path / "given.jsonl"
    file.write_text("{}\n")
    given = {"preference_influence": {"targets": f"set={file}"}, "answer_divergence": {"answers_file": str(file)}}
    method = build_method(name, QUICK.get(name, {}) | given.get(name, {}))
    assert MEASUREMENTS[name].files(method) == ([file] if name in given else [])
    ref = resolve_model(reading.model)
    before = run_key(pool, method, reading, ref, 0)
    file.write_text("{}\n{}\n")
    assert (run_key(pool, method, reading, ref, 0) != before) == (name in given)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in MEASUREMENTS and name != "combined"])
def test_a_method_without_a_measurement_needs_the_shared_passes_alone(name):
    assert measurement_of(name).signals.keys() >= set(METHODS[name]().needs)


def test_a_measurement_without_a_model_takes_token_counts_that_are_stored(
    run_of, pool, reading, workspace, monkeypatch
):
    counted = run_of("activation_coverage")
    monkeypatch.setattr("core.models.loading.load_tokenizer", None)  # would fail if it were called
    pinned = replace(reading, revision=counted.model["revision"])
    method = build_method("imported", {"field": "quality", "end": "low"})
    run = measure(pool, method, pinned, workspace, seed=7, report=SilentReporter())
    assert run.encoder == counted.encoder
    assert find_run(workspace, pool, method, pinned, 7) == run
    np.testing.assert_array_equal(load_measured(run).need("imported"), np.arange(ROWS))
