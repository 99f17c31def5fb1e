"""Composition of subsets, by hand, and of random selections."""

import numpy as np

from core.analysis.composition import LENGTH_EDGES, PoolColumns, draw_random_orders

NAMES = ("art", "code", "qa")
CODES = np.array([2, 1, -1, 2, 0, 2])
POOL = {
    "response_tokens": np.array([0, 1, 7, 8, 100, 9000]),
    "prompt_tokens": np.array([5, 5, 5, 5, 5, 10]),
    "task_codes": CODES,
    "n_tasks": len(NAMES),
}


def count(*rows: int, **more):
    return PoolColumns(**POOL, **more).count(np.array(rows, np.int64))


def test_the_whole_pool_is_counted_once():
    whole = count(0, 1, 2, 3, 4, 5)
    assert (whole.rows, whole.response_tokens, whole.prompt_tokens) == (6, 9116, 35)
    assert dict(zip(NAMES, whole.tasks.tolist(), strict=True)) == {"art": 1, "code": 1, "qa": 3}


def test_a_length_is_in_the_last_bin_that_starts_at_or_below_it():
    lengths = dict(zip(LENGTH_EDGES, count(0, 1, 2, 3, 4, 5).lengths.tolist(), strict=True))
    assert {edge: n for edge, n in lengths.items() if n} == {0: 1, 1: 2, 8: 1, 64: 1, 8192: 1}


def test_every_row_is_in_one_length_bin_however_long():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 20_000, 500)
    counted = PoolColumns(tokens, tokens, np.zeros(500, int), 1).count(np.arange(500))
    by_hand = np.histogram(tokens, bins=[*LENGTH_EDGES, 10**9])[0]
    np.testing.assert_array_equal(counted.lengths, by_hand)


def test_quantiles_are_lengths_that_rows_have():
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, 300, 101)
    rows = rng.permutation(101)[:58]
    counted = PoolColumns(tokens, tokens, np.zeros(101, int), 1).count(rows)
    expected = np.quantile(tokens[rows], [0.05, 0.25, 0.5, 0.75, 0.95], method="lower")
    assert counted.quantiles.tolist() == expected.tolist()


def test_no_rows_have_no_quantiles_and_no_counts():
    nothing = count(marks={"odd": np.ones(6, bool)})
    assert (nothing.rows, nothing.response_tokens, nothing.lengths.sum(), nothing.tasks.sum()) == (0, 0, 0, 0)
    assert np.isnan(nothing.quantiles).all()
    assert nothing.marked == {"odd": 0}


def test_marks_are_counted_among_the_rows():
    marks = {"swapped": np.array([1, 0, 0, 1, 1, 0], bool), "none": np.zeros(6, bool)}
    assert count(0, 1, 3, marks=marks).marked == {"swapped": 2, "none": 0}


def make_pool_columns(n: int = 300):
    rng = np.random.default_rng(2)
    tokens = rng.integers(1, 90, n)
    codes = rng.integers(-1, 4, n)
    columns = PoolColumns(tokens, tokens, codes, 4, {"odd": np.arange(n) % 2 == 1})
    return columns, draw_random_orders(np.arange(n), n)[:20]


def test_the_band_is_the_composition_of_each_random_selection():
    columns, orders = make_pool_columns()
    band = columns.count_random(orders, 45)
    seventh = columns.count(orders[7][:45])
    assert band.rows.tolist() == [45] * 20
    assert band.response_tokens[7] == seventh.response_tokens
    assert band.tasks[7].tolist() == seventh.tasks.tolist()
    assert band.lengths[7].tolist() == seventh.lengths.tolist()
    assert band.marked["odd"][7] == seventh.marked["odd"]
    assert band.tasks.shape == (20, 4)


def test_random_orders_depend_on_the_rows_alone_and_differ():
    rows = np.array([9, 2, 7, 4, 1, 5])
    first, second, *_ = draw_random_orders(rows, len(rows))
    assert sorted(first.tolist()) == sorted(rows.tolist())
    assert first.tolist() != second.tolist()
    assert [one.tolist() for one in draw_random_orders(rows[::-1], len(rows))[:2]] == [first.tolist(), second.tolist()]


def test_at_the_full_size_every_random_selection_is_the_pool():
    columns, orders = make_pool_columns()
    band = columns.count_random(orders, 300)
    whole = columns.count(np.arange(300))
    assert (band.tasks == whole.tasks).all()
    assert (band.response_tokens == whole.response_tokens).all()
