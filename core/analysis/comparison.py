"""Comparison of two or more orders of the same rows: what they share at every budget, and where they differ.

An order is given by its ranks (N,): the 0-based rank of every row, −1 for a row without one (core.schema.Order).
A subset is a prefix: the rows with a rank below some size. Everything is linear in N for each pair.

    overlap (Jaccard)   |A ∩ B| / |A ∪ B|: of the rows in either subset, the share in both; 0 to 1
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from core.schema import IntArray

MAX_CORRELATION_ROWS = 200_000  # rows for a rank correlation: its error is then about 0.002
SIGMAS = 1.96  # half-width of the middle 95 %

Shares = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Overlap:
    """Overlap of two orders at each of G budgets; all (G,)."""

    shared: IntArray  # rows in both subsets
    jaccard: Shares  # NaN where both are empty
    expected: Shares  # mean overlap of random subsets of these sizes
    low: Shares  # lower end of their 95 % range
    high: Shares  # upper end of it


def compute_overlap(a: IntArray, b: IntArray, sizes_a: IntArray, sizes_b: IntArray) -> Overlap:
    """Compare prefixes of two orders, given by their ranks (N,), at each pair of sizes (G,), both ascending."""
    n_a, n_b = int((a >= 0).sum()), int((b >= 0).sum())
    sizes_a, sizes_b = np.minimum(sizes_a, n_a), np.minimum(sizes_b, n_b)
    both = (a >= 0) & (b >= 0)
    first = np.maximum(np.searchsorted(sizes_a, a[both], side="right"), np.searchsorted(sizes_b, b[both], side="right"))
    shared = np.cumsum(np.bincount(first, minlength=len(sizes_a) + 1))[: len(sizes_a)]
    common = np.int64(both.sum())
    return Overlap(shared, jaccard(shared, sizes_a, sizes_b), *expected_overlap(common, n_a, n_b, sizes_a, sizes_b))


def jaccard(shared: Shares | IntArray, sizes_a: IntArray, sizes_b: IntArray) -> Shares:
    """Return |A ∩ B| / |A ∪ B| from the sizes of A, B and A ∩ B, arrays of one shape; NaN if both are empty."""
    either = np.asarray(sizes_a + sizes_b - shared, np.float64)
    share: Shares = np.divide(shared, either, out=np.full(either.shape, np.nan), where=either > 0)
    return share


def expected_overlap(common: Any, n_a: Any, n_b: Any, a: IntArray, b: IntArray) -> tuple[Shares, Shares, Shares]:
    """Return the overlap expected by chance, and the ends of its 95 % range: mean, low, high.

    For a random A of size a out of n_a rows and a random B of size b out of n_b, of which `common` rows can be in
    either. Integers or arrays that broadcast.

    X = |A ∩ common| and Y = |B ∩ common| are hypergeometric, and so is |A ∩ B| given both; with m = common
    E S = E X · E Y / m,  Var S = E[X (m − X)] · E[Y (m − Y)] / (m² (m − 1)) + (E X² · E Y² − (E X · E Y)²) / m²
    """
    m = np.maximum(common, 1)
    (x, x2), (y, y2) = _moments(common, n_a, a), _moments(common, n_b, b)
    mean = x * y / m
    spread = (m * x - x2) * (m * y - y2) / (m**2 * np.maximum(m - 1, 1)) + (x2 * y2 - (x * y) ** 2) / m**2
    half_width = SIGMAS * np.sqrt(np.maximum(spread, 0))
    low, high = np.maximum(mean - half_width, 0), np.minimum(mean + half_width, np.minimum(a, b))
    return jaccard(mean, a, b), jaccard(low, a, b), jaccard(high, a, b)


def _moments(marked: Any, n: Any, sampled: IntArray) -> tuple[Shares, Shares]:
    """Return E X and E X² of the number of `marked` rows among `sampled` of n."""
    share = marked / np.maximum(n, 1)
    mean = sampled * share
    variance = mean * (1 - share) * (n - sampled) / np.maximum(n - 1, 1)
    return mean, variance + mean**2


@dataclass(frozen=True, eq=False)
class Membership:
    """Membership of each row in C subsets, as one number: bit c is set if subset c contains the row."""

    code: NDArray[np.uint16]  # (N,)
    counts: IntArray  # (2^C,) rows with each code
    subsets: int  # C

    @classmethod
    def from_subsets(cls, subsets: Sequence[IntArray], n: int) -> "Membership":
        """Build from the row numbers of each subset, out of n rows; at most 16 subsets."""
        code = np.zeros(n, np.uint16)
        for bit, rows in enumerate(subsets):
            code[rows] |= np.uint16(1 << bit)
        return cls(code, np.bincount(code, minlength=1 << len(subsets)), len(subsets))

    def rows(self, code: int) -> IntArray:
        """Return the rows in exactly these subsets, ascending."""
        return np.flatnonzero(self.code == code)

    def members(self, code: int) -> list[int]:
        """Return the subsets that a code stands for."""
        return [c for c in range(self.subsets) if code >> c & 1]

    def pattern_counts(self) -> list[tuple[int, int]]:
        """Return (code, rows in exactly these subsets), most rows first; without the rows in no subset."""
        non_empty = [(code, int(count)) for code, count in enumerate(self.counts.tolist()) if code and count]
        return sorted(non_empty, key=lambda entry: (-entry[1], entry[0]))

    def shared(self) -> IntArray:
        """Return (C, C) the number of rows that two subsets share; on the diagonal the size of each."""
        codes = np.arange(len(self.counts))
        inside = (codes[None, :] >> np.arange(self.subsets)[:, None]) & 1  # (C, 2^C)
        return (inside * self.counts) @ inside.T

    def jaccard(self) -> Shares:
        """Return (C, C) the overlap of each pair; NaN if both are empty."""
        shared = self.shared()
        sizes = np.diag(shared)
        return jaccard(shared, sizes[:, None], sizes[None, :])


def rank_correlation_matrix(ranks: Sequence[IntArray]) -> Shares:
    """Return (C, C) the Spearman correlation of each pair of orders over the rows ranked in both.

    1 = the same order, −1 = reversed, NaN for fewer than three such rows. Huge pools use evenly spaced rows.
    """
    matrix = np.eye(len(ranks))
    for i, j in combinations(range(len(ranks)), 2):
        both = np.flatnonzero((ranks[i] >= 0) & (ranks[j] >= 0))
        both = both[:: -(-len(both) // MAX_CORRELATION_ROWS) or 1]
        enough = len(both) > 2
        matrix[i, j] = matrix[j, i] = spearmanr(ranks[i][both], ranks[j][both]).statistic if enough else np.nan
    return matrix


def normalised_ranks(ranks: IntArray) -> Shares:
    """Return (N,) the relative rank of each row: 1 = first, towards 0 = last; NaN for a row without a rank."""
    count = max(int((ranks >= 0).sum()), 1)
    return np.where(ranks >= 0, 1 - ranks / count, np.nan)


def disagreements(a: IntArray, b: IntArray, most: int) -> IntArray:
    """Return up to `most` rows that rank much higher in order A than in order B, largest difference first.

    Ranks are (N,); rows without a rank in either order are ignored.
    """
    difference = normalised_ranks(a) - normalised_ranks(b)
    rows = np.flatnonzero(difference > 0)  # NaN is not
    if len(rows) > most:
        rows = rows[np.argpartition(-difference[rows], most)[: most + 1]]
    return rows[np.lexsort((rows, -difference[rows]))][:most]


def total_variation(counts: IntArray, others: IntArray) -> float:
    """Return the total variation distance of two group counts: half of Σ |p − q|.

    The share of rows that would have to change their group for both to have the same mix: 0 (same) to 1 (no group in
    common). NaN for an empty set.
    """
    if not counts.sum() or not others.sum():
        return float("nan")
    return float(np.abs(counts / counts.sum() - others / others.sum()).sum() / 2)
