"""Figures, averages over tasks and verdicts, worked by hand, and over simulated proofs with a known effect."""

from dataclasses import replace

import numpy as np
import pytest

from core.algorithms.paired_comparison import BETTER, NONE, WORSE, adjust_holm
from core.proof.headline import format_difference, write_headline
from core.proof.plan import HELD_OUT, MACRO, Arm, Plan, RunSpec, Target, TargetRows, Training, Work
from core.proof.runs import RunCounts, RunFigures
from core.proof.verdicts import Verdict, describe_run, judge_arms


def make_plan(*arms, targets=(), seeds=(0, 1), rates=(1e-4, 3e-4), epochs=0):
    made = tuple(Arm(name, "method", (10,), (100,), ("",)) for name in ("random", *arms))
    reading = {"template": "auto"}
    pool = {"fingerprint": "f", "name": "p", "source": "p", "rows": 10}
    model = {"name": "m", "revision": "r"}
    work = Work(steps=2, epochs=epochs)
    return Plan(pool, "m", model, reading, "10%", seeds, rates, work, Training(), made, tuple(targets))


def make_target(task, tokens, *, name=HELD_OUT, kind="rows", short=None):
    task = np.array(task)
    tasks = {f"task {k}": int(n) for k, n in enumerate(np.bincount(task))}
    rows = np.arange(len(task))
    mask = np.zeros(len(task), np.bool_) if short is None else np.array(short)
    target = Target(name, kind, len(task), tasks, exact_match=int(mask.sum()))
    return TargetRows(target, rows, task, np.array(tokens), mask)


def figures(nll=None, margins=None, matches=None, name=HELD_OUT):
    given = {"nll": nll, "margins": margins, "matches": matches}
    columns = {key: {} if values is None else {name: np.array(values)} for key, values in given.items()}
    return RunFigures(RunCounts(10, 2, 300, 100), np.float32([2, 1]), 3.0, 1.0, **columns)


def spread(plan, values, work="steps"):
    """Return the same runs at every rate; `values`: arm -> for each seed the summed NLL of each row."""
    return {
        RunSpec(arm, seed, rate, work): figures(rows)
        for arm, by_seed in values.items()
        for seed, rows in zip(plan.seeds, by_seed, strict=True)
        for rate in plan.rates
    }


# Three rows: two of task 0 with 10 and 30 response tokens, one of task 1 with 20.
ROWS = make_target([0, 0, 1], [10, 30, 20])
RANDOM = [[20.0, 60.0, 40.0], [22.0, 58.0, 44.0]]
ARM = [[18.0, 54.0, 44.0], [19.0, 57.0, 45.0]]
# Task 0: (-2 - 6 - 3 - 1) / (2 * 40) = -0.15. Task 1: (4 + 1) / (2 * 20) = 0.125. Their mean is -0.0125.


def by_task(verdicts):
    return {verdict.task: verdict for verdict in verdicts}


def test_the_average_over_tasks_by_hand():
    plan = make_plan("arm", targets=[ROWS.target])
    found = judge_arms(plan, [ROWS], spread(plan, {"random": RANDOM, "arm": ARM}))
    assert [(each.arm, each.task, each.figure, each.work) for each in found] == [
        ("arm", MACRO, "nll", "steps"),
        ("arm", "task 0", "nll", "steps"),
    ]  # task 1 has one row, which gives no interval
    assert by_task(found)["task 0"].difference == pytest.approx(-0.15)
    assert by_task(found)[MACRO].difference == pytest.approx((-0.15 + 0.125) / 2)
    assert by_task(found)[MACRO].random == pytest.approx(((20 + 60 + 22 + 58) / 80 + (40 + 44) / 40) / 2)
    assert by_task(found)[MACRO].smallest == pytest.approx(0.01 * by_task(found)[MACRO].random)
    assert by_task(found)[MACRO].seeds == 2


def test_figures_of_a_run_by_hand():
    about = describe_run(RunSpec("random", 0, 1e-4, "steps"), figures(RANDOM[0]), [ROWS], "0" * 16)
    assert about["nll"] == {HELD_OUT: {MACRO: pytest.approx(2.0), "task 0": pytest.approx(2.0), "task 1": 2.0}}
    assert (about["rows"], about["steps"], about["tokens"], about["response_tokens"]) == (10, 2, 300, 100)
    assert (about["losses"], about["seconds"], about["stage"]) == ([2.0, 1.0], 4.0, "0" * 16)
    assert about["preference_accuracy"] == about["exact_match"] == {}


def test_only_seeds_that_both_arms_have_are_paired():
    plan = make_plan("arm", targets=[ROWS.target], seeds=(0, 1, 2))
    other = [*RANDOM, [100.0, 100.0, 100.0]]
    runs = spread(plan, {"random": other, "arm": [*ARM, [0.0, 0.0, 0.0]]})
    runs = {spec: run for spec, run in runs.items() if spec != RunSpec("random", 2, 1e-4, "steps")}
    found = by_task(judge_arms(plan, [ROWS], runs))
    assert found["task 0"].difference == pytest.approx(-0.15)  # seed 2 of the arm has nothing to be paired with
    assert found["task 0"].seeds == 2
    runs = {spec: run for spec, run in runs.items() if not (spec.arm == "random" and spec.seed and spec.rate == 1e-4)}
    assert judge_arms(plan, [ROWS], runs) == []  # one seed gives no interval


def test_equal_steps_and_equal_epochs_are_judged_apart():
    plan = make_plan("arm", targets=[ROWS.target], epochs=3)
    runs = spread(plan, {"random": RANDOM, "arm": ARM}) | spread(plan, {"random": RANDOM, "arm": RANDOM}, "epochs")
    found = {each.work: each for each in judge_arms(plan, [ROWS], runs) if each.task == MACRO}
    assert found["steps"].difference == pytest.approx(-0.0125)
    assert found["epochs"].difference == 0


def test_preference_accuracy_is_the_share_of_positive_margins_and_more_is_better():
    rows = make_target([0] * 4, [5] * 4, kind="pairs")
    plan = make_plan("arm", targets=[rows.target])
    margins = {"random": [[-1, -1, 1, 0], [-1, -1, 1, 1]], "arm": [[1, 1, 1, 0], [1, -1, 1, 1]]}
    runs = {
        RunSpec(arm, seed, rate, "steps"): figures(margins=values)
        for arm, by_seed in margins.items()
        for seed, values in enumerate(by_seed)
        for rate in plan.rates
    }
    (found,) = judge_arms(plan, [rows], runs)
    assert (found.figure, found.task) == ("preference_accuracy", MACRO)
    assert found.difference == pytest.approx((2 + 1) / 8)
    assert found.random == pytest.approx((0.375 + 0.5) / 2)
    assert found.difference - found.low == pytest.approx(found.high - found.difference)
    assert found.smallest == 0.01


def test_exact_match_counts_short_rows_alone():
    short = [True] * 20 + [False] * 5
    rows = make_target([0] * 25, [4] * 20 + [50] * 5, short=short)
    plan = make_plan("arm", targets=[rows.target])
    right = {"random": [0, 1] * 10 + [1] * 5, "arm": [1] * 20 + [0] * 5}
    runs = {
        RunSpec(arm, seed, rate, "steps"): figures(np.ones(25), matches=np.array(values, np.bool_))
        for arm, values in right.items()
        for seed in plan.seeds
        for rate in plan.rates
    }
    nll, match = judge_arms(plan, [rows], runs)
    assert (nll.figure, match.figure) == ("nll", "exact_match")
    assert (match.difference, match.random) == (pytest.approx(0.5), pytest.approx(0.5))
    few = make_target([0] * 25, [4] * 25, short=[True] * 19 + [False] * 6)
    assert [each.figure for each in judge_arms(plan, [few], runs)] == ["nll"]


def simulate(effects, *, seeds=5, rows=80, rng=None):
    """Return plan, target and runs of arms that lose `effects` nats per response token more than random."""
    rng = rng or np.random.default_rng(1)
    tokens = rng.integers(5, 60, rows)
    target = make_target([0] * (rows // 2) + [1] * (rows - rows // 2), tokens)
    plan = make_plan(*effects, targets=[target.target], seeds=tuple(range(seeds)))
    runs = {}
    for seed in plan.seeds:
        for rate in plan.rates:
            base = rng.uniform(1, 3, rows)
            for arm, effect in {"random": 0.0, **effects}.items():
                per_token = base + effect + rng.normal(0, 0.005) + rng.normal(0, 0.05, rows)
                runs[RunSpec(arm, seed, rate, "steps")] = figures(per_token * tokens)
    return plan, target, runs


def test_arms_are_better_worse_or_not_shown_to_differ():
    plan, target, runs = simulate({"good": -0.1, "bad": 0.1, "same": 0.0})
    found = {each.arm: each for each in judge_arms(plan, [target], runs) if each.task == MACRO}
    assert {arm: each.verdict for arm, each in found.items()} == {"good": BETTER, "bad": WORSE, "same": NONE}
    assert found["good"].difference == pytest.approx(-0.1, abs=0.02)
    assert found["good"].rates.keys() == {"0.0001", "0.0003"}
    assert found["good"].rates["0.0001"] == found["good"].difference


def test_p_values_are_adjusted_over_arms_of_one_figure():
    plan, target, runs = simulate({"a": -0.004, "b": 0.003, "c": 0.0})
    found = [each for each in judge_arms(plan, [target], runs) if each.task == MACRO]
    alone = []
    for arm in ("a", "b", "c"):
        single = replace(plan, arms=tuple(each for each in plan.arms if each.name in ("random", arm)))
        alone += [each.p for each in judge_arms(single, [target], runs) if each.task == MACRO]
    assert [each.p for each in found] == adjust_holm(alone) != alone


def test_a_sign_that_depends_on_the_rate_is_no_verdict():
    plan, target, runs = simulate({"arm": -0.1})
    _, _, turned = simulate({"arm": 0.1})
    mixed = runs | {spec: run for spec, run in turned.items() if spec.rate == plan.rates[1]}
    assert judge_arms(plan, [target], mixed)[0].verdict == NONE


def test_the_untrained_model_and_the_whole_pool_have_no_verdict():
    plan, target, runs = simulate({"all": -0.5, "arm": 0.0})
    runs[RunSpec("untrained", 0, 0.0, "steps")] = figures(np.ones(80))
    assert {each.arm for each in judge_arms(plan, [target], runs)} == {"arm"}


@pytest.mark.parametrize(("seeds", "rates", "prefix"), [(5, 2, ""), (4, 2, "indication: "), (5, 1, "indication: ")])
def test_fewer_than_5_seeds_or_2_rates_are_an_indication(seeds, rates, prefix):
    plan, target, runs = simulate({"arm": 0.1}, seeds=seeds)
    plan = replace(plan, rates=plan.rates[:rates])
    verdict = judge_arms(plan, [target], runs)[0]
    assert (verdict.verdict, verdict.plain) == (f"{prefix}{WORSE}", WORSE)


def test_random_against_random_raises_at_most_5_false_alarms_in_100_proofs():
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(100):
        plan, target, runs = simulate({"one": 0.0, "two": 0.0}, rows=40, rng=rng)
        found = [each for each in judge_arms(plan, [target], runs) if each.task == MACRO]
        alarms += any(each.verdict != NONE for each in found)
    assert alarms <= 5


def verdict(arm, words, difference=0.0, *, target=HELD_OUT, figure="nll", seeds=5, task=MACRO, work="steps"):
    rates = {"0.0001": difference, "0.0003": difference}
    interval = (difference, difference - 0.02, difference + 0.02)
    return Verdict(arm, target, task, figure, work, *interval, 0.01, words, seeds, rates, 2.0, 0.02)


def test_the_headline_says_what_wins_and_random_as_plainly():
    plan = make_plan("a", "b_c", targets=[ROWS.target])
    assert write_headline(plan, []) == ""
    assert write_headline(plan, [verdict("a", BETTER, -0.05), verdict("b_c", NONE)]) == (
        "On the held-out rows, at equal steps: a (−0.050 nats per response token, 95% interval −0.070 to −0.030) is "
        "better than random; no difference shown between random and b_c."
    )
    assert write_headline(plan, [verdict("a", WORSE, 0.05), verdict("b_c", WORSE, 0.1)]).startswith(
        "On the held-out rows, at equal steps: random is better than every other arm; a (+0.050"
    )
    assert write_headline(plan, [verdict("entropy_shift", NONE), verdict("b_c", NONE)]) == (
        "On the held-out rows, at equal steps: no arm is better than random; no difference shown between random and "
        "entropy shift or b_c."
    )
    early = write_headline(plan, [verdict("a", f"indication: {NONE}", seeds=3)])
    assert early.startswith(
        "Indication from 3 seeds and 2 learning rates, on the held-out rows, at equal steps: no arm"
    )


def test_the_headline_is_about_the_first_target_that_was_given():
    pairs = make_target([0] * 4, [5] * 4, kind="pairs", name="mine")
    plan = make_plan("a", targets=[ROWS.target, pairs.target])
    both = [verdict("a", WORSE, 0.1), verdict("a", BETTER, 0.031, target="mine", figure="preference_accuracy")]
    assert write_headline(plan, both) == (
        "On mine, at equal steps: a (+3.1 percentage points of preference accuracy, 95% interval +1.1 to +5.1) is "
        "better than random."
    )


@pytest.mark.parametrize(
    ("value", "figure", "text"),
    [(0.1204, "nll", "+0.120"), (-0.05, "nll", "−0.050"), (-0.0001, "nll", "0.000"), (-0.014, "exact_match", "−1.4")],
)
def test_differences_have_a_sign_unless_they_are_0(value, figure, text):
    assert format_difference(value, figure) == text
