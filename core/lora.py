"""LoRA: small trainable matrices beside the frozen linear layers of attention and feed-forward blocks."""

from typing import Any

from peft import LoraConfig, get_peft_model
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


def adapted(network: Any, *, rank: int, alpha: float) -> Any:
    """The network with a fresh adapter (its random start comes from torch's seed); only that is trainable.

    Each layer becomes W + (alpha / rank) B A, with A random and B zero, so nothing changes before training.
    """
    names = targets(network)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        target_modules=names,
        fan_in_fan_out=isinstance(network.get_submodule(names[0]), Conv1D),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(network, config)


def targets(network: Any) -> list[str]:
    """Full names of the attention and feed-forward layers an adapter goes on; ModelError when none is known."""
    head = network.get_output_embeddings()
    found = [
        name
        for name, module in network.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and module is not head and name.split(".")[-1] in TARGETS
    ]
    if not found:
        raise ModelError(
            f"{type(network).__name__} has no attention or feed-forward layers known by name, so LoRA cannot be "
            "put on it. Train all parameters instead (lora_rank 0)."
        )
    return found
