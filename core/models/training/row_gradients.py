"""Gradients of single rows with respect to a model's LoRA matrices, in one batched backward pass.

    loss of a row = mean over its response tokens of −log π(y_t | x, y_<t)
    loss of a batch = the sum of its rows' losses, so that no row's gradient depends on the others

`core.models.training.backward_pass` separates the rows, `core.models.training.adam_update` turns a gradient into Adam's
step. Scores are accumulated matrix by matrix, in float32, while gradients are in memory; nothing else of a row is kept.

Source: ROSE, https://arxiv.org/abs/2412.00631. Unlike its release, gradients are neither projected nor stored.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import ModelError
from core.models.batching import Ragged, batch_cost, check_lengths, count_predicted_tokens, plan_batches, run_batches
from core.models.loading import Model, device_limit
from core.models.training.adam_update import AdamMoments, AdamUpdate
from core.models.training.backward_pass import BackwardPass
from core.schema import FloatArray, IntArray

CPU_TOKENS = 2048  # padded tokens in one forward and backward on a processor
GRADIENT_BYTES = {"cpu": 256 << 20, "cuda": 2 << 30}  # whole gradients in memory at once, where they are requested
StackedGradients = dict[str, Tensor]  # name -> (n, o, i) float32, one gradient per row or pair


@dataclass(frozen=True, eq=False)
class RowScores:
    """Agreement of N rows with S target directions."""

    cosines: FloatArray  # (N, S) Γ·V / |Γ|; with V a mean of unit vectors, the mean cosine. NaN where |Γ| is 0
    nll: FloatArray  # (N,) nats per response token; NaN without one


class RowGradients:
    """Computes gradients of single rows under one model state with a LoRA adapter; stateless between calls.

    `checkpointing` takes about a third more time, for the activations of one layer in memory instead of all.
    """

    def __init__(self, model: Model, *, batch_tokens: int | None = None, checkpointing: bool = False) -> None:
        self._run = BackwardPass(model, checkpointing=checkpointing)
        self.model = model
        self.shapes = self._run.shapes  # name -> (o, i) of every matrix
        self._cost = batch_cost(model.network, model.device, "training", CPU_TOKENS, batch_tokens, memory=model.memory)
        numbers = sum(o * i for o, i in self.shapes.values())
        self._max_gradients = max(1, device_limit(GRADIENT_BYTES, model.device) // (4 * numbers))

    def uniform_direction(self) -> dict[str, Tensor]:
        """Return a direction of ones: what a trial is timed with."""
        return {name: torch.ones(shape) for name, shape in self.shapes.items()}

    def scores(
        self, batch: Mapping[str, Any], directions: Sequence[Mapping[str, Tensor]], moments: AdamMoments | None = None
    ) -> RowScores:
        """Return the agreement of each row's step with each direction (at least one; name -> tensor, as `shapes`).

        `batch` has the columns tokens and spans of `core.models.encoder.Encoder`. The step is Adam's update for the
        row's gradient (`core.models.training.adam_update`), or the gradient itself without moments. Positive: training
        on the row lowers the loss whose gradient the direction is.
        """
        tokens, spans = batch["tokens"], batch["spans"]
        rule = moments.build_update(self.shapes, self.model.device) if moments else None
        cosines = np.full((len(tokens), len(directions)), np.nan, np.float32)
        nll = np.full(len(tokens), np.nan, np.float32)
        work = partial(self._score_rows, batch=batch, basis=self._basis(directions), rule=rule, width=len(directions))
        for rows, (row_cosines, row_nll) in self._in_batches(_rows_with_response(spans), tokens, work):
            cosines[rows], nll[rows] = row_cosines, row_nll
        return RowScores(cosines, nll)

    def iterate_rows(self, batch: Mapping[str, Any]) -> Iterator[tuple[IntArray, StackedGradients]]:
        """Yield (rows, gradients of each row's mean NLL), a few rows at a time.

        Rows without a response token are skipped.
        """

        def work(rows: IntArray) -> StackedGradients:
            counts = predicted_token_counts([batch["spans"][i] for i in rows])
            return self._full_gradients(*_rows(batch, rows), 1 / counts)

        return self._in_batches(_rows_with_response(batch["spans"]), batch["tokens"], work, self._max_gradients)

    def iterate_pairs(
        self, chosen: Mapping[str, Any], rejected: Mapping[str, Any]
    ) -> Iterator[tuple[IntArray, StackedGradients]]:
        """Yield (pairs, ∇log π(y⁻|x) − ∇log π(y⁺|x) of each), a few pairs at a time.

        Log-probabilities are summed over response tokens. Skipped are pairs with a side that has no response token, and
        those of two equal sides: their gradient is 0, but rounding would give it a direction.
        """
        usable = np.intersect1d(_rows_with_response(chosen["spans"]), _rows_with_response(rejected["spans"]))
        usable = usable[[not _equal_sides(chosen, rejected, j) for j in usable]] if len(usable) else usable

        def work(pairs: IntArray) -> StackedGradients:
            sides = zip(_rows(chosen, pairs), _rows(rejected, pairs), strict=True)
            tokens, spans = ([x for pair in zip(*column, strict=True) for x in pair] for column in sides)
            return self._full_gradients(tokens, spans, np.tile([1.0, -1.0], len(pairs)), group=2)

        longest = [max(chosen["tokens"][j], rejected["tokens"][j], key=len) for j in range(len(chosen["tokens"]))]
        most = self._cost.capacity // (2 * max(map(len, longest), default=1))
        return self._in_batches(usable, longest, work, max(1, min(self._max_gradients, most)))

    def _in_batches(
        self, rows: IntArray, tokens: Sequence[Any], work: Callable[[IntArray], Any], most: int = 1 << 30
    ) -> Iterator[tuple[IntArray, Any]]:
        """Run `work` on these rows, in batches that fit into memory, of at most `most` rows."""
        lengths = np.array([len(row) for row in tokens], np.int64)
        check_lengths(lengths[rows], self.model)
        plan = plan_batches(lengths[rows], self._cost)
        batches = (rows[some[start : start + most]] for some in plan for start in range(0, len(some), most))
        return run_batches(batches, work, self.model, "The gradient of a row of {} tokens", lengths)

    def _basis(self, directions: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Stack the directions as columns, name -> (o · i, S)."""
        for direction in directions:
            if {name: tuple(value.shape) for name, value in direction.items()} != self.shapes:
                raise ModelError(
                    "A direction belongs to another adapter. Compute directions and scores at the same one."
                )
        return {
            name: torch.stack([d[name].float().flatten() for d in directions], dim=1).to(self.model.device)
            for name in self.shapes
        }

    def _score_rows(
        self, rows: IntArray, batch: Mapping[str, Any], basis: dict[str, Tensor], rule: AdamUpdate | None, width: int
    ) -> tuple[FloatArray, FloatArray]:
        counts = predicted_token_counts([batch["spans"][i] for i in rows])
        dots = torch.zeros(len(rows), width, device=self.model.device)
        squares = torch.zeros(len(rows), device=self.model.device)

        def add(name: str, gradient: Tensor) -> None:
            step = (rule(name, gradient) if rule else gradient).flatten(1)
            dots.add_(step @ basis[name])
            squares.add_(torch.linalg.vecdot(step, step))

        nll = self._run(*_rows(batch, rows), 1 / counts, add)
        cosines: FloatArray = (dots / squares.sqrt()[:, None]).cpu().numpy()  # 0 / 0 gives the NaN
        return cosines, (nll / counts).astype(np.float32)

    def _full_gradients(
        self, tokens: Ragged, spans: Ragged, weights: NDArray[np.float64], *, group: int = 1
    ) -> StackedGradients:
        gradients: StackedGradients = {}
        self._run(tokens, spans, weights, gradients.__setitem__, group=group)
        return gradients


def predicted_token_counts(spans: Ragged) -> IntArray:
    """Return (N,) the response tokens of each row that follow another token and so are predicted."""
    return np.array([count_predicted_tokens(s) for s in spans], np.int64)


def _rows_with_response(spans: Ragged) -> IntArray:
    return np.flatnonzero(predicted_token_counts(spans) > 0)


def _equal_sides(one: Mapping[str, Any], other: Mapping[str, Any], row: int) -> bool:
    return all(np.array_equal(one[name][row], other[name][row]) for name in ("tokens", "spans"))


def _rows(batch: Mapping[str, Any], rows: IntArray) -> tuple[list[Any], list[Any]]:
    return [batch["tokens"][i] for i in rows], [batch["spans"][i] for i in rows]
