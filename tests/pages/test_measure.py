"""The Measure page in each of its states; jobs are folders in the workspace, as a worker leaves them."""

import os
import shlex
from dataclasses import replace

import numpy as np
import pytest

from core.measurement.run_data import load_measured
from core.measurement.runs import Tasks, save_run
from core.measurement.task_confidence import task_source
from core.methods import build_method, describe_method
from core.workspace.files import write_json
from core.workspace.jobs import birth_mark
from pages.ui.shell import jobs
from tests.pages.conftest import choose_only, tick, ticked


def texts(at) -> str:
    parts = [*at.caption, *at.text, *at.title, *at.subheader, *at.error, *at.warning, *at.code, *at.get("badge")]
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


def named(at) -> dict[str, object]:
    return {button.label: button for button in at.button}


def command(at) -> str:
    return next(block.value for block in at.code if "core measure" in block.value)


def open_result(at, run, label="Entropy shift"):
    at.session_state[f"result-{run.id}-{label}"] = True
    at.run()


def type_model(at, name):
    """Type a model that is not in the list."""
    box = at.selectbox(key="form.model")
    box.options.append(name)
    box.set_value(name).run()


@pytest.fixture
def plan(monkeypatch):
    """Record the measurement that the page plans."""
    seen = []
    original = jobs.plan

    def record(pool):
        seen.append(original(pool))
        return seen[-1]

    monkeypatch.setattr(jobs, "plan", record)
    return lambda: seen[-1]


@pytest.fixture
def key(plan):
    """Return the key of the measurement that the page plans."""
    return lambda: plan().key


def test_an_unmeasured_method_can_be_started_or_estimated(pool, app):
    at = app("measure")
    assert not at.exception
    assert {"Measure 1 method", "Estimate time and memory"} <= set(named(at))
    assert "Use the model you plan to fine-tune" in texts(at)


def test_the_equivalent_command_is_shown(pool, app):
    at = app("measure")
    command = next(block.value for block in at.code if "core measure" in block.value)
    assert command.startswith("python -m core measure ")
    assert "--method entropy_shift" in command
    assert str(pool.source) in command


def test_every_method_can_be_ticked_and_is_stored(pool, app):
    at = app("measure")
    for name in ("random", "longest", "lowest_nll", "highest_nll", "activation_coverage"):
        choose_only(at, name)
        assert at.query_params["method"] == name
    tick(at, "entropy_shift")
    assert at.query_params["method"] == "activation_coverage"
    at.switch_page("pages/pool.py").run()
    at.switch_page("pages/measure.py").run()
    assert ticked(at) == ["entropy_shift", "activation_coverage"]


def test_the_last_ticked_method_stays_ticked_and_the_page_says_why(pool, app):
    at = app("measure")
    tick(at, "entropy_shift", ticked=False)
    assert ticked(at) == ["entropy_shift"]
    assert "One method must stay ticked" in at.warning[0].value
    tick(at, "longest")
    tick(at, "entropy_shift", ticked=False)
    assert (ticked(at), at.query_params["method"]) == (["longest"], "longest")
    assert not at.warning


def test_methods_are_in_three_groups_and_a_combination_only_where_one_is_used(pool, app, run):
    at = app("measure")
    headings = [m.value for m in at.markdown if m.value.startswith("**")]
    assert headings[:3] == ["**Methods from papers**", "**Baselines**", "**Score of another tool**"]
    assert "measure.tick.combined" not in {box.key for box in at.checkbox}
    at.session_state["winnow.settings"] = replace(at.session_state["winnow.settings"], also=("combined",))
    at.run()
    assert at.checkbox(key="measure.tick.combined").value


def test_a_line_has_the_state_or_the_work_of_its_method(run, app, job, pool):
    at = app("measure")
    badges = [mark.value for mark in at.markdown if "badge" in mark.value]
    assert badges.count(":green-badge[:material/check: Measured]") == 5  # entropy shift, four baselines
    tick(at, "answer_divergence")
    shown = texts(at)
    assert "5 × 32 tokens" in shown  # as suggested for the built-in model
    assert "tokenizer only" not in shown  # random and longest have been measured with entropy shift
    assert "Set the score field first." not in shown
    assert ":orange-badge[:material/error: Needs settings]" in badges


def test_an_imported_score_needs_its_field_before_it_can_be_measured(pool, app):
    at = app("measure")
    choose_only(at, "imported")
    assert named(at)["Measure 1 method"].disabled
    assert "Set the score field first\\." in [warning.value for warning in at.warning]
    at.text_input(key="form.imported.field").set_value("rating").run()
    assert not named(at)["Measure 1 method"].disabled
    assert "--set field=rating" in command(at)


def test_words_stand_for_0_and_an_emptied_box_is_0_again(pool, app):
    at = app("measure")
    box = at.number_input(key="form.entropy_shift.lora_rank")
    assert (box.value, box.placeholder) == (None, "off")
    box.set_value(8).run()
    assert "--set lora_rank=8" in command(at)
    at.number_input(key="form.entropy_shift.lora_rank").set_value(None).run()
    assert "lora_rank" not in command(at)


def test_settings_are_shown_only_where_they_have_an_effect(pool, app):
    at = app("measure")
    choose_only(at, "answer_divergence")
    keys = lambda: {widget.key for widget in [*at.text_input, *at.number_input, *at.selectbox]}  # noqa: E731
    prefix = "form.answer_divergence"
    assert not {f"{prefix}.base_url", f"{prefix}.answers_file"} & keys()
    at.selectbox(key=f"{prefix}.source").set_value("server").run()
    assert {f"{prefix}.base_url", f"{prefix}.served_model", f"{prefix}.temperature"} <= keys()
    assert named(at)["Measure 1 method"].disabled  # no address yet
    at.selectbox(key=f"{prefix}.source").set_value("file").run()
    assert f"{prefix}.answers_file" in keys() and f"{prefix}.temperature" not in keys()


def test_the_settings_of_every_ticked_method_are_shown_and_change_that_method(pool, app):
    at = app("measure")
    tick(at, "answer_divergence", "task_confidence")
    at.number_input(key="form.answer_divergence.answers").set_value(3).run()
    at.number_input(key="form.task_confidence.new_tokens").set_value(8).run()
    assert at.query_params["method"] == "entropy_shift"
    assert "--set answer_divergence.answers=3" in command(at)
    assert "--set task_confidence.new_tokens=8" in command(at)


def test_every_measuring_parameter_has_a_widget_and_is_stored(pool, app):
    at = app("measure")
    names = {widget.key for widget in [*at.number_input, *at.selectbox]}
    wanted = ("alpha", "rounds", "learning_rate", "epochs", "batch_size", "lora_rank")
    assert {f"form.entropy_shift.{name}" for name in wanted} <= names
    assert not {"form.entropy_shift.gamma"} & names  # a slider of the Select page, no measuring parameter
    at.number_input(key="form.entropy_shift.rounds").set_value(2).run()
    assert at.number_input(key="form.entropy_shift.beta")  # of the second round
    assert "rounds=2" in next(block.value for block in at.code if "core measure" in block.value)


def test_suggestions_for_the_embedded_model_are_in_use_and_shown(pool, app):
    at = app("measure")
    assert at.number_input(key="form.entropy_shift.learning_rate").value == 5e-4
    assert "learning rate 5e-4" in texts(at).replace("\\", "")


def test_another_model_has_the_papers_learning_rate(pool, app):
    at = app("measure")
    type_model(at, "Qwen/Qwen2.5-0.5B")
    assert not at.exception
    assert at.number_input(key="form.entropy_shift.learning_rate").value == 2e-5
    assert "tiny demo model" not in texts(at)
    assert "--model Qwen/Qwen2.5-0.5B" in next(b.value for b in at.code if "core measure" in b.value)


def test_a_model_folder_outside_the_allowed_ones_is_refused(pool, app):
    at = app("measure")
    type_model(at, "/etc")
    assert not at.exception
    assert "outside the folders" in at.warning[0].value
    assert at.selectbox(key="form.model").value == "embedded"


RATES = {
    "seconds_to_load": 1.0, "seconds_per_token": 0.01, "seconds_per_gradient": 0.02, "seconds_per_prompt": 0.5,
    "seconds_per_generated": 0.1, "seconds_per_embedded": 1e-3, "seconds": 3.0, "width": 64,
}  # fmt: skip
TRIAL = {
    "tokens": 5000, "memory_bytes": 1.9e9, "disk_bytes": 5e6, "disk_free_bytes": 1e12, "trial_rows": 32,
    "device": "cpu", "rates": RATES,
}  # fmt: skip


@pytest.fixture
def trial(pool, job, plan):
    """Store a finished trial of the first plan: entropy shift with the built-in model."""

    def put(**result):
        about = plan().about | {"kind": "estimate"}
        return job(about, state="done", result=TRIAL | result)

    return put


def stage_table(at):
    lines = at.table[0].value.to_dict("records")
    return {line["Stage"]: (line["What"], line["Time"].replace("\u00a0", " ")) for line in lines}


def test_an_estimate_is_a_table_by_stage_with_its_sum(pool, app, trial):
    app("measure")
    trial()
    at = app("measure")
    assert not at.exception
    assert stage_table(at) == {
        "Loading": ("3 times", "≈ 3 s"),
        "Tokenization": ("240 rows", "≈ 0.1 s"),
        "Forward passes": ("2 × 5,000 tokens", "≈ 1 min 40 s"),  # base model, calibrated model
        "Warm-up training": ("of 1 model", "≈ 45 s"),  # 3 passes × 3 epochs × a tenth of 50 s
        "**Total**": ("", "**≈ 2 min 28 s**"),
    }
    assert "Memory at its peak 1.9 GB" in texts(at) and "32 rows on cpu" in texts(at)
    assert "Estimate time and memory" not in named(at)


def test_a_trial_prices_the_other_methods_too(pool, app, trial):
    app("measure")
    trial()
    at = app("measure")
    tick(at, "answer_divergence")
    shown = texts(at)
    assert "+ 2 h 8 min (warm-up and 1 pass)" not in shown
    assert "+ 1 h 4 min (5 × 32 tokens)" in shown  # 240 rows × 160 tokens × 0.1 s
    assert "+ 0 min (same pass)" in shown  # activation coverage
    assert stage_table(at)["Generated answers"] == ("up to 38,400 tokens", "≈ 1 h 4 min")
    assert "Memory at its peak" not in shown  # that was of another trial
    assert "Estimate time and memory" in named(at)


def test_the_queue_is_part_of_the_estimate(pool, app, trial, workspace):
    app("measure")
    first = trial()
    other = first.folder.rename(workspace.folder("jobs", "20260101-000001-00000001"))
    about = {"title": "A map", "about": {"kind": "map"}, "command": ["x"], "created": "2026-01-01T00:00:00+00:00"}
    live = workspace.folder("jobs", "20260101-000002-00000002")
    write_json(live / "job.json", about)
    write_json(live / "progress.json", {"state": "running", "eta": 120.0})
    write_json(
        live / "process.json", {"pid": os.getpid(), "born": birth_mark(os.getpid()), "started": about["created"]}
    )
    assert other.exists()
    assert stage_table(app("measure"))["Queue"] == ("1 job before it", "≈ 2 min")


def test_an_estimate_that_exceeds_the_disk_warns(pool, app, trial):
    app("measure")
    trial(disk_bytes=2e12)
    assert "not enough free disk space" in app("measure").warning[0].value


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
    assert "Measure 1 method" not in named(at)


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
    assert "Measure 1 method" not in named(at)


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
    assert "Measure 1 method" in named(at)
    assert not at.error


def test_a_measured_method_shows_its_results_and_leads_to_the_scores(run, app):
    at = app("measure")
    assert not at.exception
    assert "4,321 tokens, measured with the built-in model" in texts(at)
    assert "24 rows" in texts(at)
    assert len(at.get("plotly_chart")) == 1
    assert "See the scores" in named(at)
    assert "Measure 1 method" not in named(at)


def test_warnings_of_a_run_are_shown(measure, app):
    measure(warnings=["12 of 240 rows were longer than the model was allowed to read."])
    at = app("measure")
    assert "12 of 240 rows" in at.warning[0].value


def test_unmeasured_settings_offer_the_measured_ones(run, app):
    at = app("measure")
    at.number_input(key="form.entropy_shift.epochs").set_value(5).run()
    assert "Measure 1 method" in named(at)
    named(at)["Use these settings"].click().run()
    assert at.number_input(key="form.entropy_shift.epochs").value == 3
    assert "See the scores" in named(at)


def test_settings_survive_a_new_visit(pool, app):
    at = app("measure")
    choose_only(at, "lowest_nll")
    at.number_input(key="form.max_length").set_value(512).run()
    second_visit = app("measure")
    assert ticked(second_visit) == ["lowest_nll"]
    assert second_visit.number_input(key="form.max_length").value == 512


def test_start_runs_the_command_that_is_shown(pool, app, monkeypatch):
    started = []
    monkeypatch.setattr(jobs, "start_job", lambda space, command, **about: started.append((command, about)))
    at = app("measure")
    named(at)["Measure 1 method"].click().run()
    command, about = started[0]
    assert shlex.join(["python", "-m", "core", *command]) in [block.value for block in at.code]
    assert about["about"]["pool"] == pool.fingerprint
    assert not at.exception


def test_a_job_stopped_under_other_settings_of_this_pool_can_be_resumed(pool, app, job):
    job({"key": "other", "kind": "measure", "pool": "of another pool"}, state="cancelled", message="Cancelled.")
    assert "Resume" not in named(app("measure"))
    job({"key": "other", "kind": "measure", "pool": pool.fingerprint}, state="cancelled", message="Cancelled.")
    at = app("measure")
    assert {"Measure 1 method", "Resume"} <= set(named(at))


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


def test_several_methods_are_measured_in_one_run(pool, app):
    at = app("measure")
    named(at)["Select all"].click().run()
    assert not at.exception
    assert "One pass of the model over all rows gives NLL, entropy, embeddings, activations." in texts(at)
    assert "--also activation_coverage --also task_confidence --also preference_influence" in command(at)
    assert {"Measure 9 methods"} <= set(named(at))
    assert "Select all" not in named(at)


def test_one_unmeasured_method_of_several_can_still_be_started(run, app):
    at = app("measure")
    assert "Measure 1 method" not in named(at)
    tick(at, "task_confidence")
    assert {"See the scores", "Measure 1 method"} <= set(named(at))


def test_embeddings_outside_the_allowed_folders_are_refused(pool, app):
    at = app("measure")
    choose_only(at, "task_confidence")
    at.text_input(key="form.task_confidence.embeddings").set_value("/etc").run()
    assert "outside the folders" in at.warning[0].value
    at.text_input(key="form.task_confidence.embeddings").set_value("sentence-transformers/all-MiniLM-L6-v2").run()
    assert not at.error
    assert "embeddings=sentence-transformers/all-MiniLM-L6-v2" in command(at)


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
    tick(at, "task_confidence")
    assert "The model continued 64 prompts" not in texts(at)  # closed, as there are two results
    open_result(at, finished, "Task confidence")
    assert "1 task, from the labels: category. The model continued 64 prompts by 2,000 tokens." in texts(at).replace(
        "\\", ""
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ({"probe": 40.0, "warm-up": 20.0, "queue": 600.0, "loading": 3.0, "other": 2.0}, "240 rows · 11 min 5 s"),
        ({"tokens": 1.0, "probe": 40.0, "warm-up": 20.0}, "240 rows · 1 min 1 s of computing"),  # an earlier version's
        ({}, "240 rows · time not recorded"),
    ],
)
def test_the_time_of_a_run_is_what_was_waited_and_a_table_by_stage(measure, app, seconds, words):
    measure(seconds=seconds)
    at = app("measure")
    assert [e.label for e in at.expander if e.label.startswith("Entropy")] == [f"Entropy shift · {words}"]
    if "queue" in seconds:
        assert stage_table(at)["Queue"] == ("waiting for other jobs", "10 min")
        assert list(stage_table(at)) == ["Queue", "Loading", "Forward passes", "Warm-up training", "Other", "**Total**"]


def test_a_run_that_serves_several_methods_is_one_result(run, app):
    at = app("measure")
    tick(at, "random", "longest", "lowest_nll")
    results = [expander.label for expander in at.expander if "240 rows" in expander.label]
    assert results == ["Entropy shift · 240 rows · 1 min 1 s of computing"]  # the baselines have no time of their own


def test_answers_of_little_use_are_counted(measure, app):
    measure(answers={"asked": 50, "missing": 2, "empty": 0, "refused": 3, "truncated": 1})
    shown = texts(app("measure")).replace("\\", "")
    sentence = '48 answers; 2 are missing, 3 started with a refusal and 1 hit the token limit. Raise "Max new tokens"'
    assert sentence in shown
