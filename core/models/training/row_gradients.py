"""The gradient of every row by itself, over the LoRA matrices of a model, in one batched backward pass.

    loss of a row = mean over its response tokens of −log π(y_t | x, y_<t)
    loss of a batch = the sum of its rows' losses, so that no row's gradient depends on the others

How rows are told apart is in core/models/training/backward_pass.py, what Adam makes of a gradient in
core/models/training/adam_update.py. Scores are accumulated
tensor by tensor, in float32, while gradients are alive; nothing of a row is kept but them.

Source: ROSE, https://arxiv.org/abs/2412.00631; no gradient is projected or stored, as its release does.
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
from core.models.batching import count_predicted_tokens, plan_batches, run_or_halve
from core.models.loading import Model
from core.models.training.adam_update import AdamMoments, AdamUpdate
from core.models.training.backward_pass import BackwardPass
from core.schema import FloatArray, IntArray

BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}  # padded tokens in one forward and backward
GRADIENT_BYTES = {"cpu": 256 << 20, "cuda": 2 << 30}  # whole gradients alive at once, where they are asked for
StackedGradients = dict[str, Tensor]  # name -> (n, o, i) float32, one gradient for each of n rows or pairs


@dataclass(frozen=True, eq=False)
class RowScores:
    """Agreement of N rows with S directions."""

    cosines: FloatArray  # (N, S) Γ·V / |Γ|; with V a mean of unit vectors, the mean cosine. NaN where |Γ| is 0
    nll: FloatArray  # (N,) nats per response token; NaN without one

    @property
    def unanswered(self) -> int:
        """Rows without a response token; their cosines are NaN."""
        return int(np.isnan(self.nll).sum())


@dataclass(eq=False)
class _Sums:
    """Dot products and squared norms of a batch's rows, as its tensors come by."""

    basis: Mapping[str, Tensor]  # name -> (o · i, S)
    rule: AdamUpdate | None
    dots: Tensor  # (B, S) float32
    squares: Tensor  # (B,) float32

    def take(self, name: str, gradient: Tensor) -> None:
        step = (self.rule(name, gradient) if self.rule else gradient).flatten(1)
        self.dots += step @ self.basis[name]
        self.squares += torch.linalg.vecdot(step, step)


class RowGradients:
    """Gradients of single rows under one model state with a LoRA adapter; keeps nothing between calls.

    `checkpointing` trades about a third more time for activations of one layer instead of all.
    """

    def __init__(self, model: Model, *, batch_tokens: int | None = None, checkpointing: bool = False) -> None:
        self._run = BackwardPass(model, checkpointing=checkpointing)
        self.model = model
        self.shapes = self._run.shapes  # name -> (o, i) of every matrix
        kind = torch.device(model.device).type
        self._batch_tokens = batch_tokens or BATCH_TOKENS.get(kind, BATCH_TOKENS["cpu"])
        numbers = sum(o * i for o, i in self.shapes.values())
        self._together = max(1, GRADIENT_BYTES.get(kind, GRADIENT_BYTES["cpu"]) // (4 * numbers))

    def scores(
        self, batch: Mapping[str, Any], directions: Sequence[Mapping[str, Tensor]], moments: AdamMoments | None = None
    ) -> RowScores:
        """How each row's step agrees with each of the directions (at least one; name -> tensor, as `shapes`).

        `batch` has columns tokens and spans, as `core.models.encoder.Encoder` gives them. The step is what Adam makes
        of
        the row's gradient (core/models/training/adam_update.py), or the gradient itself without moments. Positive:
        training on the row
        lowers the loss that the direction is the gradient of.
        """
        tokens, spans = batch["tokens"], batch["spans"]
        basis = self._basis(directions)
        rule = moments.build_update(self.shapes, self.model.device) if moments else None
        cosines = np.full((len(tokens), len(directions)), np.nan, np.float32)
        nll = np.full(len(tokens), np.nan, np.float32)
        work = partial(self._scored, batch=batch, basis=basis, rule=rule, width=len(directions))
        for rows, (found, lost) in self._in_batches(_answered(spans), tokens, work):
            cosines[rows], nll[rows] = found, lost
        return RowScores(cosines, nll)

    def iterate_rows(self, batch: Mapping[str, Any]) -> Iterator[tuple[IntArray, StackedGradients]]:
        """Whole gradients of each row's mean NLL, a few rows at a time: (rows, their gradients).

        Rows without a response token do not come.
        """

        def work(rows: IntArray) -> StackedGradients:
            counts = predicted_token_counts([batch["spans"][i] for i in rows])
            return self._whole(_rows(batch, rows), 1 / counts, group=1)[0]

        yield from self._in_batches(_answered(batch["spans"]), batch["tokens"], work, self._together)

    def iterate_pairs(
        self, chosen: Mapping[str, Any], rejected: Mapping[str, Any]
    ) -> Iterator[tuple[IntArray, tuple[StackedGradients, NDArray[np.float64]]]]:
        """Whole ∇log π(y⁻|x) − ∇log π(y⁺|x) of each pair, log-probabilities summed over response tokens, a few pairs
        at a time: (pairs, (their gradients, (n, 2) log π of y⁺ and of y⁻)).

        Pairs with a side that has no response token do not come, nor those of two equal sides: their gradient is 0,
        but rounding would give it a direction.
        """
        both = np.intersect1d(_answered(chosen["spans"]), _answered(rejected["spans"]))
        both = both[[not _same(chosen, rejected, j) for j in both]] if len(both) else both

        def work(pairs: IntArray) -> tuple[StackedGradients, NDArray[np.float64]]:
            sides = [_rows(side, pairs) for side in (chosen, rejected)]
            rows = tuple([x for pair in zip(*column, strict=True) for x in pair] for column in zip(*sides, strict=True))
            gradients, nll = self._whole(rows, np.tile([1.0, -1.0], len(pairs)), group=2)
            return gradients, -nll.reshape(-1, 2)

        longest = [max(chosen["tokens"][j], rejected["tokens"][j], key=len) for j in range(len(chosen["tokens"]))]
        yield from self._in_batches(both, longest, work, max(1, min(self._together, self._pairs_together(longest))))

    def _pairs_together(self, longest: Sequence[Any]) -> int:
        return self._batch_tokens // (2 * max([len(t) for t in longest], default=1))

    def _in_batches(
        self, rows: IntArray, tokens: Sequence[Any], work: Callable[[IntArray], Any], most: int = 1 << 30
    ) -> Iterator[tuple[IntArray, Any]]:
        """`work` on these rows, as many at once as the memory is thought and then found to hold, `most` at most."""
        lengths = np.array([len(tokens[i]) for i in rows], np.int64)
        if len(rows) and lengths.max() > self.model.max_length:
            raise ModelError(
                f"A row has {lengths.max()} tokens, and model {self.model.ref.name!r} reads at most "
                f"{self.model.max_length}. Set max_length to {self.model.max_length} or less."
            )

        def named(row: int) -> str:
            return f"The gradient of a row of {len(tokens[row])} tokens"

        for some in plan_batches(lengths, self._batch_tokens):
            for start in range(0, len(some), most):
                part = rows[some[start : start + most]]
                yield from run_or_halve(part, work, self.model, describe=named, setting="max_length")

    def _basis(self, directions: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The directions side by side, name -> (o · i, S)."""
        for direction in directions:
            if {name: tuple(value.shape) for name, value in direction.items()} != self.shapes:
                raise ModelError(
                    "A direction belongs to another adapter. Compute directions and scores at the same one."
                )
        return {
            name: torch.stack([d[name].float().flatten() for d in directions], dim=1).to(self.model.device)
            for name in self.shapes
        }

    def _scored(
        self, rows: IntArray, batch: Mapping[str, Any], basis: dict[str, Tensor], rule: AdamUpdate | None, width: int
    ) -> tuple[FloatArray, FloatArray]:
        counts = predicted_token_counts([batch["spans"][i] for i in rows])
        device = self.model.device
        sums = _Sums(basis, rule, torch.zeros(len(rows), width, device=device), torch.zeros(len(rows), device=device))
        nll = self._run(*_rows(batch, rows), 1 / counts, sums.take)
        cosines: FloatArray = (sums.dots / sums.squares.sqrt()[:, None]).cpu().numpy()  # 0 / 0 is the NaN
        return cosines, (nll / counts).astype(np.float32)

    def _whole(
        self, rows: Any, weights: NDArray[np.float64], group: int
    ) -> tuple[StackedGradients, NDArray[np.float64]]:
        found: StackedGradients = {}
        tokens, spans = rows
        nll = self._run(tokens, spans, weights, found.__setitem__, group=group)
        return found, nll


def predicted_token_counts(spans: Sequence[NDArray[Any]]) -> IntArray:
    """(N,) response tokens of each row that have a token before them, from which they are predicted."""
    return np.array([count_predicted_tokens(s) for s in spans], np.int64)


def _answered(spans: Sequence[NDArray[Any]]) -> IntArray:
    return np.flatnonzero(predicted_token_counts(spans) > 0)


def _same(one: Mapping[str, Any], other: Mapping[str, Any], row: int) -> bool:
    return all(np.array_equal(one[name][row], other[name][row]) for name in ("tokens", "spans"))


def _rows(batch: Mapping[str, Any], rows: IntArray) -> tuple[list[Any], list[Any]]:
    return [batch["tokens"][i] for i in rows], [batch["spans"][i] for i in rows]
