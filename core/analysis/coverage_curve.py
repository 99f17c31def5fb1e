"""Coverage curves: the share of the pool's coverage that the first k rows of an order reach. Arrays only.

    f(S) / f(pool),  f(S) = Σ_n g(count_n(S))      (core/algorithms/greedy_coverage.py)

Counting is slow, so it runs once along an order and stores the counts at some lengths. Other lengths start from the
nearest stored counts below them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.algorithms.active_neurons import ActiveNeurons
from core.algorithms.greedy_coverage import Growth, growth_steps
from core.schema import IntArray

MAX_LENGTHS = 25
MAX_ACTIVE_NEURONS = 1 << 29  # active neurons to count over all random orders together: a few seconds
MAX_ORDERS = 20
MIN_ORDERS = 3


@dataclass(frozen=True, eq=False)
class PoolCoverage:
    """Coverage f of one pool's activations, for one g."""

    active: ActiveNeurons
    value_of_count: NDArray[Any]  # (N + 1,) g(0), g(1), ...
    total: float  # f(pool); 0 if no row has an active neuron

    @classmethod
    def of(cls, active: ActiveNeurons, growth: Growth, tau: float) -> "PoolCoverage":
        """Count the active neurons of the whole pool."""
        values = np.append(0.0, np.cumsum(growth_steps(growth, tau, len(active))))
        return cls(active, values, float(values[active.counts(np.arange(len(active)))].sum()))

    def share(self, counts: NDArray[np.integer]) -> float:
        """Return f / f(pool) for `counts` (neurons,), the number of rows in which each neuron is active."""
        return float(self.value_of_count[counts].sum()) / self.total if self.total else float("nan")


@dataclass(frozen=True, eq=False)
class CoverageCurve:
    """One order with its neuron counts at some lengths."""

    coverage: PoolCoverage
    rows: IntArray  # (M,)
    lengths: IntArray  # (A,) ascending; the last is M
    counts: NDArray[Any]  # (A, neurons) int32
    shares: NDArray[Any]  # (A,) 0..1

    def share_at(self, k: int) -> float:
        """Return the exact share that the first k rows reach."""
        before = int(np.searchsorted(self.lengths, k, side="right"))
        start = int(self.lengths[before - 1]) if before else 0
        added = self.coverage.active.counts(self.rows[start:k])
        return self.coverage.share(added + self.counts[before - 1] if before else added)


def trace_curve(coverage: PoolCoverage, rows: IntArray, at: IntArray) -> CoverageCurve:
    """Count neurons along `rows` once. The last of the lengths `at` is len(rows)."""
    counts = np.empty((len(at), coverage.active.neurons), np.int32)
    for place, current in enumerate(_cumulative_counts(coverage.active, rows, at)):
        counts[place] = current
    return CoverageCurve(coverage, rows, at, counts, np.array([coverage.share(row) for row in counts]))


def _cumulative_counts(active: ActiveNeurons, rows: IntArray, at: IntArray) -> Iterator[IntArray]:
    """Yield the counts, (neurons,), of the first at[0], at[1], ... of `rows`; one array, updated in place."""
    counts = np.zeros(active.neurons, np.int64)
    for start, stop in pairwise([0, *at]):
        counts += active.counts(rows[start:stop])
        yield counts


def random_curves(coverage: PoolCoverage, orders: Sequence[IntArray], at: IntArray) -> NDArray[Any]:
    """Compute the shares, (S, A), that random orders of equal length reach, for as many orders as the limit allows."""
    if not orders or not len(at):
        return np.empty((0, len(at)))
    counted = orders[: count_affordable_orders(int(np.diff(coverage.active.indptr)[orders[0]].sum()), len(orders))]
    return np.array(
        [[coverage.share(counts) for counts in _cumulative_counts(coverage.active, rows, at)] for rows in counted]
    )


def count_affordable_orders(active: int, limit: int = MAX_ORDERS, work: int = MAX_ACTIVE_NEURONS) -> int:
    """Return how many random orders to count if each has `active` active neurons in total."""
    return min(limit, max(MIN_ORDERS, work // max(active, 1)))


def curve_lengths(length: int, count: int = MAX_LENGTHS) -> IntArray:
    """Return up to `count` ascending lengths from 1 to `length`, denser at the low end; the last is `length`."""
    places = np.ceil(length * (np.arange(1, count + 1) / count) ** 2).astype(np.int64)
    return np.unique(places[places > 0])


def interpolate(at: IntArray, shares: NDArray[Any], k: float) -> NDArray[Any]:
    """Interpolate curves (..., A) that start at 0 at length k, on a √k scale where they are nearly straight."""
    x, start = np.sqrt(np.append(0, at)), np.zeros((*shares.shape[:-1], 1))
    curves = np.concatenate([start, shares], axis=-1).reshape(-1, len(x))
    return np.array([np.interp(np.sqrt(k), x, curve) for curve in curves]).reshape(shares.shape[:-1])


def find_length(at: IntArray, shares: NDArray[Any], share: float) -> float:
    """Return the length at which a curve (A,) reaches `share`; NaN if it never does."""
    if not len(shares) or share > shares[-1]:
        return float("nan")
    return float(np.interp(share, np.append(0.0, shares), np.sqrt(np.append(0, at))) ** 2)
