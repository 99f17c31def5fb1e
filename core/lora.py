"""LoRA: small trainable matrices beside the frozen linear layers of attention and feed-forward blocks."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from core.errors import ModelError

# The layers meant, by the names that model families give them.
TARGETS = frozenset(
    [
        *("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "out_proj"),  # Llama's relatives, Phi
        *("gate_proj", "up_proj", "down_proj", "gate_up_proj", "fc1", "fc2"),
        *("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),  # GPT-NeoX, Bloom, Falcon
        *("c_attn", "c_proj", "c_fc", "fc_in", "fc_out"),  # GPT-2, GPT-J
        *("Wqkv", "wq", "wk", "wv", "wo", "w1", "w2", "w3"),
    ]
)


Layers = Literal["all", "attention"]
ATTENTION = ("attn", "attention")  # in the name of the block that holds attention's layers, in every family


def adapted(network: Any, *, rank: int, alpha: float, dropout: float = 0.0, on: Layers = "all") -> Any:
    """The network with a fresh adapter (its random start comes from torch's seed); only that is trainable.

    Each layer becomes W + (alpha / rank) B A, with A random and B zero, so nothing changes before training. While it
    trains, a share `dropout` of what A reads is set to zero.
    """
    names = targets(network, on)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=names,
        fan_in_fan_out=isinstance(network.get_submodule(names[0]), Conv1D),
        task_type="CAUSAL_LM",
    )
    with _quiet():
        return get_peft_model(network, config)


def with_adapter(network: Any, state: Path) -> Any:
    """The network, on the CPU, with a trained adapter in it, beside its weights."""
    with _quiet():  # peft would read the adapter into a GPU wherever there is one
        return PeftModel.from_pretrained(network, str(state), torch_device="cpu").get_base_model()


@contextmanager
def _quiet() -> Iterator[None]:
    """Peft asks transformers for a name that has a newer one; nobody can do anything about it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
        yield


def targets(network: Any, on: Layers = "all") -> list[str]:
    """Full names of the layers an adapter goes on: attention and feed-forward, or attention (queries, keys, values,
    output) by itself. ModelError when none is known."""
    head = network.get_output_embeddings()
    found = [
        name
        for name, module in network.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and module is not head and _meant(name, on)
    ]
    if not found:
        kind = "attention or feed-forward" if on == "all" else "attention"
        raise ModelError(
            f"{type(network).__name__} has no {kind} layers known by name, so LoRA cannot be "
            "put on it. Train all parameters instead (lora_rank 0)."
        )
    return found


def _meant(name: str, on: Layers) -> bool:
    """Some names (`dense`, `c_proj`, `out_proj`) stand in either block: which one, the name of the block tells."""
    *blocks, last = name.split(".")
    return last in TARGETS and (on == "all" or any(part in block for block in blocks for part in ATTENTION))
