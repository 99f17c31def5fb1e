"""Greedy continuation of prompts, and the model's confidence in it; no response is needed.

    confidence = exp(mean_t log p(ŷ_t | x, ŷ_<t))       in (0, 1]; high = certain

ŷ is the greedy continuation: at each step the likeliest token, ties to the lower id, up to m tokens or to the first
that ends an answer, which is included. p is the softmax, in float32, of the model's raw logits: no temperature, penalty
or other generation setting of the model applies.

Rows are padded on the left, and padding is masked. `can_batch_rows` tests whether a model respects the mask and keeps
rows of a batch independent; if not (RWKV), each row runs by itself. So a row's confidence does not depend on its batch.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import GenerationConfig

from core.errors import ModelError
from core.models.batching import batch_cost, plan_batches, read_prompts, run_batches
from core.models.chat_layout import ChatLayout, Turn
from core.models.loading import Model
from core.schema import IntArray

CPU_TOKENS = 4096  # padded tokens of one batch on a processor, including those to be generated
MIN_PROMPT_TOKENS = 2  # prompt tokens that must fit next to the continuation: a BOS and one more


class GreedyContinuation:
    """Continues prompts under one model state; stateless between calls."""

    def __init__(self, model: Model, *, new_tokens: int = 32, batch_tokens: int | None = None) -> None:
        self.room = model.max_length - new_tokens  # tokens that a prompt may have
        if new_tokens < 1 or self.room < MIN_PROMPT_TOKENS:
            raise ModelError(
                f"A continuation of {new_tokens:,} tokens does not fit: model {model.ref.name!r} reads at most "
                f"{model.max_length:,} tokens, prompt included. Set new_tokens to between 1 and "
                f"{model.max_length - MIN_PROMPT_TOKENS}."
            )
        self.model = model
        self.ends = end_tokens(model)
        self.columns: dict[str, pa.DataType] = {"confidence": pa.float32(), "continued": pa.int64()}
        self._cost = batch_cost(
            model.network, model.device, "generation", CPU_TOKENS, batch_tokens, memory=model.memory
        )
        self._new_tokens = new_tokens
        self._network = strip_generation_config(model.network, self.ends)
        self.can_batch = can_batch_rows(model.network, model.device)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Continue the prompts of the column tokens (`Encoder.encode_prompts`); return `columns`.

        confidence: (N,) float32, NaN for a row without a prompt. continued: (N,) int64, the tokens it is averaged over.
        Rows stay in order. Raises ModelError if a prompt has more than `room` tokens, or does not fit into memory by
        itself.
        """
        prompts = read_prompts(batch["tokens"], self.room)
        lengths = np.array([len(p) for p in prompts], np.int64)
        confidence = np.full(len(prompts), np.nan, np.float32)
        continued = np.zeros(len(prompts), np.int64)
        name, work = "A prompt of {} tokens with its continuation", partial(self._pass, prompts)
        for rows, (mean, count) in run_batches(self._plan(lengths), work, self.model, name, lengths):
            confidence[rows], continued[rows] = np.exp(mean), count
        return {"confidence": confidence, "continued": continued}

    def _plan(self, lengths: IntArray) -> list[IntArray]:
        """Split the rows that have a prompt into batches, longest first."""
        with_prompt = np.flatnonzero(lengths)
        cost = self._cost if self.can_batch else replace(self._cost, capacity=1)
        plan = plan_batches(lengths[with_prompt] + self._new_tokens, cost, passes=self._new_tokens)
        return [with_prompt[places] for places in plan]

    def _pass(self, prompts: Sequence[IntArray], rows: IntArray) -> tuple[NDArray[np.float64], IntArray]:
        """Return the mean log p (B,) of each continuation up to its end, and its tokens (B,)."""
        batch = [prompts[i] for i in rows]
        tokens, logp = generate(self._network, batch, GreedyLogProbs(), self._new_tokens, self.model.device)
        count = count_tokens(tokens, self.ends)
        included = np.arange(tokens.shape[1]) < count[:, None]
        return np.where(included, logp, 0.0).sum(axis=1) / count, count


class GreedyLogProbs:
    """A logits processor that records the log-probability of the likeliest token and leaves logits unchanged."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []  # (B,) each

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Record one step from ids (B, t) and logits (B, V); return the logits."""
        z = scores.float()
        self.steps.append((z.amax(dim=1) - z.logsumexp(dim=1)).clamp(max=0.0))
        return scores


class StepProcessor(Protocol):
    """A logits processor that records a number for each row and step."""

    steps: list[Tensor]  # (B,) each

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Record one step from ids (B, t) and logits (B, V); return the logits, of which the largest is the token."""


@torch.inference_mode()
def generate(
    network: Any, prompts: Sequence[IntArray], processor: StepProcessor, new_tokens: int, device: str
) -> tuple[IntArray, NDArray[np.float64]]:
    """Generate after B prompts: tokens (B, t) and what the processor recorded of each (B, t), t ≤ `new_tokens`.

    After its end a row is filled with meaningless tokens until the last row has ended. `network` must have no
    generation settings of its own (`strip_generation_config`).
    """
    ids, mask = pad_left(prompts, device)
    whole = network.generate(
        input_ids=ids, attention_mask=mask, logits_processor=[processor], max_new_tokens=new_tokens
    )
    tokens: IntArray = whole[:, ids.shape[1] :].cpu().numpy()
    steps = torch.stack(processor.steps[: tokens.shape[1]], dim=1)  # the last steps may have been computed in vain
    return tokens, steps.double().cpu().numpy()


def count_tokens(tokens: IntArray, ends: Sequence[int]) -> IntArray:
    """Count the tokens (B,) of each row (B, t) up to its first end, which is included."""
    ending = np.isin(tokens, ends)
    counts: IntArray = np.where(ending.any(axis=1), ending.argmax(axis=1) + 1, tokens.shape[1])
    return counts


def pad_left(prompts: Sequence[IntArray], device: str) -> tuple[Tensor, Tensor]:
    """Pad ragged prompts on the left: ids (B, T) and mask (B, T), 1 for a token."""
    lengths = np.array([len(p) for p in prompts])
    mask = np.arange(lengths.max(), 0, -1) <= lengths[:, None]
    ids = np.zeros(mask.shape, np.int64)
    ids[mask] = np.concatenate(prompts)
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask.astype(np.int64)).to(device)


def strip_generation_config(network: Any, ends: Sequence[int]) -> Any:
    """Return the same network, with shared weights, for `generate` without generation settings of its own.

    Arguments not passed to `generate` default to the network's generation_config: repetition penalties, suppressed
    words, beams. So the call is made on a shallow copy with a plain one.
    """
    plain = copy(network)
    plain.generation_config = GenerationConfig(
        do_sample=False, num_beams=1, use_cache=True, eos_token_id=list(ends) or None, pad_token_id=0
    )
    return plain


def can_batch_rows(network: Any, device: str) -> bool:
    """Return whether a padded row next to a longer one is continued as alone, tested on rows of 5 and 19 tokens."""
    vocabulary = network.get_input_embeddings().weight.shape[0]
    long, short = np.arange(3, 22) % vocabulary, np.arange(30, 35) % vocabulary
    endless = strip_generation_config(network, ())
    alone_tokens, alone = generate(endless, [short], GreedyLogProbs(), 2, device)
    batch_tokens, batched = generate(endless, [long, short], GreedyLogProbs(), 2, device)
    steps = 2 if batch_tokens[1, 0] == alone_tokens[0, 0] else 1  # rounding may break a tie the other way
    tolerance = 1e-5 if network.dtype == torch.float32 else 0.1
    return bool(np.allclose(batched[1, :steps], alone[0, :steps], rtol=tolerance, atol=tolerance))


def end_tokens(model: Model) -> tuple[int, ...]:
    """Return the ids of the tokens that end an answer of this model, ascending. The union of

    - the model's generation_config.eos_token_id, one or several;
    - the tokenizer's eos_token_id, which ends a response in Alpaca's layout;
    - the control token that the chat template prints right after a response (<|im_end|>, <end_of_turn>), which is the
      last token of a response in the chat layout.

    They belong to the model, not to a row: a prompt ends the same with or without a response, and in either layout.
    """
    given = getattr(model.network.generation_config, "eos_token_id", None)
    ends = [*given] if isinstance(given, list | tuple) else [given]
    ends += [model.tokenizer.eos_token_id, end_of_turn_token(model.tokenizer)]
    return tuple(sorted({int(token) for token in ends if token is not None}))


def end_of_turn_token(tokenizer: Any) -> int | None:
    """Return the control token after a response in the tokenizer's chat template; None if there is none."""
    if not tokenizer.chat_template:
        return None
    try:
        last = ChatLayout(tokenizer).pieces([Turn("user", "A"), Turn("assistant", "B", is_response=True)])[-1]
    except ModelError:
        return None  # a template without a locatable response; rows in its layout are rejected when encoded
    return int(tokenizer(last.text, add_special_tokens=False)["input_ids"][-1]) if last.control else None
