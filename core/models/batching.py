"""Rows in batches: how many run together, and what is done when they do not fit into memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from core.errors import ModelError
from core.models.loading import Model
from core.schema import IntArray

SMALL_BATCH_TOKENS = 256  # a batch this small may be filled up with rows of any length
Result = TypeVar("Result")
MAX_PADDING_SHARE = 0.05  # else the share of a batch that may be padding


def plan_batches(lengths: IntArray, budget: int) -> list[IntArray]:
    """Rows in batches, longest first, ties to the earlier row: at most `budget` padded tokens in each, and at most
    a share of WASTE of them padding, unless a batch has fewer than ENOUGH_TOKENS."""
    order = np.argsort(-lengths, kind="stable")
    batches: list[IntArray] = []
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        some = order[start : start + max(1, budget // longest)]
        padded = longest * np.arange(1, len(some) + 1)
        fits = (lengths[some].cumsum() >= (1 - MAX_PADDING_SHARE) * padded) | (padded <= SMALL_BATCH_TOKENS)
        fits[0] = True
        batches.append(some[: int(np.flatnonzero(fits)[-1]) + 1])
        start += len(batches[-1])
    return batches


def run_or_halve(
    rows: IntArray, work: Callable[[IntArray], Result], model: Model, *, describe: Callable[[int], str], setting: str
) -> Iterator[tuple[IntArray, Result]]:
    """What `work` makes of these rows; of two halves of them instead when they do not fit into memory, and so on.

    ModelError when one row by itself does not; it calls the row by `describe(row)`, and says to lower `setting`.
    """
    found = None
    try:
        found = work(rows)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    if found is not None:  # outside `except`, where the failed pass is let go of
        yield rows, found
        return
    if torch.device(model.device).type == "cuda":
        torch.cuda.empty_cache()
    if len(rows) == 1:
        raise ModelError(
            f"{describe(int(rows[0]))} does not fit into the memory of {model.device} with model {model.ref.name!r}. "
            f"Lower {setting}, or choose a smaller model."
        )
    for half in np.array_split(rows, 2):
        yield from run_or_halve(half, work, model, describe=describe, setting=setting)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether this error says that memory ran out: CUDA's own class, or what the CPU allocator says."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def extract_prompt(tokens: NDArray[np.integer], spans: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
    """The tokens of a row before its last answer; all of them where it has none."""
    return np.asarray(tokens, np.int64)[: spans[-2] if len(spans) else None]


def truncate_prompt(prompt: NDArray[np.int64], room: int, bos: int | None) -> NDArray[np.int64]:
    """The end of a prompt, behind a leading BOS, where all of it is more than there is room for."""
    if len(prompt) <= room:
        return prompt
    kept = prompt[-room:].copy()
    if prompt[0] == bos:
        kept[0] = prompt[0]
    return kept


def count_predicted_tokens(spans: Sequence[int] | NDArray[np.integer]) -> int:
    """Response tokens of a row that have a token before them, from which they are predicted."""
    edges = np.asarray(spans)
    return int(np.sum(edges[1::2] - np.maximum(edges[::2], 1)))
