"""Nearest rows by cosine similarity of the embeddings of the base pass.

    similarity(a, b) = <a, b> / (|a| |b|)        in −1..1, 1 = the same direction

Embeddings come in blocks, so memory holds one block and one number per row. The mean hidden states of a language
model point in much the same direction for any text, so absolute values are high for any pair: judge one against the
pool's distribution.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from core.algorithms.vector_blocks import Block
from core.schema import FloatArray, IntArray

CHUNK_ROWS = 4096  # embeddings converted to float32 at once


def cosine_similarities(blocks: Iterable[Block], query: NDArray[np.floating], n: int) -> FloatArray:
    """Return (n,) similarities to the query (d,); NaN for rows in no block or without an embedding."""
    similarity = np.full(n, np.nan, np.float32)
    target = query.astype(np.float32)
    length = np.linalg.norm(target)
    if not length > 0:  # also True for NaN
        return similarity
    target /= length
    for rows, vectors in blocks:
        for start in range(0, len(rows), CHUNK_ROWS):
            some = vectors[start : start + CHUNK_ROWS].astype(np.float32)
            lengths = np.sqrt(np.einsum("nd,nd->n", some, some))
            dots = some @ target
            similarity[rows[start : start + CHUNK_ROWS]] = np.divide(
                dots, lengths, out=np.full(len(some), np.nan, np.float32), where=lengths > 0
            )
    return similarity


def find_nearest(similarity: FloatArray, among: IntArray, k: int, *, exclude: int) -> IntArray:
    """Return the `k` most similar rows of `among`, most similar first; ties go to the earlier row.

    Row `exclude` and rows without a similarity are never returned.
    """
    rows = np.sort(among[(among != exclude) & np.isfinite(similarity[among])])
    return rows[np.argsort(-similarity[rows], kind="stable")[:k]]
