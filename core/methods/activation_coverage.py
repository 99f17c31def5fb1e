"""Activation coverage: rows that together activate as many of the model's neurons as possible.

    active    the k neurons of each feed-forward layer with the highest mean over the row's response tokens;
              k is a share of the layer's width (core/models/activations.py)
    f(S)      Σ_n g(count_n(S)), count_n(S) = rows of S in which neuron n is active; g concave
              (core/algorithms/greedy_coverage.py)
    gain      f with the row minus f without it, when greedy search selected it: high is early

Greedy search repeatedly takes the row with the highest gain; no subset of k rows has an f that is more than
1 / (1 − 1/e) = 1.58 times that of its first k. A row similar to rows selected earlier has little gain, however good it
is by itself: the method favours variety, not quality.

Source: MADS, https://arxiv.org/abs/2605.30857. Its abstract fixes "activation states", "coverage-based" selection and
a core set of 15%. The mean over response tokens, k = 1% of a layer and g = √ are this project's reading.

The gains of the whole pool are measured once, with the active neurons; under a filter the search runs again over the
eligible rows, because other rows give another order. If some rows are used already, it begins with their counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from core.algorithms.active_neurons import ActiveNeurons
from core.algorithms.greedy_coverage import coverage_gains, total_coverage
from core.methods.params import BaseMethod, measure_param, number, option
from core.methods.ranking import exclusions, missing_response, rank_rows, split_eligible
from core.schema import NO_ROWS, BoolArray, IntArray, Measured, Order, Prefer, Progress, ignore_progress


@dataclass(frozen=True)
class ActivationCoverage(BaseMethod):
    """Greedy coverage of the model's neurons (MADS)."""

    name: ClassVar[str] = "activation_coverage"
    label: ClassVar[str] = "Activation coverage"
    paper: ClassVar[str] = "MADS"
    summary: ClassVar[str] = (
        "Selects rows that together activate as many different neurons of the model as possible, "
        "so that they repeat each other least."
    )
    needs: ClassVar[tuple[str, ...]] = ("tokens", "base", "activations")
    ranks_by: ClassVar[str] = "coverage_gain"  # in the greedy order
    prefer: ClassVar[Prefer] = "high"  # rows that added most come first

    share: float = measure_param(
        number(0.01, 0.0001, 0.5, label="Active neurons per layer"),
        "Share of each layer's neurons that counts as active in a row: those with the highest values.",
    )
    tokens: Literal["response", "all"] = measure_param(
        option("response", words={"response": "response tokens", "all": "all tokens"}),
        "Tokens over which a neuron's value is averaged. With all tokens, rows need no response.",
    )
    growth: Literal["sqrt", "once", "capped"] = measure_param(
        option("sqrt", label="Growth g", words={"sqrt": "√c", "once": "1 for any c", "capped": "c up to τ"}),
        "Coverage g(c) of a neuron that is active in c selected rows.",
        minor=True,
    )
    tau: int = measure_param(
        number(8, 1, 1000, label="Cap τ"),
        "Number of rows with the same active neuron that count in full.",
        minor=True,
        used_if=lambda method: method.growth == "capped",
    )
    clusters: int = measure_param(
        number(24, 2, 1000),
        "Clusters of rows with similar activations (k-means). They do not affect the rank.",
        minor=True,
    )

    def candidates(self, states: ActiveNeurons, measured: Measured) -> IntArray:
        """Return the selectable rows, ascending: those with active neurons and, unless no row has one, a response."""
        return np.flatnonzero((np.diff(states.indptr) > 0) & ~missing_response(measured))

    def gains(
        self, states: ActiveNeurons, rows: IntArray, *, used: IntArray = NO_ROWS, on_pick: Progress = ignore_progress
    ) -> NDArray[np.float64]:
        """Return (N,) gains in the greedy order of `rows` after the `used` ones; NaN for other rows."""
        return coverage_gains(states, rows, used=used, g=self.growth, tau=self.tau, on_pick=on_pick)

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int, used: IntArray = NO_ROWS) -> Order:
        """Order rows by gain; `seed` is unused. Searches again if a filter excludes some rows, or some are used."""
        gains = measured.need("coverage_gain")
        candidates, excluded = split_eligible(exclusions(eligible, missing_response(measured), np.isfinite(gains)))
        values = None
        if len(candidates) < np.isfinite(gains).sum() or len(used):
            candidates = np.setdiff1d(candidates, used)
            gains = values = self.gains(measured.need("activations"), candidates, used=used)
        return Order(np.concatenate([used, rank_rows(gains, candidates, prefer=self.prefer)]), excluded, values)

    def facts(self, measured: Measured, order: Order, rows: IntArray) -> dict[str, Any]:
        """Return f of the selected and the used rows, f of the whole pool, and their ratio (None if f(pool) is 0)."""
        states: ActiveNeurons = measured.need("activations")
        covering = np.concatenate([order.used, rows])
        part, whole = (total_coverage(states, some, g=self.growth, tau=self.tau) for some in (covering, None))
        with_used = {"with_used": len(order.used)} if len(order.used) else {}
        share = part / whole if whole else None
        return {"coverage": part, "coverage_of_pool": whole, "coverage_share": share} | with_used

    def facts_in_words(self, facts: Mapping[str, Any]) -> list[str]:
        """Return a sentence on the coverage reached."""
        if facts.get("coverage_share") is None:
            return []
        part, whole, share = facts["coverage"], facts["coverage_of_pool"], facts["coverage_share"]
        rows = f"The rows, with the {facts['with_used']:,} used already," if facts.get("with_used") else "The rows"
        return [f"{rows} reach {share:.1%} of the pool's coverage: f(S) = {part:,.1f} of f(pool) = {whole:,.1f}."]
