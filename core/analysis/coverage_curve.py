"""How much of what the whole pool switches on the first k rows of an order reach, for any k. Arrays only.

    f(S) / f(pool),  f(S) = Σ_n g(count_n(S))      (core/algorithms/greedy_coverage.py)

Counting is the slow part, and goes once along an order, with the counts kept at some lengths: what lies between two
of them is counted when it is asked for.
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
MAX_ACTIVE_NEURONS = 1 << 29  # neurons on that random orders may have to count, over all of them: a few seconds
MAX_ORDERS = 20
MIN_ORDERS = 3


@dataclass(frozen=True, eq=False)
class PoolCoverage:
    """f of one pool's states, for one g."""

    states: ActiveNeurons
    height: NDArray[Any]  # (N + 1,) g(0), g(1), ...
    whole: float  # f(pool); 0: no row has a neuron on

    @classmethod
    def of(cls, states: ActiveNeurons, growth: Growth, tau: float) -> "PoolCoverage":
        """Counts the whole pool once."""
        height = np.append(0.0, np.cumsum(growth_steps(growth, tau, len(states))))
        return cls(states, height, float(height[states.counts(np.arange(len(states)))].sum()))

    def share(self, counts: NDArray[np.integer]) -> float:
        """f of rows that have each neuron on so often, (neurons,), over f(pool)."""
        return float(self.height[counts].sum()) / self.whole if self.whole else float("nan")


@dataclass(frozen=True, eq=False)
class CoverageCurve:
    """One order, with its counts at some lengths."""

    yard: PoolCoverage
    rows: IntArray  # (M,)
    at: IntArray  # (A,) lengths, ascending, the last is M
    counts: NDArray[Any]  # (A, neurons) int32
    shares: NDArray[Any]  # (A,) 0..1

    def reached(self, k: int) -> float:
        """Exactly what the first k rows reach."""
        before = int(np.searchsorted(self.at, k, side="right"))
        start = int(self.at[before - 1]) if before else 0
        more = self.yard.states.counts(self.rows[start:k])
        return self.yard.share(more + self.counts[before - 1] if before else more)


def trace_curve(yard: PoolCoverage, rows: IntArray, at: IntArray) -> CoverageCurve:
    """Count once along `rows`. `at` ends with their number."""
    kept = np.empty((len(at), yard.states.neurons), np.int32)
    for place, counts in enumerate(_running(yard.states, rows, at)):
        kept[place] = counts
    return CoverageCurve(yard, rows, at, kept, np.array([yard.share(counts) for counts in kept]))


def _running(states: ActiveNeurons, rows: IntArray, at: IntArray) -> Iterator[IntArray]:
    """The counts, (neurons,), of the first at[0], at[1], ... of `rows`; one array, that goes on counting."""
    counts = np.zeros(states.neurons, np.int64)
    for start, stop in pairwise([0, *at]):
        counts += states.counts(rows[start:stop])
        yield counts


def random_curves(yard: PoolCoverage, orders: Sequence[IntArray], at: IntArray) -> NDArray[Any]:
    """(S, A) what random orders, of one length, reach; of as many of them as WORK allows."""
    if not orders or not len(at):
        return np.empty((0, len(at)))
    drawn = orders[: count_affordable_orders(int(np.diff(yard.states.indptr)[orders[0]].sum()), len(orders))]
    return np.array([[yard.share(counts) for counts in _running(yard.states, rows, at)] for rows in drawn])


def count_affordable_orders(on: int, most: int = MAX_ORDERS, work: int = MAX_ACTIVE_NEURONS) -> int:
    """How many random orders to count, of rows with so many neurons on in all."""
    return min(most, max(MIN_ORDERS, work // max(on, 1)))


def curve_lengths(length: int, count: int = MAX_LENGTHS) -> IntArray:
    """Up to `count` lengths from 1 to `length`, ascending and with it: denser where they are small."""
    places = np.ceil(length * (np.arange(1, count + 1) / count) ** 2).astype(np.int64)
    return np.unique(places[places > 0])


def interpolate(at: IntArray, shares: NDArray[Any], k: float) -> NDArray[Any]:
    """What lies at k, of curves (..., A) that begin at 0; on a scale of √k, where they are nearly straight."""
    x, start = np.sqrt(np.append(0, at)), np.zeros((*shares.shape[:-1], 1))
    curves = np.concatenate([start, shares], axis=-1).reshape(-1, len(x))
    found: NDArray[Any] = np.array([np.interp(np.sqrt(k), x, curve) for curve in curves]).reshape(shares.shape[:-1])
    return found


def find_length(at: IntArray, shares: NDArray[Any], share: float) -> float:
    """At what length a curve (A,) reaches `share`; NaN where it never does."""
    if not len(shares) or share > shares[-1]:
        return float("nan")
    return float(np.interp(share, np.append(0.0, shares), np.sqrt(np.append(0, at))) ** 2)
