"""Weighted sums of upper hidden states, over texts that share a prefix within groups.

    sum = Σ_t w_t · mean of `hidden_states[-4:-1]` at token t                                       (d,) float32

`hidden_states` is as in transformers: entry 0 the embeddings, entry i the output of block i, the last entry the final
norm of the last block. So these three are the inputs of the last three blocks, and are captured there. With three
blocks, the lowest entry is the embeddings; with two, only the embeddings and one more entry exist. A model of one block
has only the embeddings, which ignore word order, and is rejected.

The body stops at the input of its last block; neither that block nor the head runs. Only the sums of a batch are kept,
so memory grows with tokens × hidden. The prefix that the texts of a group share runs once, and its keys and values are
reused by each text. As opposed to `core.models.shared_prefix`, one batch holds the prefixes of many groups: they are
aligned right, directly before the rest of the text, and padding is masked. Whether a model gives the same sums this way
is tested first; if it does not, or little is shared, texts run whole. Rows are padded on the right, which a causal
model does not see, so a text's sum does not depend on its batch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from core.errors import ModelError
from core.models.activations import token_means
from core.models.batching import batch_cost, plan_batches, run_batches
from core.models.forward_pass import pad_rows
from core.models.loading import Model
from core.models.shared_prefix import CACHE_ERRORS
from core.schema import FloatArray, IntArray

LAYERS = slice(-4, -1)  # of hidden_states
CPU_TOKENS = 2048  # padded tokens of one batch on a processor, cached ones included
MIN_SHARED_TOKENS = 4  # a shorter prefix is not worth it
MAX_COST_RATIO = 8  # tokens of the group over tokens saved, at most: cached keys need an attention mask
Tokens = Sequence[IntArray]
Weights = Sequence[FloatArray]
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class GroupedTexts:
    """U texts, sorted by group."""

    tokens: Tokens
    weights: Weights  # one per token
    group: IntArray  # (U,) ascending
    shared: IntArray  # (U,) leading tokens that run once per group; 0: the text runs whole

    @property
    def lengths(self) -> IntArray:
        """Length of each text in tokens, (U,)."""
        return np.array([len(text) for text in self.tokens], np.int64)


@dataclass(frozen=True, eq=False)
class CachedPrefixes:
    """Keys, values and sums of R prefixes, padded on the right to P tokens."""

    group: IntArray  # (R,) ascending
    lengths: IntArray  # (R,)
    sums: FloatArray  # (R, d) over the prefix's own tokens
    layers: tuple[tuple[Tensor, Tensor], ...]  # keys and values of each block that ran, (R, heads, P, width)


class _StopForward(Exception):
    """Raised at the input of the last block to end the forward pass."""


class HiddenStateSums:
    """Computes weighted sums of a model's upper hidden states; stateless between calls."""

    def __init__(self, model: Model, *, batch_tokens: int | None = None) -> None:
        self.model = model
        self._cost = batch_cost(
            model.network, model.device, "generation", CPU_TOKENS, batch_tokens, memory=model.memory
        )
        self._blocks = find_last_blocks(model)
        self.shares_prefix = self._can_share()

    def __call__(self, tokens: Tokens, weights: Weights, group: IntArray) -> FloatArray:
        """Compute the sums (U, d) of U non-empty texts.

        `group` (U,) is ascending; texts of one group share a prefix, whose tokens have the same weights in each. Raises
        ModelError if a text does not fit into memory by itself.
        """
        shared = shared_prefix_lengths(tokens, group) if self.shares_prefix else np.zeros(len(tokens), np.int64)
        texts = GroupedTexts(tokens, weights, group, shared)
        sums = np.zeros((len(tokens), self.model.hidden), np.float32)
        whole = np.flatnonzero(shared == 0)
        for rows, row_sums in self._run_batches(partial(self._sum_whole, texts), whole, texts.lengths[whole], texts):
            sums[rows] = row_sums
        firsts = np.flatnonzero((shared > 0) & (np.diff(group, prepend=-1) != 0))
        for _, cached in self._run_batches(partial(self._run_prefixes, texts), firsts, shared[firsts], texts):
            rest = np.flatnonzero(np.isin(group, cached.group) & (shared > 0))
            lengths = texts.lengths[rest] - shared[rest] + cached.lengths.max()
            work = partial(self._sum_after_prefix, texts, cached)
            for rows, row_sums in self._run_batches(work, rest, lengths, texts):
                sums[rows] = row_sums
        return sums

    def _run_batches(
        self, work: Callable[[IntArray], Result], rows: IntArray, lengths: IntArray, texts: GroupedTexts
    ) -> Iterator[tuple[IntArray, Result]]:
        """Run `work` on these texts in batches; `lengths` are the tokens that each of them takes in one."""
        batches = (rows[some] for some in plan_batches(lengths, self._cost))
        return run_batches(batches, work, self.model, "A text of {} tokens", texts.lengths, setting="max_tokens")

    def _sum_whole(self, texts: GroupedTexts, rows: IntArray) -> FloatArray:
        """Compute the sums (B, d) of texts without a cached prefix."""
        return self._run(*_slice_texts(texts, rows, [slice(None)] * len(rows)), use_cache=False)

    def _run_prefixes(self, texts: GroupedTexts, firsts: IntArray) -> CachedPrefixes:
        """Run the prefixes of these texts, one for each group."""
        firsts = np.sort(firsts)
        cache, lengths = DynamicCache(), texts.shared[firsts]
        tokens, weights = _slice_texts(texts, firsts, [slice(size) for size in lengths])
        sums = self._run(tokens, weights, past_key_values=cache, use_cache=True)
        return CachedPrefixes(texts.group[firsts], lengths, sums, tuple((keys, values) for keys, values, *_ in cache))

    def _sum_after_prefix(self, texts: GroupedTexts, cached: CachedPrefixes, rows: IntArray) -> FloatArray:
        """Compute the sums (B, d) of whole texts by running only what follows their prefix."""
        device, place = self.model.device, np.searchsorted(cached.group, texts.group[rows])
        lengths = cached.lengths[place]
        tokens, weights = _slice_texts(texts, rows, [slice(size, None) for size in lengths])
        column = np.arange(lengths.max()) - (lengths.max() - lengths)[:, None]  # (B, P), aligned right; < 0 is padding
        cache = _build_cache(cached, place, column.clip(0), device)
        width = max(len(t) for t in tokens)
        mask = np.concatenate([column >= 0, np.ones((len(rows), width), np.bool_)], axis=1).astype(np.int64)
        positions = lengths[:, None] + np.arange(width)
        more = {"attention_mask": mask, "position_ids": positions}
        inputs = {name: torch.from_numpy(x).to(device) for name, x in more.items()}
        rest = self._run(tokens, weights, past_key_values=cache, use_cache=True, **inputs)
        return np.asarray(cached.sums[place] + rest, np.float32)

    @torch.inference_mode()
    def _run(self, tokens: Tokens, weights: Weights, **more: Any) -> FloatArray:
        padded, lengths, _ = pad_rows(tokens, [np.empty(0, np.int64)] * len(tokens))
        weight = np.zeros(padded.shape, np.float32)
        weight[np.arange(padded.shape[1]) < lengths[:, None]] = np.concatenate(weights)
        inputs = (torch.from_numpy(x).to(self.model.device) for x in (padded, weight))
        return np.asarray(weighted_sums(self.model.network, self._blocks, *inputs, **more).cpu(), np.float32)

    def _can_share(self) -> bool:
        """Return whether sums with cached prefixes equal those without.

        Tested on two groups, with prefixes of two lengths and endings of two lengths each.
        """
        vocabulary = self.model.network.get_input_embeddings().weight.shape[0]
        ids = np.arange(200) % vocabulary
        pairs = ((ids[:24], 16), (np.concatenate([ids[:16], ids[50:54]]), 16), (ids[60:80], 10), (ids[60:71], 10))
        tokens = [text for text, _ in pairs]
        weights = [np.ones(len(text), np.float32) for text in tokens]
        texts = GroupedTexts(tokens, weights, np.array([0, 0, 1, 1]), np.array([size for _, size in pairs]))
        whole = self._sum_whole(texts, np.arange(4))
        try:
            cached = self._run_prefixes(texts, np.array([0, 2]))
            complete = len(cached.layers) > 0 and all(keys.shape[-2] == 16 for keys, _ in cached.layers)
            branched = self._sum_after_prefix(texts, cached, np.arange(4)) if complete else whole
        except CACHE_ERRORS:
            return False
        difference = np.linalg.norm(branched - whole, axis=1) / np.linalg.norm(whole, axis=1)
        return bool(complete and (difference <= (1e-5 if self.model.network.dtype == torch.float32 else 0.1)).all())


def weighted_sums(network: Any, blocks: Sequence[nn.Module], ids: Tensor, weights: Tensor, **more: Any) -> Tensor:
    """Compute Σ_t w_t · mean over `blocks` of their input at t, from ids and weights (B, T), to (B, d) float32.

    The body stops at the last of the blocks.
    """
    sums: list[Tensor] = []

    def capture(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        sums.append(token_means(hidden, weights))
        if block is blocks[-1]:
            raise _StopForward

    with ExitStack() as hooks:
        for block in blocks:
            hooks.callback(block.register_forward_pre_hook(capture, with_kwargs=True).remove)
        with suppress(_StopForward):
            network.base_model(input_ids=ids, **more)
    return torch.stack(sums).mean(dim=0)


@torch.inference_mode()
def find_last_blocks(model: Model) -> list[nn.Module]:
    """Return the blocks whose inputs are `hidden_states[-4:-1]`, verified on a few tokens.

    Raises ModelError if the model has fewer than two blocks, or none with these inputs.
    """
    network = model.network
    layers = int(network.config.get_text_config().num_hidden_layers)
    if layers < 2:
        raise ModelError(
            f"Model {model.ref.name!r} has only {layers} layer, so there are no hidden states below the last one. "
            "Choose a model of at least 2 layers, or a sentence-transformer."
        )
    lists = [m for m in network.base_model.modules() if isinstance(m, nn.ModuleList) and len(m) == layers]
    blocks = list(lists[0])[LAYERS.start + 1 :] if lists else []
    ids = torch.arange(3, 3 + 7, device=model.device).remainder(network.get_input_embeddings().weight.shape[0])[None]
    weights = torch.linspace(0.5, 1.5, 7, device=model.device)[None]
    try:
        hidden_states = network.base_model(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
        expected = torch.stack([token_means(h, weights) for h in hidden_states[LAYERS]]).mean(dim=0)
        actual = weighted_sums(network, blocks, ids, weights, use_cache=False)
    except CACHE_ERRORS as error:
        raise _unsupported(network) from error
    tolerance = 1e-5 if network.dtype == torch.float32 else 0.05
    if len(hidden_states) != layers + 1 or not (actual - expected).norm() <= tolerance * expected.norm():
        raise _unsupported(network)
    return blocks


def _unsupported(network: Any) -> ModelError:
    return ModelError(
        f"The architecture {type(network).__name__} is not supported for hidden states. Choose another model, or a "
        "sentence-transformer."
    )


def shared_prefix_lengths(tokens: Tokens, group: IntArray) -> IntArray:
    """Return (U,) the number of leading tokens each text shares with its whole group; 0 where reuse is not worth it.

    At least one token of each text is left over.
    """
    shared = np.zeros(len(tokens), np.int64)
    for members in np.split(np.arange(len(tokens)), np.flatnonzero(np.diff(group)) + 1):
        texts = [tokens[u] for u in members]
        size = _shared_length(texts) if len(texts) > 1 else 0
        saved = size * (len(texts) - 1)
        if size >= MIN_SHARED_TOKENS and saved * MAX_COST_RATIO >= sum(len(text) for text in texts):
            shared[members] = size
    return shared


def _shared_length(texts: Tokens) -> int:
    """Return the number of leading tokens these texts share, at most all but one of the shortest."""
    size = min(len(text) for text in texts) - 1
    same = (np.stack([text[:size] for text in texts]) == texts[0][:size]).all(axis=0)
    return size if same.all() else int(np.argmin(same))


def _slice_texts(texts: GroupedTexts, rows: IntArray, slices: Sequence[slice]) -> tuple[Tokens, Weights]:
    """Return a slice of the tokens and weights of each of these texts."""
    tokens = [texts.tokens[u][part] for u, part in zip(rows, slices, strict=True)]
    return tokens, [texts.weights[u][part] for u, part in zip(rows, slices, strict=True)]


def _build_cache(cached: CachedPrefixes, place: IntArray, column: IntArray, device: str) -> DynamicCache:
    """Build a cache whose row b holds the given columns (B, P) of prefix place[b]."""
    rows, columns = (torch.from_numpy(x).to(device) for x in (place[:, None], column))
    cache = DynamicCache()
    for layer, pair in enumerate(cached.layers):
        cache.update(*(x[rows, :, columns].transpose(1, 2) for x in pair), layer)  # (B, heads, P, width)
    return cache
