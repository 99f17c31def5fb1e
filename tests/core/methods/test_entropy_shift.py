"""Entropy shift on arrays worked out by hand."""

import numpy as np
import pytest

from core.algorithms.apportionment import apportion_seats
from core.errors import MethodError
from core.methods.entropy_shift import EntropyShift, calibration_rows, next_calibration_rows, rows_in_nll_band
from core.schema import Measured
from core.selection.budget import Budget
from core.selection.selection import select_prefix

NAN = np.nan


def shifted(delta_nll, delta_entropy, response_tokens=None) -> Measured:
    """Return a pool with these shifts: the base model at 1 and 4, exact in float32."""
    n = len(delta_nll)
    return Measured(
        "hand",
        {
            "response_tokens": np.asarray(response_tokens if response_tokens is not None else [5] * n),
            "nll": np.ones(n, np.float32),
            "entropy": np.full(n, 4, np.float32),
            "nll_cal": np.float32(delta_nll) + 1,
            "entropy_cal": 4 - np.float32(delta_entropy),
        },
    )


def everything(measured: Measured) -> np.ndarray:
    return np.ones(len(measured), bool)


def rows_of(method: EntropyShift, measured: Measured, eligible=None) -> list[int]:
    eligible = everything(measured) if eligible is None else np.array(eligible)
    return method.order(measured, eligible, seed=0).rows.tolist()


# ΔNLL  row 4 is the lowest, row 7 the highest; ΔH is lowest in both of them
TEN_NLL = [-0.5, 0.0, 0.25, -0.25, -3.0, 0.5, 1.0, 9.0, 0.75, -1.0]
TEN_ENTROPY = [0.5, -0.5, 2.0, 1.0, -9.0, 0.0, -1.0, -8.0, 3.0, -2.0]


def test_shifts_are_signed_as_in_the_paper():
    measured = Measured(
        "one",
        {
            "response_tokens": np.array([5]),
            "nll": np.float32([2.0]),
            "nll_cal": np.float32([1.5]),
            "entropy": np.float32([3.0]),
            "entropy_cal": np.float32([1.0]),
        },
    )
    scores = EntropyShift().scores(measured)
    assert scores["delta_nll"].tolist() == [-0.5]  # learnt: the loss fell
    assert scores["delta_entropy"].tolist() == [2.0]  # compression: more certain than before
    assert scores["delta_nll"].dtype == scores["delta_entropy"].dtype == np.float32


def test_of_ten_rows_one_is_excluded_at_each_end_and_the_lowest_shift_comes_first():
    measured = shifted(TEN_NLL, TEN_ENTROPY)
    order = EntropyShift(gamma=0.1).order(measured, everything(measured), seed=0)
    assert order.rows.tolist() == [9, 6, 1, 5, 0, 3, 2, 8]
    assert {reason: rows.tolist() for reason, rows in order.excluded.items()} == {"outside the ΔNLL band": [4, 7]}


def test_without_the_filter_the_outliers_lead():
    assert rows_of(EntropyShift(gamma=0.0), shifted(TEN_NLL, TEN_ENTROPY))[:2] == [4, 7]


def test_the_sign_of_delta_nll_does_not_matter():
    turned = shifted([-x for x in TEN_NLL], TEN_ENTROPY)  # as the released code stores it
    assert rows_of(EntropyShift(), turned) == rows_of(EntropyShift(), shifted(TEN_NLL, TEN_ENTROPY))


def test_the_number_excluded_is_rounded_down():
    delta = np.arange(19, dtype=np.float32)
    rows = np.arange(19)
    assert rows_in_nll_band(delta, rows, 0.1).tolist() == list(range(1, 18))  # 1.9 -> 1
    assert rows_in_nll_band(delta[:9], rows[:9], 0.1).tolist() == list(range(9))  # 0.9 -> 0
    assert rows_in_nll_band(delta, rows, 0.45).tolist() == list(range(8, 11))  # 8.55 -> 8


def test_ties_at_the_band_count_the_earlier_row_as_the_lower_one():
    delta = np.float32([1, 0, 0, 1, 0, 1])
    assert rows_in_nll_band(delta, np.arange(6), 0.2).tolist() == [0, 2, 3, 4]  # row 1 leaves below, row 5 above


def test_ties_in_the_ranking_go_to_the_earlier_row():
    measured = shifted([0] * 5, [1, 0, 1, 0, 1])
    assert rows_of(EntropyShift(gamma=0), measured) == [1, 3, 0, 2, 4]
    assert rows_of(EntropyShift(gamma=0, pick="highest"), measured) == [0, 2, 4, 1, 3]


def test_a_thousand_ties_keep_the_order_of_the_pool():
    values = np.arange(1000) % 2  # long enough for a sort that is not stable to show it
    evens_then_odds = [*range(0, 1000, 2), *range(1, 1000, 2)]
    assert rows_of(EntropyShift(gamma=0), shifted(np.zeros(1000), values)) == evens_then_odds
    assert rows_of(EntropyShift(gamma=0, pick="highest"), shifted(np.zeros(1000), 1 - values)) == evens_then_odds
    band = rows_in_nll_band(values.astype(np.float32), np.arange(1000), 0.1)
    assert band.tolist() == sorted(evens_then_odds[100:900])


def test_highest_starts_at_the_other_end_of_the_same_band():
    assert rows_of(EntropyShift(pick="highest"), shifted(TEN_NLL, TEN_ENTROPY)) == [8, 2, 3, 0, 5, 1, 6, 9]


def test_middle_grows_outwards_from_the_median_lower_side_first():
    odd = shifted([0] * 5, [4, 0, 3, 1, 2])  # ascending: 1 3 4 2 0
    assert rows_of(EntropyShift(gamma=0, pick="middle"), odd) == [4, 3, 2, 1, 0]
    even = shifted([0] * 4, [3, 0, 2, 1])  # ascending: 1 3 2 0; the median is between 3 and 2
    assert rows_of(EntropyShift(gamma=0, pick="middle"), even) == [3, 2, 1, 0]


def test_the_band_is_computed_over_eligible_rows():
    eligible = np.ones(10, bool)
    eligible[[4, 7]] = False  # the two outliers are filtered: the band now excludes none of the eight, int(0.8) = 0
    assert rows_of(EntropyShift(gamma=0.1), shifted(TEN_NLL, TEN_ENTROPY), eligible) == [9, 6, 1, 5, 0, 3, 2, 8]
    assert rows_of(EntropyShift(gamma=0.125), shifted(TEN_NLL, TEN_ENTROPY), eligible) == [1, 5, 0, 3, 2, 8]  # -9, -6


def test_rows_without_a_value_are_neither_counted_nor_ordered():
    nll = [*TEN_NLL, NAN, 50.0, 60.0]
    entropy = [*TEN_ENTROPY, -50.0, NAN, -60.0]
    measured = shifted(nll, entropy, [5] * 12 + [0])
    order = EntropyShift(gamma=0.1).order(measured, everything(measured), seed=0)
    assert order.rows.tolist() == [9, 6, 1, 5, 0, 3, 2, 8]  # n is ten: the band is that of the ten
    assert {reason: rows.tolist() for reason, rows in order.excluded.items()} == {
        "not measured": [10, 11],
        "no response": [12],
        "outside the ΔNLL band": [4, 7],
    }


def test_an_infinite_loss_counts_as_missing():
    measured = shifted([*TEN_NLL, np.inf], [*TEN_ENTROPY, -99.0])
    assert 10 not in rows_of(EntropyShift(gamma=0), measured)
    assert not EntropyShift(gamma=0).scores(measured)["in_nll_band"][10]


def test_the_band_column_marks_rows_inside_it_and_none_without_a_value():
    measured = shifted([*TEN_NLL, NAN], [*TEN_ENTROPY, 0.0])
    in_band = EntropyShift().scores(measured)["in_nll_band"]
    assert in_band.dtype == bool
    assert np.flatnonzero(~in_band).tolist() == [4, 7, 10]


def test_the_preferred_end_follows_pick():
    prefers = [EntropyShift(pick=pick).prefer for pick in ("lowest", "middle", "highest")]
    assert prefers == ["low", "middle", "high"]
    assert EntropyShift().ranks_by == "delta_entropy"


def test_the_warm_up_is_a_seeded_share_of_the_candidates():
    candidates = np.arange(0, 2000, 2)
    rows = calibration_rows(candidates, 0.1, seed=3)
    assert len(rows) == 100
    assert (np.diff(rows) > 0).all()
    assert np.isin(rows, candidates).all()
    np.testing.assert_array_equal(rows, calibration_rows(candidates, 0.1, seed=3))
    assert rows.tolist() != calibration_rows(candidates, 0.1, seed=4).tolist()


def test_a_larger_warm_up_contains_the_smaller_one():
    candidates = np.arange(500)
    small, large = (set(calibration_rows(candidates, alpha, seed=0).tolist()) for alpha in (0.1, 0.3))
    assert small < large


def test_the_warm_up_is_never_empty_and_all_of_it_at_one():
    assert len(calibration_rows(np.arange(5), 0.1, seed=0)) == 1
    assert calibration_rows(np.arange(5), 1.0, seed=0).tolist() == [0, 1, 2, 3, 4]


def test_a_pool_without_responses_cannot_be_calibrated_on():
    with pytest.raises(MethodError, match="No row of this pool has a response"):
        calibration_rows(np.arange(0), 0.1, seed=0)


def test_a_further_round_trains_on_the_head_of_the_order():
    measured = shifted(TEN_NLL, TEN_ENTROPY)
    assert next_calibration_rows(measured, 0.3).tolist() == [1, 6, 9]  # the first three, ascending
    assert next_calibration_rows(measured, 0.01).tolist() == [9]
    assert next_calibration_rows(measured, 1.0).tolist() == [0, 1, 2, 3, 5, 6, 8, 9]


def test_no_round_can_follow_one_without_scores():
    with pytest.raises(MethodError, match="No row was scored"):
        next_calibration_rows(shifted([NAN, NAN], [NAN, NAN]), 0.5)


# Per group

SIZES = (60, 30, 10)
PER = {"per": "task"}


def grouped(seed: int = 0, without: int = 0) -> Measured:
    """Return rows of three groups in mixed order, the last `without` of them in none, with distinct shifts."""
    rng = np.random.default_rng(seed)
    n = sum(SIZES) + without
    measured = shifted(rng.normal(0, 1, n), rng.normal(0, 1, n), rng.integers(5, 50, n))
    group = np.append(rng.permutation(np.repeat([0, 1, 2], SIZES)), np.full(without, -1))
    return Measured("hand", dict(measured.columns) | {"shift_group": group}, {"shift_groups": ("math", "code", "chat")})


def alone(measured: Measured, group: int) -> np.ndarray:
    """Return the order of one group's rows in a pool of no others, as rows of the whole pool."""
    rows = np.flatnonzero(measured.columns["shift_group"] == group)
    pool = Measured("alone", {name: values[rows] for name, values in measured.columns.items()})
    return rows[EntropyShift().order(pool, everything(pool), seed=0).rows]


@pytest.mark.parametrize(("weights", "shares"), [("", SIZES), ("equal", (1, 1, 1)), ("code:3,chat:0.5", (1, 3, 0.5))])
def test_each_budget_holds_webster_seats_of_each_groups_own_order(weights, shares):
    measured = grouped()
    orders = [alone(measured, group) for group in range(3)]
    rows = np.array(rows_of(EntropyShift(**PER, group_weights=weights), measured))
    caps = [len(order) for order in orders]
    assert caps == [48, 24, 8]  # the band excludes a tenth of each group at each end
    for budget in range(sum(caps) + 1):
        seats = apportion_seats(np.array(shares, float), caps, budget)
        prefix = rows[:budget]
        for group, order in enumerate(orders):
            own = prefix[measured.columns["shift_group"][prefix] == group]
            assert own.tolist() == order[: seats[group]].tolist()


def test_budgets_in_tokens_are_prefixes_of_the_same_order():
    measured = grouped()
    order = EntropyShift(**PER).order(measured, everything(measured), seed=0)
    tokens = measured.columns["response_tokens"]
    for amount in (0, 100, 333, 1000):
        chosen = select_prefix(order, Budget(amount, "tokens"), response_tokens=tokens, pool_id="hand")
        assert chosen.rows.tolist() == order.rows[: len(chosen.rows)].tolist()
        assert chosen.tokens <= amount


def test_one_group_of_all_rows_orders_as_without_groups():
    measured = grouped()
    one = dict(measured.columns) | {"shift_group": np.zeros(len(measured), int)}
    whole = Measured("hand", one, {"shift_groups": ("all",)})
    for settings in ({}, {"pick": "highest"}, {"pick": "middle"}, {"gamma": 0.3}):
        a, b = (EntropyShift(**settings, **per) for per in ({}, PER))
        assert rows_of(a, whole) == rows_of(b, whole)
        assert a.scores(whole)["in_nll_band"].tolist() == b.scores(whole)["in_nll_band"].tolist()


def test_a_row_in_no_group_is_excluded_for_that_reason():
    measured = grouped(without=3)
    eligible = everything(measured)
    eligible[-1] = False
    order = EntropyShift(**PER).order(measured, eligible, seed=0)
    assert order.excluded["no group"].tolist() == [100, 101]
    assert order.excluded["filtered out"].tolist() == [102]
    assert not EntropyShift(**PER).scores(measured)["in_nll_band"][100:].any()


def test_a_filter_changes_the_shares_by_size_but_not_chosen_ones():
    measured = grouped()
    group = measured.columns["shift_group"]
    eligible = group != 0
    eligible[np.flatnonzero(group == 0)[:10]] = True  # 10, 30 and 10 rows are left
    by_size, equal = (rows_of(EntropyShift(**PER, gamma=0, group_weights=w), measured, eligible) for w in ("", "equal"))
    assert np.bincount(group[by_size[:25]]).tolist() == [5, 15, 5]
    assert np.bincount(group[equal[:15]]).tolist() == [5, 5, 5]


def test_groups_rank_by_a_rank_of_their_own():
    method = EntropyShift(**PER, pick="highest")
    assert (method.ranks_by, method.prefer) == ("entropy_shift.rank", "low")
    assert method.needs == ("tokens", "base", "calibrated", "shift_groups")
    assert EntropyShift().needs == ("tokens", "base", "calibrated")


def test_weights_of_groups_need_groups():
    with pytest.raises(MethodError, match="group_weights needs per, the field that makes the groups"):
        EntropyShift(group_weights="math:2")
    EntropyShift(group_weights="math:2", per="task")


def test_the_seats_of_a_group_begin_after_its_used_rows():
    measured = grouped()
    group, caps = measured.columns["shift_group"], [48, 24, 8]
    used = np.flatnonzero(group == 0)[:40]
    order = EntropyShift(**PER).order(measured, everything(measured), seed=0, used=used)
    left = order.rows[~np.isin(order.rows, used)]
    own = [[row for row in alone(measured, k).tolist() if row not in used] for k in range(3)]
    for budget in (40, 50, 75):
        seats = apportion_seats(np.array(SIZES, float), [40 + len(own[0]), *caps[1:]], budget)
        new = left[: seats.sum() - min(40, seats[0])]
        if seats[0] >= 40:
            assert [new[group[new] == k].tolist() for k in range(3)] == [
                own[0][: seats[0] - 40],
                own[1][: seats[1]],
                own[2][: seats[2]],
            ]
        else:
            assert not (group[new] == 0).any()
