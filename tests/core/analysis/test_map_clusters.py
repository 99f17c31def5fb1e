import numpy as np
import pytest

from core.analysis import map_clusters
from core.analysis.map_clusters import densest_places, density_clusters, number_by_size

CENTRES = np.float32([[0, 0], [10, 0], [0, 10]])
SIZES = (60, 200, 120)


@pytest.fixture
def groups():
    """Return positions in three dense groups, and the group of each."""
    group = np.repeat(np.arange(3), SIZES)
    noise = np.random.default_rng(0).normal(0, 0.3, (len(group), 2))
    return (CENTRES[group] + noise).astype(np.float32), group


def test_dense_groups_are_clusters_numbered_by_size(groups):
    xy, group = groups
    codes = density_clusters(xy, seed=0)
    for number, source in enumerate((1, 2, 0)):
        inside = codes[group == source]
        assert np.bincount(inside[inside >= 0]).argmax() == number and (inside == number).mean() > 0.9


def test_rows_without_a_position_and_rows_far_away_are_in_no_cluster(groups):
    xy, _ = groups
    more = np.vstack([xy, np.float32([[np.nan, 1], [60, 60]])])
    codes = density_clusters(more, seed=0)
    assert codes[-2:].tolist() == [-1, -1] and (codes[:-2] == density_clusters(xy, seed=0)).mean() > 0.95


def test_rows_outside_the_sample_have_the_cluster_of_their_neighbours(groups, monkeypatch):
    xy, group = groups
    monkeypatch.setattr(map_clusters, "MAX_SAMPLE", 150)
    codes = density_clusters(xy, seed=3)
    assert (codes == density_clusters(xy, seed=3)).all()
    for source in range(3):
        inside = codes[group == source]
        assert (inside == np.bincount(inside[inside >= 0]).argmax()).mean() > 0.85


def test_few_rows_have_no_cluster():
    assert density_clusters(np.zeros((19, 2), np.float32), seed=0).tolist() == [-1] * 19


def test_equal_positions_are_one_place():
    codes = density_clusters(np.ones((50, 2), np.float32), seed=0)
    assert len(np.unique(codes)) == 1


def test_numbers_follow_size():
    assert number_by_size(np.array([2, 2, 2, 0, -1, 1, 1])).tolist() == [0, 0, 0, 2, -1, 1, 1]
    assert number_by_size(np.array([-1, -1])).tolist() == [-1, -1]


def test_the_densest_place_lies_among_the_rows_of_a_ring():
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    xy = np.vstack([ring, np.full((50, 2), [0.0, 1.0]), [[np.nan, 0.0]]])
    ((x, y), none) = densest_places(xy, np.append(np.zeros(450, int), 0), [0, 1])
    assert x == pytest.approx(0, abs=0.1) and y == pytest.approx(1, abs=0.05)
    assert np.isnan(none).all()
