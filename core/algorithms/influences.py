"""Influences: how training on each row would move a model towards each sub-task of each target. Arrays only.

    influence of row i on sub-task s = Σ_c η̄_c · mean_{j∈s} cos(Γ_i^c, v_j^c)      -1 to 1; high: towards the target

over the checkpoints c of a warm-up, η̄_c their mean learning rates normalised to sum to 1
(measured in core/measurement/preference_influence.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.schema import FloatArray, IntArray

Objective = Literal["preference", "sft"]


@dataclass(frozen=True, eq=False)
class Influences:
    """Influence of N rows on the sub-tasks of T targets; NaN for rows without a response token."""

    subtasks: Mapping[str, tuple[str, ...]]  # target -> names of its sub-tasks, K over all targets
    preference: FloatArray  # (N, K): directions of the preference loss (ROSE)
    sft: FloatArray  # (N, K): directions of the loss on preferred answers (LESS)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets, in the order given."""
        return tuple(self.subtasks)

    def of(self, target: str, objective: Objective) -> FloatArray:
        """Return (N, S) influence on each sub-task of one target."""
        width, before = len(self.subtasks[target]), list(self.subtasks.values())[: self.targets.index(target)]
        start = sum(map(len, before))
        return np.asarray(getattr(self, objective)[:, start : start + width])

    def best(self, target: str, objective: Objective) -> FloatArray:
        """Return (N,) the highest influence over a target's sub-tasks."""
        return np.asarray(self.of(target, objective).max(axis=1))


def round_robin(orders: Sequence[IntArray]) -> IntArray:
    """Merge several orders of the same rows: each in turn contributes its best row that is not placed yet."""
    orders = [order for order in orders if len(order)]
    if not orders:
        return np.empty(0, np.int64)
    placed = np.zeros(int(max(order.max() for order in orders)) + 1, np.bool_)
    places, merged = [0] * len(orders), []
    for turn in range(len(orders[0])):
        which = turn % len(orders)
        order = orders[which]
        while placed[order[places[which]]]:
            places[which] += 1
        row = order[places[which]]
        placed[row] = True
        merged.append(row)
    return np.array(merged, np.int64)
