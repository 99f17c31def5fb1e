"""Entropy shift: rows on which the model grows less certain while it learns, without outliers of learning.

Two states of one model: base, and calibrated (fine-tuned briefly on a warm-up subset).
Both read every response, teacher forced; per response token, in nats:

    delta_nll     = nll_cal - nll           how much worse (+) or better (-) the warm-up made the prediction
    delta_entropy = entropy - entropy_cal   > 0 compression: more certain after the warm-up; < 0 expansion

    1. NLL filter: of n rows exclude int(n * gamma) with the lowest delta_nll and as many with the highest.
    2. Entropy ranking: of the remaining rows, lowest delta_entropy first.
    3. Optional further rounds calibrate on the subset of the round before, always starting from the base model.

With `per`, each group of rows (a task, a source) is calibrated, filtered and ranked by itself, as the paper's pools
were: one domain each. The groups' orders become one by Webster seats (core/algorithms/apportionment.py), so every
budget holds the head of each group's own order.

Source: InstructDiff, https://arxiv.org/abs/2601.23006, eq. 1 and 2, and the authors' released code. Where they
differ, and what we do:

- The release stores the negative of delta_nll. The filter removes the same number of rows from both ends, so
  the remaining rows are the same; we keep the paper's sign.
- The paper selects beta * N rows; the release adds rows until their response tokens reach beta * all tokens.
  The budget is not part of the order here: any prefix, in rows, percent or tokens (core.selection.budget).
- Warm-up on alpha * N random rows, alpha = 0.1. The paper's learning rates: 5e-5 mathematics, 2e-5 general and
  medical, 1e-5 code; 3 to 10 epochs; full-parameter. Beta 0.1, for code 0.2.

`pick` "highest" and "middle" are the paper's baselines: the highest 10% by delta_entropy was its worst selection in
every domain it tried. Disabling the NLL filter (gamma 0) cost 2.6 to 5.6 points there.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from core.algorithms.apportionment import interleave_by_seats
from core.errors import MethodError
from core.methods.group_weights import parse_group_weights, weigh_groups
from core.methods.params import BaseMethod, measure_param, number, option, param
from core.methods.ranking import FILTERED, NO_RESPONSE, NOT_MEASURED, group_rows, put_first, rank_rows, split_eligible
from core.schema import NO_ROWS, BoolArray, FloatArray, IntArray, Measured, Order, Prefer

OUTSIDE_BAND = "outside the ΔNLL band"
NO_GROUP = "no group"
GROUP_FACTS = ("group", "rows", "warm_up", "selected")


@dataclass(frozen=True)
class EntropyShift(BaseMethod):
    """Entropy shift between the base model and the briefly fine-tuned one (InstructDiff)."""

    name: ClassVar[str] = "entropy_shift"
    label: ClassVar[str] = "Entropy shift"
    paper: ClassVar[str] = "InstructDiff"
    summary: ClassVar[str] = (
        "Selects rows on which the model becomes less certain during a short training, "
        "without rows that it learns too easily or not at all."
    )
    gamma: float = param(
        number(0.1, 0.0, 0.45, label="ΔNLL filter γ", zero="off"),
        "Share of rows excluded at each end of ΔNLL: rows that are learned too easily, or not at all.",
    )
    pick: Literal["lowest", "middle", "highest"] = param(
        option("lowest", label="Preferred ΔH"),
        "The ΔH that ranks first. The paper prefers the lowest; middle and highest are its controls.",
    )
    alpha: float = measure_param(
        number(0.1, 0.001, 1.0, label="Warm-up share α"),
        "Share of the rows with a response that the warm-up trains on, sampled by seed.",
    )
    rounds: int = measure_param(
        number(1, 1, 3, label="Rounds K"),
        "Number of calibrations. Each further round trains on the rows that the previous round selects.",
        minor=True,
    )
    beta: float = measure_param(
        number(0.1, 0.001, 1.0, label="Share for further rounds β"),
        "Share of the pool that each round after the first trains on.",
        minor=True,
        used_if=lambda method: method.rounds > 1,
    )
    learning_rate: float = measure_param(
        number(2e-5, 1e-7, 1e-2),
        "Learning rate of the warm-up training. The paper uses 5e-5 for mathematics, 2e-5 in general, 1e-5 for code.",
    )
    epochs: int = measure_param(number(3, 1, 20), "Passes over the warm-up rows. The paper uses 3 to 10.")
    batch_size: int = measure_param(number(16, 1, 512), "Rows per training step.", minor=True)
    lora_rank: int = measure_param(
        number(0, 0, 256, label="LoRA rank", zero="off"),
        "Rank of the adapter that is trained in place of all weights: for large models. Off trains all weights, as the "
        "paper does.",
    )
    per: str = measure_param(
        option("", label="Calibrate per", names="word", words={"": "the whole pool"}),
        "A field, such as task or metadata.source. Each of its values is a group of rows with a calibration and a "
        "ranking of its own. Empty: the whole pool is one group.",
        later=True,
    )
    min_group: int = measure_param(
        number(0, 0, 1_000_000, label="Smallest group", zero="no limit"),
        "Groups with fewer responses than this are not measured. Without a limit, a group that is too small to "
        "calibrate is an error.",
        later=True,
        minor=True,
        used_if=lambda method: method.per != "",
    )
    group_weights: str = param(
        option("", label="Group weights", names="word", words={"": "number of rows"}),
        "What each group's share of the budget is proportional to: equal, or weights such as math:2,code:1, where "
        "other groups weigh 1. Empty: its number of rows.",
        later=True,
        used_if=lambda method: method.per != "",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_group_weights(self.group_weights)
        if self.group_weights and not self.per:
            raise MethodError(f"{self.label}: group_weights needs per, the field that makes the groups (per=task).")

    @property
    def needs(self) -> tuple[str, ...]:
        """Signals to measure; groups only if rows are calibrated per group."""
        return ("tokens", "base", "calibrated", *(("shift_groups",) if self.per else ()))

    @property
    def ranks_by(self) -> str:
        """ΔH, or the method's own rank for groups: a row of one group may precede a row of lower ΔH in another."""
        return f"{self.name}.rank" if self.per else "delta_entropy"

    @property
    def prefer(self) -> Prefer:
        """The end of `ranks_by` that comes first."""
        return "low" if self.per else self._preferred_end

    @property
    def _preferred_end(self) -> Prefer:
        """The end of ΔH that `pick` names, in the words all methods share."""
        ends: dict[str, Prefer] = {"lowest": "low", "middle": "middle", "highest": "high"}
        return ends[self.pick]

    def scores(self, measured: Measured) -> dict[str, NDArray[Any]]:
        """Return delta_nll and delta_entropy (NaN if a state has no value), and in_nll_band over all rows with both.

        `order` computes the band over eligible rows only, so under a filter it may differ from this column. With `per`
        each group has a band of its own.
        """
        delta_nll, delta_entropy = _shifts(measured)
        rows = np.flatnonzero(np.isfinite(delta_nll) & np.isfinite(delta_entropy))
        in_band = np.zeros(len(measured), np.bool_)
        for one in self._split(measured, rows):
            in_band[rows_in_nll_band(delta_nll, one, self.gamma)] = True
        return {"delta_nll": delta_nll, "delta_entropy": delta_entropy, "in_nll_band": in_band}

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int, used: IntArray = NO_ROWS) -> Order:
        """Order rows in the ΔNLL band by delta_entropy; `seed` is unused, the measurement used it."""
        delta_nll, delta_entropy = _shifts(measured)
        excluded_by = {FILTERED: ~eligible, NO_RESPONSE: measured.need("response_tokens") == 0}
        if self.per:
            excluded_by[NO_GROUP] = measured.need("shift_group") < 0
        excluded_by[NOT_MEASURED] = ~(np.isfinite(delta_nll) & np.isfinite(delta_entropy))
        groups = self._split(measured, split_eligible(excluded_by)[0])
        inside = [rows_in_nll_band(delta_nll, rows, self.gamma) for rows in groups]
        outside = np.ones(len(measured), np.bool_)
        for rows in inside:
            outside[rows] = False
        _, excluded = split_eligible(excluded_by | {OUTSIDE_BAND: outside})
        orders = [rank_rows(delta_entropy, rows, prefer=self._preferred_end) for rows in inside]
        if not self.per:
            return Order(orders[0], excluded)
        sizes = np.array([len(rows) for rows in groups])
        weights = weigh_groups(self.group_weights, measured.need("shift_groups"), sizes)
        orders = put_first(used, measured.need("shift_group"), orders)
        return Order(interleave_by_seats(orders, weights), excluded)

    def facts(self, measured: Measured, order: Order, rows: IntArray) -> dict[str, Any]:
        """Return what the start model was, and the rows, warm-up rows and selected rows of each group."""
        start = measured.artifacts.get("start_model")
        facts: dict[str, Any] = {"start_model": start} if start else {}
        if not self.per:
            return facts
        group, names = measured.need("shift_group"), measured.need("shift_groups")
        sizes, seats = (np.bincount(some[some >= 0], minlength=len(names)).tolist() for some in (group, group[rows]))
        columns = zip(names, sizes, measured.need("warm_up_rows"), seats, strict=True)
        return facts | {"groups": [dict(zip(GROUP_FACTS, each, strict=True)) for each in columns]}

    def _split(self, measured: Measured, rows: IntArray) -> list[IntArray]:
        """Return `rows` (ascending) by group; all together unless calibrated per group."""
        return group_rows(measured.need("shift_group"), rows) if self.per else [rows]


def rows_in_nll_band(delta_nll: FloatArray, rows: IntArray, gamma: float) -> IntArray:
    """Return `rows` (ascending) without int(n * gamma) at each end of `delta_nll` (N,), ascending.

    Ties count in row order: the earlier row is the lower one.
    """
    cut = int(len(rows) * gamma)
    ascending = rows[np.argsort(delta_nll[rows], kind="stable")]
    return np.sort(ascending[cut : len(rows) - cut])


def calibration_rows(candidates: IntArray, alpha: float, seed: int) -> IntArray:
    """Sample the warm-up subset: int(n * alpha) of the n `candidates` (rows with a response), at least one, ascending.

    Seeded. Larger shares contain smaller ones. Raises MethodError without candidates.
    """
    if not len(candidates):
        raise MethodError(
            "No row of this pool has a response, so nothing can be trained on. Choose a method that needs no responses."
        )
    shuffled = np.random.default_rng(seed).permutation(candidates)
    return np.sort(shuffled[: max(1, int(len(candidates) * alpha))])


def next_calibration_rows(measured: Measured, beta: float) -> IntArray:
    """Return the next round's training rows: the first int(N * beta), at least one, of this round's order, ascending.

    The order uses the paper's settings (gamma 0.1, lowest) regardless of the sliders, so that moving them afterwards
    does not invalidate a measurement.
    """
    rows = EntropyShift().order(measured, np.ones(len(measured), np.bool_), seed=0).rows
    if not len(rows):
        raise MethodError("No row was scored in this round, so the next round has no rows to train on. Set rounds=1.")
    return np.sort(rows[: max(1, int(len(measured) * beta))])


def _shifts(measured: Measured) -> tuple[FloatArray, FloatArray]:
    """Compute delta_nll and delta_entropy, (N,) float32 each."""
    delta_nll = measured.need("nll_cal") - measured.need("nll")
    delta_entropy = measured.need("entropy") - measured.need("entropy_cal")
    return delta_nll.astype(np.float32), delta_entropy.astype(np.float32)
