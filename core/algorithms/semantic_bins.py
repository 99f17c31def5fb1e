"""Semantic bins: rows with similar instructions, at every number of bins from one k-means. Arrays only.

1. Fine bins by k-means on the instructions' embeddings (core.algorithms.kmeans).
2. For one bin less, merge the two that add least to the spread inside bins (Ward 1963):

       Δ(a, b) = n_a n_b / (n_a + n_b) · |c_a − c_b|²      n: rows of a bin, c: mean of its embeddings

   and so on down to a single bin. k-means minimises the sum of Δ, so bins stay about as even as it made them.

So a slider of the number of bins runs no k-means, and bins nest: every bin is a union of bins of any larger number.
(Running k-means for a smaller number directly gives slightly tighter, different bins.)
"""

from dataclasses import dataclass

import numpy as np

from core.algorithms.kmeans import kmeans, number_by_size
from core.algorithms.vector_blocks import VectorBlocks
from core.errors import MethodError
from core.schema import Float64Array, IntArray

ROWS_PER_BIN = 50
MAX_BINS = 1000  # default limit


@dataclass(frozen=True, eq=False)
class BinTree:
    """Bins of one pool, fine and merged."""

    fine: IntArray  # (N,) 0 = the largest of B; −1: the row has no embedding
    merges: IntArray  # (B − 1, 2) the lower number first; the k-th makes bin B + k of the two

    def __post_init__(self) -> None:
        if int(self.fine.max(initial=-1)) > len(self.merges):
            raise MethodError(
                f"There are {len(self.merges)} merges for {self.fine.max() + 1} bins, and one less is needed."
            )

    def cut(self, bins: int) -> IntArray:
        """Return (N,) the bin of each row at this number of bins, 0 = the largest; −1 stays −1.

        All fine bins if there are no more than `bins`. Ties in size go to the bin that begins earlier.
        """
        if bins < 1:
            raise MethodError(f"Rows cannot be cut into {bins} bins; it must be 1 or more.")
        fine = len(self.merges) + 1
        bin_of = np.arange(fine)
        for merged, pair in enumerate(self.merges[: max(0, fine - bins)].tolist(), start=fine):
            bin_of[(bin_of == pair[0]) | (bin_of == pair[1])] = merged
        rows = np.flatnonzero(self.fine >= 0)
        labels = np.full(len(self.fine), -1, np.int64)
        labels[rows] = number_by_size(bin_of[self.fine[rows]])
        return labels


def default_bin_count(n: int) -> int:
    """Return the number of fine bins for n rows: one for every 50, in 1..1000. (The source: 1000 for 52,002 rows.)"""
    return max(1, min(MAX_BINS, n // ROWS_PER_BIN))


def build_bin_tree(embeddings: VectorBlocks, bins: int, *, seed: int, directions: bool = False) -> BinTree:
    """Build fine bins of embeddings, and their merges; a row without an embedding is in no bin.

    `directions`: bins of similar direction from the mean; else embeddings are used unchanged. There are fewer bins than
    requested if fewer rows differ. Same seed, same tree. In memory: that of `core.algorithms.kmeans`.
    """
    found = kmeans(embeddings, bins, seed=seed, directions=directions)
    if not len(found.centres):
        return BinTree(found.labels, np.empty((0, 2), np.int64))
    sizes = np.bincount(found.labels[found.labels >= 0])
    return BinTree(found.labels, ward_merges(found.centres, sizes))


def ward_merges(centres: Float64Array, sizes: IntArray) -> IntArray:
    """Return (B − 1, 2) merges of bins with centres (B, d) and sizes (B,) ≥ 1; each the one with the least Δ.

    A merged bin takes the place of its first half; of equal Δ the pair in the earliest places is merged first. O(B³) in
    very simple steps: a thousand bins take a few seconds, which is little compared with their k-means.
    """
    centre, size = centres.astype(np.float64), sizes.astype(np.float64)
    fine = len(size)
    number = np.arange(fine)
    cost = np.stack([_merge_costs(centre, size, place) for place in range(fine)])
    merges = np.empty((fine - 1, 2), np.int64)
    for k in range(fine - 1):
        a, b = divmod(int(cost.argmin()), fine)  # a < b: of (a, b) and (b, a) the first
        merges[k] = sorted((number[a], number[b]))
        centre[a] = (size[a] * centre[a] + size[b] * centre[b]) / (size[a] + size[b])
        size[a], size[b], number[a] = size[a] + size[b], np.inf, fine + k
        cost[a] = cost[:, a] = _merge_costs(centre, size, a)
        cost[b] = cost[:, b] = np.inf
    return merges


def _merge_costs(centre: Float64Array, size: Float64Array, place: int) -> Float64Array:
    """Return (B,) Δ of one bin with every other; infinite with itself and with merged bins, whose size is infinite."""
    offset = centre - centre[place]
    squares = np.einsum("bd,bd->b", offset, offset)
    present = np.isfinite(size)
    present[place] = False
    weight = np.divide(size * size[place], size + size[place], out=np.full(len(size), np.inf), where=present)
    return np.asarray(np.multiply(weight, squares, out=weight, where=present))
