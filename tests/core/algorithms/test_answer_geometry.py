"""Dispersion and anisotropy of a row's answers: worked by hand, and the laws of geometry."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.algorithms import answer_geometry
from core.algorithms.answer_geometry import answer_centres, answer_coordinates, compute_geometry, gram_matrices

NAN = np.nan
ALONG, UP = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
GONE = [NAN, NAN, NAN]


def unit_vectors(n, k, width, *, spread=1.0, seed=0, dtype=np.float32):
    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(n, 1, width)) + spread * draw.normal(size=(n, k, width))
    return (vectors / np.linalg.norm(vectors, axis=2, keepdims=True)).astype(dtype)


def of(*answers):
    """Return D, I and K' of one row."""
    result = compute_geometry(gram_matrices(np.array([answers], np.float32)))
    return result.dispersion[0], result.anisotropy[0], result.counted[0]


def simplex(k):
    """Return k unit vectors, all pairs equally far from each other."""
    corners = np.eye(k) - 1 / k
    return corners / np.linalg.norm(corners, axis=1, keepdims=True)


def rotation(width, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]


def plain(vectors):
    """Compute D and I from the vectors themselves, by singular values."""
    apart = vectors.astype(np.float64) - vectors.astype(np.float64).mean(axis=1, keepdims=True)
    squares = np.linalg.svd(apart, compute_uv=False) ** 2
    return squares.sum(axis=1) / vectors.shape[1], 1 - squares[:, 0] / squares.sum(axis=1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("k", [2, 3, 5, 20])
def test_equal_answers_have_zero_spread_to_the_last_bit(k, dtype):
    same = np.repeat(unit_vectors(200, 1, 77, dtype=dtype), k, axis=1)
    result = compute_geometry(gram_matrices(same))
    assert (result.dispersion == 0).all() and (result.anisotropy == 0).all()
    assert (result.counted == k).all()


def test_two_opposite_groups_are_on_one_line():
    there, back = np.array(ALONG), -np.array(ALONG)
    assert of(there, there, back, back) == pytest.approx((1, 0, 4))  # the mean is 0, each is 1 from it
    assert of(there, back, back, back) == pytest.approx((0.75, 0, 4))  # mean −½; (2.25 + 3 · 0.25) / 4


def test_two_answers_are_on_one_line_at_any_distance():
    assert of(ALONG, UP) == pytest.approx((0.5, 0, 2))  # each √½ from the midpoint


def test_a_right_angle_of_groups_by_hand():
    """S_c of (a, a, b) with a ⊥ b: one eigenvalue, 4/3, and none other."""
    assert of(ALONG, ALONG, UP) == pytest.approx((4 / 9, 0, 3), abs=1e-7)


@pytest.mark.parametrize("k", [2, 3, 4, 5, 9])
def test_a_regular_simplex_is_spread_equally_in_all_its_directions(k):
    result = compute_geometry(gram_matrices(simplex(k)[None]))
    assert result.dispersion[0] == pytest.approx(1)  # its centre is 0
    assert result.anisotropy[0] == pytest.approx(1 - 1 / (k - 1), abs=1e-6)
    orthogonal = compute_geometry(
        gram_matrices(np.eye(k)[None])
    )  # unrelated answers: the same shape, around another centre
    assert orthogonal.dispersion[0] == pytest.approx(1 - 1 / k)
    assert orthogonal.anisotropy[0] == pytest.approx(1 - 1 / (k - 1), abs=1e-6)


def test_values_match_the_singular_values_of_the_vectors():
    vectors = unit_vectors(300, 5, 48, spread=0.4)
    result, (dispersion, anisotropy) = compute_geometry(gram_matrices(vectors)), plain(vectors)
    np.testing.assert_allclose(result.dispersion, dispersion, atol=1e-6)
    np.testing.assert_allclose(result.anisotropy, anisotropy, atol=1e-5)


def test_half_precision_is_close_enough():
    vectors = unit_vectors(300, 5, 384, spread=0.4)
    half, (dispersion, anisotropy) = compute_geometry(gram_matrices(vectors.astype(np.float16))), plain(vectors)
    np.testing.assert_allclose(half.dispersion, dispersion, atol=1e-4)
    np.testing.assert_allclose(half.anisotropy, anisotropy, atol=1e-4)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(2, 8), spread=st.floats(0.05, 20))
def test_rotating_or_reordering_answers_changes_nothing(seed, k, spread):
    vectors = unit_vectors(3, k, 6, spread=spread, seed=seed, dtype=np.float64)
    draw = np.random.default_rng(seed)
    straight = compute_geometry(gram_matrices(vectors))
    for other in (vectors @ rotation(6, seed), vectors[:, draw.permutation(k)]):
        result = compute_geometry(gram_matrices(other))
        np.testing.assert_allclose(result.dispersion, straight.dispersion, atol=1e-6)
        np.testing.assert_allclose(result.anisotropy, straight.anisotropy, atol=1e-4)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(2, 8), spread=st.floats(0.0, 20))
def test_values_stay_in_their_bounds(seed, k, spread):
    result = compute_geometry(gram_matrices(unit_vectors(4, k, 5, spread=spread, seed=seed)))
    assert (result.dispersion >= 0).all() and (result.dispersion <= 1 + 1e-6).all()
    assert (result.anisotropy >= 0).all() and (result.anisotropy <= 1 - 1 / (k - 1) + 1e-9).all()


def test_a_missing_answer_is_ignored_wherever_it_is():
    whole = of(ALONG, UP, [0.0, 0.0, 1.0])
    for answers in ((ALONG, UP, [0.0, 0.0, 1.0], GONE), (GONE, ALONG, GONE, UP, [0.0, 0.0, 1.0])):
        assert of(*answers) == pytest.approx(whole)
    assert of(ALONG, GONE, ALONG) == (0, 0, 2)


def test_fewer_than_two_answers_give_missing_values():
    for answers, there in (((GONE, UP, GONE), 1), ((GONE, GONE), 0), ((UP,), 1)):
        dispersion, anisotropy, counted = of(*answers)
        assert np.isnan(dispersion) and np.isnan(anisotropy) and counted == there


def test_similarities_with_a_missing_answer_are_missing():
    result = gram_matrices(np.float32([[ALONG, GONE, UP]]))
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result[0], [[1, NAN, 0], [NAN, NAN, NAN], [0, NAN, 1]])


def test_similarities_are_symmetric_to_the_last_bit():
    result = gram_matrices(unit_vectors(50, 7, 33))
    np.testing.assert_array_equal(result, result.transpose(0, 2, 1))


@pytest.mark.parametrize("shape", [(0, 5, 8), (0, 0, 0), (4, 0, 8), (4, 2, 0)])
def test_empty_input_gives_empty_output(shape):
    result = compute_geometry(gram_matrices(np.zeros(shape, np.float32)))
    assert len(result.dispersion) == len(result.anisotropy) == len(result.counted) == shape[0]


def test_the_chunk_size_changes_no_bit(monkeypatch):
    vectors = unit_vectors(101, 5, 33)
    vectors[7, 2] = NAN
    one = gram_matrices(vectors)
    figures = compute_geometry(one)
    monkeypatch.setattr(answer_geometry, "CHUNK", 500)
    np.testing.assert_array_equal(gram_matrices(vectors), one)
    again = compute_geometry(one)
    np.testing.assert_array_equal(again.dispersion, figures.dispersion)
    np.testing.assert_array_equal(again.anisotropy, figures.anisotropy)
    np.testing.assert_array_equal(again.counted, figures.counted)


def test_a_file_is_read_a_part_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(answer_geometry, "CHUNK", 1 << 16)
    rows, k, width = 20_000, 5, 96
    vectors = unit_vectors(rows, k, width, dtype=np.float16)
    vectors.tofile(tmp_path / "vectors")
    mapped = np.memmap(tmp_path / "vectors", np.float16, "r", shape=(rows, k, width))
    tracemalloc.start()
    result = compute_geometry(gram_matrices(mapped))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows * (k * k * 4 + 24) + 8 * 8 * answer_geometry.CHUNK
    np.testing.assert_array_equal(result.dispersion, compute_geometry(gram_matrices(vectors)).dispersion)


def test_the_map_of_two_groups_by_hand():
    there, back = ALONG, [-1.0, 0.0, 0.0]
    flat = answer_coordinates(gram_matrices(np.float32([[back, there, there, back]]))[0])
    np.testing.assert_allclose(flat, [[1, 0], [-1, 0], [-1, 0], [1, 0]], atol=1e-7)  # the first of the farthest is +


def test_the_map_preserves_distances_that_two_axes_can_hold():
    corners = simplex(3)
    flat = answer_coordinates(corners @ corners.T)
    apart = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    np.testing.assert_allclose(apart, np.sqrt(3) * (1 - np.eye(3)), atol=1e-7)
    np.testing.assert_allclose(flat.mean(axis=0), 0, atol=1e-12)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(3, 8))
def test_the_map_holds_as_much_as_any_two_axes_can(seed, k):
    vectors = unit_vectors(1, k, 9, seed=seed, dtype=np.float64)[0]
    apart = vectors - vectors.mean(axis=0)
    squares = np.linalg.svd(apart, compute_uv=False) ** 2
    flat = answer_coordinates(vectors @ vectors.T)
    np.testing.assert_allclose((flat**2).sum(axis=0), squares[:2], atol=1e-9)
    np.testing.assert_allclose(flat.mean(axis=0), 0, atol=1e-9)


def test_the_map_agrees_with_dispersion_and_anisotropy():
    gram = gram_matrices(unit_vectors(1, 5, 30))
    result, flat = compute_geometry(gram), answer_coordinates(gram[0])
    assert (flat[:, 0] ** 2).sum() == pytest.approx(5 * result.dispersion[0] * (1 - result.anisotropy[0]))


def test_missing_answers_are_not_on_the_map_and_move_no_other():
    vectors = unit_vectors(1, 4, 8)
    with_gap = np.insert(vectors, 1, NAN, axis=1)
    flat = answer_coordinates(gram_matrices(with_gap)[0])
    assert np.isnan(flat[1]).all()
    np.testing.assert_allclose(np.delete(flat, 1, axis=0), answer_coordinates(gram_matrices(vectors)[0]), atol=1e-7)


@pytest.mark.parametrize("k", [0, 1, 2, 5])
def test_the_map_of_equal_answers_is_one_point(k):
    flat = answer_coordinates(np.ones((k, k), np.float32))
    np.testing.assert_allclose(flat, np.zeros((k, 2)), atol=1e-7)
    assert np.isnan(answer_coordinates(np.full((k, k), NAN, np.float32))).all()


def test_the_centre_of_answers_is_the_mean_of_those_present():
    result = answer_centres(np.float32([[ALONG, GONE, UP], [GONE, GONE, GONE], [UP, UP, UP]]))
    width = len(UP)
    np.testing.assert_allclose(result[0], (np.float32(ALONG) + np.float32(UP)) / 2)
    assert np.isnan(result[1]).all() and result.shape == (3, width)
    np.testing.assert_array_equal(result[2], np.float32(UP))


def test_answers_that_differ_more_have_a_centre_nearer_to_zero():
    vectors = unit_vectors(40, 5, 16)
    lengths = np.linalg.norm(answer_centres(vectors), axis=1)
    np.testing.assert_allclose(lengths**2, 1 - compute_geometry(gram_matrices(vectors)).dispersion, atol=1e-6)
