"""Active neurons: the feed-forward neurons with the highest activations of each row, observed in the forward pass.

    neuron (l, f)   entry f of the input of layer l's down projection: act(gate) ⊙ up, or act(up); one value per token
    a[l, f]         its mean over a row's response tokens (option: over all tokens), summed in float32
    active          the k neurons of each layer with the highest a; k = share · width, rounded, at least 1

Neurons are numbered across layers: (l, f) is f plus the widths of the layers before l. Ties go to the lower f. A row's
a does not depend on its batch or padding, up to floating-point rounding; so where the k-th and the next value of a
layer are equal to within rounding, either may be active.

Down projections are identified by the kinds of modules, not by the model's name (`find_down_projections`). Only the
means of one batch are in memory, which therefore does not grow with the pool.

Source: MADS, https://arxiv.org/abs/2605.30857. Its abstract defines "activation states"; the mean over response tokens
and the share of neurons are this project's interpretation.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from core.algorithms.active_neurons import ABSENT
from core.errors import ModelError
from core.models.forward_pass import Batch
from core.models.loading import Model

FLOAT32_CHUNK = 1 << 23  # numbers converted to float32 at once
NOT_ACTIVATION_ERRORS = (TypeError, ValueError, AttributeError, IndexError, RuntimeError)


@dataclass(frozen=True, eq=False)
class BatchRecord:
    """Activations recorded in one batch: for each layer that has run, which neurons (B, width) are active."""

    weights: Tensor  # (B, T) float32, of each token in its row's mean; sums to 1, or NaN without a token
    on: dict[str, Tensor] = field(default_factory=dict)
    damaged: dict[str, Tensor] = field(default_factory=dict)  # (B,) rows with a mean that is not finite


class ActivationObserver:
    """Collects active neurons as a column of ascending numbers, the input of `ActiveNeurons.from_table`.

    A row without a token to average over, or with a value that is not finite, is ABSENT throughout.
    """

    def __init__(self, model: Model, *, share: float = 0.01, tokens: Literal["response", "all"] = "response") -> None:
        widths = find_down_projections(model.network)
        self.neurons = sum(widths.values())
        self.every_token = tokens == "all"  # means are over all tokens
        self._on = {name: min(width, max(1, round(share * width))) for name, width in widths.items()}
        self._first = dict(zip(widths, np.cumsum([0, *widths.values()]).tolist(), strict=False))
        # One list per row, with the active neurons of all layers.
        self.columns = {"active_neurons": pa.list_(pa.uint32(), sum(self._on.values()))}

    @contextmanager
    def watch(self, network: Any, response: Tensor, prompt: Tensor) -> Iterator[BatchRecord]:
        """Hook the down projections for one pass; see `PassObserver`."""
        mask = response | prompt if self.every_token else response
        record = BatchRecord(mask.float() / mask.sum(dim=1, keepdim=True))
        with ExitStack() as hooks:
            for name in self._on:
                down = network.base_model.get_submodule(name)
                hooks.callback(down.register_forward_pre_hook(partial(self._record, record, name)).remove)
            yield record

    def _record(self, record: BatchRecord, name: str, _module: nn.Module, args: tuple[Tensor, ...]) -> None:
        if name in record.on:
            raise ModelError(
                f"{name} of this model runs more than once in a pass, so its neurons have several values per "
                "token. Choose a model whose layers run once each."
            )
        means = token_means(args[0], record.weights)
        record.damaged[name] = ~means.isfinite().all(dim=1)
        record.on[name] = top_k_mask(means.nan_to_num(), self._on[name])

    def read(self, seen: BatchRecord, batch: Batch) -> Mapping[str, NDArray[Any]]:
        """Return active_neurons, (B, K) uint32."""
        if not_run := [name for name in self._on if name not in seen.on]:
            raise ModelError(
                f"{not_run[0]} of this model did not run, so its neurons were not measured. Choose another model."
            )
        missing = torch.stack(list(seen.damaged.values())).any(dim=0).cpu().numpy()
        places = {name: seen.on[name].nonzero()[:, 1].reshape(-1, k).cpu().numpy() for name, k in self._on.items()}
        tables = [place + self._first[name] for name, place in places.items()]
        table = np.concatenate(tables, axis=1).astype(np.uint32)
        table[missing] = ABSENT
        return {"active_neurons": table}


def token_means(values: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum over the last T' tokens, (B, F) float32.

    `values` are (B, T', F) or (B · T', F), `weights` (B, T).
    """
    rows = len(weights)
    values = values.reshape(rows, -1, values.shape[-1])
    weights = weights[:, weights.shape[1] - values.shape[1] :]
    size = max(1, FLOAT32_CHUNK // max(1, values[0].numel()))
    parts = zip(torch.split(weights, size), torch.split(values, size), strict=True)
    return torch.cat([torch.bmm(weight[:, None], part.float())[:, 0] for weight, part in parts])


def top_k_mask(values: Tensor, k: int) -> Tensor:
    """Return (B, F) whether a value is among the k highest of its row; ties go to the first."""
    least = values.topk(k, dim=1).values[:, -1:]
    above, level = values > least, values == least
    room = k - above.sum(dim=1, keepdim=True)
    return above | (level & (level.cumsum(dim=1) <= room))


def find_down_projections(network: Any) -> dict[str, int]:
    """Return name (inside the body) and width of the down projection of every layer, in the order of the layers.

    A feed-forward block is a module that directly holds an activation function and projections from the hidden width d
    to F (to 2 F where gate and up are one) and from F back to d; the latter is the down projection. Raises ModelError
    unless there is exactly one for each layer and no mixture of experts.
    """
    layers = int(network.config.get_text_config().num_hidden_layers)
    hidden = int(network.get_input_embeddings().weight.shape[1])
    widths: dict[str, int] = {}
    for name, module in network.base_model.named_modules():
        children = list(module.children())
        mixes = any(isinstance(child, nn.Conv1d) for child in children)  # mixes tokens, as a state-space block does
        if not mixes and any(_is_activation(child) for child in children):
            widths |= {f"{name}.{own}": width for own, width in _downs(module, hidden).items()}
    if len(widths) != layers or _has_experts(network):
        raise ModelError(
            f"{type(network).__name__} has not exactly one feed-forward block in each of its {layers} layers "
            f"({len(widths)} found; mixtures of experts have several), so its neurons cannot be read. "
            "Choose a dense model, such as one of the Llama, Qwen, Mistral, Gemma, Phi or GPT kind."
        )
    return widths


def _downs(block: nn.Module, hidden: int) -> dict[str, int]:
    """Return a module's direct projections from F to d that have a counterpart from d to F or 2 F."""
    shapes = {name: shape for name, child in block.named_children() if (shape := _projection(child))}
    return {
        name: width
        for name, (width, out) in shapes.items()
        if out == hidden
        and any(up in ((hidden, width), (hidden, 2 * width)) for other, up in shapes.items() if other != name)
    }


def _projection(module: nn.Module) -> tuple[int, int] | None:
    """Return the input and output width of a matrix product; None for any other module."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, Conv1D):
        return module.nx, module.nf
    return None


def _is_activation(module: nn.Module) -> bool:
    """Return whether the module maps each number separately and is not the identity, tested on a few numbers."""
    if next(module.children(), None) is not None or _projection(module):
        return False
    own = next(module.parameters(), None)  # Apertus has a learnt activation function
    some = torch.linspace(-2, 2, 6, device="cpu" if own is None else own.device)[None]
    try:
        with torch.inference_mode():
            whole, first = module(some), module(some[:, :1])
    except NOT_ACTIVATION_ERRORS:
        return False
    same = isinstance(whole, Tensor) and whole.shape == some.shape and torch.allclose(whole[:, :1], first, atol=1e-6)
    return same and not torch.allclose(whole, some)


def _has_experts(network: Any) -> bool:
    """Return whether any module except convolutions has 3-dimensional weights, which hold several experts."""
    return any(
        weight.ndim > 2
        for module in network.base_model.modules()
        if not isinstance(module, nn.Conv1d)
        for weight in module.parameters(recurse=False)
    )
