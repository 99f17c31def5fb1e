"""Held-out perplexity of the embedded model, relative to that of token counts alone.

    ratio = unigram perplexity / model perplexity        (higher is better)

Both are exp(mean nats per token) over the same tokens of the same whole rows, document by
document: the model reads BOS, then the row, and predicts every token of the row and the closing
EOS. The unigram distribution counts tokens of the training text (`vocabulary.unigram_nats`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import LlamaForCausalLM

from core.demo.training.vocabulary import PAD_ID, TokenIds

BATCH_TOKENS = 4096  # padded tokens in one batch: bounds the logits to 128 MB


@dataclass(frozen=True)
class HeldOutPerplexity:
    """Perplexity of one pool's held-out rows under the unigram distribution and under the model."""

    rows: int
    tokens: int
    unigram: float  # perplexity
    model: float  # perplexity

    @property
    def ratio(self) -> float:
        """Return how many times lower the model's perplexity is."""
        return self.unigram / self.model

    def __str__(self) -> str:
        return (
            f"{self.rows:5} rows {self.tokens:8,} tokens"
            f"  unigram {self.unigram:8.1f}  model {self.model:7.2f}  ratio {self.ratio:5.1f}"
        )


def model_nats(model: LlamaForCausalLM, rows: Sequence[TokenIds]) -> list[NDArray[np.float64]]:
    """Return the nats of every token after the first, row by row, in the order given."""
    nats: list[NDArray[np.float64]] = [np.empty(0)] * len(rows)
    for batch in _batches(rows):
        longest = max(len(rows[i]) for i in batch)
        ids = torch.tensor([rows[i] + [PAD_ID] * (longest - len(rows[i])) for i in batch])
        with torch.inference_mode():
            logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()  # causal: padding is not seen
            loss = functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        for place, i in enumerate(batch):
            nats[i] = loss[place, : len(rows[i]) - 1].double().numpy()
    return nats


def measure_held_out(
    model: LlamaForCausalLM, rows: Sequence[TokenIds], unigram: NDArray[np.float64]
) -> HeldOutPerplexity:
    """Compute both perplexities over the same tokens; rows longer than the model's context are cut to it."""
    within = [row[: model.config.max_position_embeddings] for row in rows]
    nats = np.concatenate(model_nats(model, within))
    unigram_nats = np.concatenate([unigram[row[1:]] for row in within])
    return HeldOutPerplexity(len(rows), len(nats), float(np.exp(unigram_nats.mean())), float(np.exp(nats.mean())))


def _batches(rows: Sequence[TokenIds]) -> Iterator[list[int]]:
    """Yield row numbers, shortest rows first, in batches of at most BATCH_TOKENS padded tokens."""
    batch: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: len(rows[i])):
        if batch and (len(batch) + 1) * len(rows[i]) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
