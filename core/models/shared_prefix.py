"""Shared prefixes: rows with the same beginning (Alpaca's preamble, a system prompt) run it once.

In a causal model the hidden states of a prefix do not depend on what follows, so its keys and values are computed once
and reused for all rows. `can_share_prefix` tests whether a model supports this. If it does not, or little is shared,
rows run whole. Both ways give the same hidden states up to rounding.
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
from transformers.cache_utils import DynamicLayer

from core.schema import BoolArray, IntArray

MIN_SHARED_TOKENS = 16  # a shorter prefix is not worth it
MAX_LENGTH_RATIO = 8  # row length over prefix length, at most: cached keys need an attention mask, which costs time
MAX_SHARED_TOKENS = 1024  # longer prefixes are cut here
# Raised by models that cache something other than keys and values per token (recurrent and hybrid ones).
CACHE_ERRORS = (TypeError, ValueError, AttributeError, IndexError, KeyError, RuntimeError)


@dataclass(frozen=True, eq=False)
class Prefix:
    """A prefix of P tokens that has been run, with its cached keys and values."""

    tokens: IntArray  # (P,)
    hidden: Tensor  # (1, P, d) last hidden states
    layers: tuple[tuple[Tensor, Tensor], ...]  # keys and values of each layer, (1, heads, P, width)


class _PrefixCache(DynamicCache):  # type: ignore[misc]
    """Puts a prefix before the keys and values of each layer, and stores none of these: one pass reads them once."""

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> Any:
        """Return the layer's keys and values, those of the prefix first."""
        prefix = self.layers[layer_idx]
        return tuple(torch.cat(both, dim=-2) for both in ((prefix.keys, key_states), (prefix.values, value_states)))


def find_common_prefix(tokens: Sequence[NDArray[Any]]) -> IntArray:
    """Return the prefix that at least half of all adjacent rows share; empty if it is too short to help."""
    empty = np.empty(0, np.int64)
    if len(tokens) < 2:
        return empty
    shared = np.array([_shared_length(a, b) for a, b in pairwise(tokens)])
    size = int(np.quantile(shared, 0.5, method="lower"))
    if size < MIN_SHARED_TOKENS:
        return empty
    return np.asarray(tokens[int(np.argmax(shared >= size))][:size], np.int64)


def run_prefix(network: Any, tokens: IntArray, device: str) -> Prefix | None:
    """Run a prefix through the body; None if the model does not cache keys and values for every token."""
    cache = DynamicCache()
    ids = torch.from_numpy(tokens).to(device)[None]
    hidden = network.base_model(input_ids=ids, past_key_values=cache, use_cache=True).last_hidden_state
    layers = tuple((keys, values) for keys, values, *_ in cache)
    whole = bool(layers) and all(keys is not None and keys.shape[-2] == len(tokens) for keys, _ in layers)
    return Prefix(tokens, hidden, layers) if whole else None


def compute_hidden_states(network: Any, padded: IntArray, prefix: Prefix | None, device: str) -> Tensor:
    """Compute the last hidden states (B, T, d) of padded rows (B, T), reusing the prefix where rows share it."""
    reused = 0 if prefix is None else _reusable_columns(padded, prefix.tokens)
    ids = torch.from_numpy(padded[:, reused:]).to(device)
    if prefix is None or reused == 0:
        whole: Tensor = network.base_model(input_ids=ids, use_cache=False).last_hidden_state
        return whole
    cache = _PrefixCache()
    for states in prefix.layers:
        layer = DynamicLayer()
        layer.lazy_initialization(*states)
        layer.keys, layer.values = (x[:, :, :reused].expand(len(padded), -1, -1, -1) for x in states)
        cache.layers.append(layer)
    rest = network.base_model(input_ids=ids, past_key_values=cache, use_cache=True).last_hidden_state
    return torch.cat([prefix.hidden[:, :reused].expand(len(padded), -1, -1), rest], dim=1)


@torch.inference_mode()
def can_share_prefix(network: Any, device: str) -> bool:
    """Return whether hidden states with a cached prefix equal those without, tested on two small rows."""
    vocabulary = network.get_input_embeddings().weight.shape[0]
    padded = np.arange(2 * (MIN_SHARED_TOKENS + 8), dtype=np.int64).reshape(2, -1) % vocabulary
    padded[1, :MIN_SHARED_TOKENS] = padded[0, :MIN_SHARED_TOKENS]
    plain = compute_hidden_states(network, padded, None, device)
    try:
        prefix = run_prefix(network, padded[0, :MIN_SHARED_TOKENS], device)
        shared = compute_hidden_states(network, padded, prefix, device)
    except CACHE_ERRORS:
        return False
    tolerance = 1e-5 if network.dtype == torch.float32 else 0.1
    return prefix is not None and bool((shared - plain).norm() <= tolerance * plain.norm())


def _shared_length(a: NDArray[Any], b: NDArray[Any]) -> int:
    """Return the number of leading tokens that two rows share."""
    size = min(len(a), len(b), MAX_SHARED_TOKENS)
    return _count_leading(np.asarray(a[:size]) == np.asarray(b[:size]))


def _reusable_columns(padded: IntArray, prefix: IntArray) -> int:
    """Return the number of leading columns to reuse from the prefix; at least one column is left to run."""
    size = min(len(prefix), padded.shape[1] - 1)
    columns = _count_leading((padded[:, :size] == prefix[:size]).all(axis=0))
    return columns if columns >= max(MIN_SHARED_TOKENS, padded.shape[1] // MAX_LENGTH_RATIO) else 0


def _count_leading(same: BoolArray) -> int:
    """Return the number of leading True values."""
    return len(same) if same.all() else int(np.argmin(same))
