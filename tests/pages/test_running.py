"""A measurement that runs, as the pages show it that wait for its scores."""

from dataclasses import replace

import pytest

from core.schema import Reading
from core.workspace.files import write_json
from pages.ui.shell import running
from pages.ui.shell.current import method
from pages.ui.shell.settings import Settings

PAGES = ("explore", "compare", "select", "export")


def texts(at) -> str:
    parts = [*at.caption, *at.subheader, *at.title]
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


def links(at) -> list[str]:
    return [link.proto.label for link in at.main.get("page_link")]


@pytest.fixture
def measuring(job, pool):
    """Store a running job that measures these methods with the initial settings."""

    def start(*names, reading=None, seed=0, **progress):
        methods = [method(Settings(method=name)) for name in names]
        about = {
            "kind": "measure",
            "pool": pool.fingerprint,
            **running.describe_methods(methods, reading or Reading(), seed),
        }
        return job(about, **{"state": "running", "stage": "Forward pass", "fraction": 0.61, "eta": 840.0} | progress)

    return start


@pytest.mark.parametrize("page", PAGES)
def test_a_page_without_scores_shows_the_progress_of_the_job_that_makes_them(pool, app, measuring, page):
    measuring("entropy_shift", done=9160, total=15011, rate=6.6)
    at = app(page)
    assert not at.exception
    assert "being measured" in texts(at) and "not measured" not in texts(at)
    assert "61% · 9,160 of 15,011 rows · 6.6 rows/s · 14 min left in this stage" in texts(at)
    assert at.get("progress")[0].proto.text == "Forward pass"
    assert links(at) == ["Go to Measure"]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_with_scores_shows_them_and_a_line_about_the_running_job(run, app, measuring, page):
    measuring("answer_divergence")
    at = app(page)
    assert not at.exception
    line = "Measuring Answer divergence: 61%, about 14 min left in this stage (Forward pass)."
    assert line in texts(at)
    assert "Show on Measure" in links(at)
    assert at.get("progress") == []  # the scores of entropy shift are on the page


def test_a_job_with_other_settings_is_not_waited_for(pool, app, measuring):
    measuring("entropy_shift", reading=Reading(max_length=64))
    assert "not measured on this pool yet" in texts(app("explore"))
    measuring("entropy_shift", seed=3)
    assert "not measured on this pool yet" in texts(app("explore"))


def test_a_baseline_waits_for_any_job_that_reads_the_pool_with_its_model(pool, app, measuring):
    measuring("entropy_shift")
    at = app("measure")
    at.session_state["winnow.settings"] = replace(at.session_state["winnow.settings"], method="lowest_nll")
    at.switch_page("pages/explore.py").run()
    assert "Lowest NLL is being measured" in texts(at)


def test_methods_that_are_measured_already_can_be_shown_meanwhile(run, app, measuring):
    measuring("answer_divergence")
    at = app("explore")
    at.selectbox(key="select.method").set_value("answer_divergence").run()
    assert "Answer divergence is being measured" in texts(at)
    at.button(key="show.entropy_shift").click().run()
    assert not at.exception
    assert at.selectbox(key="select.method").value == "entropy_shift"
    assert at.get("plotly_chart")


def test_the_page_is_drawn_with_the_scores_when_the_job_has_ended(pool, app, measuring, measure):
    started = measuring("entropy_shift")
    at = app("explore")
    assert "being measured" in texts(at)
    measure()
    write_json(started.folder / "progress.json", {"state": "done"})
    at.run()
    assert at.get("plotly_chart") and "being measured" not in texts(at)


def test_the_end_of_a_job_is_said_in_its_line(run, app, measuring):
    started = measuring("answer_divergence")
    assert running.describe(started).startswith("Measuring Answer divergence: 61%")
    assert running.describe(started, ["answer_divergence"]).startswith("Measuring a method: 61%")
    assert running.describe(replace(started, state="done")) == "Answer divergence: measured."
    assert running.describe(replace(started, state="queued")) == "Queued: Answer divergence."
