"""A report has the verdicts on its own rows, with all arms beside them."""

from dataclasses import replace

import pytest

from core.cli.commands import require_run
from core.measurement.run_data import load_measured
from core.output.report.proof import describe_proof
from core.output.report.subject import Subject
from core.output.report.write import write_report
from core.proof.plan import MACRO, Work
from core.proof.stored import begin_proof, save_proof
from core.selection.recipe import make_selection
from tests.core.output.test_proof_facts import SENTENCE, WORSE
from tests.core.proof.conftest import make_recipe


@pytest.fixture(scope="module")
def recipe():
    return make_recipe("lowest_nll", budget="9")


@pytest.fixture(scope="module")
def proved(demo, recipe):
    """Store a proof of nine rows and of another arm."""
    design = demo.design("lowest_nll", "a b=highest_nll", budget="9", seeds=2, held_out="20", work=Work(1, 64, 0))
    begun = begin_proof(demo.workspace, design.plan, design.rows, design.evaluated)
    task = next(iter(design.plan.targets[0].tasks))
    own = replace(WORSE, arm="lowest_nll")
    better = replace(WORSE, arm="a b", difference=-0.1, low=-0.2, high=-0.05, verdict="better than random")
    save_proof(replace(begun, verdicts=(own, replace(own, task=task), better, replace(WORSE, difference=0.01))))
    return design.plan, task


def subject(demo, recipe):
    run = require_run(recipe, demo.pool, demo.workspace)
    measured = load_measured(run)
    return Subject(recipe, demo.pool, run, demo.workspace, measured, make_selection(recipe, demo.pool, measured))


def test_its_verdicts_are_those_of_its_arm_and_the_forest_has_all_arms(demo, recipe, proved):
    plan, task = proved
    part = describe_proof(subject(demo, recipe))
    assert part.sentence == SENTENCE
    assert [(line.task, line.kind) for line in part.lines] == [("average over tasks", "worse"), (task, "worse")]
    assert part.lines[0].interval == "+0.050 to +0.200" and MACRO not in [line.task for line in part.lines]
    assert all(name in part.forest for name in ("Lowest NLL", "Longest response")) and "a b" in part.forest
    assert plan.id in part.plan and part.left_out == 0


def test_another_budget_is_not_proved(demo, recipe, proved):
    assert describe_proof(subject(demo, make_recipe("lowest_nll", budget="8"))) is None


def test_the_page_shows_it(demo, recipe, proved, tmp_path):
    run = require_run(recipe, demo.pool, demo.workspace)
    written = write_report(recipe, demo.pool, run, tmp_path / "report.html")
    assert written.proved
    page = (tmp_path / "report.html").read_text()
    assert SENTENCE in page and "Not proved" not in page
    assert page.count('class="worse"') == 4  # a line and a mark of two arms
