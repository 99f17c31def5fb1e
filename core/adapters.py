"""The LoRA adapter inside a network: its matrices by name, and the network as it is without them.

    y = W x + (α / r) B A x        one pair (A, B) for each layer that the adapter is on

Names are those of the transformers model, `model.layers.0.self_attn.q_proj.lora_A.default.weight`; peft's own begin
with `base_model.model.`, which `plain_name` takes off.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from peft.tuners.lora.layer import Linear, LoraLayer
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from core.errors import ModelError

PREFIX = "base_model.model."
HALF = 2  # bytes of the smallest numbers that a gradient may go through


def plain_name(name: str) -> str:
    """A parameter's name without what peft puts before it."""
    return name.removeprefix(PREFIX)


def adapter_matrices(network: Any) -> dict[str, nn.Linear]:
    """Every A and B of the adapter, by the name of its weight, in the order of the layers.

    ModelError when there is none, or one whose gradient is not that of two plain matrices: DoRA and other variants,
    quantised or tied layers, biases, several adapters at once.
    """
    plain = network.get_base_model() if hasattr(network, "get_base_model") else network
    layers = {name: module for name, module in plain.named_modules() if isinstance(module, LoraLayer)}
    if not layers:
        raise ModelError(f"{type(plain).__name__} has no LoRA adapter in it. Load it in a state trained with LoRA.")
    uses = Counter(id(p) for _, p in plain.named_parameters(remove_duplicate=False))
    found: dict[str, nn.Linear] = {}
    for name, layer in layers.items():
        if reason := _unreadable(layer, uses):
            raise ModelError(
                f"{name} of this model {reason}, so the gradient of a row cannot be read from it. "
                "Train a plain LoRA adapter on an unquantised model (see core.lora)."
            )
        (adapter,) = layer.active_adapters
        found[f"{name}.lora_A.{adapter}.weight"] = layer.lora_A[adapter]
        found[f"{name}.lora_B.{adapter}.weight"] = layer.lora_B[adapter]
    return found


def _unreadable(layer: Any, uses: Mapping[int, int]) -> str | None:
    """Why the gradients of a layer's matrices cannot be read by themselves; None where they can."""
    base = layer.get_base_layer()
    weight = base.weight
    known = type(layer) is Linear and isinstance(base, (nn.Linear, Conv1D))
    if not known or not weight.is_floating_point() or weight.element_size() < HALF or type(weight) is not nn.Parameter:
        return f"is a quantised or unusual layer ({type(base).__name__}, {weight.dtype})"
    adapters = [name for name in layer.active_adapters if name in layer.lora_A]
    if len(adapters) != 1 or len(layer.active_adapters) != 1 or layer.merged or layer.disable_adapters:
        return "has not exactly one adapter that is on and unmerged"
    if layer.lora_variant:
        return "has an adapter of the DoRA kind, or another variant of LoRA"
    a, b = layer.lora_A[adapters[0]], layer.lora_B[adapters[0]]
    if a.bias is not None or b.bias is not None:
        return "has an adapter with a bias"
    if any(uses[id(p)] > 1 for p in (weight, a.weight, b.weight)):
        return "is tied to another layer"
    return None


@contextmanager
def without_adapter(network: Any) -> Iterator[None]:
    """The base model for as long as the context lasts: B A x counts as 0."""
    with ExitStack() as hooks:
        for name, module in adapter_matrices(network).items():
            if ".lora_B." in name:
                hooks.callback(module.register_forward_hook(_nothing).remove)
        yield


def _nothing(_module: nn.Module, _given: tuple[Tensor, ...], out: Tensor) -> Tensor:
    return torch.zeros_like(out)
