"""Greedy coverage of active neurons: an order of rows in which every prefix covers as much as greedy search can.

    f(S) = Σ_n g(count_n(S))        count_n(S) = rows of S in which neuron n is active; g concave, g(0) = 0

    g = sqrt     √c            further rows with the same neurons count, but less and less
    g = once     min(c, 1)     maximum coverage: how many neurons are active in at least one row
    g = capped   min(c, τ)     τ-fold coverage

f is monotone and submodular, so the first k rows have at least 1 − 1/e of the best f that any k rows have
(Nemhauser, Wolsey, Fisher 1978). `coverage_order` is exactly the order of the plain greedy algorithm, ties to the
earlier row, but evaluates few gains (lazy greedy, Minoux 1978): gains only fall, so an earlier gain is an upper bound,
and a row whose bound is below the best gain is not evaluated. In addition, gain losses are pushed eagerly to the
affected rows, largest first, while that has been no dearer than re-evaluating them: if all rows are about equally
good, all bounds would become stale together.

Steps of g are multiples of GRAIN, so their sums are exact in float64 in any order of addition: a bound that received
every loss is the gain itself, equal gains are equal, and every machine gives the same order.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from core.algorithms.active_neurons import ActiveNeurons, gather_slices
from core.errors import MethodError
from core.schema import NO_ROWS, IntArray, Progress, ignore_progress

Growth = Literal["sqrt", "once", "capped"]
Exact = NDArray[np.float64]

GRAIN = 2.0**-32  # unit of a step of g; steps of √ still fall, by one GRAIN, at a count of a million
MAX_ACTIVE = 1 << 21  # active neurons of one row: float64 holds multiples of GRAIN exactly up to 2^53 of them
FIRST_BATCH = 8  # rows evaluated at once when the leading bound turns out too high; then twice as many, up to CHUNK
CHUNK = 1 << 15  # neurons, or rows that have one, read at once: fits a processor's cache
REPORT_EVERY = 64  # rows selected between two calls of `on_pick`
PART_ROWS = 50_000
SLACK = 1.5
MAX_IN_ONE_SEARCH = 1 << 28  # active neurons of all rows searched in one go, in about 6 GB; more are partitioned
MAX_MERGED = 600_000_000  # active neurons of the rows merged, in about 13 GB: 1.1 million rows of 1,200 in each
PARTITIONED_SHARE = 0.3  # share of the rows ordered by a partitioned search; the paper's core set is 0.15


@dataclass(frozen=True, eq=False)
class CoverageOrder:
    """An order of rows, best first, and the gain of each."""

    rows: IntArray  # (M,) no repeats
    gains: Exact  # (M,) f with the row minus f without it, when it was selected; never rises
    total: float  # f of all rows of the pool

    @property
    def curve(self) -> Exact:
        """(M,) f of the first 1, 2, ... M rows as a share of f of all; NaN if no row has an active neuron."""
        return np.cumsum(self.gains) / (self.total or np.nan)


def coverage_order(
    states: ActiveNeurons,
    length: int | None = None,
    *,
    g: Growth = "sqrt",
    tau: float = 1,
    start: IntArray | None = None,
    on_pick: Progress = ignore_progress,
) -> CoverageOrder:
    """Compute the first `length` rows of the greedy order (all, if there are no more); ties go to the earlier row.

    A shorter length gives a prefix of a longer one. Rows that add nothing come last, in the order of the pool.
    `start` (neurons,): the number of rows, selected before these, in which each neuron is active; None: 0. `tau` is for
    g = "capped". Raises MethodError for an unknown g, for τ ≤ 0, and for a row with MAX_ACTIVE neurons or more.
    """
    size = len(states) if length is None else min(length, len(states))
    before = 0 if start is None else int(start.max(initial=0))
    search = _Search(states, growth_steps(g, tau, before + len(states)), start)
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
    rows: IntArray | None = None,
    *,
    merged: int | None = None,
    part_rows: int = PART_ROWS,
    slack: float = SLACK,
    g: Growth = "sqrt",
    tau: float = 1,
    start: IntArray | None = None,
    on_pick: Progress = ignore_progress,
) -> CoverageOrder:
    """Approximate the greedy order of `rows` (all by default) without holding all active neurons: partition and merge.

    1. The i-th row goes to part i mod P, P = ⌈N / part_rows⌉, so parts are similar even if the pool is sorted.
    2. Each part is searched on its own, up to ⌈slack · length / P⌉ rows.
    3. The rows found in all parts are searched together, up to `length`.

    In memory at once: a part, then slack · length rows. If `merged` is less than `length`, step 3 searches the
    slack · merged rows of most gain in their parts, up to `merged`; the others follow by their gain in their part,
    scaled to continue the gains before. All other gains are exact for the order returned.
    Nothing is random; with one part this is `coverage_order`. Another `length` may give another order.
    The scheme is GreeDi (Mirzasoleiman et al. 2013, https://arxiv.org/abs/1411.0541) with parts that contribute
    their share of the budget; `python -m bench.coverage` and `bench.scale` measure the loss.
    """
    rows = np.arange(len(states)) if rows is None else rows
    length = min(length, len(rows))
    merged = length if merged is None else min(merged, length)
    parts = max(1, -(-len(rows) // part_rows))
    part_length = int(np.ceil(slack * length / parts)) if parts > 1 else length
    work = parts * part_length + merged
    found, gains = [], []
    for part in range(parts):
        some = rows[part::parts]
        cover = coverage_order(states.take(some), part_length, g=g, tau=tau, start=start)
        found.append(some[cover.rows])
        gains.append(cover.gains)
        on_pick((part + 1) * part_length, work)
    candidates, gain = np.concatenate(found), np.concatenate(gains)
    total = total_coverage(states, rows, g=g, tau=tau)
    if parts == 1:
        return CoverageOrder(candidates, gain, total)
    best = np.lexsort((candidates, -gain))
    candidates, gain = candidates[best], gain[best]
    merging = np.sort(candidates if merged == length else candidates[: int(np.ceil(slack * merged))])
    options: dict[str, Any] = {"g": g, "tau": tau, "start": start}
    front = coverage_order(
        states.take(merging), merged, **options, on_pick=lambda done, _: on_pick(parts * part_length + done, work)
    )
    first = merging[front.rows]
    after = np.flatnonzero(~np.isin(candidates, first))[: length - merged]
    scale = front.gains[-1] / gain[after[0]] if len(after) and gain[after[0]] > 0 else 0.0
    return CoverageOrder(np.append(first, candidates[after]), np.append(front.gains, scale * gain[after]), total)


def coverage_gains(
    states: ActiveNeurons,
    rows: IntArray,
    *,
    used: IntArray = NO_ROWS,
    g: Growth = "sqrt",
    tau: float = 1,
    max_in_one_search: int = MAX_IN_ONE_SEARCH,
    max_merged: int = MAX_MERGED,
    on_pick: Progress = ignore_progress,
) -> Exact:
    """Return (N,) the gain of each of `rows` (ascending) in their greedy order; NaN for other rows. High = early.

    Sorting by gain, highest first, ties to the earlier row, gives the greedy order back: gains never rise along it, and
    of rows with equal gains the earlier one was selected first. Where the rows have more than `max_in_one_search`
    active neurons in total, the first PARTITIONED_SHARE are ordered by `partitioned_order`, which merges
    `merged_rows` of them; each other row gets its marginal gain over those, never above the last of them.
    `used`: rows, none of `rows`, that are selected before them.
    """
    start = states.counts(used) if len(used) else None
    merged = merged_rows(states, rows, max_in_one_search, max_merged)
    if merged == len(rows):
        eligible = states if merged == len(states) else states.take(rows)
        cover = coverage_order(eligible, g=g, tau=tau, start=start, on_pick=on_pick)
        ordered = rows[cover.rows]
    else:
        length = int(np.ceil(PARTITIONED_SHARE * len(rows)))
        part_rows = min(PART_ROWS, _rows_within(states, rows, max_in_one_search))
        options = {"part_rows": part_rows, "merged": merged}
        cover = partitioned_order(states, length, rows, **options, g=g, tau=tau, start=start, on_pick=on_pick)
        ordered = cover.rows
    gains = np.full(len(states), np.nan)
    gains[ordered] = cover.gains
    rest = rows[np.isnan(gains[rows])]
    if len(rest):
        steps = np.append(growth_steps(g, tau, len(rows) + len(used)), 0.0)
        weight = steps[states.counts(np.concatenate([used, ordered]))]
        gains[rest] = np.minimum(states.weighted_sums(weight, rest), cover.gains[-1])
    return gains


def merged_rows(
    states: ActiveNeurons, rows: IntArray, max_in_one_search: int = MAX_IN_ONE_SEARCH, max_merged: int = MAX_MERGED
) -> int:
    """Return how many of `rows` are ordered by a search that sees all parts: all, if one search holds them.

    Else PARTITIONED_SHARE of them, or as many as a merge holds: 3.3% of 10 million rows with 1,200 active neurons.
    """
    if _rows_within(states, rows, max_in_one_search) >= len(rows):
        return len(rows)
    room = int(_rows_within(states, rows, max_merged) / SLACK)
    return max(1, min(int(np.ceil(PARTITIONED_SHARE * len(rows))), room))


def _rows_within(states: ActiveNeurons, rows: IntArray, active: int) -> int:
    """Return how many of `rows`, of average size, have this many active neurons in total; at least 1."""
    total = int((states.indptr[rows + 1] - states.indptr[rows]).sum())
    return max(1, len(rows) * active // max(1, total))


def total_coverage(states: ActiveNeurons, rows: IntArray | None = None, *, g: Growth = "sqrt", tau: float = 1) -> float:
    """Compute f of these rows, without repeats; None: of all rows."""
    height = np.append(0.0, np.cumsum(growth_steps(g, tau, len(states))))
    return float(height[states.counts(np.arange(len(states)) if rows is None else rows)].sum())


def growth_steps(g: Growth, tau: float, n: int) -> Exact:
    """Return (n,) g(c + 1) − g(c) for c = 0 to n − 1, rounded to multiples of GRAIN; never rises: g is concave."""
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
    """State of the greedy search. bound[i] is never below the gain of row i, and −∞ once it is selected."""

    def __init__(self, states: ActiveNeurons, step: Exact, start: IntArray | None) -> None:
        sizes = np.diff(states.indptr)
        if len(sizes) and sizes.max() >= MAX_ACTIVE:
            raise MethodError(
                f"Coverage: a row has {sizes.max():,} active neurons, and at most {MAX_ACTIVE - 1:,} can be "
                "counted exactly. Lower the share of active neurons."
            )
        self._states, self._step = states, np.append(step, 0.0)
        self._count = np.zeros(states.neurons, np.int64) if start is None else start.copy()
        self._weight = self._step[self._count]  # what one more row with each neuron gains
        everywhere = np.arange(len(states))
        self._bound = sizes * self._step[0] if start is None else states.weighted_sums(self._weight, everywhere)
        self._rows_by_neuron, self._starts = rows_by_neuron(states)
        self._evaluated = self._pushed = 0  # neurons read while evaluating gains, and while pushing losses
        # rows evaluated for the last selection that needed it
        self._last_evaluated = np.zeros(min(1, len(states)), np.int64)
        self._max_batch = max(1, CHUNK * len(states) // max(1, len(states.indices)))

    def left(self) -> IntArray:
        """Return the rows not selected yet, ascending."""
        return np.flatnonzero(self._bound >= 0)

    def best(self) -> tuple[int, float]:
        """Return the row with the highest gain, the earliest of them, and its gain."""
        leader = int(self._bound.argmax())
        self._evaluate(np.array([leader]))
        if self._bound.argmax() != leader:
            self._evaluate_rivals(leader)
            leader = int(self._bound.argmax())
        return leader, float(self._bound[leader])

    def _evaluate_rivals(self, leader: int) -> None:
        """Evaluate all rows whose bound puts them before the best gain so far, highest bounds first.

        The best row of the previous evaluation goes first: most likely few others remain after it.
        """
        second = self._last_evaluated[self._bound[self._last_evaluated].argmax()]
        self._evaluate(np.array([second]))
        best_so_far = min((-self._bound[row], row) for row in (leader, second))  # the smaller comes first
        rivals = np.flatnonzero(self._bound >= -best_so_far[0])
        rivals = rivals[np.argsort(-self._bound[rivals], kind="stable")]
        start, size = 0, FIRST_BATCH
        while start < len(rivals) and (-self._bound[rivals[start]], rivals[start]) < best_so_far:
            batch = rivals[start : start + size]
            self._evaluate(batch)
            best = batch[np.lexsort((batch, -self._bound[batch]))[0]]
            best_so_far = min(best_so_far, (-self._bound[best], best))
            start, size = start + size, min(2 * size, self._max_batch)
        self._last_evaluated = np.append(rivals[:start], [leader, second])

    def _evaluate(self, rows: IntArray) -> None:
        """Set the bounds of these rows to their gains. A row without neurons has the gain 0 from the start."""
        rows = rows[self._bound[rows] > 0]
        if len(rows):
            active = gather_slices(self._states.indices, self._states.indptr, rows, np.intp)
            sizes = self._states.indptr[rows + 1] - self._states.indptr[rows]
            weights = self._weight.take(active, mode="clip")  # all are in range; "clip" skips the check
            self._bound[rows] = np.add.reduceat(weights, np.cumsum(sizes) - sizes)
            self._evaluated += len(active)

    def choose(self, row: int) -> None:
        """Select the row and push the loss of gain to other rows."""
        active = self._states.row(row)
        self._count[active] += 1
        loss = self._weight[active] - self._step[self._count[active]]
        self._weight[active] -= loss
        self._bound[row] = -np.inf
        self._push_losses(active, loss)

    def _push_losses(self, active: NDArray[np.uint32], loss: Exact) -> None:
        """Lower the bounds of rows with these neurons by each neuron's loss, within the cost of evaluations so far."""
        largest = np.argsort(-loss, kind="stable")[: np.count_nonzero(loss)]
        cost = np.cumsum(self._starts[active[largest] + 1] - self._starts[active[largest]])
        affordable = int(np.searchsorted(cost, self._evaluated - self._pushed, side="right"))
        if affordable:
            self._pushed += int(cost[affordable - 1])
            cuts = np.searchsorted(cost[:affordable], np.arange(CHUNK, cost[affordable - 1], CHUNK))
            for chunk in np.split(largest[:affordable], cuts):
                rows = gather_slices(self._rows_by_neuron, self._starts, active[chunk], np.intp)
                amount = np.repeat(loss[chunk], self._starts[active[chunk] + 1] - self._starts[active[chunk]])
                np.subtract.at(self._bound, rows, amount)


def rows_by_neuron(states: ActiveNeurons) -> tuple[NDArray[np.int32], IntArray]:
    """Return the rows in which each neuron is active, ascending, concatenated; and (neurons + 1,) where each begins."""
    shape = (len(states), states.neurons)
    ones = np.ones(len(states.indices), np.int8)
    transposed = csr_array((ones, states.indices, states.indptr), shape=shape).tocsc()
    return transposed.indices, transposed.indptr.astype(np.int64)
