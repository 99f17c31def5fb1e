"""Calibration per group, measured with the embedded model: each group as if there were no other rows."""

import json

import numpy as np
import pytest

from core.cli.reports import run_facts
from core.errors import MethodError
from core.measurement import measurement_of
from core.measurement.cost import estimate
from core.measurement.lookup import find_run
from core.measurement.measure import measure
from core.measurement.run_data import load_measured, trained_state
from core.measurement.token_view import view_rows
from core.methods import build_method
from core.pool.pools import load_pool, read_rows
from core.progress import SilentReporter
from core.schema import Reading
from core.workspace.folder import Workspace

SETTINGS = {"learning_rate": 5e-4, "epochs": 1, "alpha": 0.5, "batch_size": 4}
READING = Reading(max_length=128)
TASKS = ("arithmetic", "story")
ROWS = 20  # of each task


class Recorder(SilentReporter):
    """Record the titles of the stages that had work to do; raise at the one where a test stops the work."""

    def __init__(self, stop_at=None):
        self.titles, self.rows, self.stop_at = [], {}, stop_at

    def stage(self, name, *, rows, work, done_rows=0, done_work=0):
        if name == self.stop_at:
            raise KeyboardInterrupt
        self.rows[name] = rows
        if done_work < work:
            self.titles.append(name)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("shift")


@pytest.fixture(scope="module")
def workspace(place):
    return Workspace(place / "workspace")


@pytest.fixture(scope="module")
def rows(place):
    """Return rows of two tasks, taken in turn, and two rows without a task."""
    demo = load_pool("demo", workspace=place)
    numbers = [np.flatnonzero(demo.rows["task"].to_numpy(zero_copy_only=False) == task)[:ROWS] for task in TASKS]
    mixed = np.stack(numbers, axis=1).ravel().tolist()
    data = [json.loads(row.original) for row in read_rows(demo, mixed)]
    return [*data, *({**row, "id": f"bare-{k}", "task": None} for k, row in enumerate(data[:2]))]


@pytest.fixture(scope="module")
def open_rows(place, workspace):
    def load(name, rows):
        file = place / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return load_pool(str(file), workspace=workspace.root)

    return load


@pytest.fixture(scope="module")
def pool(open_rows, rows):
    return open_rows("both", rows)


@pytest.fixture(scope="module")
def measured_as(workspace):
    def run(pool, report=None, **params):
        method = build_method("entropy_shift", SETTINGS | params)
        return measure(pool, method, READING, workspace, report=report or SilentReporter())

    return run


@pytest.fixture(scope="module")
def run(measured_as, pool):
    return measured_as(pool, per="task")


def columns_of(run):
    return load_measured(run).columns


def test_one_group_of_all_rows_has_the_bits_of_the_whole_pool(measured_as, open_rows, rows):
    one = open_rows("one", [{**row, "all": "yes"} for row in rows[:-2]])
    whole, report = measured_as(one), Recorder()
    grouped = measured_as(one, report, per="all")
    for name, values in columns_of(whole).items():
        np.testing.assert_array_equal(columns_of(grouped)[name], values)
    assert [group["rounds"] for group in grouped.summary["groups"]] == [whole.summary["rounds"]]
    assert not [title for title in report.titles if title.startswith("Reading")]  # the stored pass serves both
    assert grouped.id != whole.id


@pytest.mark.parametrize("rounds", [1, 2])
def test_each_group_measures_as_a_pool_of_its_rows_alone(measured_as, open_rows, rows, pool, rounds):
    both = measured_as(pool, per="task", rounds=rounds, beta=0.3)
    group = columns_of(both)["shift_group"]
    for number, task in enumerate(TASKS):
        alone = measured_as(open_rows(task, [row for row in rows if row["task"] == task]), rounds=rounds, beta=0.3)
        own = np.flatnonzero(group == number)
        for name in ("nll_cal", "entropy_cal"):
            np.testing.assert_array_equal(columns_of(both)[name][own], columns_of(alone)[name], err_msg=name)
        for name in ("nll", "entropy"):  # of the shared pass, in other batches
            np.testing.assert_allclose(columns_of(both)[name][own], columns_of(alone)[name], rtol=1e-5)
        summary = both.summary["groups"][number]
        assert [{**r, "state": ""} for r in summary["rounds"]] == [{**r, "state": ""} for r in alone.summary["rounds"]]
        assert (summary["name"], summary["rows"]) == (task, ROWS)


def test_rows_without_a_label_are_not_measured_and_counted(run, pool):
    columns = columns_of(run)
    assert columns["shift_group"].tolist() == [0, 1] * ROWS + [-1, -1]
    assert np.isnan(columns["nll_cal"][-2:]).all() and np.isfinite(columns["nll_cal"][:-2]).all()
    assert "2 of 42 rows are not measured and cannot be selected: 2 have no label in 'task'." in run.summary["warnings"]
    order = build_method("entropy_shift", {"per": "task"}).order(load_measured(run), np.ones(42, bool), seed=0)
    assert order.excluded["no group"].tolist() == [40, 41]


def test_groups_are_trained_on_their_own_share(run):
    assert [[r["rows"] for r in group["rounds"]] for group in run.summary["groups"]] == [[10], [10]]
    states = {group["rounds"][0]["state"] for group in run.summary["groups"]}
    assert len(states) == 2


def test_groups_left_out_are_counted(measured_as, open_rows, rows):
    few = open_rows("few", rows[:-2] + [{**row, "id": f"x-{k}", "task": "rare"} for k, row in enumerate(rows[:3])])
    run = measured_as(few, per="task", min_group=10)
    assert [group["name"] for group in run.summary["groups"]] == list(TASKS)
    assert (
        "3 of 43 rows are not measured and cannot be selected: 3 are in groups smaller than min_group."
        in (run.summary["warnings"])
    )


def test_a_killed_measurement_goes_on_with_the_groups_that_are_left(measured_as, pool):
    titles = [f"{what} ('{task}', {k} of 2)" for k, task in enumerate(TASKS, 1)
              for what in ("Warm-up training", "Measuring with the calibrated model")]  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        measured_as(pool, Recorder(stop_at=titles[2]), per="task", alpha=0.6)
    report = Recorder()
    measured_as(pool, report, per="task", alpha=0.6)
    assert [title for title in report.titles if title in titles[1:]] == titles[2:]
    assert [report.rows[title] for title in titles[1::2]] == [ROWS, ROWS]  # each model reads the rows of its group


def test_the_report_says_groups_and_the_start_model(run, measured_as, open_rows, rows):
    facts, columns = run_facts(run), columns_of(run)
    shift = columns["entropy"] - columns["entropy_cal"]
    share = float((shift[0:40:2] < 0).mean())
    assert facts["groups"][0] == {"group": "arithmetic", "rows": 20, "warm_up": 10, "expand": pytest.approx(share)}
    assert facts["start_model"]["kind"] == "base" and "card" in facts["start_model"]["evidence"]
    assert "groups" not in run_facts(measured_as(open_rows("one", [{**row, "all": "yes"} for row in rows[:-2]])))


def test_a_small_group_is_refused_before_anything_is_measured(measured_as, pool):
    report = Recorder()
    with pytest.raises(MethodError, match="too small to calibrate"):
        measured_as(pool, report, per="task", alpha=0.1)
    assert report.titles == []


def test_runs_with_and_without_groups_are_not_mistaken_for_each_other(run, pool, workspace, open_rows, rows):
    def find(pool, **params):
        method = build_method("entropy_shift", SETTINGS | params)
        return find_run(workspace, pool, method, READING, 0)

    assert find(pool, per="task").id == run.id
    assert find(pool) is None
    assert find(pool, per="task", group_weights="equal").id == run.id
    assert find(pool, per="id") is None
    assert find(pool, per="task", min_group=3) is None
    relabelled = open_rows("both", rows)
    other = load_pool(relabelled.source, workspace=workspace.root, fields=relabelled.fields.__class__(
        **{**relabelled.fields.__dict__, "task": "id"}))  # fmt: skip
    assert other.fingerprint == pool.fingerprint
    assert find(other, per="task") is None


def test_tokens_are_read_by_the_model_of_the_rows_group(run, workspace):
    columns = columns_of(run)
    views = view_rows(run, [0, 1, 41], workspace, calibrated=True, device="cpu", report=SilentReporter())
    means = [float(view.nll.mean()) if len(view) else None for view in views["calibrated"]]
    assert means[:2] == pytest.approx(columns["nll_cal"][:2].tolist(), abs=1e-4)
    assert means[2] is None
    assert trained_state(workspace, run, 0) != trained_state(workspace, run, 1)
    assert trained_state(workspace, run, 41) is None


def test_the_cost_is_a_training_for_each_group_and_one_pass_in_all(pool):
    per_task = build_method("entropy_shift", SETTINGS | {"per": "task", "rounds": 2, "beta": 0.3})
    work, whole = (measurement_of("entropy_shift").cost(method, pool) for method in (
        per_task, build_method("entropy_shift", SETTINGS | {"rounds": 2, "beta": 0.3})))  # fmt: skip
    assert (work.trained_passes, work.trained_models) == (2, 4)
    assert (whole.trained_passes, whole.trained_models) == (2, 2)
    assert work.training == pytest.approx(whole.training * 40 / 42)  # two rows are in no group


def test_an_estimate_states_the_models_that_are_trained(pool, workspace):
    method, alone = (build_method("entropy_shift", SETTINGS | params) for params in ({"per": "task"}, {}))
    per_task, whole = (estimate(pool, [m], READING, workspace, report=SilentReporter()) for m in (method, alone))
    assert (per_task.trained_models, per_task.passes, whole.trained_models, whole.passes) == (2, 2, 1, 2)
    assert per_task.disk_bytes - whole.disk_bytes > 20e6  # the weights of one model more
