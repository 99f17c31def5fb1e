"""Batching of rows: how many run together, and what happens when they do not fit into memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from core.errors import ModelError
from core.models.loading import Model
from core.schema import IntArray
from core.workspace.files import is_whole, read_json, write_json

Result = TypeVar("Result")
Ragged = Sequence[NDArray[Any]]  # one array for each row
Work = Literal["pass", "training", "generation"]
LAUNCH_SECONDS = {"cpu": 5e-4, "cuda": 2e-3}  # starting the kernels of one layer, Python included
FLOPS = {"cpu": 2e11, "cuda": 2e14}  # order of magnitude that a pass reaches
PLANNED_MEMORY = "memory.json"  # of a stage
MEMORY_SHARE = 0.6  # of the memory that is free when a model is loaded; the rest is for what is not counted here
AT_ONCE = 2  # batches on a processor
MOVING_ROPE = ("dynamic", "longrope")  # position codes that a pass changes for the passes after it
LOGIT_COPIES = 4  # of a row's next-token logits: the model's, float32 of this step and the last, a temporary one


@dataclass(frozen=True)
class BatchCost:
    """Cost and limit of a batch on a device, in tokens: a pass takes as long as `launch` + its padded tokens.

    On a processor time follows the tokens, so that padding is waste. On a GPU starting the kernels takes as long as
    thousands of tokens, so that padding is cheaper than a second batch.
    """

    launch: int  # tokens that take as long as starting one pass
    capacity: int  # padded tokens that fit into memory
    row: int = 0  # tokens that take as much memory as a row does in addition to its own


def batch_cost(
    network: Any, device: str, work: Work, cpu_tokens: int, capacity: int | None = None, *, memory: int | None = None
) -> BatchCost:
    """Return the cost of batches of a loaded model by kind of device: what a layer takes to start, and free memory.

    `cpu_tokens`: the capacity on a processor, where caches are the limit. On a GPU a token of a "pass" holds the states
    of one layer, in "training" those of all layers, and in "generation" the keys and values of all layers; a row that
    is generated also holds the logits of its next token. `capacity`: replaces what this gives.
    `memory`: bytes of a GPU to plan for, as `planned_memory` returns them; None: those that are free now.
    """
    kind = "cuda" if torch.device(device).type == "cuda" else "cpu"
    config = network.config.get_text_config()
    layers, hidden = config.num_hidden_layers, config.hidden_size
    rate = FLOPS[kind] / (2 * sum(parameter.numel() for parameter in network.parameters()))
    launch = max(1, round(LAUNCH_SECONDS[kind] * layers * rate))
    if capacity or kind == "cpu":
        return BatchCost(launch, capacity or cpu_tokens)
    heads = getattr(config, "num_attention_heads", None) or 1
    head = getattr(config, "head_dim", None) or hidden // heads
    states = 12 * hidden + 4 * (getattr(config, "intermediate_size", None) or 4 * hidden)
    cached = 2 * layers * head * (getattr(config, "num_key_value_heads", None) or heads)
    numbers = {"pass": states, "training": states * layers, "generation": states + cached}[work]
    size = numbers * network.dtype.itemsize
    row = LOGIT_COPIES * 4 * config.vocab_size if work == "generation" else 0
    return BatchCost(launch, max(1, int(MEMORY_SHARE * (memory or free_memory(device))) // size), -(-row // size))


def free_memory(device: str) -> int:
    """Return the bytes of a GPU that are free, or held by PyTorch for tensors to come."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def planned_memory(folder: Path, device: str) -> int | None:
    """Return the bytes of a GPU that batches of the stage in `folder` are planned for; None on a processor.

    They are those that were free when its first worker asked, and are stored there: a worker that resumes the stage, or
    shares it, has the same batches.
    """
    if torch.device(device).type != "cuda":
        return None
    file = folder / PLANNED_MEMORY
    if not is_whole(file):
        write_json(file, {"bytes": free_memory(device)})
    return int(read_json(file)["bytes"])


def plan_batches(lengths: IntArray, cost: BatchCost, *, passes: int = 1) -> list[IntArray]:
    """Split rows into the batches that take least time in all, longest first, ties to the earlier row.

        time of a batch of B rows, the longest of L tokens = passes · launch + B · L,   where B · (L + row) ≤ capacity

    `passes` of the model are started for one batch: one for each token that is generated. A row over the capacity is a
    batch by itself. The best split of the rows in order of length is found by dynamic programming, so it is exact.
    """
    order = np.argsort(-lengths, kind="stable")
    longest = np.maximum(1, lengths[order])
    places = np.arange(len(order))
    time, start = np.zeros(len(order) + 1, np.int64), np.zeros(len(order) + 1, np.int64)
    first = 0  # the earliest row that a batch ending before `stop` may start with
    for stop in range(1, len(order) + 1):
        while first < stop - 1 and (longest[first] + cost.row) * (stop - first) > cost.capacity:
            first += 1
        times = time[first:stop] + longest[first:stop] * (stop - places[first:stop])
        start[stop] = first + times.argmin()
        time[stop] = passes * cost.launch + times.min()
    batches: list[IntArray] = []
    stop = len(order)
    while stop:
        batches.append(order[start[stop] : stop])
        stop = start[stop]
    return batches[::-1]


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


def can_run_at_once(network: Any, device: str) -> bool:
    """Return whether `run_at_once` serves: on a processor, for a model whose passes leave nothing behind in it."""
    kinds = (str(getattr(module, "rope_type", "")) for module in network.modules())
    moving = any(word in kind for kind in kinds for word in MOVING_ROPE)
    return torch.device(device).type == "cpu" and torch.get_num_threads() >= AT_ONCE and not moving


def run_at_once(
    batches: Iterable[IntArray],
    work: Callable[[IntArray], Result],
    model: Model,
    name: str,
    lengths: Sequence[int] | IntArray,
    *,
    setting: str = "max_length",
) -> Iterator[tuple[IntArray, Result]]:
    """Do as `run_batches`, AT_ONCE batches at a time, each on its share of PyTorch's threads.

    The threads of one batch wait for each other after every operation, and most operations are small.
    """

    def run(rows: IntArray) -> list[tuple[IntArray, Result]]:
        return list(run_batches([rows], work, model, name, lengths, setting=setting))

    threads = torch.get_num_threads()
    torch.set_num_threads(threads // AT_ONCE)
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for results in pool.map(run, batches):
                yield from results
    finally:
        torch.set_num_threads(threads)


def check_lengths(lengths: IntArray, model: Model) -> None:
    """Raise ModelError if a row is longer than the model's context."""
    longest = lengths.max(initial=0)
    if longest > model.max_length:
        raise ModelError(
            f"A row has {longest:,} tokens, and model {model.ref.name!r} reads at most {model.max_length:,}. Set "
            f"max_length to {model.max_length} or less."
        )


def read_prompts(tokens: Ragged, room: int) -> list[IntArray]:
    """Return prompts as integers; ModelError if one has more than `room` tokens."""
    longest = max(map(len, tokens), default=0)
    if longest > room:
        raise ModelError(
            f"A prompt has {longest:,} tokens, and with the tokens to generate there is room for {room:,}."
        )
    return [np.asarray(prompt, np.int64) for prompt in tokens]


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether this error means out of memory: CUDA's own class, or the CPU allocator's message."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def count_predicted_tokens(spans: Sequence[int] | NDArray[np.integer]) -> int:
    """Count the response tokens of a row that follow another token and so are predicted."""
    edges = np.asarray(spans)
    return int(np.sum(edges[1::2] - np.maximum(edges[::2], 1)))
