"""Lazy greedy gives the plain greedy order with fewer evaluations; the curve of every prefix is true."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.algorithms import greedy_coverage
from core.algorithms.active_neurons import ActiveNeurons
from core.algorithms.greedy_coverage import (
    CoverageOrder,
    coverage_gains,
    coverage_order,
    growth_steps,
    merged_rows,
    partitioned_order,
    total_coverage,
)
from core.analysis.coverage_curve import PoolCoverage, trace_curve
from core.errors import MethodError
from tests.core.algorithms.test_active_neurons import states_of

GROWTHS = [("sqrt", 1), ("once", 1), ("capped", 2), ("capped", 3.5)]
every_growth = pytest.mark.parametrize(("g", "tau"), GROWTHS)


def coverage_curve(states, rows, at, *, g="sqrt", tau=1):
    return trace_curve(PoolCoverage.of(states, g, tau), rows, np.asarray(at)).shares


def plain_greedy(rows, neurons, g, tau):
    """Run the definition in whole numbers: evaluate every remaining row, every time."""
    step = [int(s * 2**32) for s in growth_steps(g, tau, len(rows))] + [0]
    count, left, order, gains = [0] * neurons, list(range(len(rows))), [], []
    while left:
        gain = {i: sum(step[count[n]] for n in rows[i]) for i in left}
        best = max(left, key=lambda i: (gain[i], -i))
        for n in rows[best]:
            count[n] += 1
        left.remove(best)
        order.append(best)
        gains.append(gain[best] / 2**32)
    return order, gains


def random_rows(rng):
    """Return few rows with few neurons, so that ties, copies, empty and full rows are common."""
    n, neurons = int(rng.integers(1, 13)), int(rng.integers(1, 10))
    share = rng.choice([0.15, 0.5, 0.9])
    return [np.flatnonzero(rng.random(neurons) < share).tolist() for _ in range(n)], neurons


def clustered(n, neurons=400, on=12, clusters=7, seed=0):
    """Return rows of a few kinds with some neurons active in most rows, as models give them."""
    rng = np.random.default_rng(seed)
    common, kinds = rng.normal(0, 1, neurons), rng.normal(0, 1.5, (clusters, neurons))
    value = common + kinds[rng.integers(0, clusters, n)] + rng.normal(0, 1, (n, neurons))
    return ActiveNeurons.from_table(np.sort(np.argsort(-value, axis=1)[:, :on], axis=1).astype(np.uint32), neurons)


def f(states, rows, g, tau):
    """Compute f by the definition, with g itself."""
    counts = np.bincount(states.take(np.asarray(rows, np.int64)).indices, minlength=states.neurons)
    return {"sqrt": np.sqrt(counts), "once": np.minimum(counts, 1), "capped": np.minimum(counts, tau)}[g].sum()


# --- the order


@every_growth
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_plain_greedy_order_in_thousands_of_small_cases(g, tau, seed):
    rng = np.random.default_rng(seed)
    for _ in range(300):
        rows, neurons = random_rows(rng)
        result = coverage_order(states_of(rows, neurons), g=g, tau=tau)
        order, gains = plain_greedy(rows, neurons, g, tau)
        assert result.rows.tolist() == order, rows
        assert result.gains.tolist() == gains


@every_growth
@pytest.mark.parametrize(("asked", "chunk"), [(1, 1), (3, 40), (8, 1 << 17)])
def test_it_is_the_plain_greedy_order_for_any_batch_and_chunk(monkeypatch, g, tau, asked, chunk):
    monkeypatch.setattr(greedy_coverage, "FIRST_BATCH", asked)
    monkeypatch.setattr(greedy_coverage, "CHUNK", chunk)
    states = clustered(150, seed=asked)
    order, _ = plain_greedy([states.row(i).tolist() for i in range(150)], 400, g, tau)
    assert coverage_order(states, g=g, tau=tau).rows.tolist() == order


@given(st.lists(st.sets(st.integers(0, 7)), max_size=12), st.sampled_from(GROWTHS))
def test_any_active_neurons_give_the_plain_greedy_order(rows, growth):
    rows = [sorted(row) for row in rows]
    result = coverage_order(states_of(rows, 8), g=growth[0], tau=growth[1])
    assert result.rows.tolist() == plain_greedy(rows, 8, *growth)[0]


HAND = states_of([[0, 1, 2], [2, 3], [3], [0, 1]], 4)
R = np.sqrt(2) - 1  # gain of a second row with the same neuron


@pytest.mark.parametrize(
    ("g", "tau", "rows", "gains"),
    [
        ("sqrt", 1, [0, 1, 3, 2], [3, R + 1, 2 * R, R]),  # all counts end at 2
        ("once", 1, [0, 1, 2, 3], [3, 1, 0, 0]),
        ("capped", 2, [0, 1, 3, 2], [3, 2, 2, 1]),  # rows 1 and 3 tie at 2
        ("capped", 1.5, [0, 1, 3, 2], [3, 1.5, 1, 0.5]),
    ],
)
def test_an_order_worked_by_hand(g, tau, rows, gains):
    result = coverage_order(HAND, g=g, tau=tau)
    assert result.rows.tolist() == rows
    np.testing.assert_allclose(result.gains, gains, atol=1e-8)
    assert result.total == pytest.approx(sum(gains))
    np.testing.assert_allclose(result.curve, np.cumsum(gains) / sum(gains))


def test_of_equal_rows_the_earlier_comes_first():
    assert coverage_order(states_of([[0], [1, 2], [0, 3], [1, 2]], 4)).rows.tolist() == [1, 2, 3, 0]
    assert coverage_order(states_of([[4], [3], [2]], 5)).rows.tolist() == [0, 1, 2]


def test_equal_sums_are_equal_in_any_order_of_addition():
    """0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1; gains of such parts must not decide a tie."""
    rng = np.random.default_rng(5)
    base = [np.arange(20)] * 3 + [np.arange(0, 20, 2)] * 4 + [np.arange(0, 20, 5)] * 6  # various counts
    for _ in range(50):
        renamed = rng.permutation(20)
        two = [np.sort(renamed[[0, 3, 6, 11]]), np.sort(renamed[[10, 7, 2, 13]])]  # the same counts, other neurons
        rows = [np.sort(renamed[row]).tolist() for row in base] + [t.tolist() for t in two]
        order = coverage_order(states_of(rows, 20)).rows.tolist()
        assert order.index(13) < order.index(14)


@every_growth
def test_no_k_rows_are_better_than_greedy_by_more_than_1_over_1_minus_1_over_e(g, tau):
    rng = np.random.default_rng(8)
    for _ in range(30):
        rows, neurons = random_rows(rng)
        states = states_of(rows, neurons)
        order = coverage_order(states, g=g, tau=tau).rows
        for k in range(1, min(3, len(rows)) + 1):
            best = max(f(states, some, g, tau) for some in combinations(range(len(rows)), k))
            assert f(states, order[:k], g, tau) >= (1 - 1 / np.e) * best - 1e-6


def test_it_makes_the_same_greedy_mistake_as_the_plain_algorithm():
    """Two rows cover all eight neurons, but the row that is best by itself is neither of them."""
    states = states_of([[0, 1, 2, 3], [4, 5, 6, 7], [2, 3, 4, 5, 6]], 8)
    assert coverage_order(states, 2, g="once").rows.tolist() == [2, 0]
    assert coverage_order(states, 2, g="once").gains.tolist() == [5, 2]


# --- laws


@every_growth
def test_gains_never_rise_and_add_up_to_what_the_prefix_covers(g, tau):
    states = clustered(120)
    result = coverage_order(states, g=g, tau=tau)
    assert (np.diff(result.gains) <= 0).all()
    for k in (1, 7, 60, 120):
        assert result.gains[:k].sum() == pytest.approx(f(states, result.rows[:k], g, tau), abs=1e-5)
    assert result.curve[-1] == pytest.approx(1)
    assert sorted(result.rows.tolist()) == list(range(120))


def test_a_shorter_order_is_a_prefix_of_a_longer_one():
    states = clustered(90)
    whole = coverage_order(states)
    for k in (0, 1, 20, 89):
        part = coverage_order(states, k)
        np.testing.assert_array_equal(part.rows, whole.rows[:k])
        np.testing.assert_array_equal(part.gains, whole.gains[:k])
        assert part.total == whole.total


def test_renaming_neurons_changes_nothing():
    states = clustered(100)
    renamed = np.random.default_rng(2).permutation(400).astype(np.uint32)
    other = ActiveNeurons.from_table(np.sort(renamed[states.indices.reshape(100, -1)], axis=1), 400)
    np.testing.assert_array_equal(coverage_order(other).rows, coverage_order(states).rows)


def test_permuting_rows_permutes_the_order():
    rng = np.random.default_rng(4)
    rows = [np.flatnonzero(rng.random(300) < rng.uniform(0.05, 0.3)) for _ in range(40)]
    states, moved = states_of(rows, 300), rng.permutation(40)
    straight, shuffled = coverage_order(states), coverage_order(states.take(moved))
    assert len(np.unique(straight.gains)) == 40  # no ties
    np.testing.assert_array_equal(moved[shuffled.rows], straight.rows)


def test_a_copy_of_a_row_adds_nothing_new_and_so_comes_last():
    states = states_of([[0, 1, 2], [0, 1, 2], [3], [4, 5]], 6)
    assert coverage_order(states, g="once").rows.tolist() == [0, 3, 2, 1]


def test_a_length_above_the_pool_gives_all_rows():
    result = coverage_order(HAND, 99)
    assert result.rows.tolist() == [0, 1, 3, 2]


def test_rows_without_a_neuron_come_last_and_add_nothing():
    result = coverage_order(states_of([[], [0], [], [1, 2], []], 3))
    assert result.rows.tolist() == [3, 1, 0, 2, 4]
    assert result.gains.tolist() == [2, 1, 0, 0, 0]


@pytest.mark.parametrize("neurons", [0, 3])
def test_a_pool_without_active_neurons_has_an_order_and_no_curve(neurons):
    result = coverage_order(states_of([[], [], []], neurons))
    assert result.rows.tolist() == [0, 1, 2]
    assert np.isnan(result.curve).all()
    assert len(coverage_order(states_of([], neurons)).rows) == 0


def test_progress_is_reported_up_to_the_end():
    seen = []
    coverage_order(clustered(200), 150, on_pick=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (150, 150)


# --- steps of g


@every_growth
def test_steps_are_those_of_g_and_never_rise(g, tau):
    step = growth_steps(g, tau, 10_000)
    counts = np.arange(10_001.0)
    heights = {"sqrt": np.sqrt(counts), "once": np.minimum(counts, 1), "capped": np.minimum(counts, tau)}[g]
    np.testing.assert_allclose(np.cumsum(step), heights[1:], rtol=1e-6)
    assert (np.diff(step) <= 0).all()


def test_a_further_row_is_worth_less_even_after_a_million():
    assert (np.diff(growth_steps("sqrt", 1, 1_000_000)) < 0).all()


@pytest.mark.parametrize(("g", "tau", "words"), [("log", 1, "one of sqrt, once, capped"), ("capped", 0, "above 0")])
def test_an_unknown_growth_is_refused(g, tau, words):
    with pytest.raises(MethodError, match=words):
        coverage_order(HAND, g=g, tau=tau)


def test_a_row_too_large_to_count_exactly_is_refused(monkeypatch):
    monkeypatch.setattr(greedy_coverage, "MAX_ACTIVE", 3)
    with pytest.raises(MethodError, match="a row has 3 active neurons, and at most 2"):
        coverage_order(HAND)


# --- curves of other orders


@every_growth
def test_the_curve_of_any_order_is_f_of_its_prefixes(g, tau):
    states = clustered(80)
    order, at = np.random.default_rng(1).permutation(80), [0, 1, 10, 10, 79, 80]
    expected = [f(states, order[:k], g, tau) / f(states, range(80), g, tau) for k in at]
    np.testing.assert_allclose(coverage_curve(states, order, at, g=g, tau=tau), expected, atol=1e-7)


def test_the_curve_of_the_greedy_order_equals_its_own():
    states = clustered(80)
    result = coverage_order(states, 30)
    np.testing.assert_allclose(coverage_curve(states, result.rows, range(1, 31)), result.curve, atol=1e-12)


def test_greedy_covers_more_than_random_rows_do():
    states = clustered(300)
    greedy = coverage_order(states, 30).curve[-1]
    for seed in range(5):
        assert coverage_curve(states, np.random.default_rng(seed).permutation(300), [30])[0] < greedy


# --- partitioned


def test_one_part_is_the_plain_order():
    states = clustered(100)
    result = partitioned_order(states, 40, part_rows=100)
    np.testing.assert_array_equal(result.rows, coverage_order(states, 40).rows)


@every_growth
def test_partition_and_merge_step_by_step(g, tau):
    states = clustered(100)
    forward = []
    for first in range(3):  # ceil(100 / 40) parts, each to ceil(1.5 * 20 / 3) = 10 rows
        rows = list(range(first, 100, 3))
        own = plain_greedy([states.row(i).tolist() for i in rows], 400, g, tau)[0]
        forward += [rows[i] for i in own[:10]]
    forward.sort()
    order, gains = plain_greedy([states.row(i).tolist() for i in forward], 400, g, tau)
    result = partitioned_order(states, 20, part_rows=40, slack=1.5, g=g, tau=tau)
    assert result.rows.tolist() == [forward[i] for i in order[:20]]
    np.testing.assert_allclose(result.gains, gains[:20], atol=1e-6)


def test_partitioning_loses_little_and_its_curve_is_true():
    states = clustered(1200, neurons=600, on=10, clusters=30)
    plain, parts = coverage_order(states, 180), partitioned_order(states, 180, part_rows=400, slack=2)
    random = coverage_curve(states, np.arange(1200), [180])[0]
    assert parts.curve[-1] - random > 0.95 * (plain.curve[-1] - random) > 0.05
    np.testing.assert_allclose(parts.curve, coverage_curve(states, parts.rows, range(1, 181)), atol=1e-9)


@pytest.mark.parametrize("length", [0, 1, 5, 30, 99])
def test_partitioning_gives_as_many_rows_as_requested(length):
    result = partitioned_order(clustered(30), length, part_rows=4)
    assert len(set(result.rows.tolist())) == len(result.rows) == min(30, length)


def test_partitioning_is_deterministic_also_from_a_mapped_file(tmp_path):
    states = clustered(300)
    states.indices.tofile(tmp_path / "on")
    mapped = ActiveNeurons(states.indptr, np.memmap(tmp_path / "on", np.uint32, "r"), states.neurons)
    orders = [partitioned_order(s, 60, part_rows=50).rows for s in (states, states, mapped)]
    np.testing.assert_array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(orders[0], orders[2])


@every_growth
def test_gains_of_some_rows_in_parts_are_those_of_a_pool_of_these_rows(g, tau):
    states, rows = clustered(200), np.arange(20, 200, 2)
    some = {
        "g": g,
        "tau": tau,
        "max_in_one_search": 400,
        "max_merged": 400,
    }  # 33 of 90 rows with 12 active neurons each
    gains = coverage_gains(states, rows, **some)
    alone = coverage_gains(states.take(rows), np.arange(90), **some)
    np.testing.assert_array_equal(gains[rows], alone)
    assert np.isnan(np.delete(gains, rows)).all()
    order = partitioned_order(states.take(rows), 27, merged=22, part_rows=33, g=g, tau=tau)
    assert len(order.rows) == 27 and (np.diff(alone[order.rows]) <= 0).all()
    np.testing.assert_array_equal(alone[order.rows], order.gains)
    rest = np.setdiff1d(np.arange(90), order.rows)
    cover = [f(states, rows[[*order.rows, row]], g, tau) - f(states, rows[order.rows], g, tau) for row in rest]
    np.testing.assert_allclose(alone[rest], np.minimum(cover, order.gains[-1]), atol=1e-6)


def test_rows_beyond_the_merge_follow_by_the_gain_in_their_part():
    states = clustered(120)
    result = partitioned_order(states, 40, merged=10, part_rows=40)
    parts = [np.arange(k, 120, 3) for k in range(3)]
    found = {part[row]: gain for part in parts for row, gain in zip(*_order(states.take(part), 20), strict=True)}
    best = sorted(found, key=lambda row: (-found[row], row))
    merging = np.sort(best[:15])
    first = merging[coverage_order(states.take(merging), 10).rows].tolist()
    assert result.rows.tolist() == [*first, *[row for row in best if row not in first][:30]]
    after = np.array([found[row] for row in result.rows[10:]])
    np.testing.assert_allclose(result.gains[10:], after / after[0] * result.gains[9])


def _order(states, length):
    order = coverage_order(states, length)
    return order.rows, order.gains


def test_as_many_rows_are_merged_as_memory_holds():
    states, rows = clustered(1000), np.arange(1000)  # 12 active neurons each
    assert merged_rows(states, rows, 12_000, 1) == 1000  # all in one search
    assert merged_rows(states, rows, 11_999, 5_400) == 300  # 450 rows merged: 5,400
    assert merged_rows(states, rows, 11_999, 1_800) == 100
    assert merged_rows(states, rows[:10], 1, 1) == 1


def test_the_curve_is_the_share_of_all_covered():
    cover = CoverageOrder(np.array([2, 0]), np.array([3.0, 1.0]), 8.0)
    assert cover.curve.tolist() == [0.375, 0.5]
    assert total_coverage(HAND) == pytest.approx(4 * np.sqrt(2))


# --- rows selected before


@every_growth
def test_after_the_first_rows_of_an_order_the_search_goes_on_as_if_it_had_not_stopped(g, tau):
    states = clustered(120)
    whole = coverage_order(states, g=g, tau=tau)
    for k in (1, 17, 60):
        used, left = whole.rows[:k], np.sort(whole.rows[k:])
        gains = coverage_gains(states, left, used=used, g=g, tau=tau)
        assert left[np.argsort(-gains[left], kind="stable")].tolist() == whole.rows[k:].tolist()
        np.testing.assert_array_equal(gains[whole.rows[k:]], whole.gains[k:])
        assert np.isnan(gains[used]).all()


@every_growth
def test_each_gain_is_what_a_row_adds_to_the_rows_before_it_in_one_search_and_in_parts(g, tau):
    states, used = clustered(200), np.arange(0, 40, 2)
    rows = np.setdiff1d(np.arange(200), used)
    for limits in ({}, {"max_in_one_search": 700, "max_merged": 700}):
        gains = coverage_gains(states, rows, used=used, g=g, tau=tau, **limits)
        order = rows[np.argsort(-gains[rows], kind="stable")][: 30 if limits else 180]
        before = [f(states, [*used, *order[:k]], g, tau) for k in range(len(order) + 1)]
        np.testing.assert_allclose(gains[order], np.diff(before), atol=1e-6)
    some = {"merged": merged_rows(states, rows, 700, 700), "part_rows": 700 // 12, "start": states.counts(used)}
    found = rows[partitioned_order(states.take(rows), 54, **some, g=g, tau=tau).rows]  # 54: 30% of the rows
    rest = np.setdiff1d(rows, found)
    cover = [f(states, [*used, *found, row], g, tau) - f(states, [*used, *found], g, tau) for row in rest]
    np.testing.assert_allclose(gains[rest], np.minimum(cover, gains[found].min()), atol=1e-6)
