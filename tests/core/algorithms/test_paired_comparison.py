"""Estimates, intervals and verdicts of paired comparisons: by hand, and over simulated proofs with a known effect."""

import numpy as np
import pytest
from scipy import stats

from core.algorithms.paired_comparison import BETTER, NONE, WORSE, Comparison, adjust_holm, compare, judge


def simulate(rng, effect, *, seeds=5, rows=60, seed_sd=0.01, row_sd=0.05, noise=0.05):
    """Return summed NLLs of an arm and of another, and tokens. The arm loses `effect` nats per token more."""
    tokens = rng.integers(5, 80, rows).astype(float)
    seed_effect = rng.normal(0, seed_sd, (seeds, 1))
    row_effect = rng.normal(0, row_sd, (1, rows))
    per_token = effect + seed_effect + row_effect + rng.normal(0, noise, (seeds, rows))
    other = rng.uniform(1, 3, (seeds, rows)) * tokens
    return other + per_token * tokens, other, tokens


def test_a_difference_is_nats_per_token_over_all_seeds_and_rows():
    arm = np.array([[10.0, 30.0], [12.0, 28.0]])
    other = np.array([[12.0, 33.0], [13.0, 30.0]])
    result = compare(arm, other, np.array([10.0, 30.0]))
    assert result.difference == pytest.approx((-2 - 3 - 1 - 2) / (2 * 40))
    assert result.low < result.difference < result.high
    assert result.sign == -1


def test_seeds_alone_give_the_paired_t_test():
    rng = np.random.default_rng(3)
    shift = rng.normal(0.02, 0.01, (5, 1))
    other = np.full((5, 50), 20.0)
    result = compare(other + 10 * shift, other, np.full(50, 10.0))  # every row of a seed differs by the same
    expected = stats.ttest_1samp(shift[:, 0], 0)
    interval = expected.confidence_interval(0.95)
    assert result.p == pytest.approx(expected.pvalue, rel=0.15)  # the bootstrap's standard error has noise of 2%
    assert [result.low, result.high] == pytest.approx([interval.low, interval.high], rel=0.1)


def test_swapping_the_arms_mirrors_the_result():
    arm, other, tokens = simulate(np.random.default_rng(0), 0.02)
    one, two = compare(arm, other, tokens), compare(other, arm, tokens)
    assert (one.difference, one.low, one.high) == pytest.approx((-two.difference, -two.high, -two.low))
    assert one.p == pytest.approx(two.p)


def test_the_same_seed_gives_the_same_interval_and_equal_arms_differ_by_nothing():
    arm, other, tokens = simulate(np.random.default_rng(0), 0.02)
    assert compare(arm, other, tokens, seed=4) == compare(arm, other, tokens, seed=4)
    assert compare(arm, arm, tokens) == Comparison(0.0, 0.0, 0.0, 1.0, 5)


@pytest.mark.parametrize("shape", [(1, 20), (5, 1)])
def test_one_seed_or_one_row_gives_no_interval(shape):
    with pytest.raises(ValueError, match="at least 2"):
        compare(np.zeros(shape), np.zeros(shape), np.ones(shape[1]))


@pytest.mark.parametrize("spread", [{"seed_sd": 0.02, "row_sd": 0.01}, {"seed_sd": 0.002, "row_sd": 0.1}])
def test_intervals_hold_the_true_effect_at_least_93_times_of_100(spread):
    rng = np.random.default_rng(7)
    proofs = [compare(*simulate(rng, 0.02, **spread)) for _ in range(400)]
    assert np.mean([one.low <= 0.02 <= one.high for one in proofs]) >= 0.93


def test_an_effect_of_three_times_the_spread_of_seeds_is_found():
    rng = np.random.default_rng(8)
    proofs = [compare(*simulate(rng, -0.03)) for _ in range(100)]
    assert np.mean([one.p <= 0.05 for one in proofs]) >= 0.8


def test_random_against_random_raises_at_most_5_false_alarms_in_100():
    rng = np.random.default_rng(9)
    alarms = 0
    for _ in range(200):
        arms = [[compare(*simulate(rng, 0.0)) for _ in range(2)] for _ in range(3)]  # three arms at two rates
        adjusted = adjust_holm([rates[0].p for rates in arms])
        alarms += any(judge(p, rates, 0.0) != NONE for p, rates in zip(adjusted, arms, strict=True))
    assert alarms / 200 <= 0.05


def test_holm_by_hand():
    assert adjust_holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert adjust_holm([0.9, 0.8]) == [1.0, 1.0]
    assert adjust_holm([]) == []


def of(difference, reach=0.01, seeds=5):
    return Comparison(difference, difference - reach, difference + reach, 0.0, seeds)


@pytest.mark.parametrize(
    ("p", "rates", "verdict"),
    [
        (0.01, [of(-0.05), of(-0.03)], BETTER),
        (0.01, [of(0.05), of(0.03)], WORSE),
        (0.06, [of(-0.05), of(-0.03)], NONE),
        (0.01, [of(-0.05), of(0.01)], NONE),  # the sign depends on the rate
        (0.01, [of(-0.005, 0.001), of(-0.005, 0.001)], NONE),  # certain, and too small to matter
        (0.01, [of(-0.05, seeds=3), of(-0.03, seeds=3)], f"indication: {BETTER}"),
        (0.01, [of(-0.05)], f"indication: {BETTER}"),  # one rate
        (1.0, [of(0.0), of(0.0)], NONE),
    ],
)
def test_verdicts(p, rates, verdict):
    assert judge(p, rates, 0.02) == verdict
