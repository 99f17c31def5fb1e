"""Encoding of rows as token ids, with the response marked.

Each piece of a row is tokenised separately, so no token spans the boundary between prompt and response, and the
prompt's tokens are the same for any response. Control-token names in a row's own text are read as text.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelError
from core.models.chat_layout import AlpacaLayout, ChatLayout, Piece, Turn
from core.schema import BoolArray, Reading

FORMAT = 2  # increase when the same row would give different tokens
LEAD = "\n"  # prepended to a text that continues another, if the tokenizer would add a space


class Encoded(NamedTuple):
    """One row as token ids."""

    tokens: NDArray[np.uint32]
    spans: NDArray[np.int32]  # flat [start, end) pairs of the response's tokens; empty: no response
    truncated: bool


class Encoder:
    """Encodes batches of rows as token ids; stateless between calls.

    `max_length` is the smaller of the reading's and the model's (`load_tokenizer` sets it). An overlong prompt loses
    its beginning but keeps a leading BOS. A response that still does not fit loses its end. Both set `truncated`.
    """

    def __init__(self, tokenizer: Any, reading: Reading) -> None:
        self.max_length = min(reading.max_length, int(tokenizer.model_max_length))
        if self.max_length < 2:
            raise ModelError(f"max_length is {self.max_length}; a row needs at least 2 tokens to be measured.")
        chat = bool(tokenizer.chat_template) if reading.template == "auto" else reading.template == "chat"
        self.template = "chat" if chat else "alpaca"
        self._tokenizer = tokenizer
        self._answers = reading.answers
        self._bos: int | None = tokenizer.bos_token_id
        self._lead = self._leading_ids()
        eos = tokenizer.eos_token_id
        self._layout = ChatLayout(tokenizer) if chat else AlpacaLayout(self._default_bos(), eos)
        self.digest = self._digest()

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, Any]:
        """Encode the columns prompt, response (None: no response) and turns (JSON or None) to the columns of `Encoded`.

        prompt_tokens and response_tokens count the tokens after truncation; their sum is the row's length.
        """
        columns = (batch["prompt"], batch["response"], batch["turns"])
        every = self._answers == "all"
        rows = [self._layout.pieces(build_turns(*row, all_answers=every)) for row in zip(*columns, strict=True)]
        encoded = [self._fit(ids) for ids in self._encode(rows)]
        responses = np.array([int(np.sum(e.spans[1::2] - e.spans[::2])) for e in encoded], np.int64)
        return {
            "tokens": [e.tokens for e in encoded],
            "spans": [e.spans for e in encoded],
            "prompt_tokens": np.array([len(e.tokens) for e in encoded], np.int64) - responses,
            "response_tokens": responses,
            "truncated": np.array([e.truncated for e in encoded], np.bool_),
        }

    def _encode(self, rows: Sequence[list[Piece]]) -> list[list[tuple[Sequence[int], bool]]]:
        """Return ids and response flag of every piece of every row, in two tokenizer calls for the whole batch."""
        texts: dict[tuple[bool, bool], list[str]] = {}
        for pieces in rows:
            for place, piece in enumerate(pieces):
                if not piece.ids:
                    texts.setdefault(self._mode(place, piece), []).append(piece.text)
        ids = {mode: iter(self._ids(group, *mode)) for mode, group in texts.items()}
        return [
            [(p.ids or next(ids[self._mode(place, p)]), p.is_response) for place, p in enumerate(pieces)]
            for pieces in rows
        ]

    def _mode(self, place: int, piece: Piece) -> tuple[bool, bool]:
        return piece.control, place > 0 and bool(self._lead)

    def _ids(self, texts: list[str], control: bool, continued: bool) -> list[list[int]]:
        if not continued:
            return tokenize_texts(self._tokenizer, texts, control=control)
        encoded = tokenize_texts(self._tokenizer, [LEAD + text for text in texts], control=control)
        size = len(self._lead)
        for place, ids in enumerate(encoded):
            if ids[:size] == self._lead:
                encoded[place] = ids[size:]
            else:  # LEAD merged with the text: an extra space is better than a missing letter
                encoded[place] = tokenize_texts(self._tokenizer, [texts[place]], control=control)[0]
        return encoded

    def _leading_ids(self) -> list[int]:
        """Return the tokens of LEAD if the tokenizer puts a space before every text, as Llama 2's does; else none."""
        first = self._tokenizer.tokenize("x")[:1]
        spaced = bool(first) and first[0].startswith("▁")
        return tokenize_texts(self._tokenizer, [LEAD])[0] if spaced else []

    def _default_bos(self) -> int | None:
        """Return the BOS token if this tokenizer puts one before a text, else None."""
        ids = self._tokenizer("x")["input_ids"]
        return self._bos if ids and ids[0] == self._bos else None

    def _fit(self, pieces: list[tuple[Sequence[int], bool]]) -> Encoded:
        tokens = np.concatenate([np.asarray(ids, np.uint32) for ids, _ in pieces])
        is_response = np.concatenate([np.full(len(ids), mark) for ids, mark in pieces])
        start, stop = truncation_window(is_response, self.max_length)
        keep = np.arange(start, stop)
        if start > 0 and tokens[0] == self._bos:
            keep[0] = 0  # BOS replaces the first prompt token that is kept
        is_response = is_response[keep]
        is_response[0] = False  # no token before it, so nothing predicts it
        edges = np.flatnonzero(np.diff(is_response, prepend=False, append=False))
        return Encoded(tokens[keep], edges.astype(np.int32), stop - start < len(tokens))

    def _digest(self) -> str:
        """Return a hash of everything in tokenizer, template and reading that affects the tokens."""
        if hasattr(self._tokenizer, "backend_tokenizer"):
            rules = json.loads(self._tokenizer.backend_tokenizer.to_str())
            for setting in ("truncation", "padding"):  # set by the last call, not by the tokenizer
                rules.pop(setting, None)
        else:
            rules = [type(self._tokenizer).__name__, self._tokenizer.get_vocab()]
        view = [FORMAT, self.template, self._layout.key_text, self._answers, self.max_length, self._lead, rules]
        return hashlib.sha256(json.dumps(view, sort_keys=True).encode()).hexdigest()[:16]


def tokenize_texts(tokenizer: Any, texts: list[str], *, control: bool = False) -> list[list[int]]:
    """Return the token ids of each text, without added ones; control-token names are text unless `control`."""
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(
        texts,
        add_special_tokens=False,
        split_special_tokens=not control,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )["input_ids"]
    return ids


def decode_tokens(tokenizer: Any, ids: list[int]) -> str:
    """Return the text of these tokens, control tokens by name and spaces as they are."""
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def build_turns(prompt: str, response: str | None, turns: str | None, *, all_answers: bool) -> list[Turn]:
    """Build the turns of one row up to its response, which is marked (with `all_answers`, earlier answers too).

    The response is the last assistant turn; later turns are dropped, because a causal model cannot see them. A blank
    response counts as none; then no turn is marked and all turns are context.
    """
    given = json.loads(turns) if turns is not None else [{"role": "user", "content": prompt}]
    parsed = [Turn(t["role"], t["content"]) for t in given]
    if response is None or not response.strip():
        return parsed
    answers = [n for n, turn in enumerate(parsed) if turn.role == "assistant" and turn.content.strip()]
    if not answers:
        parsed.append(Turn("assistant", response))
        answers = [len(parsed) - 1]
    response_turns = set(answers if all_answers else answers[-1:])
    return [turn._replace(is_response=n in response_turns) for n, turn in enumerate(parsed[: answers[-1] + 1])]


def truncation_window(is_response: BoolArray, size: int) -> tuple[int, int]:
    """Return the [start, stop) tokens to keep, at most `size` of them.

    This is the end of the row; or less of it, if the last response span and one token before it do not fit.
    """
    stop = len(is_response)
    if stop > size and is_response.any():
        last = int(np.flatnonzero(np.diff(is_response, prepend=False) & is_response)[-1])  # start of the last span
        stop = min(stop, max(last - 1, 0) + size)
    return max(0, stop - size), stop
