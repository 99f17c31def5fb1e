"""Answer divergence: both quota rules by hand and against the letter of the release; merged bins; excluded rows."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.algorithms.apportionment import apportion_seats
from core.errors import MethodError
from core.methods.answer_divergence import NO_BIN, AnswerDivergence
from core.methods.params import measure_params
from core.schema import Measured

NAN = np.nan


def pool(bins, dispersion, anisotropy=None, merges=None, responses=None) -> Measured:
    n = len(bins)
    anisotropy = dispersion if anisotropy is None else anisotropy
    columns = {
        "response_tokens": np.full(n, 3) if responses is None else np.array(responses),
        "dispersion": np.array(dispersion, np.float32),
        "anisotropy": np.array(anisotropy, np.float32),
        "answers_counted": np.full(n, 5),
        "semantic_bin": np.array(bins, np.int64),
    }
    return Measured("p", columns, {} if merges is None else {"bin_merges": np.array(merges, np.int64).reshape(-1, 2)})


# Bins of 6, 3 and 1 rows; D = I, so that the score equals both for any weight. By bin, best first:
# 1 3 5 2 4 0 | 6 8 7 | 9
BINS = [0] * 6 + [1] * 3 + [2]
SCORE = [0.1, 0.6, 0.3, 0.5, 0.2, 0.4, 0.9, 0.7, 0.8, 1.0]
THREE = pool(BINS, SCORE, merges=[[1, 2], [0, 3]])
ALL = np.ones(10, bool)


def rows(measured=THREE, eligible=ALL, **params):
    return AnswerDivergence(**params).order(measured, eligible, seed=0).rows.tolist()


def test_the_score_weighs_dispersion_and_anisotropy():
    measured = pool([0, 0, 0], [0.5, 0.2, NAN], [0.25, 0.7, NAN])
    for weight, expected in ((0.6, [0.4, 0.4, NAN]), (1.0, [0.5, 0.2, NAN]), (0.0, [0.25, 0.7, NAN])):
        scores = AnswerDivergence(dispersion_weight=weight).scores(measured)
        assert list(scores) == ["divergence"]
        np.testing.assert_allclose(scores["divergence"], np.float32(expected), rtol=1e-6)


def test_the_weight_decides_which_row_is_first():
    measured = pool([0, 0], [0.5, 0.2], [0.25, 0.7])
    assert rows(measured, ALL[:2], dispersion_weight=1.0) == [0, 1]
    assert rows(measured, ALL[:2], dispersion_weight=0.0) == [1, 0]


def test_rows_follow_the_seats_of_their_bins_best_first():
    """Prices (k + ½) / size: bin 0 .08 .25 .42 .58 .75 .92, bin 1 .17 .5 .83, bin 2 .5; of .5 and .5 the earlier."""
    assert rows() == [1, 6, 3, 5, 8, 9, 2, 4, 7, 0]
    assert rows(pick="bottom") == [0, 7, 4, 2, 8, 9, 5, 3, 6, 1]
    assert rows(pick="middle") == [2, 8, 5, 4, 7, 9, 3, 0, 6, 1]


def test_bins_can_be_merged_without_measuring():
    """Bins 1 and 2 as one of 4 rows, 9 6 8 7: its prices .125 .375 .625 .875."""
    assert rows(bins=2) == [1, 9, 3, 6, 5, 2, 8, 4, 7, 0]
    assert rows(bins=1) == [9, 6, 8, 7, 1, 3, 5, 2, 4, 0]
    assert rows(bins=3) == rows(bins=50) == rows(bins=0)
    assert AnswerDivergence(bins=2).bin_of(THREE).tolist() == [0] * 6 + [1] * 4


def test_merging_without_the_merges_is_refused():
    bare = pool(BINS, SCORE)
    assert rows(bare) == rows()
    with pytest.raises(MethodError, match="'bin_merges', which is not measured yet"):
        rows(bare, bins=2)


def test_the_release_rule_takes_a_share_of_each_bin_and_then_the_best():
    """B = 5 of N = 10: ⌊6 · ½⌋ = 3 of bin 0, ⌊1½⌋ = 1 of bin 1, bin 2 is too small: one row less than B."""
    assert rows(quota="release", released_rows=5) == [6, 1, 3, 5, 9, 8, 7, 2, 4, 0]
    assert rows(quota="release", released_rows=5, pick="bottom") == [0, 4, 2, 7, 5, 3, 1, 8, 6, 9]
    assert rows(quota="release", released_rows=5, pick="middle") == [2, 5, 4, 8, 1, 7, 3, 6, 0, 9]


def test_every_bin_of_three_contributes_at_least_one_row_before_the_cut():
    """B = 1: ⌊0.6⌋ and ⌊0.3⌋ become 1 and 1, the cut leaves the better."""
    assert rows(quota="release", released_rows=1)[:3] == [6, 9, 8]
    assert rows(quota="release", released_rows=2)[:3] == [6, 1, 9]


def test_the_release_of_merged_bins_skips_none_that_is_large_enough():
    """Bins of 6 and 4, B = 5: 3 and 2."""
    assert rows(quota="release", released_rows=5, bins=2)[:5] == [9, 6, 1, 3, 5]


def test_the_length_of_the_release_selection():
    for budget, expected in ((1, 1), (2, 2), (5, 4), (10, 9), (1000, 9)):
        method = AnswerDivergence(quota="release", released_rows=budget)
        assert method.release_length(THREE, method.order(THREE, ALL, seed=0)) == expected


def test_excluded_rows_do_not_count_towards_bin_sizes():
    """Without rows 1 and 3: bins of 4, 3 and 1. Prices .125 .375 .625 .875 | .167 .5 .833 | .5"""
    some = ALL.copy()
    some[[1, 3]] = False
    order = AnswerDivergence().order(THREE, some, seed=0)
    assert order.rows.tolist() == [5, 6, 2, 8, 9, 4, 7, 0]
    assert order.excluded["filtered out"].tolist() == [1, 3]
    # the release, B = 4 of N = 8: 2 of bin 0, 1 of bin 1
    assert rows(eligible=some, quota="release", released_rows=4) == [6, 5, 2, 9, 8, 7, 4, 0]


def test_excluded_rows_have_a_reason():
    measured = pool([0, -1, 0, 0, -1], [0.1, 0.2, NAN, 0.4, NAN], responses=[3, 3, 3, 0, 3])
    for quota in ("webster", "release"):
        order = AnswerDivergence(quota=quota).order(measured, ALL[:5], seed=0)
        assert order.rows.tolist() == [0]
        assert {why: result.tolist() for why, result in order.excluded.items()} == {
            "no response": [3],
            "not measured": [2, 4],
            NO_BIN: [1],
        }


def test_a_pool_without_any_response_is_ordered_too():
    assert rows(pool(BINS, SCORE, responses=[0] * 10)) == rows()


@pytest.mark.parametrize("quota", ["webster", "release"])
def test_of_equal_scores_the_earlier_row_is_first(quota):
    assert rows(pool([0] * 5, [0.5] * 5), ALL[:5], quota=quota, released_rows=3) == [0, 1, 2, 3, 4]


def letter_of_the_release(score, bins, budget):
    """Apply the rule as METHODS.md has it, one row at a time."""
    selection = []
    for own in sorted(set(bins)):
        members = sorted((i for i in range(len(bins)) if bins[i] == own), key=lambda i: (-score[i], i))
        if len(members) < 3:
            continue
        selection += members[: max(1, int(len(members) * budget / len(bins)))]
    return sorted(selection, key=lambda i: (-score[i], i))[:budget]


some_pool = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20).map(lambda s: s / 20)), min_size=1, max_size=60)


@settings(deadline=None)
@given(some_pool, st.integers(1, 70))
def test_the_release_is_followed_to_the_letter(rows, budget):
    bins, score = zip(*rows, strict=True)
    measured, eligible = pool(bins, score), np.ones(len(rows), bool)
    method = AnswerDivergence(quota="release", released_rows=budget)
    order = method.order(measured, eligible, seed=0)
    divergence = method.scores(measured)["divergence"]
    expected = letter_of_the_release(divergence.tolist(), bins, budget)
    assert order.rows[: len(expected)].tolist() == expected
    assert method.release_length(measured, order) == len(expected)
    rest = order.rows[len(expected) :]
    assert (np.diff(divergence[rest]) <= 0).all()
    assert sorted(order.rows.tolist()) == list(range(len(rows)))


@settings(deadline=None)
@given(some_pool, st.integers(0, 60))
def test_every_budget_is_spent_by_webster_seats_on_the_best_of_each_bin(rows, budget):
    bins, score = zip(*rows, strict=True)
    measured = pool(bins, score)
    result = AnswerDivergence().order(measured, np.ones(len(rows), bool), seed=0).rows[:budget]
    sizes, divergence = np.bincount(bins), AnswerDivergence().scores(measured)["divergence"]
    counts = np.bincount(np.array(bins)[result], minlength=len(sizes))
    np.testing.assert_array_equal(counts, apportion_seats(sizes.astype(float), sizes, budget))
    for own in range(len(sizes)):
        selected = np.isin(np.flatnonzero(np.array(bins) == own), result)
        values = divergence[np.array(bins) == own]
        assert not selected.any() or selected.all() or values[selected].min() >= values[~selected].max()


def test_permuting_rows_permutes_the_order():
    draw = np.random.default_rng(2)
    moved = draw.permutation(30)
    bins, score = draw.integers(0, 4, 30), draw.permutation(30) / 30
    eligible = np.ones(30, bool)
    for params in ({}, {"quota": "release", "released_rows": 12}, {"pick": "middle"}):
        straight = rows(pool(bins, score), eligible, **params)
        assert moved[rows(pool(bins[moved], score[moved]), eligible, **params)].tolist() == straight


def test_no_slider_changes_what_is_measured():
    sliders = {"dispersion_weight", "pick", "bins", "quota", "released_rows"}
    assert {f.name for f in fields(AnswerDivergence)} - set(measure_params(AnswerDivergence())) == sliders
