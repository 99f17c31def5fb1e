"""The tour: above every page of the demo pool until it is closed."""

import pytest

from core.pool.pools import load_pool
from core.workspace.jobs import cancel_job, list_jobs
from pages.ui.shell import show
from pages.ui.shell.tour import STEPS, measurable_methods


@pytest.fixture
def demo(workspace):
    return load_pool("demo", workspace=workspace.root)


def markdown(at):
    return " ".join(block.value for block in at.markdown)


def test_the_tour_leads_through_every_page():
    assert [step.page for step in STEPS] == list(show.PAGES)


def test_the_tour_gives_the_number_of_planted_faults(demo, app):
    at = app("pool")
    assert not at.exception
    assert f"{len(demo):,} short ones" in markdown(at)
    assert "336 of them carry a fault" in markdown(at)


def test_one_button_measures_every_method(demo, app, workspace):
    at = app("measure")
    at.button(key="tour.all").click().run()
    assert not at.exception
    (job,) = list_jobs(workspace)
    cancel_job(workspace, job)
    assert all(name in job.command for name in measurable_methods())


def test_a_closed_tour_does_not_appear_again(demo, app):
    at = app("pool")
    at.button(key="tour.close").click().run()
    assert not any(button.key == "tour.close" for button in at.button)
    assert not any(button.key == "tour.close" for button in app("pool").button)


def test_the_tour_ends_on_the_last_page(demo, app):
    at = app("export")
    at.button(key="tour.done").click().run()
    assert not at.exception
    assert not any(button.key == "tour.done" for button in at.button)


def test_other_pools_have_no_tour(pool, app):
    assert "First look" not in " ".join(str(badge.value) for badge in app("pool").markdown)
