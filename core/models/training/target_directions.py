"""Where a target wants a model to go: for each sub-task the mean of its validation rows' unit gradients.

    preference (ROSE)   unit(∇log π(y⁻|x) − ∇log π(y⁺|x)) of each pair, log-probabilities summed over response tokens
    LESS                unit(∇ mean NLL) of each chosen row

The DPO loss L = −log σ(z), z = β[log π(y⁺|x) − log π_ref(y⁺|x) − log π(y⁻|x) + log π_ref(y⁻|x)], has the gradient
β σ(−z) [∇log π(y⁻|x) − ∇log π(y⁺|x)]. Made unit, β and the reference are gone: z is for the report only.

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
    """One direction for each sub-task, in the order in which sub-tasks first occur."""

    subtasks: list[str]  # S names
    vectors: list[dict[str, Tensor]]  # S times name -> tensor; NaN where no row of a sub-task was used
    used: IntArray  # (S,) rows or pairs that are in the mean
    skipped: int  # without a response token, or with chosen and rejected the same


def preference_directions(
    gradients: RowGradients, chosen: Mapping[str, Any], rejected: Mapping[str, Any], subtasks: Sequence[str]
) -> TargetDirections:
    """Of N pairs: `chosen` and `rejected` have columns tokens and spans (prompt and answer), `subtasks` N names."""
    mean = _Mean(gradients, subtasks)
    for pairs, (stacked, _) in gradients.iterate_pairs(chosen, rejected):
        mean.add(pairs, stacked)
    return mean.directions()


def sft_directions(gradients: RowGradients, chosen: Mapping[str, Any], subtasks: Sequence[str]) -> TargetDirections:
    """LESS: of N rows with columns tokens and spans."""
    mean = _Mean(gradients, subtasks)
    for rows, stacked in gradients.iterate_rows(chosen):
        mean.add(rows, stacked)
    return mean.directions()


def log_likelihoods(model: Model, batch: Mapping[str, Any], *, reference: bool = False) -> NDArray[np.float64]:
    """(N,) log π(y|x) in nats, summed over response tokens; of the base model with the adapter off as `reference`."""
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
    """(N, 2) log-likelihoods of (y⁺, y⁻) to z of each pair; positive: the model has moved towards y⁺."""
    return np.asarray(beta * ((policy - reference) @ np.array([1.0, -1.0])))


def pair_accuracy(differences: NDArray[np.float64]) -> float:
    """Share of pairs where the difference (z, or log π(y⁺|x) − log π(y⁻|x)) favours y⁺; ties count half, NaN not."""
    known = differences[~np.isnan(differences)]
    return float(((known > 0) + 0.5 * (known == 0)).mean()) if len(known) else float("nan")


class _Mean:
    """Sums of unit gradients, by sub-task."""

    def __init__(self, gradients: RowGradients, subtasks: Sequence[str]) -> None:
        self._names = list(dict.fromkeys(subtasks))
        self._of = np.array([self._names.index(s) for s in subtasks], np.int64)
        self._used = np.zeros(len(self._names), np.int64)
        device = gradients.model.device
        self._sums = [{k: torch.zeros(v, device=device) for k, v in gradients.shapes.items()} for _ in self._names]

    def add(self, rows: IntArray, stacked: StackedGradients) -> None:
        squares = sum(g.flatten(1).double().square().sum(dim=1) for g in stacked.values())
        lengths = torch.sqrt(torch.as_tensor(squares)).tolist()
        for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            if length > 0:
                subtask = self._of[row]
                self._used[subtask] += 1
                for name, total in self._sums[subtask].items():
                    total.add_(stacked[name][place], alpha=1 / length)

    def directions(self) -> TargetDirections:
        vectors = [
            {name: total / int(used) if used else total.fill_(torch.nan) for name, total in sums.items()}
            for sums, used in zip(self._sums, self._used, strict=True)
        ]
        return TargetDirections(self._names, vectors, self._used, len(self._of) - int(self._used.sum()))
