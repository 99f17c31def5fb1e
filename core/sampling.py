"""K answers to each prompt, sampled from a local model.

An answer's random numbers hang on the seed, the row's id and its k alone (`core.answers.streams`), its token is drawn
by core/nucleus.py, and rows are padded on the left as in core/confidence.py. So a row is answered the same alone or
in any batch, up to what rounding of the logits does.

The K answers to a prompt share it, where the model can (core/rounds.py). Where rows of a batch mind each other
(RWKV), each answer runs by itself.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.answers import COLUMNS, LENGTH, STOP, Sampling, missing, streams
from core.batches import fitted, in_halves, plan, prompt_of
from core.confidence import ROOM, bare, end_tokens, keeps_apart
from core.errors import ModelError
from core.model import Model
from core.rounds import sampled, shares_prompts
from core.schema import IntArray, Progress, ignore

BATCH_TOKENS = {"cpu": 16384, "cuda": 65536}  # padded tokens of one batch, those to come included


class Sampler:
    """Samples answers under one model state; keeps nothing between calls."""

    columns = COLUMNS

    def __init__(self, model: Model, settings: Sampling, *, batch_tokens: int | None = None) -> None:
        self._room = model.max_length - settings.max_new_tokens
        if self._room < ROOM:
            raise ModelError(
                f"Answers of {settings.max_new_tokens} tokens are asked for, and model {model.ref.name!r} reads at "
                f"most {model.max_length} with the prompt. Set max_new_tokens to {model.max_length - ROOM} or less."
            )
        self.model, self.settings = model, settings
        self.ends = end_tokens(model)
        kind = torch.device(model.device).type
        self._batch_tokens = batch_tokens or BATCH_TOKENS.get(kind, BATCH_TOKENS["cpu"])
        self._network = bare(model.network, self.ends)
        self.batches = keeps_apart(model.network, model.device)
        self.shares = self.batches and shares_prompts(model.network, model.device)

    def __call__(self, batch: Mapping[str, Any], progress: Progress = ignore) -> dict[str, list[list[Any]]]:
        """Columns tokens and spans, as `core.template.Encoder` gives them, and ids, each row's own text id, to
        `columns`, in the same order: K values for each row.

        A row without a prompt has no answers: K nulls. A prompt too long to be answered loses its beginning, a
        leading BOS stays. `progress` is told of answers. ModelError when a row does not fit into memory by itself.
        """
        prompts = [self._prompt(*row) for row in zip(batch["tokens"], batch["spans"], strict=True)]

        def named(row: int) -> str:
            return f"A prompt of {len(prompts[row])} tokens with its {self.settings.answers} answers"

        keys = streams(self.settings.seed, batch["ids"], self.settings.answers)
        found = missing(len(prompts), self.settings.answers)
        lengths = np.array([len(p) for p in prompts], np.int64)
        done, total = 0, int((lengths > 0).sum()) * self.settings.answers
        for rows in self._plan(lengths):
            work = partial(self._pass, prompts, keys)
            for some, said in in_halves(rows, work, self.model, name=named, lower="max_new_tokens or max_length"):
                for name, values in self._read(said).items():
                    for row, answers in zip(some.tolist(), values, strict=True):
                        found[name][row] = answers
                done += len(some) * self.settings.answers
                progress(done, total)
        return found

    def _prompt(self, tokens: NDArray[Any], spans: NDArray[Any]) -> NDArray[np.int64]:
        """The tokens before the last answer; the first of them where a limit is set."""
        given = prompt_of(tokens, spans)[: self.settings.prompt_tokens]
        return fitted(given, self._room, self.model.tokenizer.bos_token_id)

    def _plan(self, lengths: IntArray) -> list[IntArray]:
        """Batches of the rows that have a prompt, longest first; each counts K times."""
        asked = np.flatnonzero(lengths)
        budget = self._batch_tokens if self.batches else 1
        work = (lengths[asked] + self.settings.max_new_tokens) * self.settings.answers
        return [asked[places] for places in plan(work, budget)]

    def _pass(
        self, prompts: Sequence[NDArray[np.int64]], keys: NDArray[np.uint64], rows: IntArray
    ) -> NDArray[np.int64]:
        """(B, K, t) the tokens of the answers to B prompts, −1 behind the end of each."""
        asked, keys = [prompts[i] for i in rows], keys[rows]
        together = [keys] if self.batches else np.split(keys, keys.shape[1], axis=1)
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
        said, chances = sampled(
            self._network, prompts, keys, self.settings, self.ends, self.model.device, shares=self.shares
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
