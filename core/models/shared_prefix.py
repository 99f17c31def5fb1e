"""Rows of one pool begin alike (Alpaca's preamble, a chat's system prompt): run that beginning once, not per row.

A causal model's states over a beginning do not depend on what follows, so its keys and values are computed for one
row and lent to all. Whether a model can take them that way is tried out first (`can_share_prefix`); where it can not,
or
little is shared, rows run whole. Both ways give the same states up to rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

MIN_SHARED_TOKENS = 16  # shared tokens below which it does not pay
MAX_LENGTH_RATIO = 8  # nor where they are less than one in so many of the longest row: lent keys need a mask
MAX_SHARED_TOKENS = 1024  # no further is looked
# What models raise that keep something else than keys and values of every token (recurrent and hybrid ones).
CACHE_ERRORS = (TypeError, ValueError, AttributeError, IndexError, KeyError, RuntimeError)


@dataclass(frozen=True, eq=False)
class Prefix:
    """A beginning that has been run: P tokens and what they leave behind."""

    tokens: NDArray[np.int64]  # (P,)
    hidden: Tensor  # (1, P, d) last hidden states
    layers: tuple[tuple[Tensor, Tensor], ...]  # keys and values of each layer, (1, heads, P, width)


def find_common_prefix(tokens: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """The beginning that at least half of all neighbouring rows share; empty when it is too short to pay."""
    nothing = np.empty(0, np.int64)
    if len(tokens) < 2:
        return nothing
    shared = np.array([_agreement(a, b) for a, b in pairwise(tokens)])
    size = int(np.quantile(shared, 0.5, method="lower"))
    if size < MIN_SHARED_TOKENS:
        return nothing
    return np.asarray(tokens[int(np.argmax(shared >= size))][:size], np.int64)


def run_prefix(network: Any, tokens: NDArray[np.int64], device: str) -> Prefix | None:
    """Run a beginning through the body; None when the model does not keep it as keys and values."""
    cache = DynamicCache()
    ids = torch.from_numpy(tokens).to(device)[None]
    hidden = network.base_model(input_ids=ids, past_key_values=cache, use_cache=True).last_hidden_state
    layers = tuple((keys, values) for keys, values, *_ in cache)
    whole = bool(layers) and all(keys is not None and keys.shape[-2] == len(tokens) for keys, _ in layers)
    return Prefix(tokens, hidden, layers) if whole else None


def compute_hidden_states(network: Any, padded: NDArray[np.int64], prefix: Prefix | None, device: str) -> Tensor:
    """Last hidden states (B, T, d) of padded rows (B, T); what they share with the prefix is not run again."""
    lead = 0 if prefix is None else _lead(padded, prefix.tokens)
    ids = torch.from_numpy(padded[:, lead:]).to(device)
    if prefix is None or lead == 0:
        whole: Tensor = network.base_model(input_ids=ids, use_cache=False).last_hidden_state
        return whole
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(prefix.layers):
        lent = (x[:, :, :lead].expand(len(padded), -1, -1, -1) for x in (keys, values))
        cache.update(*lent, layer)
    rest = network.base_model(input_ids=ids, past_key_values=cache, use_cache=True).last_hidden_state
    return torch.cat([prefix.hidden[:, :lead].expand(len(padded), -1, -1), rest], dim=1)


@torch.inference_mode()
def can_share_prefix(network: Any, device: str) -> bool:
    """Whether this model gives the same states with a lent beginning as without, tried on two small rows."""
    vocabulary = network.get_input_embeddings().weight.shape[0]
    padded = np.arange(2 * (MIN_SHARED_TOKENS + 8), dtype=np.int64).reshape(2, -1) % vocabulary
    padded[1, :MIN_SHARED_TOKENS] = padded[0, :MIN_SHARED_TOKENS]
    plain = compute_hidden_states(network, padded, None, device)
    try:
        prefix = run_prefix(network, padded[0, :MIN_SHARED_TOKENS], device)
        lent = compute_hidden_states(network, padded, prefix, device)
    except CACHE_ERRORS:
        return False
    tolerance = 1e-5 if network.dtype == torch.float32 else 0.1
    return prefix is not None and bool((lent - plain).norm() <= tolerance * plain.norm())


def _agreement(a: NDArray[Any], b: NDArray[Any]) -> int:
    """How many tokens two rows begin alike."""
    size = min(len(a), len(b), MAX_SHARED_TOKENS)
    return _leading(np.asarray(a[:size]) == np.asarray(b[:size]))


def _lead(padded: NDArray[np.int64], start: NDArray[np.int64]) -> int:
    """How many columns of the rows to take from the prefix; one column at least is left to run."""
    size = min(len(start), padded.shape[1] - 1)
    lead = _leading((padded[:, :size] == start[:size]).all(axis=0))
    return lead if lead >= max(MIN_SHARED_TOKENS, padded.shape[1] // MAX_LENGTH_RATIO) else 0


def _leading(same: NDArray[np.bool_]) -> int:
    """How many values are true before the first that is not."""
    return len(same) if same.all() else int(np.argmin(same))
