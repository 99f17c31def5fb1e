"""Nearest rows: cosine by hand, for any blocks, with ties and gaps."""

import numpy as np
import pytest

from core.analysis.nearest_rows import cosine_similarities, find_nearest

VECTORS = np.array([[1, 0], [3, 4], [0, 2], [-2, 0], [np.nan, np.nan], [0, 0], [10, 0]], np.float16)


def make_blocks(*cuts):
    rows = np.array([5, 0, 3, 6, 1, 4, 2])  # in no order
    return [(own, VECTORS[own]) for own in np.split(rows, cuts)]


@pytest.mark.parametrize("cuts", [(), (3,), (1, 2, 3, 4, 5, 6)])
def test_similarity_is_the_cosine_for_any_blocks(cuts):
    similarity = cosine_similarities(make_blocks(*cuts), VECTORS[0], 8)
    np.testing.assert_allclose(similarity, [1, 0.6, 0, -1, np.nan, np.nan, 1, np.nan], atol=1e-6)


def test_similarity_agrees_with_a_plain_computation(monkeypatch):
    monkeypatch.setattr("core.analysis.nearest_rows.CHUNK_ROWS", 7)
    random = np.random.default_rng(0)
    vectors = random.normal(size=(50, 16)).astype(np.float16)
    whole = vectors.astype(np.float64)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    similarity = cosine_similarities([(np.arange(50), vectors)], vectors[7], 50)
    np.testing.assert_allclose(similarity, whole @ whole[7], atol=1e-6)
    assert similarity.dtype == np.float32


@pytest.mark.parametrize("query", [VECTORS[4], VECTORS[5]])
def test_a_query_without_an_embedding_has_no_similarities(query):
    assert np.isnan(cosine_similarities(make_blocks(), query, 7)).all()


def test_the_nearest_are_among_the_given_rows_without_the_row_itself():
    similarity = cosine_similarities(make_blocks(), VECTORS[0], 7)
    assert find_nearest(similarity, np.arange(7), 3, exclude=0).tolist() == [6, 1, 2]
    assert find_nearest(similarity, np.array([3, 2]), 5, exclude=0).tolist() == [2, 3]
    assert find_nearest(similarity, np.array([4, 5]), 1, exclude=0).tolist() == []
    assert find_nearest(similarity, np.empty(0, np.int64), 1, exclude=0).tolist() == []


def test_ties_go_to_the_earlier_row():
    similarity = np.array([0.5, 0.9, 0.9, np.nan, 0.9], np.float32)
    assert find_nearest(similarity, np.array([4, 3, 2, 0]), 2, exclude=1).tolist() == [2, 4]
