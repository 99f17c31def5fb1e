"""Forward pass over rows of tokens: likelihoods and embeddings of each row under one model state.

    nll      = mean over response tokens of −log π(y_t | x, y_<t)                        nats; low = expected
    entropy  = mean over response tokens of −Σ_v π(v | x, y_<t) log π(v | x, y_<t)       nats; low = certain

The transformer body runs over all tokens, the LM head over response positions only. Logits are computed in chunks and
reduced to the two numbers at once, so memory grows with tokens × hidden, never with tokens × vocabulary. A prefix that
rows share runs once (`core.models.shared_prefix`). Rows are padded on the right, which a causal model does not see, so
a row's values do not depend on its batch.
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

from core.models.batching import (
    Ragged,
    batch_cost,
    can_run_at_once,
    check_lengths,
    plan_batches,
    run_at_once,
    run_batches,
)
from core.models.loading import Model, check_head, compute_logits, device_limit
from core.models.shared_prefix import Prefix, can_share_prefix, compute_hidden_states, find_common_prefix, run_prefix
from core.schema import BoolArray, FloatArray, IntArray

CPU_TOKENS = 2048  # padded tokens in one pass of the body on a processor
LOGIT_BYTES = {"cpu": 192 << 20, "cuda": 512 << 20}  # logits in memory at once, as float32
LOGIT_ROWS = {"cpu": 256, "cuda": 1 << 20}  # of these logits, at most: more of them are no faster
BLOCK_BYTES = {"cpu": 4 << 20, "cuda": 512 << 20}  # logits reduced at once: what fits into a processor's cache
LOG_PROB_FLOOR = -100.0  # lower log-probabilities add nothing to the entropy, and −inf times 0 would be NaN


@dataclass(frozen=True, eq=False)
class Batch:
    """B rows of one pass, longest first, padded on the right to T tokens."""

    tokens: Tensor  # (B, T) int64
    lengths: Tensor  # (B,) int64
    response: Tensor  # (B, T) bool: response tokens
    prompt: Tensor  # (B, T) bool: all other tokens of the row; padding is in neither mask
    hidden: Tensor  # (B, T, d) the body's last hidden states


class PassObserver(Protocol):
    """An additional per-row measurement made during the same forward pass.

    It observes the body, for example by forward hooks. What it records is in the object that `watch` yields, never in
    the observer itself, so nothing carries over from one batch to the next.
    """

    columns: dict[str, pa.DataType]  # names and types of the added columns: numbers, or lists of a fixed length
    every_token: bool  # whether it needs prompt tokens too; if not, a shared prefix may run without being observed

    def watch(self, network: Any, response: Tensor, prompt: Tensor) -> AbstractContextManager[Any]:
        """Observe one pass of the body; yield the object that is passed to `read`.

        The masks are those of the batch, (B, T). The body may run on the last columns only; these include all response
        tokens, and all tokens with `every_token`.
        """
        ...

    def read(self, seen: Any, batch: Batch) -> Mapping[str, NDArray[Any]]:
        """Return the added columns, one value (or one array) per row, in the batch's order."""
        ...


class ForwardPass:
    """Measures rows of tokens under one model state; stateless between calls."""

    def __init__(
        self, model: Model, *, batch_tokens: int | None = None, observers: Sequence[PassObserver] = ()
    ) -> None:
        check_head(model.network, model.device)
        self.model = model
        self._cost = batch_cost(model.network, model.device, "pass", CPU_TOKENS, batch_tokens, memory=model.memory)
        self._observers = tuple(observers)
        self._shares = not any(r.every_token for r in observers) and can_share_prefix(model.network, model.device)
        vector = pa.list_(pa.float32(), model.hidden)
        self.columns: dict[str, pa.DataType] = dict.fromkeys(("nll", "entropy"), pa.float32())
        self.columns |= dict.fromkeys(("prompt_embedding", "response_embedding"), vector)
        for observer in self._observers:
            self.columns |= observer.columns

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Measure the columns tokens and spans of `core.models.encoder.Encoder`; return `columns`.

        nll and entropy: (N,) float32, NaN without a response. Embeddings: (N, d) float32, the mean of the last hidden
        state over the prompt's tokens and over the response's; NaN where there are none. Rows stay in order. Raises
        ModelError if a row is longer than the model's context or does not fit into memory by itself.
        """
        tokens, spans = batch["tokens"], batch["spans"]
        lengths = np.array([len(t) for t in tokens], np.int64)
        check_lengths(lengths, self.model)
        out: dict[str, NDArray[Any]] = {}
        work = partial(self._pass, tokens=tokens, spans=spans, prefix=self._prefix(tokens))
        batches = plan_batches(lengths, self._cost)
        at_once = len(batches) > 1 and not self._observers and can_run_at_once(self.model.network, self.model.device)
        run = run_at_once if at_once else run_batches  # observers watch one pass of the model at a time
        for rows, measured in run(batches, work, self.model, "A row of {} tokens", lengths):
            for name, values in measured.items():
                if name not in out:
                    out[name] = np.zeros((len(tokens), *values.shape[1:]), values.dtype)
                out[name][rows] = values
        return out or {name: empty_column(kind) for name, kind in self.columns.items()}

    @torch.inference_mode()
    def _prefix(self, tokens: Ragged) -> Prefix | None:
        """Run the prefix that most rows share; None if they share too little."""
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
            prefix = None  # observers must see the whole response
        with ExitStack() as stack:
            network = self.model.network
            records = [stack.enter_context(observer.watch(network, mask, prompt)) for observer in self._observers]
            hidden = compute_hidden_states(network, padded, prefix, device)
        batch = Batch(ids, torch.from_numpy(lengths).to(device), mask, prompt, hidden)
        columns = self._likelihoods(batch, response)
        columns["prompt_embedding"] = mean_pool(hidden, batch.prompt)
        columns["response_embedding"] = mean_pool(hidden, batch.response)
        for observer, record in zip(self._observers, records, strict=True):
            columns |= observer.read(record, batch)
        return columns

    def _likelihoods(self, batch: Batch, response: BoolArray) -> dict[str, NDArray[Any]]:
        row, place = np.nonzero(response[:, 1:])  # token place + 1 is predicted at place
        rows, places = torch.from_numpy(row).to(batch.hidden.device), torch.from_numpy(place).to(batch.hidden.device)
        before, targets = batch.hidden[rows, places], batch.tokens[rows, places + 1]
        values = zip(("nll", "entropy"), token_likelihoods(self.model, before, targets), strict=True)
        return {name: row_means(numbers, row, len(response)) for name, numbers in values}


def token_likelihoods(model: Model, before: Tensor, targets: Tensor) -> tuple[FloatArray, FloatArray]:
    """Compute nll and entropy (R,) of tokens (R,) from the hidden states before them (R, d), in chunks of logits."""
    size, block = (logit_rows(limits, model.device, model.vocabulary) for limits in (LOGIT_BYTES, BLOCK_BYTES))
    size = min(size, device_limit(LOGIT_ROWS, model.device))
    chunks = zip(torch.split(before, size), torch.split(targets, size), strict=True)
    parts = [reduce_logits(compute_logits(model.network, hidden), some, block) for hidden, some in chunks]
    nll, entropy = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
    return nll, entropy


def logit_rows(limits: Mapping[str, int], device: str, vocabulary: int) -> int:
    """Return how many rows of float32 logits are within the device's limit in bytes, at least 1."""
    return max(1, device_limit(limits, device) // (4 * vocabulary))


def reduce_logits(logits: Tensor, targets: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Reduce logits (R, V) and targets (R,) to nll (R,) and entropy (R,), in float32. Overwrites float32 logits.

    With z shifted by its maximum, e = exp z and s = Σ e:  nll = log s − z_y,  H = log s − Σ e z / s.
    Works on `block` rows at a time, few enough to stay in a processor's cache.
    """
    nll = torch.empty(len(logits), device=logits.device)
    entropy = torch.empty_like(nll)
    for start in range(0, len(logits), block):
        rows = slice(start, start + block)
        z = logits[rows].float()
        z.sub_(z.amax(dim=1, keepdim=True))
        target_z = z.gather(1, targets[rows, None])[:, 0]
        z.clamp_(min=LOG_PROB_FLOOR)
        e = z.exp()
        total = e.sum(dim=1)
        nll[rows] = total.log() - target_z
        entropy[rows] = total.log() - z.mul_(e).sum(dim=1) / total
    return nll, entropy


def mean_pool(hidden: Tensor, mask: Tensor) -> FloatArray:
    """Average hidden states (B, T, d) over the tokens marked in (B, T), to (B, d) float32; NaN where none is marked."""
    weights = mask.float() / mask.sum(dim=1, keepdim=True)  # 0 / 0 gives the NaN
    return np.asarray(torch.einsum("bt,btd->bd", weights, hidden.float()).cpu(), np.float32)


def row_means(values: FloatArray, row: IntArray, n: int) -> FloatArray:
    """Average the values of each row 0..n-1; NaN for a row with none. Summed in float64, so order does not matter."""
    count = np.bincount(row, minlength=n)
    total = np.bincount(row, weights=values.astype(np.float64), minlength=n)
    return np.asarray(np.divide(total, count, out=np.full(n, np.nan), where=count > 0), np.float32)


def pad_rows(tokens: Ragged, spans: Ragged) -> tuple[IntArray, IntArray, BoolArray]:
    """Pad ragged rows: ids (B, T), lengths (B,) and the response mask (B, T)."""
    lengths = np.array([len(t) for t in tokens], np.int64)
    ids = np.zeros((len(tokens), max(1, int(lengths.max()))), np.int64)
    response = np.zeros(ids.shape, np.bool_)
    for k, (row, pairs) in enumerate(zip(tokens, spans, strict=True)):
        ids[k, : len(row)] = row
        for start, stop in np.asarray(pairs, np.int64).reshape(-1, 2):
            response[k, start:stop] = True
    return ids, lengths, response


def empty_column(kind: pa.DataType) -> NDArray[Any]:
    """Return an empty column of this type, in the shape that rows would give it."""
    if pa.types.is_fixed_size_list(kind):
        return np.empty((0, kind.list_size), kind.value_type.to_pandas_dtype())
    return np.empty(0, kind.to_pandas_dtype())
