"""K answers to each prompt, sampled from a local model.

An answer's random numbers hang on the seed, the row's id and its k alone (`core.models.generation.answers.streams`),
its token is drawn
by core/models/generation/top_p.py, and rows are padded on the left as in core/models/generation/greedy.py. So a row is
answered the same alone or
in any batch, up to what rounding of the logits does.

The K answers to a prompt share it, where the model can (core/models/generation/sampler.py). Where rows of a batch mind
each other
(RWKV), each answer runs by itself.

Answers to several prompts at once, token by token: a prompt is run once for all of its answers, and answers that
have ended leave the batch after every round. Where a model's cache cannot be treated so (`can_share_prompts`), prompts
are run for each answer and all goes on to the last end, in one call of `generate`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import ModelError
from core.models.batching import extract_prompt, plan_batches, run_or_halve, truncate_prompt
from core.models.generation.answers import (
    ANSWER_COLUMNS,
    LENGTH,
    STOP,
    SamplingSettings,
    missing_answers,
    random_streams,
)
from core.models.generation.greedy import (
    MIN_PROMPT_TOKENS,
    can_batch_rows,
    end_tokens,
    pad_left,
    strip_generation_config,
)
from core.models.generation.top_p import TopPProcessor
from core.models.loading import Model
from core.models.shared_prefix import CACHE_ERRORS
from core.schema import IntArray, Progress, ignore_progress

BATCH_TOKENS = {"cpu": 16384, "cuda": 65536}  # padded tokens of one batch, those to come included


class Sampler:
    """Samples answers under one model state; keeps nothing between calls."""

    columns = ANSWER_COLUMNS

    def __init__(self, model: Model, settings: SamplingSettings, *, batch_tokens: int | None = None) -> None:
        self._room = model.max_length - settings.max_new_tokens
        if self._room < MIN_PROMPT_TOKENS:
            raise ModelError(
                f"Answers of {settings.max_new_tokens} tokens are asked for, and model {model.ref.name!r} reads at "
                f"most {model.max_length} with the prompt. Set max_new_tokens to "
                f"{model.max_length - MIN_PROMPT_TOKENS} or less."
            )
        self.model, self.settings = model, settings
        self.ends = end_tokens(model)
        kind = torch.device(model.device).type
        self._batch_tokens = batch_tokens or BATCH_TOKENS.get(kind, BATCH_TOKENS["cpu"])
        self._network = strip_generation_config(model.network, self.ends)
        self.can_batch = can_batch_rows(model.network, model.device)
        self.shares_prefix = self.can_batch and can_share_prompts(model.network, model.device)

    def __call__(self, batch: Mapping[str, Any], progress: Progress = ignore_progress) -> dict[str, list[list[Any]]]:
        """Columns tokens and spans, as `core.models.encoder.Encoder` gives them, and ids, each row's own text id, to
        `columns`, in the same order: K values for each row.

        A row without a prompt has no answers: K nulls. A prompt too long to be answered loses its beginning, a
        leading BOS stays. `progress` is told of answers. ModelError when a row does not fit into memory by itself.
        """
        prompts = [self._prompt(*row) for row in zip(batch["tokens"], batch["spans"], strict=True)]

        def named(row: int) -> str:
            return f"A prompt of {len(prompts[row])} tokens with its {self.settings.answers} answers"

        keys = random_streams(self.settings.seed, batch["ids"], self.settings.answers)
        found = missing_answers(len(prompts), self.settings.answers)
        lengths = np.array([len(p) for p in prompts], np.int64)
        done, total = 0, int((lengths > 0).sum()) * self.settings.answers
        for rows in self._plan(lengths):
            work = partial(self._pass, prompts, keys)
            for some, said in run_or_halve(
                rows, work, self.model, describe=named, setting="max_new_tokens or max_length"
            ):
                for name, values in self._read(said).items():
                    for row, answers in zip(some.tolist(), values, strict=True):
                        found[name][row] = answers
                done += len(some) * self.settings.answers
                progress(done, total)
        return found

    def _prompt(self, tokens: NDArray[Any], spans: NDArray[Any]) -> NDArray[np.int64]:
        """The tokens before the last answer; the first of them where a limit is set."""
        given = extract_prompt(tokens, spans)[: self.settings.prompt_tokens]
        return truncate_prompt(given, self._room, self.model.tokenizer.bos_token_id)

    def _plan(self, lengths: IntArray) -> list[IntArray]:
        """Batches of the rows that have a prompt, longest first; each counts K times."""
        asked = np.flatnonzero(lengths)
        budget = self._batch_tokens if self.can_batch else 1
        work = (lengths[asked] + self.settings.max_new_tokens) * self.settings.answers
        return [asked[places] for places in plan_batches(work, budget)]

    def _pass(
        self, prompts: Sequence[NDArray[np.int64]], keys: NDArray[np.uint64], rows: IntArray
    ) -> NDArray[np.int64]:
        """(B, K, t) the tokens of the answers to B prompts, −1 behind the end of each."""
        asked, keys = [prompts[i] for i in rows], keys[rows]
        together = [keys] if self.can_batch else np.split(keys, keys.shape[1], axis=1)
        said, chances = zip(*(self._answers(asked, some) for some in together), strict=True)
        tokens = np.concatenate(said, axis=1)
        if np.isnan(np.concatenate(chances, axis=1)[tokens >= 0]).any():
            raise ModelError(
                f"Model {self.model.ref.name!r} gives logits that are not numbers in {self.model.dtype}. Choose "
                "another dtype, or another model."
            )
        return tokens

    def _answers(
        self, prompts: Sequence[NDArray[np.int64]], keys: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        said, chances = sample_answers(
            self._network, prompts, keys, self.settings, self.ends, self.model.device, share_prompts=self.shares_prefix
        )
        return said.reshape(*keys.shape, -1), chances.reshape(*keys.shape, -1)

    def _read(self, said: NDArray[np.int64]) -> dict[str, list[list[Any]]]:
        """Answers (B, K, t) as columns."""
        counts = (said >= 0).sum(axis=2)
        last = np.take_along_axis(said, counts[:, :, None] - 1, axis=2)[:, :, 0]
        stopped = np.isin(last, self.ends)
        ids = [row[:n] for row, n in zip(said.reshape(-1, said.shape[2]), (counts - stopped).ravel(), strict=True)]
        texts = self.model.tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        k = said.shape[1]
        return {
            "answers": [texts[at : at + k] for at in range(0, len(texts), k)],
            "answer_tokens": counts.tolist(),
            "ended": np.where(stopped, STOP, LENGTH).tolist(),
        }


ROUND_TOKENS = 32  # tokens after which answers that have ended leave the batch


@torch.inference_mode()
def sample_answers(
    network: Any,
    prompts: Sequence[NDArray[np.int64]],
    keys: NDArray[np.uint64],
    settings: SamplingSettings,
    ends: Sequence[int],
    device: str,
    *,
    share_prompts: bool,
    round_tokens: int = ROUND_TOKENS,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """K answers to each of B prompts, by streams (B, K): tokens (B·K, t), −1 behind the end of an answer, and how
    likely each was at this temperature (NaN behind the end). `network` is bare (core.models.generation.greedy.bare)."""
    longest, flat = settings.max_new_tokens, keys.ravel()
    said = np.full((len(flat), longest), -1, np.int64)
    chances = np.full(said.shape, np.nan, np.float32)
    ids, mask = (torch.from_numpy(x).to(device) for x in pad_left(prompts))
    going, step, cache = np.arange(len(flat)), 0, None  # answers that have not ended, and how many tokens they have
    if not share_prompts:
        ids, mask = _repeated(ids, mask, keys.shape[1])
    while len(going) and step < longest:
        draw = TopPProcessor(flat[going], settings, step=step)
        if share_prompts and step == 0:
            new, cache = _first(network, ids, mask, keys.shape[1], draw)
            ids, mask = _repeated(ids, mask, keys.shape[1])
        else:
            size = min(round_tokens, longest - step) if share_prompts else longest
            new, cache = _on(network, ids, mask, cache, size, draw)
        tokens = new.cpu().numpy()
        columns = slice(step, step + tokens.shape[1])
        ending = np.isin(tokens, ends)
        behind = ending.cumsum(axis=1) - ending > 0
        said[going, columns] = np.where(behind, -1, tokens)
        chances[going, columns] = torch.stack(draw.probabilities[: tokens.shape[1]], dim=1).cpu().numpy()
        step = columns.stop
        left = np.flatnonzero(~ending.any(axis=1))
        going, at = going[left], torch.from_numpy(left).to(device)
        ids, mask = torch.cat([ids, new], dim=1)[at], torch.cat([mask, torch.ones_like(new)], dim=1)[at]
        if share_prompts:
            cache.batch_select_indices(at)
    return said, chances


def _repeated(ids: Tensor, mask: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """Each row so many times, one after the other."""
    return ids.repeat_interleave(times, dim=0), mask.repeat_interleave(times, dim=0)


def _first(network: Any, ids: Tensor, mask: Tensor, times: int, draw: TopPProcessor) -> tuple[Tensor, Any]:
    """The first tokens (B·K, 1) of K answers to each of B prompts, which run once; and the cache, K times."""
    out = network.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=1, output_logits=True, return_dict_in_generate=True
    )
    out.past_key_values.batch_repeat_interleave(times)
    token = draw(None, out.logits[0].repeat_interleave(times, dim=0)).argmax(dim=1)
    return token[:, None], out.past_key_values


def _on(network: Any, ids: Tensor, mask: Tensor, cache: Any, size: int, draw: TopPProcessor) -> tuple[Tensor, Any]:
    """Up to `size` tokens more (A, t) of A answers, and the cache then."""
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
    """Whether answers come out the same when their prompt runs once and they are sampled in rounds, as when all of it
    is run for each answer at one go; tried on prompts of 5 and 19 tokens."""
    vocabulary = network.get_input_embeddings().weight.shape[0]
    prompts = [np.arange(30, 35) % vocabulary, np.arange(3, 22) % vocabulary]
    settings, keys = SamplingSettings(answers=2, max_new_tokens=6), random_streams(0, ["short", "longer"], 2)
    endless = strip_generation_config(network, ())
    try:
        plain, chances = sample_answers(endless, prompts, keys, settings, (), device, share_prompts=False)
        shared, likewise = sample_answers(
            endless, prompts, keys, settings, (), device, share_prompts=True, round_tokens=2
        )
    except CACHE_ERRORS:
        return False
    exact = network.dtype == torch.float32
    agree = (plain == shared).cumprod(axis=1).astype(np.bool_)  # behind another token all is another answer
    tolerance = 1e-4 if exact else 0.1
    near = np.allclose(chances[agree], likewise[agree], rtol=tolerance, atol=tolerance)
    return bool(near and agree.mean() >= (1.0 if exact else 0.5))
