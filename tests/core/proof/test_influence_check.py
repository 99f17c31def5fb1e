"""The influence check finds influence that was planted, and its sums and losses are those worked by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from core.algorithms.correlation import Correlation
from core.algorithms.influences import Influences
from core.cli import commands
from core.errors import RecipeError
from core.measurement.measure import measure
from core.methods import build_method
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.proof import influence_check
from core.proof.influence_check import (
    FILE,
    check_influence,
    draw_halves,
    load_check,
    mean_influence,
    store_check,
    target_loss,
)
from core.proof.plan import EvaluatedRows, Target
from core.proof.runs import RunCounts, RunFigures
from core.schema import Reading
from core.selection.recipe import parse_recipe
from core.workspace.folder import Workspace


def figures(nll, margins):
    return RunFigures(RunCounts(), np.empty(0), 1.0, 0.5, {"t": np.array(nll)}, {"t": np.array(margins)}, {})


def evaluated(chosen, rejected):
    n = np.arange(len(chosen))
    spans = tuple(np.array([3, 3 + count]) for count in rejected)
    tokens = np.array(chosen)
    return EvaluatedRows(Target("t", "pairs", len(n), {"a": len(n)}), n, n * 0, tokens, n > n, (), (), ((),), spans)


def test_halves_are_halves_of_the_rows_and_differ():
    rows = np.arange(10, 31)
    halves = draw_halves(rows, 50, seed=0)
    assert {len(half) for half in halves} == {10}
    assert all(len(set(half)) == 10 and set(half) <= set(rows) and (np.diff(half) > 0).all() for half in halves)
    assert len({tuple(half) for half in halves}) == 50
    assert np.array_equal(draw_halves(rows, 3, seed=0), halves[:3])  # more halves repeat none
    assert not np.array_equal(draw_halves(rows, 3, seed=1), halves[:3])
    assert np.bincount(np.concatenate(halves))[10:].min() > 10  # each row is in about half of them


def test_the_influence_on_a_target_weighs_sub_tasks_by_their_pairs():
    stored = Influences(
        {"o": ("x",), "t": ("a", "b")}, np.float32([[9, 0.1, 0.5], [9, 0.2, np.nan]]), np.float32([[0] * 3] * 2)
    )
    found = mean_influence(stored, "t", "preference", {"a": 3, "b": 1})
    assert found[0] == pytest.approx((3 * 0.1 + 0.5) / 4)
    assert np.isnan(found[1])


def test_the_loss_of_preferences_is_log_2_before_training_and_falls_with_the_margin():
    rows = evaluated(chosen=[2, 4], rejected=[5, 1])
    # chosen: -4 and -8 nats; rejected per token: 2 + 1 = 3 and 2 - 0.5 = 1.5, summed -15 and -1.5
    untrained = figures([4.0, 8.0], [1.0, -0.5])
    assert target_loss(untrained, untrained, rows, "preference") == pytest.approx(math.log(2))
    # chosen: -2 and -8; rejected: (1 + 2) * 5 = 15 and (2 + 3) * 1 = 5: margins grow by 2 and 3.5
    trained = figures([2.0, 8.0], [2.0, 3.0])
    by_hand = [math.log(1 + math.exp(-0.1 * 2)), math.log(1 + math.exp(-0.1 * 3.5))]
    assert target_loss(trained, untrained, rows, "preference") == pytest.approx(sum(by_hand) / 2)


def test_the_loss_of_chosen_answers_is_their_mean_nll_per_token():
    rows = evaluated(chosen=[2, 4], rejected=[5, 1])
    assert target_loss(figures([4.0, 4.0], [0.0, 0.0]), None, rows, "sft") == pytest.approx((2 + 1) / 2)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A pool in which half of the rows are of the target's kind, with the demo's model; and its measurement."""
    folder = tmp_path_factory.mktemp("planted")
    names = ("ada", "bo", "cy", "dee", "eve", "flo", "gus", "hal")
    rows = [
        {"instruction": f"Greet {name} {k}.", "output": f"zig zag {name} zig zag"} for k in range(6) for name in names
    ]
    rows += [{"instruction": f"Greet {name} {k}.", "output": f"Hello, {name}."} for k in range(6) for name in names]
    pairs = [
        {"prompt": f"Greet {name}.", "chosen": f"zig zag {name} zig zag", "rejected": f"Hello, {name}."}
        for name in names
    ]
    for name, lines in (("pool", rows), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    workspace = Workspace(folder / "ws")
    pool = load_pool(str(folder / "pool.jsonl"), workspace=workspace.root)
    params = {"targets": f"t={folder}/pairs.jsonl", "epochs": 1, "learning_rate": 2e-3}
    method = build_method("preference_influence", params)
    return workspace, pool, method, measure(pool, method, Reading(), workspace, report=SilentReporter())


def test_planted_influence_is_found_and_stored_with_the_run(planted):
    workspace, pool, method, run = planted
    check = check_influence(run, method, pool, workspace, SilentReporter(), halves=12, steps=4)
    assert check.spearman.low > 0 and "predicts what training does" in check.sentence and not check.warning
    assert check.loss == pytest.approx(math.log(2))
    assert (check.rows, check.steps, len(check.predicted), len(check.measured)) == (48, 4, 12, 12)
    assert max(check.measured) > 0
    assert load_check(run, "t", "preference") == check
    assert load_check(run, "t", "sft") is None and load_check(run, "other", "preference") is None
    again = check_influence(run, method, pool, workspace, SilentReporter(), halves=6, steps=4)  # of stored runs
    assert again.measured == check.measured[:6]
    assert load_check(run, "t", "preference") == again


def test_the_command_gives_facts_and_refuses_other_methods(planted, monkeypatch):
    workspace, pool, method, run = planted
    stored = replace(check_influence(run, method, pool, workspace, SilentReporter(), halves=5, steps=4), seconds=1.0)
    monkeypatch.setattr(influence_check, "check_influence", lambda *_, **__: stored)
    base = {"pool": {"source": "p"}, "budget": "10%"}
    recipe = parse_recipe(base | {"method": {"name": "preference_influence", "params": run.method["params"]}}, "test")
    facts = commands.check_influence(recipe, pool, workspace, SilentReporter(), halves=5, steps=4)
    assert facts["result"] == stored.sentence and facts["spearman"]["value"] == stored.spearman.value
    recipe = parse_recipe(base | {"method": {"name": "longest"}}, "test")
    with pytest.raises(RecipeError, match="--method longest measures no influence"):
        commands.check_influence(recipe, pool, workspace, SilentReporter(), halves=5, steps=4)


@pytest.mark.parametrize(
    ("halves", "steps", "words"), [(4, 0, "--halves 4"), (1001, 0, "--halves"), (5, -1, "--steps -1")]
)
def test_numbers_out_of_range_are_refused(planted, halves, steps, words):
    workspace, pool, method, run = planted
    with pytest.raises(RecipeError, match=words):
        check_influence(run, method, pool, workspace, SilentReporter(), halves=halves, steps=steps)


def test_checks_of_several_targets_are_kept_side_by_side(planted, tmp_path):
    _, _, _, run = planted
    elsewhere = replace(run, folder=tmp_path)
    one = load_check(run, "t", "preference")
    store_check(elsewhere, one)
    store_check(elsewhere, replace(one, target="u"))
    assert (tmp_path / FILE).exists()
    assert load_check(elsewhere, "t", "preference") == one
    assert load_check(elsewhere, "u", "preference") == replace(one, target="u")


def test_a_check_in_which_nothing_differs_is_read_back_and_says_so(planted, tmp_path):
    _, _, _, run = planted
    nothing = Correlation(math.nan, math.nan, math.nan)
    elsewhere = replace(run, folder=tmp_path)
    store_check(elsewhere, replace(load_check(run, "t", "preference"), spearman=nothing, pearson=nothing))
    check = load_check(elsewhere, "t", "preference")
    assert math.isnan(check.spearman.value)
    assert check.sentence.startswith("This check shows nothing") and check.warning
