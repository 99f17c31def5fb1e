"""Comparison of orders of the same rows: their overlap at every budget, and the rows they disagree on.

An order is given by its ranks (N,): the 0-based rank of every row, −1 for an unranked row (core.schema.Order).
A subset is a prefix: the rows with a rank below some size. Every pair of orders takes time linear in N.

    overlap (Jaccard)   |A ∩ B| / |A ∪ B|, 0 to 1
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from core.schema import BoolArray, IntArray

MAX_CORRELATION_ROWS = 200_000  # sampled for a rank correlation: its standard error is then about 0.002
SIGMAS = 1.96  # standard deviations on each side of the mean that hold 95 %

Shares = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Overlap:
    """Overlap of two orders at each of G budgets; every field is (G,)."""

    shared: IntArray  # rows in both subsets
    jaccard: Shares  # NaN where both subsets are empty
    expected: Shares  # Jaccard expected by chance, for random subsets of these sizes
    low: Shares  # lower and upper limit of the 95% range
    high: Shares


def compute_overlap(a: IntArray, b: IntArray, sizes_a: IntArray, sizes_b: IntArray) -> Overlap:
    """Return the overlap of two orders, given by ranks (N,), at each pair of prefix sizes (G,), both ascending."""
    n_a, n_b = int((a >= 0).sum()), int((b >= 0).sum())
    sizes_a, sizes_b = np.minimum(sizes_a, n_a), np.minimum(sizes_b, n_b)
    both = (a >= 0) & (b >= 0)
    position = np.maximum(
        np.searchsorted(sizes_a, a[both], side="right"), np.searchsorted(sizes_b, b[both], side="right")
    )
    shared = np.cumsum(np.bincount(position, minlength=len(sizes_a) + 1))[: len(sizes_a)]
    common = np.int64(both.sum())
    return Overlap(shared, jaccard(shared, sizes_a, sizes_b), *expected_overlap(common, n_a, n_b, sizes_a, sizes_b))


def jaccard(shared: Shares | IntArray, sizes_a: IntArray, sizes_b: IntArray) -> Shares:
    """Return |A ∩ B| / |A ∪ B| from |A ∩ B|, |A| and |B|, arrays of one shape; NaN for two empty sets."""
    union = np.asarray(sizes_a + sizes_b - shared, np.float64)
    return np.asarray(np.divide(shared, union, out=np.full(union.shape, np.nan), where=union > 0))


def expected_overlap(common: Any, n_a: Any, n_b: Any, a: IntArray, b: IntArray) -> tuple[Shares, Shares, Shares]:
    """Return the Jaccard overlap expected by chance, and the limits of its 95% range.

    A is a random subset of `a` out of n_a rows, B of `b` out of n_b; `common` rows can be in both. Integers or arrays
    that broadcast.

    X = |A ∩ common| and Y = |B ∩ common| are hypergeometric, and so is |A ∩ B| given both; with m = common
    E S = E X · E Y / m,  Var S = E[X (m − X)] · E[Y (m − Y)] / (m² (m − 1)) + (E X² · E Y² − (E X · E Y)²) / m²
    """
    m = np.maximum(common, 1)
    (x, x2), (y, y2) = _moments(common, n_a, a), _moments(common, n_b, b)
    mean = x * y / m
    variance = (m * x - x2) * (m * y - y2) / (m**2 * np.maximum(m - 1, 1)) + (x2 * y2 - (x * y) ** 2) / m**2
    margin = SIGMAS * np.sqrt(np.maximum(variance, 0))
    low, high = np.maximum(mean - margin, 0), np.minimum(mean + margin, np.minimum(a, b))
    return jaccard(mean, a, b), jaccard(low, a, b), jaccard(high, a, b)


def _moments(marked: Any, n: Any, size: IntArray) -> tuple[Shares, Shares]:
    """Return E X and E X², where X counts the `marked` among `size` random rows of n (hypergeometric)."""
    share = marked / np.maximum(n, 1)
    mean = size * share
    variance = mean * (1 - share) * (n - size) / np.maximum(n - 1, 1)
    return mean, variance + mean**2


@dataclass(frozen=True, eq=False)
class Membership:
    """Which of C subsets each row is in, as a bit code: bit c is set if subset c has the row."""

    code: NDArray[np.uint16]  # (N,)
    counts: IntArray  # (2^C,) rows with each code
    subsets: int  # C

    @classmethod
    def from_subsets(cls, subsets: Sequence[IntArray], n: int) -> "Membership":
        """Encode at most 16 subsets, each given by row numbers out of n rows."""
        code = np.zeros(n, np.uint16)
        for bit, rows in enumerate(subsets):
            code[rows] |= np.uint16(1 << bit)
        return cls(code, np.bincount(code, minlength=1 << len(subsets)), len(subsets))

    def rows(self, code: int) -> IntArray:
        """Return the rows with this code, ascending: those in exactly its subsets."""
        return np.flatnonzero(self.code == code)

    def members(self, code: int) -> list[int]:
        """Return the numbers of the subsets in a code."""
        return [c for c in range(self.subsets) if code >> c & 1]

    def pattern_counts(self) -> list[tuple[int, int]]:
        """Return (code, number of rows) of every code that occurs, most rows first; without code 0."""
        occurring = [(code, int(count)) for code, count in enumerate(self.counts.tolist()) if code and count]
        return sorted(occurring, key=lambda one: (-one[1], one[0]))

    def shared(self) -> IntArray:
        """Return (C, C) numbers of rows in both of two subsets; the diagonal has the sizes."""
        codes = np.arange(len(self.counts))
        inside = (codes[None, :] >> np.arange(self.subsets)[:, None]) & 1  # (C, 2^C)
        return (inside * self.counts) @ inside.T

    def jaccard(self) -> Shares:
        """Return (C, C) Jaccard overlaps; NaN for two empty subsets."""
        shared = self.shared()
        sizes = np.diag(shared)
        return jaccard(shared, sizes[:, None], sizes[None, :])


def rank_correlation_matrix(ranks: Sequence[IntArray]) -> Shares:
    """Return (C, C) Spearman correlations: 1 = the same order, −1 = reversed.

    Each pair is compared on the rows that both rank; NaN for fewer than three. Above MAX_CORRELATION_ROWS, evenly
    spaced rows are used.
    """
    rho = np.eye(len(ranks))
    for i, j in combinations(range(len(ranks)), 2):
        both = np.flatnonzero((ranks[i] >= 0) & (ranks[j] >= 0))
        both = both[:: -(-len(both) // MAX_CORRELATION_ROWS) or 1]
        enough = len(both) > 2
        rho[i, j] = rho[j, i] = spearmanr(ranks[i][both], ranks[j][both]).statistic if enough else np.nan
    return rho


def normalised_ranks(ranks: IntArray) -> Shares:
    """Return (N,) 1 − rank / number of ranked rows: 1 = first, towards 0 = last; NaN for an unranked row."""
    count = max(int((ranks >= 0).sum()), 1)
    return np.where(ranks >= 0, 1 - ranks / count, np.nan)


def disagreements(a: IntArray, b: IntArray, most: int, within: BoolArray | None = None) -> IntArray:
    """Return up to `most` rows ranked higher in A than in B, the largest difference first, ties to the earlier row.

    Ranks are (N,) and compared as `normalised_ranks`; rows unranked in either are excluded, and so are those outside
    `within` (N,), if it is given.
    """
    difference = normalised_ranks(a) - normalised_ranks(b)
    higher = difference > 0  # False for NaN
    rows = np.flatnonzero(higher if within is None else higher & within)
    if len(rows) > most:
        rows = rows[np.argpartition(-difference[rows], most)[: most + 1]]
    return rows[np.lexsort((rows, -difference[rows]))][:most]


def total_variation(counts: IntArray, others: IntArray) -> float:
    """Return the total variation distance ½ Σ |p − q| of two sets by group counts; NaN for an empty set.

    It is the share of rows that would have to change group: 0 = equal shares, 1 = no group in common.
    """
    if not counts.sum() or not others.sum():
        return float("nan")
    return float(np.abs(counts / counts.sum() - others / others.sum()).sum() / 2)
