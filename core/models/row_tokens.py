"""One row token by token under a model: NLL and entropy of each response token, and the text that each token adds.

    NLL_t = −log π(y_t | x, y_<t)        H_t = −Σ_v π(v | x, y_<t) log π(v | x, y_<t)        nats

The row runs by itself. The means over it are the nll and entropy of core/models/forward_pass.py, up to rounding.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from core.models.batching import run_or_halve
from core.models.forward_pass import BLOCK_BYTES, LOGIT_BYTES, pad_rows, reduce_logits
from core.models.loading import Model, compute_logits
from core.models.shared_prefix import compute_hidden_states
from core.schema import FloatArray

CONTEXT_TOKENS = 4  # decoded before a span; they decide whether its first piece starts with a space
MAX_LETTER_TOKENS = 8  # tokens that may make up one letter; more than that is no text


class RowTokens(NamedTuple):
    """The T response tokens of a row, in order."""

    texts: tuple[str, ...]  # (T,) "": part of a letter, which the next token completes
    nll: FloatArray  # (T,)
    entropy: FloatArray  # (T,)
    starts: tuple[int, ...]  # places where a response begins: one, or several where all turns of a row count


def read_row(model: Model, tokens: NDArray[Any], spans: NDArray[Any]) -> RowTokens:
    """Read one row, as `core.models.encoder.Encoder` gives it; no tokens where it has no response.

    ModelError where the row does not fit into memory.
    """
    name = f"A row of {len(tokens)} tokens"
    work = run_or_halve(
        np.zeros(1, np.int64),
        lambda _: _read_row(model, tokens, spans),
        model,
        describe=lambda _: name,
        setting="max_length",
    )
    return next(work)[1]


@torch.inference_mode()
def _read_row(model: Model, tokens: NDArray[Any], spans: NDArray[Any]) -> RowTokens:
    padded, _, response = pad_rows([tokens], [spans])
    places = np.flatnonzero(response[0, 1:])  # token place + 1 is predicted at place
    nll, entropy = _likelihoods(model, padded, places)
    starts = np.flatnonzero(np.diff(places, prepend=-2) > 1)
    texts = [text for span in np.split(places + 1, starts[1:]) for text in split_text(model.tokenizer, tokens, span)]
    return RowTokens(tuple(texts), nll, entropy, tuple(starts.tolist()))


def _likelihoods(model: Model, padded: NDArray[np.int64], places: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Return NLL and entropy of the tokens after these places of one row (1, T), in chunks of logits."""
    kind = torch.device(model.device).type
    chunk, block = (max(1, b.get(kind, b["cpu"]) // (4 * model.vocabulary)) for b in (LOGIT_BYTES, BLOCK_BYTES))
    nll, entropy = np.empty(len(places), np.float32), np.empty(len(places), np.float32)
    if not len(places):
        return nll, entropy
    hidden = compute_hidden_states(model.network, padded, None, model.device)[0]
    for start in range(0, len(places), chunk):
        some = places[start : start + chunk]
        logits = compute_logits(model.network, hidden[torch.from_numpy(some).to(hidden.device)])
        targets = torch.from_numpy(padded[0, some + 1]).to(hidden.device)
        reduced = reduce_logits(logits, targets, block)
        nll[start : start + chunk], entropy[start : start + chunk] = (x.cpu().numpy() for x in reduced)
    return nll, entropy


def split_text(tokenizer: Any, tokens: NDArray[Any], places: NDArray[np.int64]) -> list[str]:
    """Return the text that each of these tokens, one after another, adds to those before it.

    A token that ends inside a letter adds nothing; the one that completes the letter adds it. Joined, they are the
    text itself.
    """
    ids = tokens.astype(np.int64).tolist()
    texts: list[str] = []
    decoded = int(places[0]) if len(places) else 0  # tokens [decoded, place] are not in `texts` yet
    begin = max(0, decoded - CONTEXT_TOKENS)  # they are decoded after [begin, decoded)
    for place in places.tolist():
        before, now = (_decode(tokenizer, ids[begin:end]) for end in (decoded, place + 1))
        last = place == places[-1] or place - decoded >= MAX_LETTER_TOKENS
        if (now.endswith("\ufffd") and not last) or len(now) < len(before):
            texts.append("")
            continue
        texts.append(now[len(before) :])
        begin, decoded = decoded, place + 1
    return texts


def _decode(tokenizer: Any, ids: list[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text
