"""Two or more orders of the same rows, side by side: what they share at every budget, and where they part.

An order is known here by its ranks (N,): the 0-based place of every row, −1 for a row without one (core.schema.Order).
A subset is a prefix: the rows with a rank below some size. Everything is linear in N for each pair.

    overlap (Jaccard)   |A ∩ B| / |A ∪ B|, of rows that either takes the share that both take; 0 to 1
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
SIGMAS = 1.96  # of the middle 95 %

Shares = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Overlap:
    """How much two orders share at each of G budgets; all (G,)."""

    shared: IntArray  # rows that both take
    jaccard: Shares  # NaN where neither takes a row
    expected: Shares  # what random subsets of these sizes would share on average
    low: Shares  # 95 % of them share at least this
    high: Shares  # and at most this


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
    """|A ∩ B| / |A ∪ B| from the sizes of both and of what they share, arrays of one shape; NaN for two empty sets."""
    either = np.asarray(sizes_a + sizes_b - shared, np.float64)
    share: Shares = np.divide(shared, either, out=np.full(either.shape, np.nan), where=either > 0)
    return share


def expected_overlap(common: Any, n_a: Any, n_b: Any, a: IntArray, b: IntArray) -> tuple[Shares, Shares, Shares]:
    """Overlap of a random A of size a out of n_a rows with a random B of b out of n_b, of which `common` can be in
    either: on average, and where 95 % of such pairs lie. Whole numbers or arrays that go together.

    X = |A ∩ common| and Y = |B ∩ common| are hypergeometric, and so is |A ∩ B| given both; with m = common
    E S = E X · E Y / m,  Var S = E[X (m − X)] · E[Y (m − Y)] / (m² (m − 1)) + (E X² · E Y² − (E X · E Y)²) / m²
    """
    m = np.maximum(common, 1)
    (x, x2), (y, y2) = _moments(common, n_a, a), _moments(common, n_b, b)
    mean = x * y / m
    spread = (m * x - x2) * (m * y - y2) / (m**2 * np.maximum(m - 1, 1)) + (x2 * y2 - (x * y) ** 2) / m**2
    reach = SIGMAS * np.sqrt(np.maximum(spread, 0))
    low, high = np.maximum(mean - reach, 0), np.minimum(mean + reach, np.minimum(a, b))
    return jaccard(mean, a, b), jaccard(low, a, b), jaccard(high, a, b)


def _moments(marked: Any, n: Any, drawn: IntArray) -> tuple[Shares, Shares]:
    """E X and E X² of how many of `marked` are among `drawn` of n."""
    share = marked / np.maximum(n, 1)
    mean = drawn * share
    variance = mean * (1 - share) * (n - drawn) / np.maximum(n - 1, 1)
    return mean, variance + mean**2


@dataclass(frozen=True, eq=False)
class Membership:
    """Which of C subsets each row is in, as one number: bit c is set where subset c takes the row."""

    code: NDArray[np.uint16]  # (N,)
    counts: IntArray  # (2^C,) rows with each code
    subsets: int  # C

    @classmethod
    def from_subsets(cls, subsets: Sequence[IntArray], n: int) -> "Membership":
        """`subsets`: the row numbers of each, of n rows; at most 16."""
        code = np.zeros(n, np.uint16)
        for bit, rows in enumerate(subsets):
            code[rows] |= np.uint16(1 << bit)
        return cls(code, np.bincount(code, minlength=1 << len(subsets)), len(subsets))

    def rows(self, code: int) -> IntArray:
        """The rows in exactly these subsets, ascending."""
        return np.flatnonzero(self.code == code)

    def members(self, code: int) -> list[int]:
        """The subsets that a code names."""
        return [c for c in range(self.subsets) if code >> c & 1]

    def pattern_counts(self) -> list[tuple[int, int]]:
        """(code, rows in exactly these subsets), most rows first; without the rows that no subset takes."""
        there = [(code, int(count)) for code, count in enumerate(self.counts.tolist()) if code and count]
        return sorted(there, key=lambda one: (-one[1], one[0]))

    def shared(self) -> IntArray:
        """(C, C) rows that both of two subsets take; on the diagonal the size of each."""
        codes = np.arange(len(self.counts))
        inside = (codes[None, :] >> np.arange(self.subsets)[:, None]) & 1  # (C, 2^C)
        return (inside * self.counts) @ inside.T

    def jaccard(self) -> Shares:
        """(C, C) overlap of each two; NaN where neither takes a row."""
        shared = self.shared()
        sizes = np.diag(shared)
        return jaccard(shared, sizes[:, None], sizes[None, :])


def rank_correlation_matrix(ranks: Sequence[IntArray]) -> Shares:
    """(C, C) Spearman correlation of each two orders over the rows that both have a place for: 1 = the same order,
    −1 = one is the other turned round. NaN for fewer than three such rows. Of huge pools from evenly spaced rows."""
    found = np.eye(len(ranks))
    for i, j in combinations(range(len(ranks)), 2):
        both = np.flatnonzero((ranks[i] >= 0) & (ranks[j] >= 0))
        both = both[:: -(-len(both) // MAX_CORRELATION_ROWS) or 1]
        enough = len(both) > 2
        found[i, j] = found[j, i] = spearmanr(ranks[i][both], ranks[j][both]).statistic if enough else np.nan
    return found


def normalised_ranks(ranks: IntArray) -> Shares:
    """(N,) how high each row stands: 1 = first, towards 0 = last; NaN for a row without a place."""
    count = max(int((ranks >= 0).sum()), 1)
    return np.where(ranks >= 0, 1 - ranks / count, np.nan)


def disagreements(a: IntArray, b: IntArray, most: int) -> IntArray:
    """The rows that stand much higher in order A than in order B, by how much; at most so many. Ranks are (N,); rows
    that lack a place in either are not among them."""
    apart = normalised_ranks(a) - normalised_ranks(b)
    rows = np.flatnonzero(apart > 0)  # NaN is not
    if len(rows) > most:
        rows = rows[np.argpartition(-apart[rows], most)[: most + 1]]
    return rows[np.lexsort((rows, -apart[rows]))][:most]


def total_variation(counts: IntArray, others: IntArray) -> float:
    """Share of the rows that would have to change their group for two sets to be made up alike: half of Σ |p − q|, from
    0 (alike) to 1 (no group in common). NaN for an empty set."""
    if not counts.sum() or not others.sum():
        return float("nan")
    return float(np.abs(counts / counts.sum() - others / others.sum()).sum() / 2)
