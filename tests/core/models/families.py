"""Model families as tiny random networks: one for each kind of head and body."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    PhiConfig,
    Qwen2Config,
    Qwen3Config,
)

SIZE = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
    "initializer_range": 0.5,
}
GROUPED = SIZE | {"num_key_value_heads": 2, "head_dim": 8}
# Tied and untied, with bias, capped, scaled, learned positions, a window.
FAMILIES = {
    "llama": LlamaConfig(**GROUPED),
    "qwen2 tied": Qwen2Config(**GROUPED, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**GROUPED),
    "mistral windowed": MistralConfig(**GROUPED, sliding_window=8),
    "gpt2": GPT2Config(vocab_size=300, n_positions=256, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=1),
    "gpt-neox": GPTNeoXConfig(**SIZE),
    "phi with bias": PhiConfig(**SIZE),
    "gemma2 capped": Gemma2Config(**GROUPED, final_logit_softcapping=3.0, attn_logit_softcapping=2.0, sliding_window=8),
    "cohere scaled": CohereConfig(**SIZE, logit_scale=0.25),
    "granite scaled": GraniteConfig(**SIZE, logits_scaling=4.0),
}
every_family = pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)


def network_of(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()
