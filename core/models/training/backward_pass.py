"""One forward and backward over rows of tokens, in which the gradient of every LoRA matrix comes by row by row.

    G[b] = Σ_t δ[b, t] ⊗ x[b, t]        (o, i), of one matrix: x its input, δ the batch loss's gradient at its output

Each matrix is tapped: going forward its input is kept (by autograd, so that checkpointed layers make it again), going
backward G is made of it and handed on at once. No parameter's own gradient is computed. The LM head runs over
response positions only, forward and backward in chunks, so that memory never grows with tokens × vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from core.errors import ModelError
from core.models.forward_pass import LOGIT_BYTES, pad_rows
from core.models.loading import Model, check_head, compute_logits
from core.models.lora import adapter_matrices

GradientHandler = Callable[[str, Tensor], None]  # is given (name, G), G (groups, o, i) float32


@dataclass(eq=False)
class _Pass:
    """One forward and backward under way."""

    positions: int  # rows · padded length
    groups: int
    take: GradientHandler
    seen: set[str] = field(default_factory=set)
    backward: bool = False  # from here on a module that runs is a checkpointed layer made again


class BackwardPass:
    """Runs a model with a LoRA adapter; keeps nothing between calls.

    `checkpointing` trades about a third more time for activations of one layer instead of all.
    """

    def __init__(self, model: Model, *, checkpointing: bool = False) -> None:
        self._matrices = adapter_matrices(model.network)
        check_head(model.network, model.device)
        if checkpointing and not _layers(model.network):
            raise ModelError(f"Layers of {type(model.network).__name__} cannot be run again. Do not checkpoint them.")
        self.model = model
        self.shapes = {name: tuple(module.weight.shape) for name, module in self._matrices.items()}
        self._checkpointing = checkpointing
        kind = torch.device(model.device).type
        self._chunk = max(1, LOGIT_BYTES.get(kind, LOGIT_BYTES["cpu"]) // (4 * model.vocabulary))

    def __call__(
        self,
        tokens: Sequence[NDArray[Any]],
        spans: Sequence[NDArray[Any]],
        weights: NDArray[np.float64],
        take: GradientHandler,
        *,
        group: int = 1,
    ) -> NDArray[np.float64]:
        """Hand G of the loss Σ_b weights[b] · Σ_t NLL[b, t] to `take`, matrix by matrix, summed over every `group`
        rows; (B,) Σ_t NLL in nats. Dropout must be off, as it is in `core.models.loading.Model`."""
        ids, _, response = pad_rows(tokens, spans)
        padded = torch.from_numpy(ids).to(self.model.device)
        row, place = np.nonzero(response[:, 1:])  # token place + 1 is predicted at place
        run = _Pass(ids.size, len(ids) // group, take)
        with torch.inference_mode(False), torch.enable_grad(), self._tapped(run):
            hidden = _plain(self.model.network).base_model(input_ids=padded, use_cache=False).last_hidden_state
            self._check_seen(run)
            at = tuple(torch.from_numpy(x).to(self.model.device) for x in (row, place))
            losses, slopes = self._head(hidden.detach()[at], padded[at[0], at[1] + 1], weights[row])
            slope = torch.zeros_like(hidden)
            slope[at] = slopes.to(hidden.dtype)
            torch.autograd.backward(hidden, slope)
        return np.bincount(row, losses.double().cpu().numpy(), len(ids)).astype(np.float64)

    def _head(self, states: Tensor, targets: Tensor, weights: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
        """(R,) NLL, and (R, d) the gradient of weights · NLL at the states; each chunk's logits are let go of."""
        weight = torch.from_numpy(weights.astype(np.float32)).to(states.device)
        losses, slopes = torch.empty_like(weight), torch.empty_like(states)
        for start in range(0, len(states), self._chunk):
            chunk = slice(start, start + self._chunk)
            some = states[chunk].detach().requires_grad_()
            logits = compute_logits(_plain(self.model.network), some).float()
            nll = nn.functional.cross_entropy(logits, targets[chunk], reduction="none")
            (slopes[chunk],) = torch.autograd.grad(nll @ weight[chunk], some)
            losses[chunk] = nll.detach()
        return losses, slopes

    @contextmanager
    def _tapped(self, run: _Pass) -> Iterator[None]:
        """Tap every matrix for one pass; meanwhile no parameter has a gradient of its own."""
        with ExitStack() as undo:
            for parameter in self.model.network.parameters():
                if parameter.requires_grad:
                    undo.callback(parameter.requires_grad_)
                    parameter.requires_grad_(False)
            for name, module in self._matrices.items():
                undo.callback(module.register_forward_hook(partial(_tap, run, name)).remove)
            if self._checkpointing:
                undo.enter_context(_checkpointed(_plain(self.model.network)))
            yield

    def _check_seen(self, run: _Pass) -> None:
        if asleep := [name for name in self._matrices if name not in run.seen]:
            raise ModelError(
                f"{asleep[0]} of this model did not run, so it has no gradient. Put the adapter on layers that run."
            )
        run.backward = True


class _Tap(torch.autograd.Function):
    """The identity on a matrix's output; keeps its input, and going backward hands on both."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, given: Tensor, take: Callable[[Tensor, Tensor], None]) -> Tensor:
        ctx.save_for_backward(given)
        ctx.take = take
        return out.view_as(out)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, None, None]:
        ctx.take(ctx.saved_tensors[0], delta)
        return delta, None, None


def _tap(run: _Pass, name: str, _module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
    if name in run.seen and not run.backward:
        raise ModelError(
            f"{name} of this model runs more than once in a pass, so its gradients cannot be told apart. "
            "Choose a model whose layers run once each."
        )
    if out.numel() != run.positions * out.shape[-1]:
        raise ModelError(
            f"{name} of this model does not run on every token, so its gradients cannot be told apart. "
            "Choose a model without experts."
        )
    run.seen.add(name)
    if not out.requires_grad:  # nothing below it is trained: gradients end here
        out.requires_grad_()
    tapped: Tensor = _Tap.apply(out, given[0].detach(), partial(_give, run, name))  # type: ignore[no-untyped-call]
    return tapped


def _give(run: _Pass, name: str, given: Tensor, delta: Tensor) -> None:
    x, slope = (t.reshape(run.groups, -1, t.shape[-1]).float() for t in (given, delta))
    run.take(name, torch.bmm(slope.transpose(1, 2), x))


@contextmanager
def _checkpointed(network: Any) -> Iterator[None]:
    """Layers run once more in the backward pass. (Transformers' own way asks for training mode, which has dropout.)"""
    layers = _layers(network)
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _layers(network: Any) -> list[Any]:
    return [module for module in network.modules() if isinstance(module, GradientCheckpointingLayer)]


def _plain(network: Any) -> Any:
    """The transformers model, with or without peft's wrapper around it."""
    return network.get_base_model() if hasattr(network, "get_base_model") else network
