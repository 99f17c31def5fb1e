"""Target directions: for each sub-task of a target set, the mean unit gradient of its validation rows.

    preference (ROSE)   unit(∇log π(y⁻|x) − ∇log π(y⁺|x)) of each pair, log-probabilities summed over response tokens
    LESS                unit(∇ mean NLL) of each chosen response

The DPO loss L = −log σ(z), z = β[log π(y⁺|x) − log π_ref(y⁺|x) − log π(y⁻|x) + log π_ref(y⁻|x)], has the gradient β
σ(−z) [∇log π(y⁻|x) − ∇log π(y⁺|x)]. As a unit vector it depends on neither β nor the reference: z is for the report
only.

Sources: ROSE, https://arxiv.org/abs/2412.00631; LESS, https://arxiv.org/abs/2402.04333.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
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
    return _mean_directions(gradients, subtasks, gradients.iterate_pairs(chosen, rejected))


def sft_directions(gradients: RowGradients, chosen: Mapping[str, Any], subtasks: Sequence[str]) -> TargetDirections:
    """Compute LESS's directions of N rows with columns tokens and spans."""
    return _mean_directions(gradients, subtasks, gradients.iterate_rows(chosen))


def log_likelihoods(model: Model, batch: Mapping[str, Any], *, reference: bool = False) -> NDArray[np.float64]:
    """Return (N,) log π(y|x) in nats, summed over response tokens; with `reference`, under the base model."""
    with disable_adapter(model.network) if reference else nullcontext():
        nll = ForwardPass(model)(batch)["nll"]
    return np.asarray(-nll.astype(np.float64) * predicted_token_counts(batch["spans"]))


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


def _mean_directions(
    gradients: RowGradients, subtasks: Sequence[str], batches: Iterable[tuple[IntArray, StackedGradients]]
) -> TargetDirections:
    """Average the unit gradients of each sub-task; `subtasks` names that of every row."""
    names = list(dict.fromkeys(subtasks))
    subtask_of = np.array([names.index(s) for s in subtasks], np.int64)
    used = np.zeros(len(names), np.int64)
    device = gradients.model.device
    sums = [{k: torch.zeros(v, device=device) for k, v in gradients.shapes.items()} for _ in names]
    for rows, stacked in batches:
        squares = sum(g.flatten(1).double().square().sum(dim=1) for g in stacked.values())
        lengths = torch.sqrt(torch.as_tensor(squares)).tolist()
        for place, (subtask, length) in enumerate(zip(subtask_of[rows], lengths, strict=True)):
            if length > 0:
                used[subtask] += 1
                for name, total in sums[subtask].items():
                    total.add_(stacked[name][place], alpha=1 / length)
    vectors = [
        {name: total / int(n) if n else total.fill_(torch.nan) for name, total in of_subtask.items()}
        for of_subtask, n in zip(sums, used, strict=True)
    ]
    return TargetDirections(names, vectors, used, len(subtasks) - int(used.sum()))
