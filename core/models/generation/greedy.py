"""How sure a model is of its own answer to a prompt: no response needs to exist.

    confidence = exp(mean_t log p(ŷ_t | x, ŷ_<t))       in (0, 1]; high = sure

ŷ is the greedy continuation of the prompt: at each step the likeliest token, the lower id of equals, up to m tokens
or to the first that ends an answer, which counts. p is the softmax, in float32, of the logits as the model gives
them: neither temperature nor penalty nor any other setting that comes with a model has a part in it.

Rows are padded on the left, and what stands there is masked. Whether a model keeps to the mask, and rows of one batch
to themselves, is tried out first (`can_batch_rows`); where they do not (RWKV), each row runs by itself. So a row
measures
the same alone or in any batch.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import GenerationConfig

from core.errors import ModelError
from core.models.batching import extract_prompt, plan_batches, run_or_halve, truncate_prompt
from core.models.chat_layout import ChatLayout, Turn
from core.models.loading import Model
from core.schema import IntArray

BATCH_TOKENS = {"cpu": 4096, "cuda": 65536}  # padded tokens of one batch, those to come included
MIN_PROMPT_TOKENS = 2  # tokens of a prompt that must fit beside its continuation: a BOS and one more


class GreedyContinuation:
    """Continues prompts under one model state; keeps nothing between calls."""

    def __init__(self, model: Model, *, new_tokens: int = 32, batch_tokens: int | None = None) -> None:
        self._room = model.max_length - new_tokens
        if new_tokens < 1 or self._room < MIN_PROMPT_TOKENS:
            raise ModelError(
                f"A continuation of {new_tokens} tokens is asked for, and model {model.ref.name!r} reads at most "
                f"{model.max_length} with its prompt. Set new_tokens to between 1 and "
                f"{model.max_length - MIN_PROMPT_TOKENS}."
            )
        self.model = model
        self.ends = end_tokens(model)
        self.columns: dict[str, pa.DataType] = {"confidence": pa.float32(), "continued": pa.int64()}
        kind = torch.device(model.device).type
        self._batch_tokens = batch_tokens or BATCH_TOKENS.get(kind, BATCH_TOKENS["cpu"])
        self._new_tokens = new_tokens
        self._network = strip_generation_config(model.network, self.ends)
        self.can_batch = can_batch_rows(model.network, model.device)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Columns tokens and spans, as `core.models.encoder.Encoder` gives them, to `columns`, in the same order.

        confidence: (N,) float32, NaN for a row without a prompt. continued: (N,) int64, how many tokens it is the
        mean of. A prompt too long to be continued loses its beginning, a leading BOS stays.
        ModelError when a row does not fit into memory by itself.
        """
        prompts = [self._prompt(*row) for row in zip(batch["tokens"], batch["spans"], strict=True)]

        def named(row: int) -> str:
            return f"A prompt of {len(prompts[row])} tokens with its continuation"

        lengths = np.array([len(p) for p in prompts], np.int64)
        confidence = np.full(len(prompts), np.nan, np.float32)
        continued = np.zeros(len(prompts), np.int64)
        for rows in self._plan(lengths):
            work = partial(self._pass, prompts)
            for some, (mean, count) in run_or_halve(rows, work, self.model, describe=named, setting="max_length"):
                confidence[some], continued[some] = np.exp(mean), count
        return {"confidence": confidence, "continued": continued}

    def _prompt(self, tokens: NDArray[Any], spans: NDArray[Any]) -> NDArray[np.int64]:
        return truncate_prompt(extract_prompt(tokens, spans), self._room, self.model.tokenizer.bos_token_id)

    def _plan(self, lengths: IntArray) -> list[IntArray]:
        """Batches of the rows that have a prompt, longest first."""
        asked = np.flatnonzero(lengths)
        budget = self._batch_tokens if self.can_batch else 1
        return [asked[places] for places in plan_batches(lengths[asked] + self._new_tokens, budget)]

    def _pass(self, prompts: Sequence[NDArray[np.int64]], rows: IntArray) -> tuple[NDArray[np.float64], IntArray]:
        """Mean log p (B,) of what is said up to its end, and how many tokens (B,) that is."""
        said, logp = continue_greedily(self._network, [prompts[i] for i in rows], self._new_tokens, self.model.device)
        ending = np.isin(said, self.ends)
        count = np.where(ending.any(axis=1), ending.argmax(axis=1) + 1, said.shape[1])
        counted = np.arange(said.shape[1]) < count[:, None]
        return np.where(counted, logp, 0.0).sum(axis=1) / count, count


class GreedyLogProbs:
    """Notes at each step how likely the likeliest token is; the logits go on as they came."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []  # (B,) each

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """What `generate` asks of a logits processor: (B, t) and (B, V) to (B, V)."""
        z = scores.float()
        self.steps.append((z.amax(dim=1) - z.logsumexp(dim=1)).clamp(max=0.0))
        return scores


@torch.inference_mode()
def continue_greedily(
    network: Any, prompts: Sequence[NDArray[np.int64]], new_tokens: int, device: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """What the network says to B prompts: tokens (B, t) and log p (B, t), t ≤ `new_tokens`. After the end of an
    answer a row goes on with what means nothing, until the last row has ended."""
    padded, mask = pad_left(prompts)
    noted = GreedyLogProbs()
    whole = network.generate(
        input_ids=torch.from_numpy(padded).to(device),
        attention_mask=torch.from_numpy(mask).to(device),
        logits_processor=[noted],
        max_new_tokens=new_tokens,
    )
    said: NDArray[np.int64] = whole[:, padded.shape[1] :].cpu().numpy()
    steps = torch.stack(noted.steps[: said.shape[1]], dim=1)  # a step may have been taken in vain
    return said, steps.double().cpu().numpy()


def pad_left(prompts: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ragged prompts to ids (B, T) and mask (B, T), 1 where a token is."""
    width = max(len(p) for p in prompts)
    ids = np.zeros((len(prompts), width), np.int64)
    mask = np.zeros_like(ids)
    for k, prompt in enumerate(prompts):
        ids[k, width - len(prompt) :] = prompt
        mask[k, width - len(prompt) :] = 1
    return ids, mask


def strip_generation_config(network: Any, ends: Sequence[int]) -> Any:
    """The same network with the same weights, for `generate` without any setting of its own.

    What is not set in a call `generate` takes from the network's generation_config: repetition penalties, words
    ruled out, beams. So the call is made on a copy (of the outermost object alone) that has another.
    """
    plain = copy(network)
    plain.generation_config = GenerationConfig(
        do_sample=False, num_beams=1, use_cache=True, eos_token_id=list(ends) or None, pad_token_id=0
    )
    return plain


def can_batch_rows(network: Any, device: str) -> bool:
    """Whether a row is continued the same beside a longer one, padded, as alone; tried on rows of 5 and 19 tokens."""
    vocabulary = network.get_input_embeddings().weight.shape[0]
    longer, short = np.arange(3, 22) % vocabulary, np.arange(30, 35) % vocabulary
    endless = strip_generation_config(network, ())
    (said, alone), (words, beside) = (
        continue_greedily(endless, [short], 2, device),
        continue_greedily(endless, [longer, short], 2, device),
    )
    steps = 2 if words[1, 0] == said[0, 0] else 1  # of two that are as likely rounding may choose another
    tolerance = 1e-5 if network.dtype == torch.float32 else 0.1
    return bool(np.allclose(beside[1, :steps], alone[0, :steps], rtol=tolerance, atol=tolerance))


def end_tokens(model: Model) -> tuple[int, ...]:
    """Ids of the tokens that end an answer of this model, ascending: whatever one of these three says.

    - the model's generation_config.eos_token_id, one or several;
    - the tokenizer's eos_token_id, which ends a response in Alpaca's form;
    - the control token that the tokenizer's chat template prints right after an answer (<|im_end|>, <end_of_turn>),
      which is the last token of a response in the chat form.

    They are the model's, not a row's: a prompt ends the same with a response or without, and in either form.
    """
    given = getattr(model.network.generation_config, "eos_token_id", None)
    ends = [*given] if isinstance(given, list | tuple) else [given]
    ends += [model.tokenizer.eos_token_id, end_of_turn_token(model.tokenizer)]
    return tuple(sorted({int(token) for token in ends if token is not None}))


def end_of_turn_token(tokenizer: Any) -> int | None:
    """The control token after an answer in the tokenizer's chat template; None where there is no such thing."""
    if not tokenizer.chat_template:
        return None
    try:
        last = ChatLayout(tokenizer).pieces([Turn("user", "A"), Turn("assistant", "B", is_response=True)])[-1]
    except ModelError:
        return None  # a template that no answer can be read from: rows in its form are refused where they are read
    return int(tokenizer(last.text, add_special_tokens=False)["input_ids"][-1]) if last.control else None
