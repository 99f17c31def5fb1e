"""Sampling of K answers per prompt from a local model.

transformers' `generate` runs in greedy mode on logits in which `core.models.generation.top_p` has sampled the next
token. An answer's random numbers depend only on the seed, the row's id and its k (`random_streams`), and prompts are
padded on the left as in `core.models.generation.greedy`. So a row has the same answers in any batch, up to rounding of
the logits. If rows of a batch affect each other (RWKV), each answer runs by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelError
from core.models.batching import batch_cost, can_run_at_once, plan_batches, read_prompts, run_at_once, run_batches
from core.models.generation import greedy
from core.models.generation.answers import ANSWER_COLUMNS, LENGTH, STOP, SamplingSettings, missing_answers
from core.models.generation.top_p import TopPProcessor
from core.models.loading import Model
from core.schema import IntArray, Progress, ignore_progress

CPU_TOKENS = 8192  # padded tokens of one batch on a processor, including those to be generated


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
        at_once = len(plan) > 1 and self.can_batch and can_run_at_once(self._network, self.model.device)
        run = run_at_once if at_once else run_batches
        for rows, tokens in run(plan, work, self.model, name, lengths, setting=setting):
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
        shape = len(rows), self.settings.answers
        batch, streams = [prompts[i] for i in rows for _ in range(shape[1])], keys[rows].ravel()
        answers = np.full((len(batch), self.settings.max_new_tokens), -1, np.int64)
        for some in [slice(None)] if self.can_batch else [slice(i, i + 1) for i in range(len(batch))]:
            tokens = self._sample(batch[some], streams[some])
            answers[some, : tokens.shape[1]] = tokens
        return answers.reshape(*shape, -1)

    def _sample(self, prompts: Sequence[IntArray], streams: NDArray[np.uint64]) -> IntArray:
        """Sample one answer with each of these streams (A,) to each of A prompts: tokens (A, t), −1 after the end."""
        sampled = TopPProcessor(streams, self.settings)
        tokens, probabilities = greedy.generate(
            self._network, prompts, sampled, self.settings.max_new_tokens, self.model.device
        )
        included = np.arange(tokens.shape[1]) < greedy.count_tokens(tokens, self.ends)[:, None]
        if np.isnan(probabilities[included]).any():
            raise ModelError(
                f"Model {self.model.ref.name!r} gives logits that are not numbers in {self.model.dtype}. Choose "
                "another dtype, or another model."
            )
        return np.where(included, tokens, -1)

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
