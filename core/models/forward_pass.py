"""One forward pass over rows of tokens: everything a model in one state says about each.

    nll      = mean over response tokens of −log π(y_t | x, y_<t)                        nats; low = expected
    entropy  = mean over response tokens of −Σ_v π(v | x, y_<t) log π(v | x, y_<t)       nats; low = sure

The transformer body runs over all tokens; the LM head over response positions only, in chunks, and each chunk is
reduced to the two numbers at once. So memory grows with tokens × hidden, never with tokens × vocabulary. What
rows have in common at their beginning runs once (core/models/shared_prefix.py).
Rows are padded on the right, where a causal model does not look: a row measures the same alone or in any batch.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import ModelError
from core.models.batching import plan_batches, run_or_halve
from core.models.loading import Model, check_head, compute_logits
from core.models.shared_prefix import Prefix, can_share_prefix, compute_hidden_states, find_common_prefix, run_prefix
from core.schema import FloatArray, IntArray

BATCH_TOKENS = {"cpu": 2048, "cuda": 32768}  # padded tokens in one pass of the body
LOGIT_BYTES = {"cpu": 192 << 20, "cuda": 512 << 20}  # logits alive at once, as float32
BLOCK_BYTES = {"cpu": 4 << 20, "cuda": 512 << 20}  # of them reduced at once: what a processor's cache holds
LOG_PROB_FLOOR = -100.0  # log-probabilities below it add nothing to an entropy, and −inf times 0 would be NaN


@dataclass(frozen=True, eq=False)
class Batch:
    """B rows inside the pass, longest first, padded on the right to T tokens."""

    tokens: Tensor  # (B, T) int64
    lengths: Tensor  # (B,) int64
    response: Tensor  # (B, T) bool: tokens of the response
    prompt: Tensor  # (B, T) bool: the other tokens of the row; padding is neither
    hidden: Tensor  # (B, T, d) the body's last hidden states


class PassObserver(Protocol):
    """A further measurement per row that rides on the same pass.

    While the body runs the observer watches it (by forward hooks, say); what it saw is in the object that `watch`
    yields, never in the observer, so a observer keeps nothing from one batch to the next.
    """

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """Names and types of the columns it adds: numbers, or lists of a fixed length."""
        ...

    @property
    def every_token(self) -> bool:
        """Whether it must see prompts too. If not, what rows have in common at their beginning may run without it."""
        ...

    def watch(self, network: Any, response: Tensor, prompt: Tensor) -> AbstractContextManager[Any]:
        """Begin to watch a pass of the body; yields what `read` will be given.

        The masks are those of the batch, (B, T). The body may run on the last columns of them only; all tokens of
        the response are among these, and all tokens with `every_token`.
        """
        ...

    def read(self, seen: Any, batch: Batch) -> Mapping[str, NDArray[Any]]:
        """Its columns, one value (or one array) for each row of the batch, in the batch's order."""
        ...


class ForwardPass:
    """Measures rows of tokens under one model state; keeps nothing between calls."""

    def __init__(
        self, model: Model, *, batch_tokens: int | None = None, observers: Sequence[PassObserver] = ()
    ) -> None:
        check_head(model.network, model.device)
        self.model = model
        kind = torch.device(model.device).type
        self._batch_tokens = batch_tokens or BATCH_TOKENS.get(kind, BATCH_TOKENS["cpu"])
        self._chunk = max(1, LOGIT_BYTES.get(kind, LOGIT_BYTES["cpu"]) // (4 * model.vocabulary))
        self._block = max(1, BLOCK_BYTES.get(kind, BLOCK_BYTES["cpu"]) // (4 * model.vocabulary))
        self._observers = tuple(observers)
        self._shares = not any(r.every_token for r in observers) and can_share_prefix(model.network, model.device)
        vector = pa.list_(pa.float32(), model.hidden)
        self.columns: dict[str, pa.DataType] = {
            "nll": pa.float32(),
            "entropy": pa.float32(),
            "prompt_embedding": vector,
            "response_embedding": vector,
        }
        for observer in self._observers:
            self.columns |= observer.columns

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Columns tokens and spans, as `core.models.encoder.Encoder` gives them, to `columns`, in the same order.

        nll and entropy: (N,) float32, NaN without a response. Embeddings: (N, d) float32, the mean of the last
        hidden state over the prompt's tokens and over the response's; a row of NaN where there are none.
        ModelError when a row is longer than the model can read or does not fit into memory by itself.
        """
        tokens, spans = batch["tokens"], batch["spans"]
        self._check(tokens)
        lengths = np.array([len(t) for t in tokens], np.int64)
        out: dict[str, NDArray[Any]] = {}
        prefix = self._prefix(tokens)

        def named(row: int) -> str:
            return f"A row of {len(tokens[row])} tokens"

        for rows in plan_batches(lengths, self._batch_tokens):
            work = partial(self._pass, tokens=tokens, spans=spans, prefix=prefix)
            for some, found in run_or_halve(rows, work, self.model, describe=named, setting="max_length"):
                for name, values in found.items():
                    if name not in out:
                        out[name] = np.zeros((len(tokens), *values.shape[1:]), values.dtype)
                    out[name][some] = values
        return out or {name: empty_column(kind) for name, kind in self.columns.items()}

    def _check(self, tokens: Sequence[NDArray[Any]]) -> None:
        longest = max((len(t) for t in tokens), default=0)
        if longest > self.model.max_length:
            raise ModelError(
                f"A row has {longest} tokens, and model {self.model.ref.name!r} reads at most "
                f"{self.model.max_length}. Set max_length to {self.model.max_length} or less."
            )

    @torch.inference_mode()
    def _prefix(self, tokens: Sequence[NDArray[Any]]) -> Prefix | None:
        """What most of these rows begin with, run once for all; None where they share too little."""
        start = find_common_prefix(tokens if self._shares else [])
        return run_prefix(self.model.network, start, self.model.device) if len(start) else None

    @torch.inference_mode()
    def _pass(
        self, rows: IntArray, tokens: Sequence[Any], spans: Sequence[Any], prefix: Prefix | None
    ) -> dict[str, NDArray[Any]]:
        padded, lengths, response = pad_rows([tokens[i] for i in rows], [spans[i] for i in rows])
        device = self.model.device
        ids, mask = torch.from_numpy(padded).to(device), torch.from_numpy(response).to(device)
        prompt = torch.from_numpy((np.arange(padded.shape[1]) < lengths[:, None]) & ~response).to(device)
        if self._observers and prefix is not None and response[:, : len(prefix.tokens)].any():
            prefix = None  # observers are to see all of the response
        with ExitStack() as stack:
            seen = [
                stack.enter_context(observer.watch(self.model.network, mask, prompt)) for observer in self._observers
            ]
            hidden = compute_hidden_states(self.model.network, padded, prefix, device)
        batch = Batch(ids, torch.from_numpy(lengths).to(device), mask, prompt, hidden)
        found = self._likelihoods(batch, response)
        found["prompt_embedding"] = mean_pool(hidden, batch.prompt)
        found["response_embedding"] = mean_pool(hidden, batch.response)
        for observer, what in zip(self._observers, seen, strict=True):
            found |= observer.read(what, batch)
        return found

    def _likelihoods(self, batch: Batch, response: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        row, place = np.nonzero(response[:, 1:])  # token place + 1 is predicted at place
        rows, places = torch.from_numpy(row).to(batch.hidden.device), torch.from_numpy(place).to(batch.hidden.device)
        before, targets = batch.hidden[rows, places], batch.tokens[rows, places + 1]
        nll = torch.empty(len(row), device=before.device)
        entropy = torch.empty_like(nll)
        for start in range(0, len(row), self._chunk):
            chunk = slice(start, start + self._chunk)
            logits = compute_logits(self.model.network, before[chunk])
            nll[chunk], entropy[chunk] = reduce_logits(logits, targets[chunk], self._block)
        return {
            "nll": row_means(nll.cpu().numpy(), row, len(response)),
            "entropy": row_means(entropy.cpu().numpy(), row, len(response)),
        }


def reduce_logits(logits: Tensor, targets: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """(R, V) logits and (R,) targets to (R,) nll and (R,) entropy in float32. Float32 logits are used up.

    With z shifted by its maximum, e = exp z and s = Σ e:  nll = log s − z_y,  H = log s − Σ e z / s.
    `block` rows at a time, few enough to stay in a processor's cache from the first step to the last.
    """
    nll = torch.empty(len(logits), device=logits.device)
    entropy = torch.empty_like(nll)
    for start in range(0, len(logits), block):
        rows = slice(start, start + block)
        z = logits[rows].float()
        z.sub_(z.amax(dim=1, keepdim=True))
        said = z.gather(1, targets[rows, None])[:, 0]
        z.clamp_(min=LOG_PROB_FLOOR)
        e = z.exp()
        total = e.sum(dim=1)
        nll[rows] = total.log() - said
        entropy[rows] = total.log() - z.mul_(e).sum(dim=1) / total
    return nll, entropy


def mean_pool(hidden: Tensor, mask: Tensor) -> FloatArray:
    """(B, T, d) and (B, T) to (B, d): the float32 mean over marked tokens; NaN where none is."""
    weights = mask.float() / mask.sum(dim=1, keepdim=True)  # 0 / 0 is the NaN
    means: FloatArray = torch.einsum("bt,btd->bd", weights, hidden.float()).cpu().numpy()
    return means


def row_means(values: FloatArray, row: IntArray, n: int) -> FloatArray:
    """Mean of the values of each row 0..n-1; NaN where a row has none. Summed in float64, so order is no matter."""
    count = np.bincount(row, minlength=n)
    total = np.bincount(row, weights=values.astype(np.float64), minlength=n)
    means: FloatArray = np.divide(total, count, out=np.full(n, np.nan), where=count > 0).astype(np.float32)
    return means


def pad_rows(
    tokens: Sequence[NDArray[Any]], spans: Sequence[NDArray[Any]]
) -> tuple[NDArray[np.int64], IntArray, NDArray[np.bool_]]:
    """Ragged rows to padded ids (B, T), lengths (B,) and the response's mask (B, T)."""
    lengths = np.array([len(t) for t in tokens], np.int64)
    ids = np.zeros((len(tokens), max(1, int(lengths.max()))), np.int64)
    response = np.zeros(ids.shape, np.bool_)
    for k, (row, pairs) in enumerate(zip(tokens, spans, strict=True)):
        ids[k, : len(row)] = row
        for start, stop in np.asarray(pairs, np.int64).reshape(-1, 2):
            response[k, start:stop] = True
    return ids, lengths, response


def empty_column(kind: pa.DataType) -> NDArray[Any]:
    """A column of this type with nothing in it, in the shape that rows would give it."""
    if pa.types.is_fixed_size_list(kind):
        return np.empty((0, kind.list_size), kind.value_type.to_pandas_dtype())
    return np.empty(0, kind.to_pandas_dtype())
