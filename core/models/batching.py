"""Batching of rows: how many run together, and what happens when they do not fit into memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from core.errors import ModelError
from core.models.loading import Model
from core.schema import IntArray

SMALL_BATCH_TOKENS = 256  # a batch smaller than this may hold any share of padding
Result = TypeVar("Result")
Ragged = Sequence[NDArray[Any]]  # one array for each row
MAX_PADDING_SHARE = 0.05  # of a batch's tokens


def plan_batches(lengths: IntArray, budget: int) -> list[IntArray]:
    """Split rows into batches, longest first, ties to the earlier row.

    A batch has at most `budget` padded tokens, and at most a share MAX_PADDING_SHARE of padding unless it is smaller
    than SMALL_BATCH_TOKENS.
    """
    order = np.argsort(-lengths, kind="stable")
    batches: list[IntArray] = []
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        candidates = order[start : start + max(1, budget // longest)]
        padded = longest * np.arange(1, len(candidates) + 1)
        fits = (lengths[candidates].cumsum() >= (1 - MAX_PADDING_SHARE) * padded) | (padded <= SMALL_BATCH_TOKENS)
        fits[0] = True
        batches.append(candidates[: int(np.flatnonzero(fits)[-1]) + 1])
        start += len(batches[-1])
    return batches


def run_batches(
    batches: Iterable[IntArray],
    work: Callable[[IntArray], Result],
    model: Model,
    name: str,
    lengths: Sequence[int] | IntArray,
    *,
    setting: str = "max_length",
) -> Iterator[tuple[IntArray, Result]]:
    """Yield rows and the result of `work` on them, batch by batch; a batch that does not fit into memory is halved.

    Raises ModelError if a single row does not fit. It names the row by `name`, such as "A row of {} tokens", with the
    length of the row, and suggests lowering `setting`.
    """
    for rows in batches:
        result = None
        try:
            result = work(rows)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        if result is not None:  # outside `except`, so that the failed pass is released
            yield rows, result
            continue
        if torch.device(model.device).type == "cuda":
            torch.cuda.empty_cache()
        if len(rows) == 1:
            raise ModelError(
                f"{name.format(lengths[rows[0]])} does not fit into the memory of {model.device} with model "
                f"{model.ref.name!r}. Lower {setting}, or choose a smaller model."
            )
        yield from run_batches(np.array_split(rows, 2), work, model, name, lengths, setting=setting)


def check_lengths(lengths: IntArray, model: Model) -> None:
    """Raise ModelError if a row is longer than the model's context."""
    longest = lengths.max(initial=0)
    if longest > model.max_length:
        raise ModelError(
            f"A row has {longest} tokens, and model {model.ref.name!r} reads at most "
            f"{model.max_length}. Set max_length to {model.max_length} or less."
        )


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether this error means out of memory: CUDA's own class, or the CPU allocator's message."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def extract_prompt(tokens: NDArray[np.integer], spans: Sequence[int] | NDArray[np.integer]) -> IntArray:
    """Return the tokens of a row before its last response; all tokens if it has none."""
    return np.asarray(tokens, np.int64)[: spans[-2] if len(spans) else None]


def truncate_prompt(prompt: IntArray, room: int, bos: int | None) -> IntArray:
    """Return the last `room` tokens of a prompt, with a leading BOS kept."""
    if len(prompt) <= room:
        return prompt
    end = prompt[-room:].copy()
    if prompt[0] == bos:
        end[0] = prompt[0]
    return end


def count_predicted_tokens(spans: Sequence[int] | NDArray[np.integer]) -> int:
    """Count the response tokens of a row that follow another token and so are predicted."""
    edges = np.asarray(spans)
    return int(np.sum(edges[1::2] - np.maximum(edges[::2], 1)))
