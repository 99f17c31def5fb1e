"""Projection: axes by hand, groups preserved by UMAP, the sample for charts and cell counts."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from core.analysis import projection
from core.analysis.projection import (
    PrincipalAxes,
    bounding_frame,
    count_in_cells,
    first_two_axes,
    fit_axes,
    sample_by_group,
    umap_layout,
)


def pca_layout(vectors, *, seed):
    return first_two_axes(fit_axes(vectors, seed=seed, width=2).project(vectors))


def make_groups(n, groups=4, width=20, seed=0):
    """Return rows around the corners of a simplex, and the corner of each."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, groups, n)
    return (np.eye(groups, width)[truth] * 4 + random.normal(0, 0.3, (n, width))).astype(np.float32), truth


# Axes


def test_axes_by_hand():
    # the mean is (0, 0, 1); unit vectors from it are ±x and ±y; twice as many are ±x, so x is the first axis
    rows = np.float32([[2, 0, 1], [-2, 0, 1], [1, 0, 1], [-1, 0, 1], [0, 3, 1], [0, -3, 1]])
    axes = fit_axes(rows, seed=0, width=2)
    assert axes.centre == pytest.approx([0, 0, 1])
    assert np.abs(axes.directions.T) == pytest.approx(np.float32([[1, 0, 0], [0, 1, 0]]), abs=1e-6)
    assert axes.share == pytest.approx([4 / 6, 2 / 6])
    assert np.abs(axes.project(rows)) == pytest.approx(np.float32([[1, 0]] * 4 + [[0, 1]] * 2), abs=1e-6)


def test_the_length_of_a_vector_does_not_matter():
    rows, _ = make_groups(50)
    rows -= rows.mean(axis=0)
    lengths = np.linspace(1, 3, 25).astype(np.float32)[:, None]
    both = np.concatenate([rows, -rows])  # its mean is 0, also when pairs are stretched
    longer = np.concatenate([rows[:25] * lengths, rows[25:], -rows[:25] * lengths, -rows[25:]])
    assert pca_layout(longer, seed=0) == pytest.approx(pca_layout(both, seed=0), abs=1e-4)


def test_a_row_with_nan_has_no_coordinates_and_affects_no_other():
    rows, _ = make_groups(30)
    axes = fit_axes(rows, seed=0)
    broken = rows.copy()
    broken[3, 5] = np.nan
    placed = axes.project(broken)
    assert np.isnan(placed[3]).all()
    assert np.array_equal(np.delete(placed, 3, 0), np.delete(axes.project(rows), 3, 0))


def test_axes_of_a_sample_are_nearly_those_of_all(monkeypatch):
    rows, _ = make_groups(2000)
    whole = fit_axes(rows, seed=0, width=3)
    monkeypatch.setattr(projection, "MAX_AXES_ROWS", 500)
    some = fit_axes(rows, seed=0, width=3)
    overlap = np.linalg.svd(whole.directions.T @ some.directions, compute_uv=False)
    assert overlap.min() > 0.98  # cosine of the angle between the two spaces


@pytest.mark.parametrize("rows", [np.ones((5, 3)), np.ones((1, 4)), np.array([[1.0], [2.0]])])
def test_rows_with_fewer_than_two_dimensions_still_have_coordinates(rows):
    xy = pca_layout(rows.astype(np.float32), seed=0)
    assert xy.shape == (len(rows), 2) and np.isfinite(xy).all()
    assert (xy[:, 1] == 0).all()


def test_a_missing_second_axis_is_zero():
    assert first_two_axes(np.float32([[3], [4]])).tolist() == [[3, 0], [4, 0]]


def test_stored_half_precision_gives_the_same_coordinates():
    rows, _ = make_groups(40)
    stored = rows.astype(np.float16)
    assert np.array_equal(pca_layout(stored, seed=0), pca_layout(stored.astype(np.float32), seed=0))


# UMAP


@pytest.fixture(scope="module")
def laid():
    rows, truth = make_groups(240)
    reports = []
    return rows, truth, umap_layout(rows, seed=1, on_step=lambda *at: reports.append(at)), reports


def neighbour_purity(xy, truth):
    """Return the share of rows whose nearest other row is in their group."""
    distance = ((xy[:, None] - xy[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    return float((truth[distance.argmin(axis=1)] == truth).mean())


def test_groups_stay_together(laid):
    _, truth, xy, _ = laid
    assert xy.shape == (240, 2) and np.isfinite(xy).all()
    assert neighbour_purity(xy, truth) == 1


def test_the_same_seed_gives_the_same_map_on_any_number_of_threads(laid):
    rows, _, xy, _ = laid
    with threadpool_limits(2):
        assert np.array_equal(umap_layout(rows, seed=1), xy)
    assert not np.array_equal(umap_layout(rows, seed=2), xy)


def test_progress_grows_from_search_to_layout(laid):
    *_, reports = laid
    assert reports == sorted(reports) and reports[0] == (240, 480) and reports[-1] == (480, 480)


def test_rows_beyond_the_limit_are_placed_in_their_group(monkeypatch):
    rows, truth = make_groups(300)
    monkeypatch.setattr(projection, "MAX_UMAP_ROWS", 200)
    reports = []
    xy = umap_layout(rows, seed=0, on_step=lambda *at: reports.append(at))
    assert neighbour_purity(xy, truth) == 1
    assert reports[-1] == (600, 600) and reports == sorted(reports)


def test_a_row_equal_to_a_sampled_row_is_placed_on_it(monkeypatch):
    rows, _ = make_groups(100)
    double = np.concatenate([rows, rows])
    monkeypatch.setattr(projection, "MAX_UMAP_ROWS", 120)
    laid = sample_by_group(np.zeros(200, np.int64), 120, seed=0)
    xy = umap_layout(double, seed=0)
    once = [row for row in range(200) if row not in laid and (row + 100) % 200 in laid]
    assert once and xy[once] == pytest.approx(xy[[(row + 100) % 200 for row in once]], abs=0.1)


def test_many_equal_rows_do_not_fail():
    xy = umap_layout(np.repeat(make_groups(4)[0], 20, axis=0), seed=0)
    assert xy.shape == (80, 2) and np.isfinite(xy).all()


def test_very_few_rows_are_laid_out_by_their_first_two_axes():
    rows = make_groups(10)[0]
    assert np.array_equal(umap_layout(rows, seed=0), rows[:, :2])


def test_each_row_is_moved_to_the_front_of_its_neighbours():
    near = np.array([[0, 1, 2], [5, 1, 0], [4, 3, 5]])
    distance = np.float32([[0, 1, 2], [0, 0, 3], [0, 0, 0]])
    neighbours, distances = projection._put_itself_first(np.array([0, 1, 2]), near, distance)
    assert neighbours.tolist() == [[0, 1, 2], [1, 5, 0], [2, 4, 3]]  # row 2 was not among its own neighbours
    assert distances.tolist() == [[0, 1, 2], [0, 0, 3], [0, 0, 0]]


# Sample and cell counts for charts


def test_a_sample_has_its_share_of_each_group():
    groups = np.repeat([0, 1, 2], [600, 300, 100])
    rows = sample_by_group(groups, 100, seed=0)
    assert np.bincount(groups[rows]).tolist() == [60, 30, 10]
    assert rows.tolist() == sorted(set(rows.tolist()))


def test_the_sample_is_the_same_every_time_and_another_with_another_seed():
    groups = np.arange(1000) % 7
    assert np.array_equal(sample_by_group(groups, 50, seed=0), sample_by_group(groups, 50, seed=0))
    assert not np.array_equal(sample_by_group(groups, 50, seed=0), sample_by_group(groups, 50, seed=1))


def test_included_rows_are_always_in_the_sample():
    included = np.array([999, 3, 500])
    rows = sample_by_group(np.zeros(1000, np.int64), 10, seed=0, include=included)
    assert set(included) <= set(rows.tolist()) and len(rows) == 10


def test_a_small_pool_is_its_own_sample():
    assert sample_by_group(np.array([2, 0, 1]), 3, seed=0).tolist() == [0, 1, 2]


def test_included_rows_are_cut_at_the_limit():
    assert sample_by_group(np.zeros(9, np.int64), 2, seed=0, include=np.arange(5)).tolist() == [0, 1]


def test_cell_counts_by_hand():
    xy = np.float32([[0, 0], [0.4, 0.4], [1.5, 0.1], [2, 2], [0, 2], [np.nan, 1], [2.1, 1]])
    # cells of 1 x 1: two rows low left, one low right, one at each upper corner; NaN and points outside do not count
    assert count_in_cells(xy, (0, 2, 0, 2), 2).tolist() == [[2, 1], [1, 1]]


def test_a_frame_is_a_square_around_every_finite_point():
    xy = np.float32([[0, 5], [10, 5], [np.nan, 99]])
    assert bounding_frame(xy, margin=0.1) == (-1, 11, -1, 11)  # as high as it is wide
    assert bounding_frame(xy[:1]) == (-1, 1, 4, 6)  # one point: 1 on each side
    assert bounding_frame(np.full((2, 2), np.nan, np.float32)) == (-1, 1, -1, 1)
    assert count_in_cells(xy, bounding_frame(xy), 8).sum() == 2


def test_shares_of_variance_add_up_and_descend():
    axes = fit_axes(make_groups(60)[0], seed=3)
    assert isinstance(axes, PrincipalAxes) and axes.share.sum() == pytest.approx(1, abs=1e-5)
    assert (np.diff(axes.share) <= 1e-6).all()
