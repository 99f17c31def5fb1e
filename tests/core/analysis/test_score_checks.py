"""Checks of scores: length, constant, saturated and missing values."""

import numpy as np
import pytest

from core.analysis.score_checks import assess_score

LENGTHS = np.arange(1, 101)
RNG = np.random.default_rng(0)


def test_a_score_independent_of_length_gets_no_warning():
    check = assess_score(RNG.permutation(100).astype(np.float32), LENGTHS)
    assert abs(check.length_rho) < 0.3
    assert (check.missing, check.constant, check.top_share, check.warnings) == (0, False, 0.01, ())


def test_an_increasing_function_of_length_is_mostly_length():
    check = assess_score(np.log(LENGTHS), LENGTHS)
    assert check.length_rho == pytest.approx(1.0)
    assert "longer responses score higher (Spearman 1.00)" in check.warnings[0]


def test_a_decreasing_function_of_length_is_mostly_length():
    check = assess_score(-(LENGTHS.astype(float) ** 2), LENGTHS)
    assert check.length_rho == pytest.approx(-1.0)
    assert "shorter responses score higher (Spearman −1.00)" in check.warnings[0]


def test_tied_ranks_are_averaged():
    # ranks 1.5 1.5 3 4 against 1 2 3 4: covariance 4.5, variances 4.5 and 5
    assert assess_score(np.float32([0, 0, 1, 2]), np.arange(4)).length_rho == pytest.approx(4.5 / np.sqrt(4.5 * 5))


def test_a_constant_score_ranks_nothing_and_has_no_correlation():
    check = assess_score(np.ones(100), LENGTHS)
    assert check.constant
    assert np.isnan(check.length_rho)
    assert check.warnings == ("Every row has the same score, so it ranks nothing.",)


def test_a_saturated_score_is_named_with_its_share():
    values = RNG.permutation(np.concatenate([np.ones(60), RNG.random(40)]))
    check = assess_score(values, LENGTHS)
    assert check.top_share == pytest.approx(0.6)
    assert check.warnings[0].startswith("60% of the scored rows share one value")
    half = RNG.permutation(np.concatenate([np.ones(50), RNG.random(50)]))
    assert assess_score(half, LENGTHS).warnings == ()


def test_missing_scores_are_counted_and_otherwise_ignored():
    values = LENGTHS.astype(np.float32)
    values[::4] = np.nan
    check = assess_score(values, LENGTHS)
    assert check.missing == 25
    assert check.length_rho == pytest.approx(1.0)
    assert check.warnings[0] == "25 of 100 rows (25.0%) have no score and cannot be selected by it."


def test_a_score_missing_everywhere_gives_one_sentence():
    assert assess_score(np.full(100, np.nan), LENGTHS).warnings == ("No row has this score.",)
    assert assess_score(np.empty(0), np.empty(0, int)).warnings == ("No row has this score.",)


def test_responses_of_one_length_correlate_with_nothing():
    assert np.isnan(assess_score(LENGTHS.astype(float), np.full(100, 7)).length_rho)


def test_a_boolean_column_can_be_checked():
    assert assess_score(LENGTHS > 30, LENGTHS).top_share == pytest.approx(0.7)
