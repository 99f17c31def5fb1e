"""Sampling of K answers per prompt from a local model.

An answer's random numbers depend only on the seed, the row's id and its k (`random_streams`), tokens are sampled by
`core.models.generation.top_p`, and prompts are padded on the left as in `core.models.generation.greedy`. So a row has
the same answers in any batch, up to rounding of the logits.

A prompt runs once for its K answers, token by token, and finished answers leave the batch after every round. If the
model's cache cannot be shared in this way (`can_share_prompts`), the prompt runs for each answer, and a batch ends with
its last answer, in one call of `generate`. If rows of a batch affect each other (RWKV), each answer runs by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import ModelError
from core.models.batching import batch_cost, plan_batches, read_prompts, run_batches
from core.models.generation import greedy
from core.models.generation.answers import ANSWER_COLUMNS, LENGTH, STOP, SamplingSettings, missing_answers
from core.models.generation.top_p import TopPProcessor
from core.models.loading import Model
from core.models.shared_prefix import CACHE_ERRORS
from core.schema import FloatArray, IntArray, Progress, ignore_progress

CPU_TOKENS = 16384  # padded tokens of one batch on a processor, including those to be generated


class Sampler:
    """Samples answers under one model state; stateless between calls."""

    columns = ANSWER_COLUMNS

    def __init__(self, model: Model, settings: SamplingSettings, *, batch_tokens: int | None = None) -> None:
        self.room = model.max_length - settings.max_new_tokens  # tokens that a prompt may have
        if self.room < greedy.MIN_PROMPT_TOKENS:
            raise ModelError(
                f"Answers of {settings.max_new_tokens:,} tokens do not fit: model {model.ref.name!r} reads at most "
                f"{model.max_length:,} tokens, prompt included. Set max_new_tokens to "
                f"{model.max_length - greedy.MIN_PROMPT_TOKENS} or less."
            )
        self.model, self.settings = model, settings
        self.ends = greedy.end_tokens(model)
        self._cost = batch_cost(
            model.network, model.device, "generation", CPU_TOKENS, batch_tokens, memory=model.memory
        )
        self._network = greedy.strip_generation_config(model.network, self.ends)
        self.can_batch = greedy.can_batch_rows(model.network, model.device)
        self.shares_prefix = self.can_batch and can_share_prompts(model.network, model.device)

    def __call__(self, batch: Mapping[str, Any], progress: Progress = ignore_progress) -> dict[str, list[list[Any]]]:
        """Sample K answers to each prompt of the columns tokens (`Encoder.encode_prompts`) and ids.

        `ids` are the rows' own text ids. Returns `columns`, in the same row order. A row without a prompt has K nulls.
        `progress` counts answers. Raises ModelError if a prompt has more than `room` tokens, or does not fit into
        memory by itself.
        """
        limit = self.settings.prompt_tokens
        prompts = read_prompts([tokens[:limit] for tokens in batch["tokens"]], self.room)
        k = self.settings.answers
        keys, columns = self.settings.random_streams(batch["ids"]), missing_answers(len(prompts), k)
        lengths = np.array([len(p) for p in prompts], np.int64)
        done, total = 0, int((lengths > 0).sum()) * k
        work, name = partial(self._pass, prompts, keys), f"A prompt of {{}} tokens with its {k} answers"
        plan, setting = self._plan(lengths), "max_new_tokens or max_length"
        for rows, tokens in run_batches(plan, work, self.model, name, lengths, setting=setting):
            for name, values in self._read(tokens).items():
                for row, answers in zip(rows.tolist(), values, strict=True):
                    columns[name][row] = answers
            done += len(rows) * k
            progress(done, total)
        return columns

    def _plan(self, lengths: IntArray) -> list[IntArray]:
        """Split the rows that have a prompt into batches, longest first; each row counts K times."""
        with_prompt = np.flatnonzero(lengths)
        new, k = self.settings.max_new_tokens, self.settings.answers
        cost = replace(self._cost, row=k * self._cost.row, capacity=self._cost.capacity if self.can_batch else 1)
        plan = plan_batches(k * (lengths[with_prompt] + new), cost, passes=new)
        return [with_prompt[places] for places in plan]

    def _pass(self, prompts: Sequence[IntArray], keys: NDArray[np.uint64], rows: IntArray) -> IntArray:
        """Sample the tokens (B, K, t) of the answers to B prompts, −1 after the end of each."""
        batch, keys = [prompts[i] for i in rows], keys[rows]
        groups = [keys] if self.can_batch else np.split(keys, keys.shape[1], axis=1)
        sample = partial(sample_answers, self._network, batch, settings=self.settings, ends=self.ends)
        sample = partial(sample, device=self.model.device, share_prompts=self.shares_prefix)
        answers, probabilities = zip(*map(sample, groups), strict=True)
        tokens = np.concatenate(answers, axis=1)
        if np.isnan(np.concatenate(probabilities, axis=1)[tokens >= 0]).any():
            raise ModelError(
                f"Model {self.model.ref.name!r} gives logits that are not numbers in {self.model.dtype}. Choose "
                "another dtype, or another model."
            )
        return tokens

    def _read(self, tokens: IntArray) -> dict[str, list[list[Any]]]:
        """Convert the tokens of answers (B, K, t) to columns."""
        counts = (tokens >= 0).sum(axis=2)
        last = np.take_along_axis(tokens, counts[:, :, None] - 1, axis=2)[:, :, 0]
        stopped = np.isin(last, self.ends)
        ids = [row[:n] for row, n in zip(tokens.reshape(-1, tokens.shape[2]), (counts - stopped).ravel(), strict=True)]
        texts = self.model.tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        k = tokens.shape[1]
        return {
            "answers": [texts[start : start + k] for start in range(0, len(texts), k)],
            "answer_tokens": counts.tolist(),
            "ended": np.where(stopped, STOP, LENGTH).tolist(),
        }


ROUND_TOKENS = 32  # tokens after which finished answers leave the batch


@torch.inference_mode()
def sample_answers(
    network: Any,
    prompts: Sequence[IntArray],
    keys: NDArray[np.uint64],
    settings: SamplingSettings,
    ends: Sequence[int],
    device: str,
    *,
    share_prompts: bool,
    round_tokens: int = ROUND_TOKENS,
) -> tuple[IntArray, FloatArray]:
    """Sample K answers to each of B prompts, with streams (B, K).

    Returns tokens (B, K, t), −1 after the end of an answer, and the probability of each token at this temperature (NaN
    after the end). `network` must have no generation settings of its own (`strip_generation_config`).
    """
    longest, flat = settings.max_new_tokens, keys.ravel()
    sampled = np.full((len(flat), longest), -1, np.int64)
    probabilities = np.full(sampled.shape, np.nan, np.float32)
    ids, mask = greedy.pad_left(prompts, device)
    active, step, cache = np.arange(len(flat)), 0, None  # unfinished answers, and the number of tokens they have
    if not share_prompts:
        ids, mask = _repeat(ids, mask, keys.shape[1])
    while len(active) and step < longest:
        draw = TopPProcessor(flat[active], settings, step=step)
        if share_prompts and step == 0:
            new, cache = _first_tokens(network, ids, mask, keys.shape[1], draw)
            ids, mask = _repeat(ids, mask, keys.shape[1])
        else:
            size = min(round_tokens, longest - step) if share_prompts else longest
            new, cache = _next_tokens(network, ids, mask, cache, size, draw)
        tokens = new.cpu().numpy()
        columns = slice(step, step + tokens.shape[1])
        ending = np.isin(tokens, ends)
        after_end = ending.cumsum(axis=1) - ending > 0
        sampled[active, columns] = np.where(after_end, -1, tokens)
        probabilities[active, columns] = torch.stack(draw.probabilities[: tokens.shape[1]], dim=1).cpu().numpy()
        step = columns.stop
        left = np.flatnonzero(~ending.any(axis=1))
        active, at = active[left], torch.from_numpy(left).to(device)
        ids, mask = torch.cat([ids, new], dim=1)[at], torch.cat([mask, torch.ones_like(new)], dim=1)[at]
        if share_prompts:
            cache.batch_select_indices(at)
    return sampled.reshape(*keys.shape, -1), probabilities.reshape(*keys.shape, -1)


def _repeat(ids: Tensor, mask: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """Repeat each row this many times, consecutively."""
    return ids.repeat_interleave(times, dim=0), mask.repeat_interleave(times, dim=0)


def _first_tokens(network: Any, ids: Tensor, mask: Tensor, times: int, draw: TopPProcessor) -> tuple[Tensor, Any]:
    """Sample the first tokens (B·K, 1) of K answers to each of B prompts that run once; return the cache K times."""
    out = network.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=1, output_logits=True, return_dict_in_generate=True
    )
    out.past_key_values.batch_repeat_interleave(times)
    token = draw(None, out.logits[0].repeat_interleave(times, dim=0)).argmax(dim=1)
    return token[:, None], out.past_key_values


def _next_tokens(
    network: Any, ids: Tensor, mask: Tensor, cache: Any, size: int, draw: TopPProcessor
) -> tuple[Tensor, Any]:
    """Sample up to `size` further tokens (A, t) of A answers; return them and the cache."""
    out = network.generate(
        input_ids=ids,
        attention_mask=mask,
        past_key_values=cache,
        logits_processor=[draw],
        max_new_tokens=size,
        return_dict_in_generate=True,
    )
    return out.sequences[:, ids.shape[1] :], out.get("past_key_values")


def can_share_prompts(network: Any, device: str) -> bool:
    """Return whether answers are the same with a shared prompt in rounds as with a separate run for each answer.

    Tested on prompts of 5 and 19 tokens.
    """
    vocabulary = network.get_input_embeddings().weight.shape[0]
    prompts = [np.arange(30, 35) % vocabulary, np.arange(3, 22) % vocabulary]
    settings = SamplingSettings(answers=2, max_new_tokens=6)
    keys = settings.random_streams(["short", "longer"])
    endless = greedy.strip_generation_config(network, ())
    try:
        plain, probabilities = sample_answers(endless, prompts, keys, settings, (), device, share_prompts=False)
        shared, shared_probabilities = sample_answers(
            endless, prompts, keys, settings, (), device, share_prompts=True, round_tokens=2
        )
    except CACHE_ERRORS:
        return False
    exact = network.dtype == torch.float32
    agree = (plain == shared).cumprod(axis=2).astype(np.bool_)  # after a differing token the answers are unrelated
    tolerance = 1e-4 if exact else 0.1
    near = np.allclose(probabilities[agree], shared_probabilities[agree], rtol=tolerance, atol=tolerance)
    return bool(near and agree.mean() >= (1.0 if exact else 0.5))
