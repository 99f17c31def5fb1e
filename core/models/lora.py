"""LoRA adapters: adding, loading and disabling them, and their matrices by name.

    y = W x + (α / r) B A x        one pair (A, B) for each adapted layer

Adapted are the frozen linear layers of attention and feed-forward blocks. Names of matrices are those of the
transformers model, `model.layers.0.self_attn.q_proj.lora_A.default.weight`; peft's own begin with `base_model.model.`,
which `strip_peft_prefix` removes.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import Linear, LoraLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from core.errors import ModelError

# The names that model families give to these layers.
ADAPTER_LAYER_NAMES = {
    "q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "out_proj",  # Llama's relatives, Phi
    "gate_proj", "up_proj", "down_proj", "gate_up_proj", "fc1", "fc2",
    "query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h",  # GPT-NeoX, Bloom, Falcon
    "c_attn", "c_proj", "c_fc", "fc_in", "fc_out",  # GPT-2, GPT-J
    "Wqkv", "wq", "wk", "wv", "wo", "w1", "w2", "w3",
}  # fmt: skip
LayerChoice = Literal["all", "attention"]
ATTENTION_BLOCK_NAMES = ("attn", "attention")  # part of the attention block's name in every family


def add_adapter(network: Any, *, rank: int, alpha: float, dropout: float = 0.0, layers: LayerChoice = "all") -> Any:
    """Return the network with a new adapter, randomly initialised from torch's seed; only the adapter is trainable.

    Each layer becomes W + (alpha / rank) B A, with A random and B zero, so the outputs do not change before training.
    While training, a share `dropout` of A's inputs is set to zero.
    """
    names = find_adapter_layers(network, layers)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=names,
        fan_in_fan_out=isinstance(network.get_submodule(names[0]), Conv1D),
        task_type="CAUSAL_LM",
    )
    with _without_peft_warning():
        return get_peft_model(network, config)


def load_adapter(network: Any, state: Path) -> Any:
    """Load a trained adapter into the network, on the CPU, without merging it into the weights."""
    with _without_peft_warning():  # by default peft loads the adapter onto a GPU if there is one
        return PeftModel.from_pretrained(network, str(state), torch_device="cpu").get_base_model()


@contextmanager
def _without_peft_warning() -> Iterator[None]:
    """Suppress a deprecation warning that peft causes in transformers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
        yield


def find_adapter_layers(network: Any, layers: LayerChoice = "all") -> list[str]:
    """Return the full names of the layers to adapt: attention and feed-forward, or attention only.

    Attention means queries, keys, values and output. Raises ModelError if no layer is known by name.
    """
    head = network.get_output_embeddings()
    names = [
        name
        for name, module in network.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and module is not head and _is_selected(name, layers)
    ]
    if not names:
        kind = "attention or feed-forward" if layers == "all" else "attention"
        raise ModelError(
            f"The architecture {type(network).__name__} has no known {kind} layers for LoRA. Train all parameters "
            "instead (lora_rank 0)."
        )
    return names


def _is_selected(name: str, layers: LayerChoice) -> bool:
    """Return whether a layer is selected; for names of both blocks (`dense`, `c_proj`) the block's name decides."""
    *blocks, last = name.split(".")
    return last in ADAPTER_LAYER_NAMES and (
        layers == "all" or any(part in block for block in blocks for part in ATTENTION_BLOCK_NAMES)
    )


PEFT_PREFIX = "base_model.model."
MIN_FLOAT_BYTES = 2  # bytes per number of the smallest dtype that carries gradients


def strip_peft_prefix(name: str) -> str:
    """Remove the prefix that peft adds to a parameter's name."""
    return name.removeprefix(PEFT_PREFIX)


def base_network(network: Any) -> Any:
    """Return the transformers model, with or without peft's wrapper."""
    return network.get_base_model() if hasattr(network, "get_base_model") else network


def adapter_matrices(network: Any) -> dict[str, nn.Linear]:
    """Return every A and B of the adapter, by the name of its weight, in the order of the layers.

    Raises ModelError if there is no adapter, or if a gradient would not be that of two plain matrices: DoRA and other
    variants, quantised or tied layers, biases, several adapters at once.
    """
    plain = base_network(network)
    layers = {name: module for name, module in plain.named_modules() if isinstance(module, LoraLayer)}
    if not layers:
        raise ModelError(f"{type(plain).__name__} has no LoRA adapter in it. Load it in a state trained with LoRA.")
    uses = Counter(id(p) for _, p in plain.named_parameters(remove_duplicate=False))
    matrices: dict[str, nn.Linear] = {}
    for name, layer in layers.items():
        if reason := _unsupported_reason(layer, uses):
            raise ModelError(
                f"{name} of this model {reason}, so the gradient of a row cannot be read from it. "
                "Train a plain LoRA adapter on an unquantised model (see core.models.lora)."
            )
        (adapter,) = layer.active_adapters
        matrices[f"{name}.lora_A.{adapter}.weight"] = layer.lora_A[adapter]
        matrices[f"{name}.lora_B.{adapter}.weight"] = layer.lora_B[adapter]
    return matrices


def _unsupported_reason(layer: Any, uses: Mapping[int, int]) -> str | None:
    """Return why a layer's gradients cannot be computed separately; None if they can."""
    base = layer.get_base_layer()
    weight = base.weight
    supported = type(layer) is Linear and isinstance(base, (nn.Linear, Conv1D))
    if (
        not supported
        or not weight.is_floating_point()
        or weight.element_size() < MIN_FLOAT_BYTES
        or type(weight) is not nn.Parameter
    ):
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
def disable_adapter(network: Any) -> Iterator[None]:
    """Run the base model within this context: B A x is replaced by 0."""
    with ExitStack() as hooks:
        for name, module in adapter_matrices(network).items():
            if ".lora_B." in name:
                hooks.callback(module.register_forward_hook(lambda _module, _args, out: torch.zeros_like(out)).remove)
        yield
