"""Vectors in blocks: their sample, and batches of one shape."""

import numpy as np
import pytest

from core.algorithms import vector_blocks
from core.algorithms.vector_blocks import VectorBlocks, sample_size

NUMBERS = np.arange(20, dtype=np.float16).reshape(10, 2)


def without(*rows):
    vectors = NUMBERS.copy()
    vectors[list(rows), 1] = np.nan
    return vectors


def test_the_size_of_the_sample_is_bounded_in_rows_and_in_numbers():
    assert sample_size(1000, 2048) == 1000
    assert sample_size(10**6, 2048) == 131_072
    assert sample_size(10**6, 256) == 10**6
    assert sample_size(10**9, 32) == 1 << 20
    assert sample_size(0, 0) == 0


def test_few_vectors_are_all_sampled():
    rows, vectors = VectorBlocks.of(without(3), 4).sample(seed=0)
    assert rows.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert vectors.tolist() == NUMBERS[rows].tolist() and vectors.dtype == np.float32


def test_the_sample_is_seeded_and_of_rows_that_have_a_vector(monkeypatch):
    monkeypatch.setattr(vector_blocks, "MAX_SAMPLE_ROWS", 4)
    samples = [VectorBlocks.of(without(2, 5), size).sample(seed=seed) for size, seed in ((1, 0), (7, 0), (7, 1))]
    (rows, vectors), (same, _), (other, _) = samples
    assert len(set(rows.tolist()) - {2, 5}) == 4 and (np.diff(rows) > 0).all()
    assert rows.tolist() == same.tolist() != other.tolist()
    assert vectors.tolist() == NUMBERS[rows].tolist()


def test_where_few_rows_have_a_vector_all_of_them_are_sampled(monkeypatch):
    monkeypatch.setattr(vector_blocks, "MAX_SAMPLE_NUMBERS", 8)  # 4 rows
    assert VectorBlocks.of(without(*range(7))).sample(seed=0)[0].tolist() == [7, 8, 9]


def test_rows_in_no_block_have_no_vector():
    blocks = VectorBlocks(10, lambda: [(np.array([4, 1]), NUMBERS[[4, 1]])])
    assert blocks.sample(seed=0)[0].tolist() == [1, 4]
    assert np.isnan(blocks.take(np.array([0, 4]))).tolist() == [[True, True], [False, False]]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 10])
def test_batches_have_one_shape_and_hold_every_vector_once(size):
    batches = [(rows.copy(), batch.copy()) for rows, batch in VectorBlocks.of(without(0, 6), size).batches(3)]
    assert [rows.tolist() for rows, _ in batches] == [[1, 2, 3], [4, 5, 7], [8, 9]]
    assert all(batch.shape == (3, 2) for _, batch in batches)
    assert batches[2][1].tolist() == [*NUMBERS[8:].tolist(), [0, 0]]


def test_no_rows_have_no_vectors():
    nothing = VectorBlocks.of(np.empty((0, 3)))
    assert (nothing.width, list(nothing.batches(2)), len(nothing.sample(seed=0)[0])) == (0, [], 0)
