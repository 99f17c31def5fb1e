"""Aggregates that charts are sent, on arrays small enough to count by eye."""

import numpy as np
import pytest

from pages.ui.data import bins

NAN = np.nan


def test_every_finite_value_is_in_exactly_one_bin():
    values = np.random.default_rng(0).standard_t(2, 5_000)  # heavy tails extend beyond the frame
    values[::7] = NAN
    counts = bins.bin_values(values).counts()
    assert counts.sum() == np.isfinite(values).sum()


def test_bins_of_parts_add_up_to_the_bins_of_all():
    values = np.random.default_rng(1).normal(size=900)
    binned = bins.bin_values(values)
    some = np.arange(0, 900, 3)
    rest = np.setdiff1d(np.arange(900), some)
    np.testing.assert_array_equal(binned.counts(some) + binned.counts(rest), binned.counts())


def test_every_row_with_a_value_has_a_bin():
    binned = bins.bin_values(np.array([0.0, 1.0, 2.0, 3.0, NAN, 3.0]), bins=3)
    assert binned.place.tolist() == [0, 1, 2, 2, -1, 2]


def test_missing_values_are_in_no_bin():
    assert bins.bin_values(np.array([NAN, NAN])).counts().tolist() == [0]


def test_a_constant_column_has_one_bin_around_its_value():
    binned = bins.bin_values(np.full(5, 3.0))
    assert binned.edges.tolist() == [2.5, 3.5]
    assert binned.counts().tolist() == [5]


def test_lengths_get_bins_of_equal_ratio():
    edges = bins.bin_values(np.arange(1, 1_000), bins=10, log=True).edges
    np.testing.assert_allclose(edges[1:] / edges[:-1], edges[1] / edges[0])


def test_a_saturated_score_still_shows_its_other_values():
    values = np.zeros(1_000)
    values[0] = 5.0  # 0.1 %: inside the tail that the frame cuts off
    counts = bins.bin_values(values, bins=5).counts()
    assert (counts[0], counts[-1]) == (999, 1)


def test_quantiles_ignore_missing_values():
    assert bins.quantiles(np.array([1.0, NAN, 3.0]), (0.5,)) == {0.5: 2.0}
    assert bins.quantiles(np.array([NAN])) == {}


def test_a_density_leaves_out_the_few_rows_outside_its_frame():
    x, y = np.random.default_rng(2).standard_t(2, (2, 4_000))
    x[:10] = NAN
    density = bins.count_grid(x, y)
    assert 0 < 3_990 - density.counts.sum() < 200  # outside the frame


def test_a_density_has_y_down_its_first_axis():
    x, y = np.zeros(50), np.linspace(0, 1, 50)
    y[:] = np.where(np.arange(50) < 40, 0.0, 1.0)
    counts = bins.count_grid(x, y, cells=2).counts
    assert counts.sum(axis=1).tolist() == [40, 10]


def test_a_sample_is_reproducible_and_has_each_row_once():
    rows = np.arange(500, 1_500)
    first = bins.sample_rows(rows, 50)
    np.testing.assert_array_equal(first, bins.sample_rows(rows, 50))
    assert len(set(first.tolist())) == 50
    assert set(first.tolist()) <= set(rows.tolist())


def test_a_small_pool_is_its_own_sample():
    assert bins.sample_rows(np.array([3, 1, 2]), 10).tolist() == [1, 2, 3]


SQUARE = ([0.0, 2.0, 2.0, 0.0], [0.0, 0.0, 2.0, 2.0])


def test_a_lasso_contains_the_points_inside_it():
    x, y = np.array([1.0, 3.0, 1.0, NAN]), np.array([1.0, 1.0, 3.0, 1.0])
    assert bins.rows_in_lasso(x, y, *SQUARE).tolist() == [0]


def test_a_lasso_excludes_its_own_notch():
    xs, ys = [0.0, 4.0, 4.0, 2.0, 0.0], [0.0, 0.0, 4.0, 1.0, 4.0]  # a V cut in from above
    x, y = np.array([2.0, 2.0, 0.5]), np.array([0.5, 3.0, 2.0])
    assert bins.rows_in_lasso(x, y, xs, ys).tolist() == [0, 2]


def test_a_lasso_agrees_with_a_box_of_the_same_corners():
    x, y = np.random.default_rng(3).uniform(-1, 3, (2, 2_000))
    lasso = bins.rows_in_lasso(x, y, *SQUARE)
    np.testing.assert_array_equal(lasso, bins.rows_in_box(x, y, [0, 2], [2, 0]))


def test_two_corners_enclose_nothing():
    assert not len(bins.rows_in_lasso(np.zeros(3), np.zeros(3), [0, 1], [0, 1]))


def test_folding_keeps_the_sum_and_names_the_rest():
    assert bins.fold(np.array([5, 4, 3, 2]), 3).tolist() == [5, 4, 5]
    assert bins.fold(np.array([[5, 4, 3, 2], [1, 1, 1, 1]]), 3).tolist() == [[5, 4, 5], [1, 1, 2]]
    assert bins.fold_names(["a", "b", "c", "d"], 3) == ["a", "b", "2 more"]


@pytest.mark.parametrize("limit", [4, 9])
def test_short_axes_are_not_folded(limit):
    assert bins.fold(np.array([5, 4, 3, 2]), limit).tolist() == [5, 4, 3, 2]
    assert bins.fold_names(["a", "b", "c", "d"], limit) == ["a", "b", "c", "d"]


def test_rows_are_sorted_by_a_column():
    assert bins.sort_by_value(np.array([0, 2, 3]), np.array([5.0, 0.0, 1.0, 3.0])).tolist() == [2, 3, 0]


def test_quantiles_of_a_group_are_rows_of_that_group():
    codes, values = np.array([0, 2, 0, 0, 2]), np.array([3.0, 7.0, 1.0, 2.0, 9.0])
    result = bins.group_quantiles(codes, values, 3, (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(result, [[1, NAN, 7], [2, NAN, 7], [3, NAN, 9]])


def test_quantiles_of_a_group_are_independent_of_other_groups():
    rng = np.random.default_rng(4)
    codes, values = rng.integers(0, 5, 500), rng.normal(size=500)
    result = bins.group_quantiles(codes, values, 5, (0.25, 0.75))
    alone = [np.quantile(values[codes == g], [0.25, 0.75], method="lower") for g in range(5)]
    np.testing.assert_array_equal(result.T, alone)


def test_the_logarithm_of_no_tokens_is_nan():
    assert bins.log10(np.array([1, 1000])).tolist() == pytest.approx([0, 3])
    assert np.isnan(bins.log10(np.array([0]))[0])
