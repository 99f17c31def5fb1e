"""One row token by token under a model: NLL and entropy of each response token, and the text that each token adds.

    NLL_t = −log π(y_t | x, y_<t)        H_t = −Σ_v π(v | x, y_<t) log π(v | x, y_<t)        nats

The row runs by itself. The means over it are the nll and entropy of core/models/forward_pass.py, up to rounding.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from core.models.batching import run_batches
from core.models.encoder import decode_tokens
from core.models.forward_pass import pad_rows, token_likelihoods
from core.models.loading import Model
from core.models.shared_prefix import compute_hidden_states
from core.schema import FloatArray, IntArray

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
    batches = [np.zeros(1, np.int64)]
    work = run_batches(batches, lambda _: _read_row(model, tokens, spans), model, "A row of {} tokens", [len(tokens)])
    return next(work)[1]


@torch.inference_mode()
def _read_row(model: Model, tokens: NDArray[Any], spans: NDArray[Any]) -> RowTokens:
    padded, _, response = pad_rows([tokens], [spans])
    places = np.flatnonzero(response[0, 1:])  # token place + 1 is predicted at place
    hidden = compute_hidden_states(model.network, padded, None, model.device)[0]
    before, targets = hidden[torch.from_numpy(places)], torch.from_numpy(padded[0, places + 1]).to(hidden.device)
    nll, entropy = token_likelihoods(model, before, targets)
    starts = np.flatnonzero(np.diff(places, prepend=-2) > 1)
    texts = [text for span in np.split(places + 1, starts[1:]) for text in split_text(model.tokenizer, tokens, span)]
    return RowTokens(tuple(texts), nll, entropy, tuple(starts.tolist()))


def split_text(tokenizer: Any, tokens: NDArray[Any], places: IntArray) -> list[str]:
    """Return the text that each of these tokens, one after another, adds to those before it.

    A token that ends inside a letter adds nothing; the one that completes the letter adds it. Joined, they are the
    text itself.
    """
    ids = tokens.astype(np.int64).tolist()
    texts: list[str] = []
    decoded = int(places[0]) if len(places) else 0  # tokens [decoded, place] are not in `texts` yet
    begin = max(0, decoded - CONTEXT_TOKENS)  # they are decoded after [begin, decoded)
    for place in places.tolist():
        before, now = (decode_tokens(tokenizer, ids[begin:end]) for end in (decoded, place + 1))
        last = place == places[-1] or place - decoded >= MAX_LETTER_TOKENS
        if (now.endswith("\ufffd") and not last) or len(now) < len(before):
            texts.append("")
            continue
        texts.append(now[len(before) :])
        begin, decoded = decoded, place + 1
    return texts
