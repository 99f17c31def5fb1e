"""Target directions: for each sub-task of a target set, the mean unit gradient of its validation rows.

    preference (ROSE)   unit(∇log π(y⁻|x) − ∇log π(y⁺|x)) of each pair, log-probabilities summed over response tokens
    LESS                unit(∇ mean NLL) of each chosen response

The DPO loss L = −log σ(z), z = β[log π(y⁺|x) − log π_ref(y⁺|x) − log π(y⁻|x) + log π_ref(y⁻|x)], has the gradient β
σ(−z) [∇log π(y⁻|x) − ∇log π(y⁺|x)]. As a unit vector it depends on neither β nor the reference: z is for the report
only.

Sources: ROSE, https://arxiv.org/abs/2412.00631; LESS, https://arxiv.org/abs/2402.04333.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.models.forward_pass import ForwardPass
from core.models.loading import Model
from core.models.lora import disable_adapter
from core.models.training.row_gradients import RowGradients, StackedGradients, predicted_token_counts
from core.schema import IntArray

DPO_BETA = 0.1


@dataclass(frozen=True, eq=False)
class TargetDirections:
    """One direction per sub-task, in order of first occurrence."""

    subtasks: list[str]  # S names
    vectors: list[dict[str, Tensor]]  # S times name -> tensor; NaN for a sub-task without a usable row
    used: IntArray  # (S,) rows or pairs in the mean
    skipped: int  # without a response token, or with equal chosen and rejected responses


def preference_directions(
    gradients: RowGradients, chosen: Mapping[str, Any], rejected: Mapping[str, Any], subtasks: Sequence[str]
) -> TargetDirections:
    """Compute ROSE's directions of N pairs with `subtasks` (N names).

    `chosen` and `rejected` have the columns tokens and spans (prompt and response).
    """
    mean = _UnitGradientMeans(gradients, subtasks)
    for pairs, (stacked, _) in gradients.iterate_pairs(chosen, rejected):
        mean.add(pairs, stacked)
    return mean.directions()


def sft_directions(gradients: RowGradients, chosen: Mapping[str, Any], subtasks: Sequence[str]) -> TargetDirections:
    """Compute LESS's directions of N rows with columns tokens and spans."""
    mean = _UnitGradientMeans(gradients, subtasks)
    for rows, stacked in gradients.iterate_rows(chosen):
        mean.add(rows, stacked)
    return mean.directions()


def log_likelihoods(model: Model, batch: Mapping[str, Any], *, reference: bool = False) -> NDArray[np.float64]:
    """Return (N,) log π(y|x) in nats, summed over response tokens; with `reference`, under the base model."""
    counts = predicted_token_counts(batch["spans"])
    if not reference:
        nll = ForwardPass(model)(batch)["nll"]
    else:
        with disable_adapter(model.network):
            nll = ForwardPass(model)(batch)["nll"]
    return np.asarray(-nll.astype(np.float64) * counts)


def dpo_margins(
    policy: NDArray[np.float64], reference: NDArray[np.float64], beta: float = DPO_BETA
) -> NDArray[np.float64]:
    """Return z of each pair from log-likelihoods (N, 2) of (y⁺, y⁻); positive: the model has moved towards y⁺."""
    return np.asarray(beta * ((policy - reference) @ np.array([1.0, -1.0])))


def pair_accuracy(differences: NDArray[np.float64]) -> float:
    """Return the share of pairs whose difference favours y⁺; ties count half, NaN are ignored.

    The difference is z, or log π(y⁺|x) − log π(y⁻|x).
    """
    finite = differences[~np.isnan(differences)]
    return float(((finite > 0) + 0.5 * (finite == 0)).mean()) if len(finite) else float("nan")


class _UnitGradientMeans:
    """Sums of unit gradients, by sub-task."""

    def __init__(self, gradients: RowGradients, subtasks: Sequence[str]) -> None:
        self._names = list(dict.fromkeys(subtasks))
        self._subtask_of = np.array([self._names.index(s) for s in subtasks], np.int64)
        self._used = np.zeros(len(self._names), np.int64)
        device = gradients.model.device
        self._sums = [{k: torch.zeros(v, device=device) for k, v in gradients.shapes.items()} for _ in self._names]

    def add(self, rows: IntArray, stacked: StackedGradients) -> None:
        squares = sum(g.flatten(1).double().square().sum(dim=1) for g in stacked.values())
        lengths = torch.sqrt(torch.as_tensor(squares)).tolist()
        for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            if length > 0:
                subtask = self._subtask_of[row]
                self._used[subtask] += 1
                for name, total in self._sums[subtask].items():
                    total.add_(stacked[name][place], alpha=1 / length)

    def directions(self) -> TargetDirections:
        vectors = [
            {name: total / int(used) if used else total.fill_(torch.nan) for name, total in sums.items()}
            for sums, used in zip(self._sums, self._used, strict=True)
        ]
        return TargetDirections(self._names, vectors, self._used, len(self._subtask_of) - int(self._used.sum()))
