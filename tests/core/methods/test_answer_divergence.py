"""Answer divergence: both quota rules by hand and against the letter of the release; merged bins; excluded rows."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.algorithms.apportionment import apportion_seats
from core.errors import MethodError
from core.methods.answer_divergence import NO_BIN, AnswerDivergence, release_quota
from core.methods.params import measure_params
from core.schema import Measured
from core.selection.selection import apply_pins

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


def released(measured=THREE, eligible=ALL, **params):
    order = AnswerDivergence(quota="release", **params).order(measured, eligible, seed=0)
    assert order.rows[: len(order.fixed)].tolist() == order.fixed.tolist()
    return order.fixed.tolist()


def test_the_release_rule_takes_a_share_of_each_bin():
    """B = 2 of N = 10: ⌊6 / 5⌋ = 1 of bin 0, max(1, ⌊3 / 5⌋) = 1 of bin 1; bin 2 is too small but for the middle."""
    assert released(released_rows=2) == [6, 1]
    assert released(released_rows=2, pick="bottom") == [0, 7]
    # between top and bottom of bin 0 lie 3 5 2 4: of the two around the median, 5 and 2, the higher
    assert released(released_rows=4, pick="middle") == [9, 8, 5, 2]
    assert released(pool([0] * 6, SCORE[:6]), ALL[:6], released_rows=1, pick="middle") == [5]


def test_three_quotas_that_a_bin_cannot_fill_are_scaled():
    """B = 5 of N = 10: ⌊6 · ½⌋ = 3 of bin 0, but 3 · 3 > 6, so ⌊3 · 6 / 9⌋ = 2; ⌊1½⌋ = 1 of bin 1."""
    assert released(released_rows=5) == [6, 1, 3]
    assert released(released_rows=5, pick="bottom") == [0, 4, 7]
    assert released(released_rows=5, pick="middle") == [9, 8, 5, 2]


def test_the_middle_has_what_top_and_bottom_leave_of_a_scaled_bin():
    """Sizes 4 and 5 at B = N: quotas 4 and 5, scaled to ⌊4 / 3⌋ = ⌊5 / 3⌋ = 1; 2 and 3 are left."""
    assert release_quota(4, 1.0) == (1, 2)
    assert release_quota(5, 1.0) == (1, 3)
    assert release_quota(9, 1.0) == (3, 3)
    assert release_quota(9, 1 / 3) == (3, 3)
    assert release_quota(9, 0.45) == (3, 3)  # ⌊4.05⌋ = 4 is scaled back to 3
    assert release_quota(98, 1 / 49) == (1, 1)  # 98 · (1 / 49) is below 2, as the release computes it


def test_the_rest_follows_by_score():
    assert rows(quota="release", released_rows=5) == [6, 1, 3, 9, 8, 7, 5, 2, 4, 0]
    assert rows(quota="release", released_rows=5, pick="bottom") == [0, 4, 7, 2, 5, 3, 1, 8, 6, 9]


def test_of_more_rows_than_the_budget_the_best_are_kept():
    """B = 1: ⌊0.6⌋ and ⌊0.3⌋ become 1 and 1, the cut leaves the better; of the middle too the highest."""
    assert released(released_rows=1) == [6]
    assert released(released_rows=1, pick="bottom") == [0]
    assert released(released_rows=2, pick="middle") == [9, 8]


def test_the_release_of_merged_bins_skips_none_that_is_large_enough():
    """Bins of 6 and 4, B = 5: 3 scaled to 2, and 2 scaled to ⌊2 · 4 / 6⌋ = 1."""
    assert released(released_rows=5, bins=2) == [9, 1, 3]


def test_the_rows_of_the_release_are_counted():
    method = AnswerDivergence(quota="release", released_rows=5)
    order = method.order(THREE, ALL, seed=0)
    assert method.facts(THREE, order, order.rows[:5]) == {"release_rows": 3, "filled_by_score": 2, "release_selects": 3}
    assert method.facts_in_words(method.facts(THREE, order, order.rows[:5])) == [
        "The authors' rule for B = 5 selects 3 rows; 3 of the 5 selected rows are among them. "
        "The other 2 have the next best scores or are always included."
    ]
    assert method.facts(THREE, order, order.rows[:2])["release_rows"] == 2
    pinned = apply_pins(order, np.array([0]), np.array([6]))
    assert method.facts(THREE, pinned, pinned.rows[:3]) == {
        "release_rows": 2,
        "filled_by_score": 1,
        "release_selects": 3,
    }
    webster = AnswerDivergence()
    assert webster.facts(THREE, webster.order(THREE, ALL, seed=0), order.rows) == {}
    assert webster.facts_in_words({}) == []


def test_excluded_rows_do_not_count_towards_bin_sizes():
    """Without rows 1 and 3: bins of 4, 3 and 1. Prices .125 .375 .625 .875 | .167 .5 .833 | .5"""
    some = ALL.copy()
    some[[1, 3]] = False
    order = AnswerDivergence().order(THREE, some, seed=0)
    assert order.rows.tolist() == [5, 6, 2, 8, 9, 4, 7, 0]
    assert order.excluded["filtered out"].tolist() == [1, 3]
    # the release, B = 4 of N = 8: 2 of bin 0, scaled to ⌊2 · 4 / 6⌋ = 1, and 1 of bin 1
    assert released(eligible=some, released_rows=4) == [6, 5]


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
    """Apply the rule row by row, bins as they appear, as a set of row numbers for each end."""
    ratio, ends = budget / len(bins), {"top": [], "middle": [], "bottom": []}
    for own in dict.fromkeys(bins):
        best = sorted((i for i in range(len(bins)) if bins[i] == own), key=lambda i: -score[i])
        if len(best) < 3:
            ends["middle"] += best
            continue
        outer = inner = max(1, int(len(best) * ratio))
        if outer + inner + outer > len(best):
            outer = max(1, int(outer * (len(best) / (3 * outer))))
            inner = max(0, len(best) - outer - outer)
        rest = list(best)
        for _ in range(outer):
            ends["top"].append(rest.pop(0))
        low = [rest.pop() for _ in range(outer)]
        ends["bottom"] += low[::-1]
        while len(rest) > inner:  # the lower side gives way first
            rest.pop()
            if len(rest) > inner:
                rest.pop(0)
        ends["middle"] += rest
    for end, rows in ends.items():
        rows.sort(key=lambda i: score[i] if end == "bottom" else -score[i])
    return {end: rows[:budget] for end, rows in ends.items()}


some_pool = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20).map(lambda s: s / 20)), min_size=1, max_size=60)


@settings(deadline=None)
@given(some_pool, st.integers(1, 70))
def test_the_release_is_followed_to_the_letter(rows, budget):
    bins, score = zip(*rows, strict=True)
    measured, eligible = pool(bins, score), np.ones(len(rows), bool)
    divergence = AnswerDivergence().scores(measured)["divergence"]
    for pick, expected in letter_of_the_release(divergence.tolist(), bins, budget).items():
        method = AnswerDivergence(quota="release", released_rows=budget, pick=pick)
        order = method.order(measured, eligible, seed=0)
        assert order.fixed.tolist() == order.rows[: len(expected)].tolist() == expected
        assert sorted(order.rows.tolist()) == list(range(len(rows)))
        rest = divergence[order.rows[len(expected) :]]
        assert pick == "middle" or (np.diff(rest if pick == "bottom" else -rest) >= 0).all()


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


def test_the_seats_of_a_bin_begin_after_its_used_rows():
    """Rows 0, 2, 4 of bin 0 take its prices .08 .25 .42; then bin 1 .17 .5, bin 2 .5, bin 0 .58 .75 .92, bin 1 .83."""
    used = np.array([0, 2, 4])
    order = AnswerDivergence().order(THREE, ALL, seed=0, used=used).rows.tolist()
    assert [row for row in order if row not in used] == [6, 8, 9, 1, 3, 7, 5]
