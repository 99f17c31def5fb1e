"""What lies nearest to a row, by the embeddings of the base pass.

    similarity(a, b) = <a, b> / (|a| |b|)        in −1..1, 1 = the same direction

Embeddings come in blocks, so what is held at once is one block of them and a number for each row. The mean states of
a language model point much the same way for any text: whether a similarity is high is told by those of the others.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from core.schema import FloatArray, IntArray

Block = tuple[IntArray, NDArray[np.floating]]  # (n,) row numbers and (n, d) their embeddings
CHUNK_ROWS = 4096  # embeddings turned to float32 at once


def cosine_similarities(blocks: Iterable[Block], query: NDArray[np.floating], n: int) -> FloatArray:
    """(n,) similarity of every row to the query (d,); NaN for rows in no block, and without an embedding."""
    found = np.full(n, np.nan, np.float32)
    target = query.astype(np.float32)
    length = np.linalg.norm(target)
    if not length > 0:  # nor where it is NaN
        return found
    target /= length
    for rows, vectors in blocks:
        for start in range(0, len(rows), CHUNK_ROWS):
            some = vectors[start : start + CHUNK_ROWS].astype(np.float32)
            lengths = np.sqrt(np.einsum("nd,nd->n", some, some))
            dots = some @ target
            found[rows[start : start + CHUNK_ROWS]] = np.divide(
                dots, lengths, out=np.full(len(some), np.nan, np.float32), where=lengths > 0
            )
    return found


def find_nearest(similarity: FloatArray, among: IntArray, k: int, *, exclude: int) -> IntArray:
    """Of the rows `among`, the `k` most similar ones, most similar first, without `exclude`; ties to the earlier row.

    Rows without a similarity are in none of them.
    """
    rows = np.sort(among[(among != exclude) & np.isfinite(similarity[among])])
    return rows[np.argsort(-similarity[rows], kind="stable")[:k]]
