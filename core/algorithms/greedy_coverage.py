"""Greedy coverage of activation states: an order of rows in which every prefix covers as much as greedy can.

    f(S) = Σ_n g(count_n(S))        count_n(S) = rows of S in which neuron n is on; g concave, g(0) = 0

    g = sqrt     √c            further rows with the same neurons count, but less and less
    g = once     min(c, 1)     maximum coverage: how many neurons are on in at least one row
    g = capped   min(c, τ)     τ-fold coverage

f is monotone and submodular, so the first k rows have at least 1 − 1/e of the best f that any k rows have
(Nemhauser, Wolsey, Fisher 1978). `coverage_order` is exactly the order of the plain greedy algorithm, ties to the
earlier row, but asks for few gains (lazy greedy, Minoux 1978): gains only fall, so one computed earlier is an upper
bound, and a row whose bound is below the best gain found is not asked. Besides, what a chosen row takes from the
gains of others is told to them, the largest losses first, for as long as telling has cost no more than asking:
where all rows are about equally good, all bounds would go stale together.

Steps of g are multiples of GRAIN, so their sums are exact in float64 in whatever order they are added: a bound that
was told of every loss is the gain itself, equal gains are equal, and every machine gives the same order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from core.algorithms.active_neurons import ActiveNeurons, gather_slices
from core.errors import MethodError
from core.schema import IntArray, Progress, ignore_progress

Growth = Literal["sqrt", "once", "capped"]
Exact = NDArray[np.float64]

GRAIN = 2.0**-32  # of a step of g; those of √ still fall, by one GRAIN, at a count of a million
MAX_ACTIVE = 1 << 21  # neurons on in one row: float64 holds multiples of GRAIN below 2^53 of them exactly
FIRST_BATCH = 8  # rows asked at once when the leading bound turns out too high; then twice as many, up to CHUNK
CHUNK = 1 << 15  # neurons, or rows that have one, read at once: what stays in a processor's cache
REPORT_EVERY = 64  # rows chosen between two calls of `on_pick`
PART_ROWS = 50_000
SLACK = 1.5
MAX_IN_ONE_SEARCH = (
    1 << 28
)  # neurons on in all rows together that are searched at once, in about 6 GB; more go in parts
PARTITIONED_SHARE = 0.3  # of the rows that are put in order in parts; the paper's core set is 0.15


@dataclass(frozen=True, eq=False)
class CoverageOrder:
    """An order of rows, best first, and what each of them added."""

    rows: IntArray  # (M,) no repeats
    gains: Exact  # (M,) f with the row less f without it, when it was chosen; never rises
    total: float  # f of all rows of the pool

    @property
    def curve(self) -> Exact:
        """(M,) f of the first 1, 2, ... M rows as a share of f of all; NaN where no row has a neuron on."""
        return np.cumsum(self.gains) / (self.total or np.nan)


def coverage_order(
    states: ActiveNeurons,
    length: int | None = None,
    *,
    g: Growth = "sqrt",
    tau: float = 1,
    on_pick: Progress = ignore_progress,
) -> CoverageOrder:
    """The first `length` rows of the greedy order (all, if there are no more); ties to the earlier row.

    A shorter length gives a prefix of a longer one. Rows that add nothing come last, in the order of the pool.
    `tau` is for g = "capped". MethodError for an unknown g, for a τ not above 0, and for rows of MOST_ON neurons.
    """
    size = len(states) if length is None else min(length, len(states))
    search = _Search(states, growth_steps(g, tau, len(states)))
    rows, gains = np.empty(size, np.int64), np.zeros(size)
    for place in range(size):
        best, gain = search.best()
        if gain == 0:
            rows[place:] = search.left()[: size - place]
            break
        rows[place], gains[place] = best, gain
        search.choose(best)
        if place % REPORT_EVERY == 0:
            on_pick(place, size)
    on_pick(size, size)
    return CoverageOrder(rows, gains, total_coverage(states, g=g, tau=tau))


def partitioned_order(
    states: ActiveNeurons,
    length: int,
    *,
    part_rows: int = PART_ROWS,
    slack: float = SLACK,
    g: Growth = "sqrt",
    tau: float = 1,
    on_pick: Progress = ignore_progress,
) -> CoverageOrder:
    """About the greedy order, for pools whose states shall not be in memory at once: partition, then merge.

    1. Row i goes to part i mod P, P = ⌈N / part_rows⌉: parts are alike even if the pool is sorted.
    2. Of each part by itself, the greedy order to ⌈slack · length / P⌉ rows.
    3. Of all rows that a part has put forward, the greedy order to `length`.

    In memory at once: a part, then slack · length rows. Gains and curve are exactly those of the order it gives.
    Nothing is random; with one part this is `coverage_order`. Another `length` may give another order.
    The scheme is GreeDi (Mirzasoleiman et al. 2013, https://arxiv.org/abs/1411.0541) with parts that put forward
    their share of the budget; `python -m bench.coverage` says what it loses.
    """
    length = min(length, len(states))
    parts = max(1, -(-len(states) // part_rows))
    if parts == 1:
        return coverage_order(states, length, g=g, tau=tau, on_pick=on_pick)
    share = int(np.ceil(slack * length / parts))
    work = parts * share + length
    forward = []
    for part in range(parts):
        rows = np.arange(part, len(states), parts)
        forward.append(rows[coverage_order(states.take(rows), share, g=g, tau=tau).rows])
        on_pick((part + 1) * share, work)
    rows = np.sort(np.concatenate(forward))
    merged = coverage_order(
        states.take(rows), length, g=g, tau=tau, on_pick=lambda done, _: on_pick(parts * share + done, work)
    )
    return CoverageOrder(rows[merged.rows], merged.gains, total_coverage(states, g=g, tau=tau))


def coverage_gains(
    states: ActiveNeurons,
    rows: IntArray,
    *,
    g: Growth = "sqrt",
    tau: float = 1,
    max_in_one_search: int = MAX_IN_ONE_SEARCH,
    on_pick: Progress = ignore_progress,
) -> Exact:
    """(N,) what each of `rows` (ascending) adds in the greedy order of these rows; NaN for the others. High = early.

    Highest first, ties to the earlier row, is the greedy order again: gains never rise along it, and of rows with
    equal gains the earlier one was chosen first. of pools with more than `max_in_one_search` neurons on, the first
    PARTED_SHARE is put in order by `partitioned_order`; the rest by what each row would add to those, and never
    above the last of them.
    """
    some = states if len(rows) == len(states) else states.take(rows)
    if len(some.indices) <= max_in_one_search:
        cover = coverage_order(some, g=g, tau=tau, on_pick=on_pick)
    else:
        length = int(np.ceil(PARTITIONED_SHARE * len(some)))
        cover = partitioned_order(some, length, g=g, tau=tau, on_pick=on_pick)
    gains = np.full(len(states), np.nan)
    gains[rows[cover.rows]] = cover.gains
    rest = np.setdiff1d(np.arange(len(some)), cover.rows)
    if len(rest):
        gains[rows[rest]] = np.minimum(marginal_gains(some, cover.rows, rest, g=g, tau=tau), cover.gains[-1])
    return gains


def marginal_gains(
    states: ActiveNeurons, chosen: IntArray, rows: IntArray, *, g: Growth = "sqrt", tau: float = 1
) -> Exact:
    """(R,) what each of `rows` alone would add to those chosen."""
    weight = np.append(growth_steps(g, tau, len(states)), 0.0)[states.counts(chosen)]
    return states.weighted_sums(weight, rows)


def coverage_curve(
    states: ActiveNeurons, rows: IntArray, at: Sequence[int] | IntArray, *, g: Growth = "sqrt", tau: float = 1
) -> Exact:
    """f of the first at[0], at[1], ... of `rows` as a share of f of all rows; any order of rows, `at` ascending.

    NaN where no row has a neuron on. Reads each row once, however many lengths are asked for.
    """
    height = np.append(0.0, np.cumsum(growth_steps(g, tau, len(states))))
    counts = np.zeros(states.neurons, np.int64)
    covered = np.empty(len(at))
    for place, (start, stop) in enumerate(zip([0, *at[:-1]], at, strict=True)):
        counts += states.counts(rows[start:stop])
        covered[place] = height[counts].sum()
    return covered / (total_coverage(states, g=g, tau=tau) or np.nan)


def total_coverage(states: ActiveNeurons, *, g: Growth = "sqrt", tau: float = 1) -> float:
    """f of all rows."""
    height = np.append(0.0, np.cumsum(growth_steps(g, tau, len(states))))
    return float(height[states.counts(np.arange(len(states)))].sum())


def growth_steps(g: Growth, tau: float, n: int) -> Exact:
    """(n,) g(c + 1) − g(c) for c = 0 to n − 1, each to the nearest GRAIN; never rises, as g is concave."""
    count = np.arange(n + 1, dtype=np.float64)
    if g == "sqrt":
        heights = np.sqrt(count)
    elif g == "once":
        heights = np.minimum(count, 1)
    elif g == "capped" and tau > 0:
        heights = np.minimum(count, tau)
    elif g == "capped":
        raise MethodError(f"Coverage: tau must be above 0, not {tau!r}.")
    else:
        raise MethodError(f"Coverage: g must be one of sqrt, once, capped, not {g!r}.")
    return np.asarray(np.rint(np.diff(heights) / GRAIN) * GRAIN)


class _Search:
    """The greedy search under way. bound[i] is never below the gain of row i, and −∞ once it is chosen."""

    def __init__(self, states: ActiveNeurons, step: Exact) -> None:
        sizes = np.diff(states.indptr)
        if len(sizes) and sizes.max() >= MAX_ACTIVE:
            raise MethodError(
                f"Coverage: a row has {sizes.max():,} neurons on, and at most {MAX_ACTIVE - 1:,} can be "
                "counted exactly. "
                "Choose a smaller share of neurons."
            )
        self._states, self._step = states, np.append(step, 0.0)
        self._count = np.zeros(states.neurons, np.int64)
        self._weight = np.full(states.neurons, self._step[0])  # what a row gains by a neuron, now
        self._bound = sizes * self._step[0]
        self._holders, self._ends = rows_by_neuron(states)
        self._asked = self._told = 0  # neurons read for the one and the other
        self._recent = np.zeros(min(1, len(states)), np.int64)  # rows asked for the last choice that needed it
        self._most = max(1, CHUNK * len(states) // max(1, len(states.indices)))

    def left(self) -> IntArray:
        """Rows not chosen yet, ascending."""
        return np.flatnonzero(self._bound >= 0)

    def best(self) -> tuple[int, float]:
        """The row with the highest gain, the earliest of them, and its gain."""
        leader = int(self._bound.argmax())
        self._ask(np.array([leader]))
        if self._bound.argmax() != leader:
            self._ask_rivals(leader)
            leader = int(self._bound.argmax())
        return leader, float(self._bound[leader])

    def _ask_rivals(self, leader: int) -> None:
        """Ask all rows whose bound puts them before the best gain found so far, highest bounds first.

        The best of those asked for the last choice is asked ahead of them: most likely it leaves few of the others.
        """
        second = self._recent[self._bound[self._recent].argmax()]
        self._ask(np.array([second]))
        found = min((-self._bound[row], row) for row in (leader, second))  # the smaller is to be chosen first
        rivals = np.flatnonzero(self._bound >= -found[0])
        rivals = rivals[np.argsort(-self._bound[rivals], kind="stable")]
        start, size = 0, FIRST_BATCH
        while start < len(rivals) and (-self._bound[rivals[start]], rivals[start]) < found:
            some = rivals[start : start + size]
            self._ask(some)
            best = some[np.lexsort((some, -self._bound[some]))[0]]
            found = min(found, (-self._bound[best], best))
            start, size = start + size, min(2 * size, self._most)
        self._recent = np.append(rivals[:start], [leader, second])

    def _ask(self, rows: IntArray) -> None:
        """Set the bounds of these rows to their gains. A row without neurons has the gain 0 from the start."""
        rows = rows[self._bound[rows] > 0]
        if len(rows):
            on = gather_slices(self._states.indices, self._states.indptr, rows, np.intp)
            sizes = self._states.indptr[rows + 1] - self._states.indptr[rows]
            weights = self._weight.take(on, mode="clip")  # all are in range; "clip" does not look again
            self._bound[rows] = np.add.reduceat(weights, np.cumsum(sizes) - sizes)
            self._asked += len(on)

    def choose(self, row: int) -> None:
        """Take the row, and tell others what it takes from their gains."""
        on = self._states.row(row)
        self._count[on] += 1
        lost = self._weight[on] - self._step[self._count[on]]
        self._weight[on] -= lost
        self._bound[row] = -np.inf
        self._tell(on, lost)

    def _tell(self, on: NDArray[np.uint32], lost: Exact) -> None:
        """Lower the bounds of rows with these neurons by what each neuron lost, as far as asking has paid for it."""
        largest = np.argsort(-lost, kind="stable")[: np.count_nonzero(lost)]
        cost = np.cumsum(self._ends[on[largest] + 1] - self._ends[on[largest]])
        paid = int(np.searchsorted(cost, self._asked - self._told, side="right"))
        if paid:
            self._told += int(cost[paid - 1])
            cuts = np.searchsorted(cost[:paid], np.arange(CHUNK, cost[paid - 1], CHUNK))
            for some in np.split(largest[:paid], cuts):
                rows = gather_slices(self._holders, self._ends, on[some], np.intp)
                amount = np.repeat(lost[some], self._ends[on[some] + 1] - self._ends[on[some]])
                np.subtract.at(self._bound, rows, amount)


def rows_by_neuron(states: ActiveNeurons) -> tuple[NDArray[np.int32], IntArray]:
    """For each neuron the rows in which it is on, ascending, end to end; and (neurons + 1,) where each begins."""
    shape = (len(states), states.neurons)
    ones = np.ones(len(states.indices), np.int8)
    turned = csr_array((ones, states.indices, states.indptr), shape=shape).tocsc()
    return turned.indices, turned.indptr.astype(np.int64)
