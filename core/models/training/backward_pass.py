"""Per-row gradients of every LoRA matrix, in one forward and backward pass over rows of tokens.

    G[b] = Σ_t δ[b, t] ⊗ x[b, t]        (o, i), of one matrix: x its input, δ the batch loss's gradient at its output

Each matrix is hooked. The forward pass saves its input (by autograd, so that checkpointed layers recompute it); the
backward pass computes G from it and passes it on at once. No parameter's own gradient is computed. The LM head runs
over response positions only, forward and backward in chunks, so memory never grows with tokens × vocabulary.
"""

from collections.abc import Callable, Iterator
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
from core.models.batching import Ragged
from core.models.forward_pass import LOGIT_BYTES, logit_rows, pad_rows
from core.models.loading import Model, check_head, compute_logits
from core.models.lora import adapter_matrices, base_network

GradientHandler = Callable[[str, Tensor], None]  # called with (name, G), G (groups, o, i) float32


@dataclass(eq=False)
class _Pass:
    """One forward and backward pass in progress."""

    positions: int  # rows · padded length
    groups: int
    take: GradientHandler
    seen: set[str] = field(default_factory=set)
    backward: bool = False  # from now on a module that runs belongs to a recomputed layer


class BackwardPass:
    """Runs a model with a LoRA adapter forward and backward; stateless between calls.

    `checkpointing` takes about a third more time, for the activations of one layer in memory instead of all.
    """

    def __init__(self, model: Model, *, checkpointing: bool = False) -> None:
        self._matrices = adapter_matrices(model.network)
        check_head(model.network, model.device)
        if checkpointing and not _layers(model.network):
            raise ModelError(f"Layers of {type(model.network).__name__} cannot be run again. Do not checkpoint them.")
        self.model = model
        self.shapes = {name: tuple(module.weight.shape) for name, module in self._matrices.items()}
        self._checkpointing = checkpointing
        self._chunk = logit_rows(LOGIT_BYTES, model.device, model.vocabulary)

    def __call__(
        self, tokens: Ragged, spans: Ragged, weights: NDArray[np.float64], take: GradientHandler, *, group: int = 1
    ) -> NDArray[np.float64]:
        """Pass G of each matrix to the handler; return (B,) Σ_t NLL in nats.

        The loss is Σ_b weights[b] · Σ_t NLL[b, t]. G is summed over every `group` rows. Dropout must be off, as in
        `core.models.loading.Model`.
        """
        ids, _, response = pad_rows(tokens, spans)
        padded = torch.from_numpy(ids).to(self.model.device)
        row, place = np.nonzero(response[:, 1:])  # token place + 1 is predicted at place
        run = _Pass(ids.size, len(ids) // group, take)
        with torch.inference_mode(False), torch.enable_grad(), self._hooked(run):
            hidden = base_network(self.model.network).base_model(input_ids=padded, use_cache=False).last_hidden_state
            if idle := [name for name in self._matrices if name not in run.seen]:
                raise ModelError(
                    f"{idle[0]} of this model did not run, so it has no gradient. Put the adapter on layers that run."
                )
            run.backward = True
            at = tuple(torch.from_numpy(x).to(self.model.device) for x in (row, place))
            losses, slopes = self._head(hidden.detach()[at], padded[at[0], at[1] + 1], weights[row])
            slope = torch.zeros_like(hidden)
            slope[at] = slopes.to(hidden.dtype)
            torch.autograd.backward(hidden, slope)
        return np.bincount(row, losses.double().cpu().numpy(), len(ids)).astype(np.float64)

    def _head(self, hidden: Tensor, targets: Tensor, weights: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
        """Return NLL (R,) and the gradient (R, d) of weights · NLL at the hidden states, chunk by chunk."""
        weight = torch.from_numpy(weights.astype(np.float32)).to(hidden.device)
        losses, slopes = torch.empty_like(weight), torch.empty_like(hidden)
        for start in range(0, len(hidden), self._chunk):
            chunk = slice(start, start + self._chunk)
            part = hidden[chunk].detach().requires_grad_()
            logits = compute_logits(base_network(self.model.network), part).float()
            nll = nn.functional.cross_entropy(logits, targets[chunk], reduction="none")
            (slopes[chunk],) = torch.autograd.grad(nll @ weight[chunk], part)
            losses[chunk] = nll.detach()
        return losses, slopes

    @contextmanager
    def _hooked(self, run: _Pass) -> Iterator[None]:
        """Hook every matrix for one pass, with parameter gradients turned off."""
        with ExitStack() as undo:
            for parameter in self.model.network.parameters():
                if parameter.requires_grad:
                    undo.callback(parameter.requires_grad_)
                    parameter.requires_grad_(False)
            for name, module in self._matrices.items():
                undo.callback(module.register_forward_hook(partial(_hook_output, run, name)).remove)
            if self._checkpointing:
                undo.enter_context(_recompute_layers(base_network(self.model.network)))
            yield


class _GradientHook(torch.autograd.Function):
    """Identity on a matrix's output; saves its input, and in the backward pass hands over input and gradient."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, given: Tensor, take: Callable[[Tensor, Tensor], None]) -> Tensor:
        ctx.save_for_backward(given)
        ctx.take = take
        return out.view_as(out)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, None, None]:
        ctx.take(ctx.saved_tensors[0], delta)
        return delta, None, None


def _hook_output(run: _Pass, name: str, _module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
    if name in run.seen and not run.backward:
        raise ModelError(
            f"{name} of this model runs more than once in a pass, so its gradients cannot be separated by row. "
            "Choose a model whose layers run once each."
        )
    if out.numel() != run.positions * out.shape[-1]:
        raise ModelError(
            f"{name} of this model does not run on every token, so its gradients cannot be separated by row. "
            "Choose a model without experts."
        )
    run.seen.add(name)
    if not out.requires_grad:  # nothing below is trained: gradients end here
        out.requires_grad_()
    hooked: Tensor = _GradientHook.apply(out, args[0].detach(), partial(_hand_over, run, name))  # type: ignore[no-untyped-call]
    return hooked


def _hand_over(run: _Pass, name: str, given: Tensor, delta: Tensor) -> None:
    x, slope = (t.reshape(run.groups, -1, t.shape[-1]).float() for t in (given, delta))
    run.take(name, torch.bmm(slope.transpose(1, 2), x))


@contextmanager
def _recompute_layers(network: Any) -> Iterator[None]:
    """Recompute layers in the backward pass; transformers' own way requires training mode, which has dropout."""
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
