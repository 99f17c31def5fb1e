"""The Measure page in each of its states; jobs are folders in the workspace, as a worker leaves them."""

import shlex
from dataclasses import replace

import numpy as np
import pytest

from core.measurement.run_data import load_measured
from core.measurement.runs import Tasks, save_run
from core.measurement.task_confidence import task_source
from core.methods import build_method, describe_method
from core.workspace.files import write_json
from pages.ui.shell import jobs


def texts(at) -> str:
    parts = [*at.caption, *at.text, *at.title, *at.subheader, *at.error, *at.warning, *at.code, *at.get("badge")]
    return "\n".join(str(part.value) for part in parts)


def named(at) -> dict[str, object]:
    return {button.label: button for button in at.button}


def type_model(at, name):
    """Type a model that is not in the list."""
    box = at.selectbox(key="form.model")
    box.options.append(name)
    box.set_value(name).run()


@pytest.fixture
def key(monkeypatch):
    """Record the key of the measurement that the page plans."""
    seen = []
    original = jobs.plan

    def plan(pool):
        seen.append(original(pool))
        return seen[-1]

    monkeypatch.setattr(jobs, "plan", plan)
    return lambda: seen[-1].key


def test_an_unmeasured_method_can_be_started_or_estimated(pool, app):
    at = app("measure")
    assert not at.exception
    assert {"Start measuring", "What will it cost?"} <= set(named(at))
    assert "decisions about real training data choose a real model" in texts(at)


def test_the_equivalent_command_is_shown(pool, app):
    at = app("measure")
    command = next(block.value for block in at.code if "core measure" in block.value)
    assert command.startswith("python -m core measure ")
    assert "--method entropy_shift" in command
    assert str(pool.source) in command


def test_every_method_can_be_chosen_and_is_stored(pool, app):
    at = app("measure")
    for name in ("random", "longest", "lowest_nll", "highest_nll", "entropy_shift"):
        at.radio(key="form.method").set_value(name).run()
        assert not at.exception
        assert at.query_params["method"] == name
    at.switch_page("pages/pool.py").run()
    at.switch_page("pages/measure.py").run()
    assert at.radio(key="form.method").value == "entropy_shift"


def test_every_measuring_parameter_has_a_widget_and_is_stored(pool, app):
    at = app("measure")
    names = {widget.key for widget in [*at.number_input, *at.selectbox]}
    wanted = ("alpha", "rounds", "beta", "learning_rate", "epochs", "batch_size", "lora_rank")
    assert {f"form.entropy_shift.{name}" for name in wanted} <= names
    assert not {"form.entropy_shift.gamma"} & names  # a slider of the Select page, no measuring parameter
    at.number_input(key="form.entropy_shift.rounds").set_value(2).run()
    assert "rounds=2" in next(block.value for block in at.code if "core measure" in block.value)


def test_suggestions_for_the_embedded_model_are_in_use_and_shown(pool, app):
    at = app("measure")
    assert at.number_input(key="form.entropy_shift.learning_rate").value == 5e-4
    assert "learning rate 0.0005" in texts(at).replace("\\", "")


def test_another_model_has_the_papers_learning_rate(pool, app):
    at = app("measure")
    type_model(at, "Qwen/Qwen2.5-0.5B")
    assert not at.exception
    assert at.number_input(key="form.entropy_shift.learning_rate").value == 2e-5
    assert "real training data" not in texts(at)
    assert "--model Qwen/Qwen2.5-0.5B" in next(b.value for b in at.code if "core measure" in b.value)


def test_a_model_folder_outside_the_allowed_ones_is_refused(pool, app):
    at = app("measure")
    type_model(at, "/etc")
    assert not at.exception
    assert "outside the folders" in at.warning[0].value
    assert at.selectbox(key="form.model").value == "embedded"


def test_an_estimate_is_shown_in_figures(pool, app, job, key):
    app("measure")
    result = {
        "rows": 240, "tokens": 5000, "passes": 2, "seconds": 200.0, "calibration_seconds": 65.0, "memory_bytes": 1.9e9,
        "disk_bytes": 5e6, "disk_free_bytes": 1e12, "trial_rows": 32, "trial_seconds": 1.0, "device": "cpu",
        "dtype": "float32",
    }  # fmt: skip
    job({"key": key(), "kind": "estimate"}, state="done", result=result)
    at = app("measure")
    assert not at.exception
    shown = {metric.label: metric.value for metric in at.metric}
    assert shown["Time on this machine"] == "≈ 3 min 20 s"
    assert shown["Memory"] == "1.9 GB"
    assert "1 min 5 s are warm-up training" in texts(at)


def test_a_running_job_shows_stage_rate_and_remaining_time_and_can_be_cancelled(pool, app, job, key):
    app("measure")
    facts = {
        "stage": "Reading with the base model",
        "done": 9160,
        "total": 15011,
        "fraction": 0.61,
        "rate": 6.6,
        "eta": 840.0,
    }
    job({"key": key(), "kind": "measure"}, state="running", **facts)
    at = app("measure")
    assert not at.exception
    assert "61% · 9,160 of 15,011 rows · 6.6 rows/s · 14 min left in this stage" in texts(at)
    assert "You can close this tab" in texts(at)
    assert at.get("progress")[0].proto.text == "Reading with the base model"
    assert "Cancel" in named(at)
    assert "Start measuring" not in named(at)


def test_a_queued_job_shows_what_it_waits_for(pool, app, job, key):
    app("measure")
    job({"key": key(), "kind": "measure"}, state="queued", message="Another job uses this device.")
    assert "Another job uses this device" in texts(app("measure"))


def test_a_running_job_is_seen_from_every_page(pool, app, job):
    job({"key": "other", "kind": "measure"}, state="running")
    at = app("pool")
    assert "1 job running" in [link.proto.label for link in at.sidebar.get("page_link")]


def test_a_failed_job_shows_its_error_and_log_and_can_be_tried_again(pool, app, job, key):
    app("measure")
    made = job({"key": key(), "kind": "measure"}, state="failed", message="The model needs 9 GB; 4 GB are free.")
    (made.folder / "log.txt").write_text("loading\nout of memory ![x](http://evil)\n")
    at = app("measure")
    assert "The model needs 9 GB" in at.error[0].value
    assert any("out of memory ![x](http://evil)" in block.value for block in at.code)
    assert "Try again" in named(at)


@pytest.mark.parametrize("ended", ["cancelled", "running"])  # "running" without its process: it was killed
def test_a_stopped_job_can_be_resumed(pool, app, job, key, ended):
    app("measure")
    made = job({"key": key(), "kind": "measure"}, state="cancelled")
    write_json(made.folder / "progress.json", {"state": ended})
    at = app("measure")
    assert not at.exception
    assert "Resume" in named(at)
    assert "Start measuring" not in named(at)


def test_an_unreadable_job_hides_no_other_and_can_be_deleted(pool, app, job, key, workspace):
    app("measure")
    damaged = workspace.folder("jobs", "20250101-000000-00000000")
    damaged.mkdir()
    (damaged / "job.json").write_text("{}")
    job({"key": key(), "kind": "measure"}, state="running", stage="Tokenising")
    at = app("measure")
    assert not at.exception
    assert "Cancel" in named(at)
    assert ["is damaged" in e.value and "Delete this job" in e.value for e in at.error] == [True]
    at.button(key=f"delete.{damaged.name}").click().run()
    assert not at.error and not damaged.exists()


def test_a_job_for_other_settings_does_not_block(pool, app, job):
    job({"key": "other", "kind": "measure"}, state="failed", message="no")
    at = app("measure")
    assert "Start measuring" in named(at)
    assert not at.error


def test_a_measured_method_shows_its_results_and_leads_to_the_scores(run, app):
    at = app("measure")
    assert not at.exception
    assert "4,321 tokens in 1 min 1 s with built-in model" in texts(at)
    assert "24 rows" in texts(at)
    assert len(at.get("plotly_chart")) == 1
    assert "See the scores" in named(at)
    assert "Start measuring" not in named(at)


def test_warnings_of_a_run_are_shown(measure, app):
    measure(warnings=["12 of 240 rows were longer than the model was allowed to read."])
    at = app("measure")
    assert "12 of 240 rows" in at.warning[0].value


def test_unmeasured_settings_offer_the_measured_ones(run, app):
    at = app("measure")
    at.number_input(key="form.entropy_shift.epochs").set_value(5).run()
    assert "Start measuring" in named(at)
    named(at)["Use this one"].click().run()
    assert at.number_input(key="form.entropy_shift.epochs").value == 3
    assert "See the scores" in named(at)


def test_settings_survive_a_new_visit(pool, app):
    at = app("measure")
    at.radio(key="form.method").set_value("lowest_nll").run()
    at.number_input(key="form.max_length").set_value(512).run()
    second_visit = app("measure")
    assert second_visit.radio(key="form.method").value == "lowest_nll"
    assert second_visit.number_input(key="form.max_length").value == 512


def test_start_runs_the_command_that_is_shown(pool, app, monkeypatch):
    started = []
    monkeypatch.setattr(jobs, "start_job", lambda space, command, **about: started.append((command, about)))
    at = app("measure")
    named(at)["Start measuring"].click().run()
    command, about = started[0]
    assert shlex.join(["python", "-m", "core", *command]) in [block.value for block in at.code]
    assert about["about"]["pool"] == pool.fingerprint
    assert not at.exception


def test_a_job_stopped_under_other_settings_of_this_pool_can_be_resumed(pool, app, job):
    job({"key": "other", "kind": "measure", "pool": "of another pool"}, state="cancelled", message="Cancelled.")
    assert "Resume" not in named(app("measure"))
    job({"key": "other", "kind": "measure", "pool": pool.fingerprint}, state="cancelled", message="Cancelled.")
    at = app("measure")
    assert {"Start measuring", "Resume"} <= set(named(at))


@pytest.mark.parametrize("kind", ["map", "duplicates", "measure", "estimate"])
def test_every_live_job_can_be_cancelled_where_the_sidebar_leads(pool, app, job, kind):
    made = job({"key": "other", "kind": kind, "pool": pool.fingerprint}, state="running")
    at = app("measure")
    assert not at.exception
    assert f"cancel.{made.id}" in {button.key for button in at.button}
    job({"key": "other", "kind": kind, "pool": pool.fingerprint}, state="done")
    assert "Cancel" not in named(app("measure"))


@pytest.mark.parametrize("kind", ["map", "duplicates", "estimate"])
def test_a_stopped_job_of_another_kind_is_resumed_where_it_was_started(pool, app, job, kind):
    job({"key": "other", "kind": kind, "pool": pool.fingerprint}, state="cancelled", message="Cancelled.")
    assert "Resume" not in named(app("measure"))


def test_several_methods_are_measured_at_once_and_are_named(pool, app):
    at = app("measure")
    named(at)["All at once"].click().run()
    assert not at.exception
    others = "activation coverage, task confidence, preference influence and answer divergence"
    assert f"That serves entropy shift, {others}, together." in texts(at)
    assert "One pass of the model over all rows gives: NLL, entropy, embeddings, activation states." in texts(at)
    command = next(block.value for block in at.code if "core measure" in block.value)
    assert "--also activation_coverage --also task_confidence --also preference_influence" in command
    assert "All at once" not in named(at)


def test_one_unmeasured_method_of_several_can_still_be_started(run, app):
    at = app("measure")
    assert "Start measuring" not in named(at)
    at.get_by_key("form.also").set_value(["task_confidence"]).run()
    assert {"See the scores", "Start measuring"} <= set(named(at))


def test_parameters_of_the_others_are_in_the_command(pool, app):
    at = app("measure")
    at.radio(key="form.method").set_value("task_confidence").run()
    at.number_input(key="form.task_confidence.new_tokens").set_value(8).run()
    at.radio(key="form.method").set_value("entropy_shift").run()
    at.get_by_key("form.also").set_value(["task_confidence"]).run()
    command = next(block.value for block in at.code if "core measure" in block.value)
    assert "--also task_confidence --set task_confidence.new_tokens=8" in command


def test_embeddings_outside_the_allowed_folders_are_refused(pool, app):
    at = app("measure")
    at.radio(key="form.method").set_value("task_confidence").run()
    at.text_input(key="form.task_confidence.embeddings").set_value("/etc").run()
    assert "outside the folders" in at.warning[0].value
    at.text_input(key="form.task_confidence.embeddings").set_value("sentence-transformers/all-MiniLM-L6-v2").run()
    assert not at.error
    command = next(block.value for block in at.code if "core measure" in block.value)
    assert "embeddings=sentence-transformers/all-MiniLM-L6-v2" in command


def test_the_source_of_tasks_is_shown(run, app, workspace, pool):
    method = build_method("task_confidence", {})
    columns = dict(load_measured(run).columns)
    columns |= {"task_code": np.zeros(len(pool), np.int64), "confidence": np.full(len(pool), 0.5, np.float32)}
    finished = replace(
        run,
        id="f" * 16,
        folder=workspace.folder("runs", "f" * 16),
        method=describe_method(method),
        columns=tuple(columns),
        tasks=Tasks(("task",), task_source(method, pool)),
        summary={**run.summary, "asked": 64, "continued": 2000},
    )
    save_run(workspace, finished, columns)
    at = app("measure")
    at.radio(key="form.method").set_value("task_confidence").run()
    assert "1 task, from the labels: category. 64 prompts were continued by 2,000 tokens." in texts(at).replace(
        "\\", ""
    )


def test_a_pass_run_for_another_method_is_not_counted_twice(measure, app):
    measure(seconds={"coverage": 2.0})
    assert "4,321 tokens read before, for another method; 2 s more, with built-in model" in texts(app("measure"))


def test_answers_of_little_use_are_counted(measure, app):
    measure(answers={"asked": 50, "missing": 2, "empty": 0, "refused": 3, "truncated": 1})
    shown = texts(app("measure")).replace("\\", "")
    assert "48 answers; 2 missing, 3 refusals, by how they begin and 1 cut off." in shown
