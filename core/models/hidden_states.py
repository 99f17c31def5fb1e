"""Weighted sums of a model's upper hidden states over texts that begin alike in groups.

    sum = Σ_t w_t · mean of `hidden_states[-4:-1]` at token t                                       (d,) float32

`hidden_states` is that of transformers: entry 0 the embeddings, entry i what block i gives to the next, the last entry
what the final norm makes of the last block. So these three are what the last three blocks are given, and are taken
there. Of three blocks, the lowest entry is the embeddings; of two, there is nothing but the embeddings and one more; of
one, nothing but the embeddings, which know no order of words: such a model is refused.

The body runs up to the input of its last block: neither that block nor the head is run, and of a batch's states
nothing is kept but the sums. So memory grows with tokens × hidden. The beginning that the texts of a group share runs
once, and its keys and values are lent to each (as in core/models/shared_prefix.py, but many groups' in one batch: they
stand flush
right before what follows, and what is left of them is masked). Whether a model gives the same numbers that way is
tried out first; where it does not, and where little is shared, texts run whole.
Rows are padded on the right, where a causal model does not look: a text measures the same alone or in any batch.
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
from core.models.batching import plan_batches, run_or_halve
from core.models.forward_pass import pad_rows
from core.models.loading import Model
from core.models.shared_prefix import CACHE_ERRORS
from core.schema import FloatArray, IntArray

LAYERS = slice(-4, -1)  # of hidden_states
BATCH_TOKENS = {"cpu": 2048, "cuda": 32768}  # padded tokens of one batch, lent ones included
MIN_SHARED_TOKENS = 4  # shared tokens below which lending does not pay
MAX_COST_RATIO = 8  # nor where it saves less than one in so many tokens of the group: lent keys need a mask
Tokens = Sequence[IntArray]
Weights = Sequence[FloatArray]
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class GroupedTexts:
    """U texts, by group."""

    tokens: Tokens
    weights: Weights  # one for each token
    group: IntArray  # (U,) ascending
    shared: IntArray  # (U,) tokens at the beginning that run once for the group; 0: the text runs whole

    @property
    def lengths(self) -> IntArray:
        """(U,) in tokens."""
        return np.array([len(text) for text in self.tokens], np.int64)


@dataclass(frozen=True, eq=False)
class CachedPrefixes:
    """What R beginnings, padded on the right to P tokens, leave behind."""

    group: IntArray  # (R,) whose they are, ascending
    lengths: IntArray  # (R,)
    sums: FloatArray  # (R, d) of their own tokens
    layers: tuple[tuple[Tensor, Tensor], ...]  # keys and values of each block that ran, (R, heads, P, width)


class _Enough(Exception):
    """Raised at the input of the last block, to go no further."""


class HiddenStateSums:
    """Sums a model's upper states; keeps nothing between calls."""

    def __init__(self, model: Model, *, batch_tokens: int | None = None) -> None:
        self.model = model
        kind = torch.device(model.device).type
        self._batch_tokens = batch_tokens or BATCH_TOKENS.get(kind, BATCH_TOKENS["cpu"])
        self._blocks = find_last_blocks(model)
        self.shares_prefix = self._can_share()

    def __call__(self, tokens: Tokens, weights: Weights, group: IntArray) -> FloatArray:
        """(U, d) sums of U texts, none of them empty. `group` (U,) is ascending; texts of equal number begin alike, and
        what they begin with is weighed alike.

        ModelError when a text does not fit into memory by itself.
        """
        shared = shared_prefix_lengths(tokens, group) if self.shares_prefix else np.zeros(len(tokens), np.int64)
        texts = GroupedTexts(tokens, weights, group, shared)
        sums = np.zeros((len(tokens), self.model.hidden), np.float32)
        alone = np.flatnonzero(texts.shared == 0)
        for some in plan_batches(texts.lengths[alone], self._batch_tokens):
            for those, found in self._fitting(partial(self._whole, texts), alone[some], texts):
                sums[those] = found
        firsts = np.flatnonzero((texts.shared > 0) & (np.diff(group, prepend=-1) != 0))
        for some in plan_batches(texts.shared[firsts], self._batch_tokens):
            for _, lent in self._fitting(partial(self._begin, texts), np.sort(firsts[some]), texts):
                for ends, found in self._branch(texts, lent):
                    sums[ends] = found
        return sums

    def _branch(self, texts: GroupedTexts, lent: CachedPrefixes) -> Iterator[tuple[IntArray, FloatArray]]:
        """The sums of all texts with these beginnings."""
        rest = np.flatnonzero(np.isin(texts.group, lent.group) & (texts.shared > 0))
        lengths = texts.lengths[rest] - texts.shared[rest] + lent.lengths.max()
        for some in plan_batches(lengths, self._batch_tokens):
            yield from self._fitting(partial(self._go_on, texts, lent), rest[some], texts)

    def _fitting(
        self, work: Callable[[IntArray], Result], those: IntArray, texts: GroupedTexts
    ) -> Iterator[tuple[IntArray, Result]]:
        def named(text: int) -> str:
            return f"A text of {texts.lengths[text]} tokens"

        return run_or_halve(those, work, self.model, describe=named, setting="max_tokens")

    def _whole(self, texts: GroupedTexts, those: IntArray) -> FloatArray:
        """Sums (B, d) of texts without a lent beginning."""
        return self._run(*_cuts(texts, those, [slice(None)] * len(those)), use_cache=False)

    def _begin(self, texts: GroupedTexts, firsts: IntArray) -> CachedPrefixes:
        """The beginnings of these texts, run for their groups."""
        cache, lengths = DynamicCache(), texts.shared[firsts]
        tokens, weights = _cuts(texts, firsts, [slice(size) for size in lengths])
        sums = self._run(tokens, weights, past_key_values=cache, use_cache=True)
        return CachedPrefixes(texts.group[firsts], lengths, sums, tuple((keys, values) for keys, values, *_ in cache))

    def _go_on(self, texts: GroupedTexts, lent: CachedPrefixes, those: IntArray) -> FloatArray:
        """Sums (B, d) of whole texts, of which only what follows the beginning is run."""
        device, place = self.model.device, np.searchsorted(lent.group, texts.group[those])
        lengths = lent.lengths[place]
        tokens, weights = _cuts(texts, those, [slice(size, None) for size in lengths])
        column = np.arange(lengths.max()) - (lengths.max() - lengths)[:, None]  # (B, P), flush right; < 0 is padding
        cache = _lend(lent, place, column.clip(0), device)
        width = max(len(t) for t in tokens)
        mask = np.concatenate([column >= 0, np.ones((len(those), width), np.bool_)], axis=1).astype(np.int64)
        positions = lengths[:, None] + np.arange(width)
        rest = self._run(
            tokens,
            weights,
            past_key_values=cache,
            use_cache=True,
            attention_mask=torch.from_numpy(mask).to(device),
            position_ids=torch.from_numpy(positions).to(device),
        )
        return np.asarray(lent.sums[place] + rest, np.float32)

    @torch.inference_mode()
    def _run(self, tokens: Tokens, weights: Weights, **more: Any) -> FloatArray:
        padded, lengths, _ = pad_rows(tokens, [np.empty(0, np.int64)] * len(tokens))
        weight = np.zeros(padded.shape, np.float32)
        weight[np.arange(padded.shape[1]) < lengths[:, None]] = np.concatenate(weights)
        given = (torch.from_numpy(x).to(self.model.device) for x in (padded, weight))
        sums: FloatArray = weighted_sums(self.model.network, self._blocks, *given, **more).cpu().numpy()
        return sums

    def _can_share(self) -> bool:
        """Whether sums are the same with lent beginnings as without: tried on two groups with beginnings of two
        lengths, and with ends of two lengths each."""
        vocabulary = self.model.network.get_input_embeddings().weight.shape[0]
        ids = np.arange(200) % vocabulary
        pairs = ((ids[:24], 16), (np.concatenate([ids[:16], ids[50:54]]), 16), (ids[60:80], 10), (ids[60:71], 10))
        tokens = [text for text, _ in pairs]
        weights = [np.ones(len(text), np.float32) for text in tokens]
        texts = GroupedTexts(tokens, weights, np.array([0, 0, 1, 1]), np.array([size for _, size in pairs]))
        whole = self._whole(texts, np.arange(4))
        try:
            lent = self._begin(texts, np.array([0, 2]))
            kept = len(lent.layers) > 0 and all(keys.shape[-2] == 16 for keys, _ in lent.layers)
            branched = self._go_on(texts, lent, np.arange(4)) if kept else whole
        except CACHE_ERRORS:
            return False
        apart = np.linalg.norm(branched - whole, axis=1) / np.linalg.norm(whole, axis=1)
        return bool(kept and (apart <= (1e-5 if self.model.network.dtype == torch.float32 else 0.1)).all())


def weighted_sums(network: Any, blocks: Sequence[nn.Module], ids: Tensor, weights: Tensor, **more: Any) -> Tensor:
    """Ids (B, T) and weights (B, T) to (B, d) float32: Σ_t w_t · mean over `blocks` of what they are given at t.

    The body is left at the last of the blocks.
    """
    found: list[Tensor] = []

    def note(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states = args[0] if args else kwargs["hidden_states"]
        found.append(token_means(states, weights))
        if block is blocks[-1]:
            raise _Enough

    with ExitStack() as hooks:
        for block in blocks:
            hooks.callback(block.register_forward_pre_hook(note, with_kwargs=True).remove)
        with suppress(_Enough):
            network.base_model(input_ids=ids, **more)
    return torch.stack(found).mean(dim=0)


@torch.inference_mode()
def find_last_blocks(model: Model) -> list[nn.Module]:
    """The blocks that are given `hidden_states[-4:-1]`, checked on a few tokens.

    ModelError when the model has fewer than two blocks, or none that are given these states.
    """
    network = model.network
    layers = int(network.config.get_text_config().num_hidden_layers)
    if layers < 2:
        raise ModelError(
            f"Model {model.ref.name!r} has {layers} layer, and below its last one nothing but embeddings. Choose a "
            "model of at least 2 layers, or a sentence-transformer."
        )
    lists = [m for m in network.base_model.modules() if isinstance(m, nn.ModuleList) and len(m) == layers]
    blocks = list(lists[0])[LAYERS.start + 1 :] if lists else []
    ids = torch.arange(3, 3 + 7, device=model.device).remainder(network.get_input_embeddings().weight.shape[0])[None]
    weights = torch.linspace(0.5, 1.5, 7, device=model.device)[None]
    try:
        states = network.base_model(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
        expected = torch.stack([token_means(h, weights) for h in states[LAYERS]]).mean(dim=0)
        found = weighted_sums(network, blocks, ids, weights, use_cache=False)
    except CACHE_ERRORS as error:
        raise _unknown(network) from error
    tolerance = 1e-5 if network.dtype == torch.float32 else 0.05
    if len(states) != layers + 1 or not (found - expected).norm() <= tolerance * expected.norm():
        raise _unknown(network)
    return blocks


def _unknown(network: Any) -> ModelError:
    return ModelError(
        f"{type(network).__name__} keeps its hidden states in a way that is not known here. Choose another model, or a "
        "sentence-transformer."
    )


def shared_prefix_lengths(tokens: Tokens, group: IntArray) -> IntArray:
    """(U,) how many tokens each text begins with as all of its group do; 0 where to lend these would not pay.

    One token at least of each text is left over.
    """
    shared = np.zeros(len(tokens), np.int64)
    for those in np.split(np.arange(len(tokens)), np.flatnonzero(np.diff(group)) + 1):
        some = [tokens[u] for u in those]
        size = _agreement(some) if len(some) > 1 else 0
        saved = size * (len(some) - 1)
        if size >= MIN_SHARED_TOKENS and saved * MAX_COST_RATIO >= sum(len(text) for text in some):
            shared[those] = size
    return shared


def _agreement(some: Tokens) -> int:
    """How many tokens these texts begin alike, at most all but one of the shortest."""
    size = min(len(text) for text in some) - 1
    same = (np.stack([text[:size] for text in some]) == some[0][:size]).all(axis=0)
    return size if same.all() else int(np.argmin(same))


def _cuts(texts: GroupedTexts, those: IntArray, sides: Sequence[slice]) -> tuple[Tokens, Weights]:
    """Tokens and weights of a side of each of these texts."""
    tokens = [texts.tokens[u][side] for u, side in zip(those, sides, strict=True)]
    return tokens, [texts.weights[u][side] for u, side in zip(those, sides, strict=True)]


def _lend(lent: CachedPrefixes, place: IntArray, column: IntArray, device: str) -> DynamicCache:
    """A cache in which row b has the given columns (B, P) of beginning place[b]."""
    rows, columns = (torch.from_numpy(x).to(device) for x in (place[:, None], column))
    cache = DynamicCache()
    for layer, pair in enumerate(lent.layers):
        cache.update(*(x[rows, :, columns].transpose(1, 2) for x in pair), layer)  # (B, heads, P, width)
    return cache
