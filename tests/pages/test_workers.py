"""Workers on the Measure page: the choice of their number, what each does, and those that were replaced."""

import json
import time
from dataclasses import asdict, replace
from importlib.util import find_spec
from types import SimpleNamespace

import psutil
import pytest

from core.workers.records import WorkerRecord
from core.workspace.files import write_json
from pages.ui.shell import jobs
from tests.pages.test_measure import TRIAL, command, plan, texts, trial

__all__ = ["plan", "trial"]


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Four cores with 8 GB free, without Ray; a test may change each."""
    found = SimpleNamespace(cores=4, memory=8e9, ray=False)
    spec = lambda name: find_spec("json" if found.ray else "no_such_module") if name == "ray" else find_spec(name)  # noqa: E731
    monkeypatch.setattr("pages.ui.measure.workers.find_spec", spec)
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda _: list(range(found.cores)))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=found.memory))
    return found


def box(at):
    return next((widget for widget in at.number_input if widget.key == "form.workers"), None)


def ray_box(at):
    return next((widget for widget in at.text_input if widget.key == "form.ray"), None)


def test_the_number_of_processes_is_in_the_command_and_is_stored(pool, app):
    at = app("measure")
    assert (box(at).value, box(at).placeholder, box(at).max) == (None, "one for each GPU, or 1", 4)
    assert "--workers" not in command(at)
    box(at).set_value(2).run()
    assert not at.exception
    assert command(at).endswith("--workers 2")
    assert "Workers: 2 processes" in [panel.label for panel in at.expander]
    at.switch_page("pages/pool.py").run()
    at.switch_page("pages/measure.py").run()
    assert box(at).value == 2
    box(at).set_value(None).run()
    assert "--workers" not in command(at)


def test_more_processes_than_there_is_room_for_are_refused(pool, app):
    at = app("measure")
    box(at).set_value(4000).run()  # as no browser sends it by itself
    assert "--workers" not in command(at)


def test_another_session_finds_the_number_again(pool, app):
    box(app("measure")).set_value(3).run()
    assert box(app("measure")).value == 3


def test_the_memory_of_a_trial_limits_the_number(pool, app, trial, machine):
    app("measure")
    trial(cards=0)
    at = app("measure")
    assert box(at).placeholder == "1"
    assert "A process needs about 1.9 GB of memory; 8 GB of memory is free." in texts(at)
    machine.memory = 4.5e9
    assert box(at.run()).max == 2
    box(at).set_value(2).run()
    assert "2 processes need about 3.8 GB, 1.9 GB each; 4.5 GB of memory is free." in texts(at)
    assert "These times are for one worker." in texts(at)
    machine.memory = 1e9  # what is chosen stays, and the page says what it takes
    assert not at.run().exception
    assert (box(at).value, box(at).max) == (2, 2)


def test_every_gpu_works_by_default(pool, app, trial):
    app("measure")
    trial(cards=2, device="cuda")
    at = app("measure")
    assert (box(at).value, box(at).placeholder, box(at).max) == (None, "2, one for each GPU", 2)
    assert "These times are for one worker." in texts(at)
    box(at).set_value(1).run()
    assert command(at).endswith("--workers 1")
    assert "These times are for one worker." not in texts(at)


@pytest.mark.parametrize("result", [{"cards": 1, "device": "cuda"}, {"cards": 0, "device": "cuda:1"}])
def test_there_is_no_choice_on_one_gpu(pool, app, trial, result):
    app("measure")
    trial(**result)
    assert box(app("measure")) is None


def test_there_is_no_choice_on_one_core(pool, app, machine):
    machine.cores = 1
    assert box(app("measure")) is None


def test_a_trial_of_an_older_version_knows_no_gpus(pool, app, trial):
    app("measure")
    assert "cards" not in TRIAL
    trial()
    assert box(app("measure")).placeholder == "one for each GPU, or 1"


def test_a_ray_address_can_be_typed_where_ray_is_installed(pool, app, machine, monkeypatch):
    assert ray_box(app("measure")) is None
    machine.ray, machine.cores = True, 1
    at = app("measure")
    ray_box(at).set_value("auto").run()
    assert command(at).endswith("--workers ray") and box(at).disabled
    ray_box(at).set_value("127.0.0.1:6379").run()
    assert command(at).endswith("--workers ray:127.0.0.1:6379")
    assert "The cluster decides how many workers there are." in texts(at)
    for typed, sentence in (("10.0.0.1:6379", "may ask"), ("ray://10.0.0.1", "no address of a Ray cluster")):
        ray_box(at).set_value(typed).run()
        assert sentence in at.warning[0].value.replace("\\", "")
        assert command(at).endswith("--workers ray:127.0.0.1:6379")
    monkeypatch.setenv("WINNOW_SERVERS", "10.0.0.1")
    ray_box(at).set_value("10.0.0.1:6379").run()
    assert command(at).endswith("--workers ray:10.0.0.1:6379")
    ray_box(at).set_value("").run()
    assert "--workers" not in command(at)


# A running job


@pytest.fixture
def put(workspace):
    """Return a function that stores the record of a live worker of the task "t", on another machine."""

    def store(index, **fields):
        record = WorkerRecord(f"{index}/2", "host*1*", 1, "", "cpu", "Forward pass", updated=time.time())
        write_json(workspace.root / "workers" / "t" / f"{index}.json", asdict(replace(record, **fields)))

    return store


def running_job(job, pool, **progress):
    about = {"kind": "measure", "pool": pool.fingerprint, "key": "k", "methods": {}}
    counts = {"stage": "Forward pass", "done": 60, "total": 240, "fraction": 0.25, "rate": 6.6, "task": "t"}
    return job(about, **{"state": "running"} | counts | progress)


def test_the_panel_of_a_job_shows_each_worker(pool, app, job, put):
    running_job(job, pool)
    put(0, part=11, parts=40, rate=3.25)
    put(1, stage="Loading the model")
    at = app("measure")
    assert not at.exception
    (table,) = (one.value for one in at.table if "Worker" in one.value)
    assert table.to_dict("records") == [
        {"Worker": "1 of 2", "Where": "cpu, host\\*1\\*", "Now": "part 12 of 40", "Rows/s": "3.2"},
        {"Worker": "2 of 2", "Where": "cpu, host\\*1\\*", "Now": "Loading the model", "Rows/s": ""},
    ]
    assert "25% · 60 of 240 rows · 6.6 rows/s together" in texts(at)
    put(1, stage="Tokenising", part=2, parts=3)
    put(0, waits="Waiting for other workers.")
    (table,) = (one.value for one in at.run().table if "Worker" in one.value)
    assert table["Now"].tolist() == ["waiting", "Tokenising: part 3 of 3"]


def test_workers_that_were_replaced_stay_on_the_panel(pool, app, job, put):
    one = "Worker 2 of 2 (cpu) ended unexpectedly (exit code -9) and was replaced."
    running_job(job, pool, replaced=[one])
    assert one in texts(app("measure"))
    running_job(job, pool, replaced=[one.replace("2 of", "1 of"), one])
    assert f"2 workers ended unexpectedly and were replaced. The last: {one}" in texts(app("measure"))
    running_job(job, pool, replaced=[one], state="cancelled", message="Cancelled.")
    assert one in texts(app("measure"))


def test_a_job_without_workers_has_no_table(pool, app, job, put):
    put(0, part=1, parts=2)
    running_job(job, pool, task="")
    at = app("measure")
    assert not at.table and "6.6 rows/s together" not in texts(at)


def test_resume_goes_on_with_the_workers_that_are_set_now(pool, app, job, monkeypatch):
    launched, restarted = [], []
    monkeypatch.setattr(jobs, "launch", lambda command, **about: launched.append((*command,)))
    monkeypatch.setattr(jobs, "restart_job", lambda _, job: restarted.append(job.command))
    stopped = running_job(job, pool, state="cancelled", message="Cancelled.")
    file = stopped.folder / "job.json"
    stored = json.loads(file.read_text())
    del stored[next(iter(stored))]  # the checksum
    write_json(file, stored | {"command": ["measure", "x", "--workers", "4", "--seed", "1"]})
    at = app("measure")
    box(at).set_value(2).run()
    at.button(key=f"resume.{stopped.id}").click().run()
    assert launched == [("measure", "x", "--seed", "1", "--workers", "2")]
    write_json(file, stored | {"command": list(launched[0])})
    at.button(key=f"resume.{stopped.id}").click().run()
    assert restarted == launched
