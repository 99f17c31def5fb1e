"""The Proof page: nothing yet, a plan, a proof at work, a finished one; and the line about it on other pages."""

import shlex
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from core.proof.arms import describe_recipe
from core.proof.plan import HELD_OUT, RANDOM, Arm, EvaluatedRows, Plan, RunSpec, Target, Training, Work
from core.proof.runs import RunCounts, RunFigures
from core.proof.stored import begin_proof, save_proof
from core.proof.verdicts import describe_run, judge_arms
from core.selection.filters import Filter
from core.workspace.jobs import Job
from core.workspace.parts import Parts
from pages.ui.shell import jobs, state
from pages.ui.shell.current import recipe
from tests.pages.conftest import click_line

ROWS, TASKS = np.arange(0, 120, 3), {"sums": 20, "other": 20}
EFFECTS = {RANDOM: 0.0, "longest": -0.4, "entropy_shift": 0.3}  # on the NLL of a response token


def texts(at) -> str:
    parts = [*at.title, *at.caption, *at.text, *at.subheader, *at.error, *at.code, *at.markdown, *at.get("badge")]
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


def buttons(at) -> list[str]:
    return [button.label for button in at.button]


@pytest.fixture
def prove(workspace, pool):
    """Return a function that stores a proof as `prove` does, with figures made up: EFFECTS on the NLL of each token."""

    def store(seeds=5, state="finished", effects=EFFECTS, finished=None, chosen=None):
        target = Target(HELD_OUT, "rows", len(ROWS), TASKS, fingerprint=pool.fingerprint)
        task, tokens = np.arange(len(ROWS)) % 2, np.full(len(ROWS), 10)
        rows = EvaluatedRows(target, ROWS, task, tokens, np.zeros(len(ROWS), np.bool_))
        arms = tuple(
            Arm(name, "baseline" if name in (RANDOM, "longest") else "method", (24,), (900,), ("x",),
                recipe=chosen and describe_recipe(chosen) if name == "entropy_shift" else None)
            for name in effects
        )  # fmt: skip
        about = {"fingerprint": pool.fingerprint, "name": pool.name, "source": pool.source, "rows": len(pool)}
        plan = Plan(about, "embedded", {"name": "embedded", "revision": "0"}, {}, "10%", tuple(range(seeds)),
                    (3e-4, 1e-3), Work(), Training(), arms, (target,))  # fmt: skip
        proof = begin_proof(workspace, plan, {arm.name: [np.arange(24)] for arm in arms}, [rows])
        specs = [RunSpec("untrained", 0, 0.0, "steps")]
        specs += [RunSpec(a, s, r, w) for s in plan.seeds for r in plan.rates for w in plan.work.kinds for a in effects]
        runs, described = {}, []
        for number, spec in enumerate(specs[:finished]):
            noise = np.random.default_rng(spec.seed).normal(0, 0.01, len(ROWS))
            nll = tokens * (2 + effects.get(spec.arm, 1.0) * (1 + task) + noise)
            losses = np.linspace(3, 2, 20 if spec.rate else 0, dtype=np.float32)
            runs[spec] = RunFigures(RunCounts(24, 20, 4000, 2000), losses, 9.0, 1.0, {HELD_OUT: nll}, {}, {})
            stage = f"{number:016x}"
            parts = Parts.open(workspace.folder("measurements", stage), {}, [np.arange(1)])
            parts.write(0, pa.table({f"nll:{HELD_OUT}": [nll]}))
            described.append(describe_run(spec, runs[spec], [rows], stage))
        cost = {"estimated_seconds": 900.0, "training_seconds": 540.0, "choosing_seconds": {"entropy_shift": 120.0}}
        verdicts = judge_arms(plan, [rows], runs)
        return save_proof(replace(proof, state=state, runs=described, verdicts=verdicts, cost=cost))

    return store


@pytest.fixture
def launched(monkeypatch):
    """Record the commands of jobs instead of starting them."""
    commands = []

    def launch(command, *, title, about):
        commands.append((tuple(command), dict(about)))
        return Job("j", None, title, about, tuple(command))

    monkeypatch.setattr(jobs, "launch", launch)
    return commands


def command(at) -> list[str]:
    """Return the words of the command-line equivalent."""
    return shlex.split(next(block.value for block in at.code if "core prove" in block.value))[3:]


def options(at, name) -> list[str]:
    return [value for option, value in pairwise(command(at)) if option == name]


# Nothing yet


def test_without_a_measurement_baselines_can_be_compared_and_measure_is_a_click_away(pool, app):
    at = app("proof")
    assert not at.exception
    assert "Nothing is measured on this pool yet" in texts(at)
    assert [link.proto.label for link in at.main.get("page_link")] == ["Go to Measure"]
    assert "--arms" not in command(at)
    assert "20 training runs" not in texts(at) and "40 training runs" in texts(at)


def test_measured_methods_are_arms_and_the_command_says_so(run, app):
    at = app("proof")
    assert not at.exception
    assert options(at, "--arms") == ["entropy_shift"]
    assert (options(at, "--budget"), options(at, "--seeds"), options(at, "--held-out")) == (["10%"], ["5"], ["48"])
    assert options(at, "--rates") == ["1e-4,3e-4"]
    assert "60 training runs" in texts(at)  # 3 arms, 5 seeds, 2 rates, equal steps and equal epochs


def test_opposites_the_whole_pool_and_work_change_the_command(run, app):
    at = app("proof")
    at.checkbox(key="proof.opposites").check()
    at.checkbox(key="proof.whole").check()
    at.number_input(key="proof.epochs").set_value(0)
    at.number_input(key="proof.seeds").set_value(3)
    at.text_input(key="proof.rates.embedded").set_value("1e-4").run()
    assert not at.exception
    assert options(at, "--arms") == ["entropy_shift", "entropy_shift reversed=reversed:entropy_shift", "all"]
    assert "15 training runs" in texts(at)


def test_parameters_of_a_method_are_those_of_its_arm(run, app):
    at = app("proof")
    now = at.session_state[state.SETTINGS]
    at.session_state[state.SETTINGS] = replace(now, params={"entropy_shift": {"gamma": 0.2}})
    at.run()
    assert options(at, "--set") == ["entropy_shift.gamma=0.2"]


def test_a_filtered_selection_is_an_arm_by_its_recipe(run, app):
    at = app("proof")
    now = at.session_state[state.SETTINGS]
    at.session_state[state.SETTINGS] = replace(now, filters=(Filter("response_tokens", low=4.0),))
    at.run()
    assert not at.exception
    name, _, path = options(at, "--arms")[0].partition("=")
    assert name == "Current selection"
    written = yaml.safe_load(Path(path).read_text())
    assert (written["method"]["name"], len(written["filters"]), written["budget"]) == ("entropy_shift", 1, "10%")


def test_files_become_arms_and_targets(run, app, tmp_path):
    mine = tmp_path / "mine.jsonl"
    mine.write_text('{"id": "row-3"}\n')
    at = app("proof")
    at.selectbox(key="proof.arms.0.choice").set_value(str(mine))
    at.text_input(key="proof.arms.0.name").set_value("by hand").run()
    at.button(key="proof.arms.0.add").click().run()
    at.selectbox(key="proof.targets.0.choice").set_value("demo").run()
    at.button(key="proof.targets.0.add").click().run()
    assert not at.exception
    assert options(at, "--arms") == ["entropy_shift", f"by hand={mine}"]
    assert options(at, "--target") == ["demo"]
    assert "--allow-target-prompts" not in command(at)
    at.checkbox(key="proof.allow").check().run()
    assert "--allow-target-prompts" in command(at)
    at.button(key=f"proof.remove.by hand={mine}").click().run()
    assert options(at, "--arms") == ["entropy_shift"]


def test_a_file_outside_the_folders_is_refused_in_a_sentence(run, app):
    at = app("proof")
    at.selectbox(key="proof.arms.0.choice").set_value("/etc/passwd").run()
    at.button(key="proof.arms.0.add").click().run()
    assert not at.exception
    assert "outside the folders this app may read" in texts(at)


# Plan, cost, start


def test_the_plan_and_its_cost_come_before_the_start(workspace, run, app, launched, job, prove):
    at = app("proof")
    assert "Start the proof" not in buttons(at)
    at.button(key="proof.plan").click().run()
    ((words, about),) = launched
    assert words[0] == "prove" and words[-1] == "--estimate"
    assert about["kind"] == "plan"

    planned = prove().plan
    shutil.rmtree(workspace.root / "proofs")
    result = {"id": planned.id, "plan": planned.as_data(), "cost": {"estimated_seconds": 840.0}}
    job(about, state="done", result=result)
    at.run()
    assert at.metric[0].value == "14 min"
    at.button(key="proof.start").click().run()
    words, about = launched[1]
    assert words == launched[0][0][:-1]
    assert (about["kind"], about["proof"]) == ("prove", planned.id)


def test_a_plan_that_failed_shows_its_reason(run, app, launched, job):
    at = app("proof")
    at.button(key="proof.plan").click().run()
    job(launched[0][1], state="failed", message="--held-out 48: hold out fewer rows.")
    at.run()
    assert "hold out fewer rows" in texts(at)


# At work


def test_a_proof_at_work_shows_what_has_come_in(run, app, prove, job):
    proof = prove(state="running", finished=40)
    about = {"kind": "prove", "pool": proof.plan.pool["fingerprint"], "proof": proof.id, "unit": "training runs"}
    job(about, state="running", stage="Training", done=40, total=61, rate=0.1, fraction=0.6)
    at = app("proof")
    assert not at.exception
    assert "40 of 61 training runs finished" in texts(at)
    assert "Indication" in at.subheader[0].value  # three seeds
    assert len(at.get("plotly_chart")) == 2
    assert "60% · 40 of 61 training runs · You can close this tab" in texts(at)


def test_a_proof_that_was_interrupted_can_be_resumed(run, app, prove, job):
    proof = prove(state="running", finished=4)
    job({"kind": "prove", "pool": proof.plan.pool["fingerprint"], "proof": proof.id}, state="cancelled")
    at = app("proof")
    assert not at.exception
    assert "Resume" in buttons(at)
    assert "No verdict yet" in at.subheader[0].value


def test_a_proof_that_is_being_prepared_is_waited_for(run, app, launched, job, prove, workspace):
    about = {"kind": "prove", "pool": run.pool_id, "proof": "0" * 16}
    job(about, state="running", stage="Reading the pool")
    at = app("proof")
    assert "Plan and cost" in buttons(at) and "Cancel" in buttons(at)  # another visitor's, or of another tab
    at.session_state["proof.shown"] = "0" * 16
    at.run()
    assert "Plan and cost" not in buttons(at) and "Cancel" in buttons(at)
    job(about, state="failed", message="The disk is full.")
    at.run()
    assert "The disk is full." in texts(at)
    assert "Plan and cost" in buttons(at) and "Try again" in buttons(at)


# Finished


def test_the_verdict_is_the_pages_sentence_and_all_figures_are_in_the_table(run, app, prove):
    prove()
    at = app("proof")
    assert not at.exception
    assert "longest" in at.subheader[0].value and "better than random" in at.subheader[0].value
    table = at.dataframe[0].value.set_index("Arm")
    assert list(table.index) == ["Untrained model", "Random", "Longest response", "Entropy shift"]
    assert table.loc["Random", "Figure"] == pytest.approx(2.0, abs=0.01)
    assert table.loc["Untrained model", "Figure"] == pytest.approx(3.5, abs=0.01)
    assert table.loc["Entropy shift", "Difference"] == "+0.450"  # the mean of 0.3 and 0.6
    assert table.loc["Entropy shift", "Verdict"] == "worse than random"


def test_random_wins_is_said_plainly(run, app, prove):
    prove(effects={RANDOM: 0.0, "longest": 0.2, "entropy_shift": 0.3})
    assert "random is better than every other arm" in app("proof").subheader[0].value.lower()


def test_rows_where_two_arms_differ_most_can_be_read(run, app, prove):
    prove()
    at = app("proof")
    rows = at.dataframe[1].value  # of the arm that differs most, where it is better than random
    assert list(rows.columns[:4]) == ["Difference", "Longest response", "Random", "Task"]
    assert set(rows["Task"][:20]) == {"other"} and rows["Difference"][0] == "−0.800"
    assert rows["Prompt"][1] not in texts(at)
    click_line(at, ".table", 1)
    assert rows["Prompt"][1] in texts(at)  # in the reader
    assert f"2 of {len(rows)}" in texts(at)


def test_two_proofs_can_be_chosen_and_a_new_one_begun(run, app, prove):
    first = prove()
    second = prove(seeds=3)
    at = app("proof")
    choice = at.selectbox(key="proof.choice")
    assert choice.value == second.id
    choice.set_value(first.id).run()
    assert "Indication" not in at.subheader[0].value
    at.button(key="proof.new").click().run()
    assert "Plan and cost" in buttons(at)


# On other pages


@pytest.mark.parametrize("page", ["select", "export"])
def test_pages_of_the_selection_show_its_proof(run, app, prove, page, pool):
    at = app(page)
    assert not at.exception
    assert "No proof of this selection yet." in texts(at)
    prove(chosen=recipe(pool, at.session_state[state.SETTINGS]))
    at.run()
    assert "worse than random on held-out rows (+0.450 nats per response token" in texts(at)
    at.button(key="proof.show").click().run()
    assert at.title[0].value == "Proof"


def test_the_road_shows_the_verdict(run, app, prove, pool):
    at = app("pool")
    labels = [link.proto.label for link in at.get("page_link")]
    assert any("**Proof** not run" in label for label in labels)
    prove(chosen=recipe(pool, at.session_state[state.SETTINGS]))
    at.run()
    labels = [link.proto.label for link in at.get("page_link")]
    assert any("**Proof** :green[:material/check:] worse than random" in label for label in labels)
