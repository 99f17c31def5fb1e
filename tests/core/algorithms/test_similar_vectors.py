"""Rows in nearly the same direction: by hand, against a comparison of all pairs, and the laws of the groups."""

import numpy as np
import pytest

from core.algorithms import similar_vectors
from core.algorithms.similar_vectors import find_similar_rows
from core.algorithms.vector_blocks import VectorBlocks


def find(vectors, similarity, **options):
    return find_similar_rows(VectorBlocks.of(np.array(vectors, np.float32)), similarity, **options)


def at_degrees(*angles):
    """Return unit vectors at these angles, and opposite ones after them, so that their mean is 0."""
    turn = np.radians([*angles, *(angle + 180 for angle in angles)])
    return np.stack([np.cos(turn), np.sin(turn)], axis=1)


def all_pairs(vectors, similarity):
    """Return what each row repeats, by the definition."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    repeats, kept = np.full(len(vectors), -1), []
    for row, cosines in enumerate(unit @ unit.T):
        repeats[row] = next((one for one in kept if cosines[one] >= similarity - similar_vectors.TOLERANCE), -1)
        kept += [row] if repeats[row] < 0 else []
    return repeats, unit @ unit.T


@pytest.fixture(scope="module")
def crowd():
    """Return (1500, 8) vectors around 60 directions, away from 0, as hidden states are."""
    rng = np.random.default_rng(5)
    around = rng.normal(size=(60, 8))[rng.integers(60, size=1500)]
    return (around + 0.25 * rng.normal(size=(1500, 8)) + 4).astype(np.float32)


def test_two_rows_at_the_threshold_by_hand():
    vectors = [(1, 0), (-1, 0), (0.8, 0.6), (-0.8, -0.6)]  # the mean is 0; cos(0, 2) = cos(1, 3) = 0.8
    found = find(vectors, 0.8)
    assert found.repeats.tolist() == [-1, -1, 0, 1]
    np.testing.assert_allclose(found.similarity, [np.nan, np.nan, 0.8, 0.8], rtol=1e-6)
    assert find(vectors, 0.81).repeats.tolist() == [-1] * 4


def test_similarity_is_measured_from_the_mean():
    vectors = np.array([(1, 0), (-1, 0), (0.8, 0.6), (-0.8, -0.6)]) + 100  # all pairs: cosine over 0.999
    assert find(vectors, 0.8).repeats.tolist() == [-1, -1, 0, 1]


def test_a_chain_of_small_steps_joins_only_what_is_similar_to_the_kept_row():
    found = find(at_degrees(0, 20, 40, 60), np.cos(np.radians(25)))
    assert found.repeats.tolist() == [-1, 0, -1, 2, -1, 4, -1, 6]  # 40 degrees is 20 from a repeated row, 40 from 0


def test_at_threshold_one_only_equal_directions_are_similar():
    angles = at_degrees(0, 1, 90, 0)
    assert find(angles, 1).repeats.tolist() == [-1, -1, -1, 0, -1, -1, -1, 4]


def test_equal_vectors_repeat_the_first_even_if_they_are_the_mean():
    found = find([(3, 4)] * 4 + [(np.nan, 0)], 0.9)
    assert found.repeats.tolist() == [-1, 0, 0, 0, -1]
    assert found.similarity.tolist()[1:4] == [1, 1, 1]


@pytest.mark.parametrize("similarity", [0.8, 0.9, 0.97])
def test_the_first_similar_kept_row_is_repeated(crowd, similarity):
    found = find(crowd, similarity)
    repeats, cosines = all_pairs(crowd, similarity)
    assert 100 < (repeats >= 0).sum() < 1450
    np.testing.assert_array_equal(found.repeats, repeats)
    later = np.flatnonzero(repeats >= 0)
    np.testing.assert_allclose(found.similarity[later], cosines[later, repeats[later]], atol=1e-5)


def test_no_two_kept_rows_are_similar_and_every_other_is_similar_to_a_kept_one(crowd):
    found, (_, cosines) = find(crowd, 0.9), all_pairs(crowd, 0.9)
    kept = found.repeats < 0
    between = cosines[np.ix_(kept, kept)] - np.eye(kept.sum())
    assert between.max() < 0.9
    assert kept[found.repeats[~kept]].all() and np.nanmin(found.similarity) >= 0.9 - 1e-5


def test_pairs_are_the_same_in_reverse_order():
    angles = at_degrees(0, 10, 60, 70)  # pairs that are far from each other
    there, back = (find(vectors, 0.95).repeats for vectors in (angles, angles[::-1]))
    pairs = {(int(k), row) for row, k in enumerate(there) if k >= 0}
    assert {(7 - row, 7 - int(k)) for row, k in enumerate(back) if k >= 0} == pairs == {(0, 1), (2, 3), (4, 5), (6, 7)}


def test_clusters_miss_nothing_at_full_reach(crowd, monkeypatch):
    monkeypatch.setattr(similar_vectors, "REACH", 1.0)
    for similarity in (0.8, 0.95):
        found = find(crowd, similarity, clusters=20)
        np.testing.assert_array_equal(found.repeats, all_pairs(crowd, similarity)[0])


def test_clusters_find_nearly_all_at_the_usual_reach(crowd):
    every = all_pairs(crowd, 0.95)[0] >= 0
    assert (find(crowd, 0.95, clusters=20).repeats >= 0)[every].mean() > 0.99


def test_blocks_and_small_steps_change_nothing(crowd, monkeypatch):
    vectors = np.where(np.arange(1500)[:, None] % 50 == 7, np.nan, crowd).astype(np.float16)
    once = find_similar_rows(VectorBlocks.of(vectors), 0.9, clusters=10)
    order = np.random.default_rng(0).permutation(1500)
    blocks = VectorBlocks(1500, lambda: ((some, vectors[some]) for some in np.split(order, 6)))
    monkeypatch.setattr(similar_vectors, "QUERY_ROWS", 7)
    monkeypatch.setattr(similar_vectors, "BLOCK_NUMBERS", 80)
    again = find_similar_rows(blocks, 0.9, clusters=10)
    np.testing.assert_array_equal(again.repeats, once.repeats)
    assert (once.repeats[7::50] < 0).all() and (once.repeats >= 0).any()
