"""Small models made in the tests: random weights, the shapes of real families, a tokenizer trained on a few lines."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

logging.disable_progress_bar()

VOCABULARY = 300
PAGE = """Below is an instruction that describes a task. Write a response that appropriately completes the request.
### Instruction: What is the capital of France? ### Response: The capital of France is Paris.
### Instruction: Add two and three. ### Response: Two plus three is five."""
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer that puts BOS first, as Llama's does."""
    rules = Tokenizer(models.BPE())
    rules.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rules.decoder = decoders.ByteLevel()
    specials = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=alphabet, special_tokens=specials, show_progress=False
    )
    rules.train_from_iterator([PAGE], trainer)
    rules.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=rules, bos_token="<s>", eos_token="</s>")


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """Return a new copy, so that a test may set a chat template."""
    return make_tokenizer()


@pytest.fixture
def chat_tokenizer(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    tokenizer.chat_template = CHATML
    return tokenizer


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Llama of 38 000 random parameters with a context of 512 tokens, and its tokenizer; no chat template."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.5,  # wide, so that predictions differ and a wrong position is detected
    )
    return save_model(LlamaForCausalLM(config), tmp_path_factory.mktemp("tiny-llama"))


def save_model(network: Any, folder: Path) -> Path:
    """Save the network and the tokenizer in `folder`, as a user's model folder has them."""
    network.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder
