"""The map: axes by hand, groups kept together, the sample that is sent, the raster beneath."""

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
    pca_layout,
    sample_by_group,
    umap_layout,
)


def planted(n, groups=4, width=20, seed=0):
    """Rows around the corners of a simplex, and which corner each is at."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, groups, n)
    return (np.eye(groups, width)[truth] * 4 + random.normal(0, 0.3, (n, width))).astype(np.float32), truth


# Axes


def test_axes_by_hand():
    # the mean is (0, 0, 1); unit vectors from it lie at ±x and ±y; twice as many along x, so that is the first axis
    rows = np.float32([[2, 0, 1], [-2, 0, 1], [1, 0, 1], [-1, 0, 1], [0, 3, 1], [0, -3, 1]])
    found = fit_axes(rows, seed=0, width=2)
    assert found.centre == pytest.approx([0, 0, 1])
    assert np.abs(found.directions.T) == pytest.approx(np.float32([[1, 0, 0], [0, 1, 0]]), abs=1e-6)
    assert found.share == pytest.approx([4 / 6, 2 / 6])
    assert np.abs(found.project(rows)) == pytest.approx(np.float32([[1, 0]] * 4 + [[0, 1]] * 2), abs=1e-6)


def test_how_long_a_vector_is_does_not_matter():
    rows, _ = planted(50)
    rows -= rows.mean(axis=0)
    lengths = np.linspace(1, 3, 25).astype(np.float32)[:, None]
    both = np.concatenate([rows, -rows])  # mean 0, also when stretched in pairs
    longer = np.concatenate([rows[:25] * lengths, rows[25:], -rows[:25] * lengths, -rows[25:]])
    assert pca_layout(longer, seed=0) == pytest.approx(pca_layout(both, seed=0), abs=1e-4)


def test_a_row_with_nan_has_no_place_and_moves_no_other():
    rows, _ = planted(30)
    found = fit_axes(rows, seed=0)
    broken = rows.copy()
    broken[3, 5] = np.nan
    placed = found.project(broken)
    assert np.isnan(placed[3]).all()
    assert np.array_equal(np.delete(placed, 3, 0), np.delete(found.project(rows), 3, 0))


def test_axes_of_a_sample_are_nearly_those_of_all(monkeypatch):
    rows, _ = planted(2000)
    whole = fit_axes(rows, seed=0, width=3)
    monkeypatch.setattr(projection, "MAX_AXES_ROWS", 500)
    some = fit_axes(rows, seed=0, width=3)
    overlap = np.linalg.svd(whole.directions.T @ some.directions, compute_uv=False)
    assert overlap.min() > 0.98  # cosine of the angle between the two spaces


@pytest.mark.parametrize("rows", [np.ones((5, 3)), np.ones((1, 4)), np.array([[1.0], [2.0]])])
def test_rows_without_two_directions_still_have_a_place(rows):
    found = pca_layout(rows.astype(np.float32), seed=0)
    assert found.shape == (len(rows), 2) and np.isfinite(found).all()
    assert (found[:, 1] == 0).all()


def test_two_of_one():
    assert first_two_axes(np.float32([[3], [4]])).tolist() == [[3, 0], [4, 0]]


def test_half_precision_as_it_is_stored_gives_the_same_places():
    rows, _ = planted(40)
    stored = rows.astype(np.float16)
    assert np.array_equal(pca_layout(stored, seed=0), pca_layout(stored.astype(np.float32), seed=0))


# UMAP


@pytest.fixture(scope="module")
def laid():
    rows, truth = planted(240)
    told = []
    return rows, truth, umap_layout(rows, seed=1, on_step=lambda *at: told.append(at)), told


def apart(xy, truth):
    """Share of rows whose nearest other row is of their own group."""
    distance = ((xy[:, None] - xy[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    return float((truth[distance.argmin(axis=1)] == truth).mean())


def test_groups_stay_together(laid):
    _, truth, xy, _ = laid
    assert xy.shape == (240, 2) and np.isfinite(xy).all()
    assert apart(xy, truth) == 1


def test_the_same_seed_gives_the_same_map_on_any_number_of_threads(laid):
    rows, _, xy, _ = laid
    with threadpool_limits(2):
        assert np.array_equal(umap_layout(rows, seed=1), xy)
    assert not np.array_equal(umap_layout(rows, seed=2), xy)


def test_progress_grows_from_searched_to_laid_out(laid):
    *_, told = laid
    assert told == sorted(told) and told[0] == (240, 480) and told[-1] == (480, 480)


def test_rows_beyond_the_limit_are_placed_among_their_kind(monkeypatch):
    rows, truth = planted(300)
    monkeypatch.setattr(projection, "MAX_UMAP_ROWS", 200)
    told = []
    xy = umap_layout(rows, seed=0, on_step=lambda *at: told.append(at))
    assert apart(xy, truth) == 1
    assert told[-1] == (600, 600) and told == sorted(told)


def test_a_row_equal_to_one_that_is_laid_out_lies_upon_it(monkeypatch):
    rows, _ = planted(100)
    double = np.concatenate([rows, rows])
    monkeypatch.setattr(projection, "MAX_UMAP_ROWS", 120)
    laid = sample_by_group(np.zeros(200, np.int64), 120, seed=0)
    xy = umap_layout(double, seed=0)
    once = [row for row in range(200) if row not in laid and (row + 100) % 200 in laid]
    assert once and xy[once] == pytest.approx(xy[[(row + 100) % 200 for row in once]], abs=0.1)


def test_many_equal_rows_are_no_fault():
    xy = umap_layout(np.repeat(planted(4)[0], 20, axis=0), seed=0)
    assert xy.shape == (80, 2) and np.isfinite(xy).all()


def test_very_few_rows_lie_as_their_axes_say():
    rows = planted(10)[0]
    assert np.array_equal(umap_layout(rows, seed=0), rows[:, :2])


def test_itself_first_by_hand():
    near = np.array([[0, 1, 2], [5, 1, 0], [4, 3, 5]])
    distance = np.float32([[0, 1, 2], [0, 0, 3], [0, 0, 0]])
    found, apart = projection._put_itself_first(np.array([0, 1, 2]), near, distance)
    assert found.tolist() == [[0, 1, 2], [1, 5, 0], [2, 4, 3]]  # row 2 was not even among its nearest
    assert apart.tolist() == [[0, 1, 2], [0, 0, 3], [0, 0, 0]]


# What is sent


def test_a_sample_has_its_share_of_each_group():
    groups = np.repeat([0, 1, 2], [600, 300, 100])
    rows = sample_by_group(groups, 100, seed=0)
    assert np.bincount(groups[rows]).tolist() == [60, 30, 10]
    assert rows.tolist() == sorted(set(rows.tolist()))


def test_the_sample_is_the_same_every_time_and_another_with_another_seed():
    groups = np.arange(1000) % 7
    assert np.array_equal(sample_by_group(groups, 50, seed=0), sample_by_group(groups, 50, seed=0))
    assert not np.array_equal(sample_by_group(groups, 50, seed=0), sample_by_group(groups, 50, seed=1))


def test_kept_rows_are_always_in_the_sample():
    keep = np.array([999, 3, 500])
    rows = sample_by_group(np.zeros(1000, np.int64), 10, seed=0, include=keep)
    assert set(keep) <= set(rows.tolist()) and len(rows) == 10


def test_few_rows_are_all_sent():
    assert sample_by_group(np.array([2, 0, 1]), 3, seed=0).tolist() == [0, 1, 2]


def test_more_kept_rows_than_may_be_sent_are_cut():
    assert sample_by_group(np.zeros(9, np.int64), 2, seed=0, include=np.arange(5)).tolist() == [0, 1]


def test_a_raster_by_hand():
    xy = np.float32([[0, 0], [0.4, 0.4], [1.5, 0.1], [2, 2], [0, 2], [np.nan, 1], [2.1, 1]])
    # cells of 1 x 1: two rows low left, one low right, one at each upper corner; none for NaN and what is outside
    assert count_in_cells(xy, (0, 2, 0, 2), 2).tolist() == [[2, 1], [1, 1]]


def test_a_frame_holds_every_row_with_a_place():
    xy = np.float32([[0, 5], [10, 5], [np.nan, 99]])
    assert bounding_frame(xy, margin=0.1) == (-1, 11, 4, 6)  # no height of its own: one on either side
    assert bounding_frame(np.full((2, 2), np.nan, np.float32)) == (-1, 1, -1, 1)
    assert count_in_cells(xy, bounding_frame(xy), 8).sum() == 2


def test_axes_say_what_they_are():
    found = fit_axes(planted(60)[0], seed=3)
    assert isinstance(found, PrincipalAxes) and found.share.sum() == pytest.approx(1, abs=1e-5)
    assert (np.diff(found.share) <= 1e-6).all()
