"""Rows of a pool to token ids, with the response marked.

Each piece of a row is tokenised by itself: no token spans the line between prompt and response, and the prompt's
tokens are the same whatever the response. Names of control tokens in a row's own words are read as text.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelError
from core.models.chat_layout import AlpacaLayout, ChatLayout, Layout, Piece, Turn
from core.schema import Reading

FORMAT = 2  # raise when the same row would give other tokens
LEAD = "\n"  # goes before a text that continues another, where the tokenizer would put a space before it


class Encoded(NamedTuple):
    """One row as token ids."""

    tokens: NDArray[np.uint32]
    spans: NDArray[np.int32]  # flat [start, end) pairs of the response's tokens; empty = no response
    truncated: bool


class Encoder:
    """Turns a batch of rows into token ids; keeps nothing between calls.

    `max_length` is the reading's, or the most the model reads where that is less (`load_tokenizer` knows).
    Overlong prompts lose their beginning, a leading BOS stays; a response that does not fit even so loses its end.
    Both are flagged as truncated.
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
        self._form: Layout = ChatLayout(tokenizer) if chat else AlpacaLayout(self._wanted_bos(), tokenizer.eos_token_id)
        self.digest = self._digest()

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, Any]:
        """Columns prompt, response (None: there is none), turns (JSON or None) to the columns of `Encoded`.

        prompt_tokens and response_tokens count what is kept; together they are all the tokens of the row.
        """
        columns = (batch["prompt"], batch["response"], batch["turns"])
        rows = [self._pieces(*row) for row in zip(*columns, strict=True)]
        encoded = [self._fit(ids) for ids in self._encode(rows)]
        responses = np.array([int(np.sum(e.spans[1::2] - e.spans[::2])) for e in encoded], np.int64)
        return {
            "tokens": [e.tokens for e in encoded],
            "spans": [e.spans for e in encoded],
            "prompt_tokens": np.array([len(e.tokens) for e in encoded], np.int64) - responses,
            "response_tokens": responses,
            "truncated": np.array([e.truncated for e in encoded], np.bool_),
        }

    def _pieces(self, prompt: str, response: str | None, turns: str | None) -> list[Piece]:
        return self._form.pieces(build_turns(prompt, response, turns, all_answers=self._answers == "all"))

    def _encode(self, rows: Sequence[list[Piece]]) -> list[list[tuple[Sequence[int], bool]]]:
        """Token ids and `is_response` of every piece of every row; two calls of the tokenizer for the whole batch."""
        texts: dict[tuple[bool, bool], list[str]] = {}
        for pieces in rows:
            for place, piece in enumerate(pieces):
                if not piece.ids:
                    texts.setdefault(self._manner(place, piece), []).append(piece.text)
        ids = {manner: iter(self._ids(group, *manner)) for manner, group in texts.items()}
        return [
            [(p.ids or next(ids[self._manner(place, p)]), p.is_response) for place, p in enumerate(pieces)]
            for pieces in rows
        ]

    def _manner(self, place: int, piece: Piece) -> tuple[bool, bool]:
        return piece.control, place > 0 and bool(self._lead)

    def _ids(self, texts: list[str], control: bool, continued: bool) -> list[list[int]]:
        if not continued:
            return self._tokenized(texts, control)
        found = self._tokenized([LEAD + text for text in texts], control)
        size = len(self._lead)
        for place, ids in enumerate(found):
            if ids[:size] == self._lead:
                found[place] = ids[size:]
            else:  # LEAD grew together with the text: better a space too many than a letter too few
                found[place] = self._tokenized([texts[place]], control)[0]
        return found

    def _tokenized(self, texts: list[str], control: bool) -> list[list[int]]:
        found: list[list[int]] = self._tokenizer(
            texts,
            add_special_tokens=False,
            split_special_tokens=not control,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        return found

    def _leading_ids(self) -> list[int]:
        """The tokens of LEAD where the tokenizer puts a space before every text, as Llama 2's does; else none."""
        first = self._tokenizer.tokenize("x")[:1]
        spaced = bool(first) and first[0].startswith("▁")
        return self._tokenized([LEAD], False)[0] if spaced else []

    def _wanted_bos(self) -> int | None:
        """The BOS token where this tokenizer puts one before a text, else None."""
        ids = self._tokenizer("x")["input_ids"]
        return self._bos if ids and ids[0] == self._bos else None

    def _fit(self, pieces: list[tuple[Sequence[int], bool]]) -> Encoded:
        tokens = np.concatenate([np.asarray(ids, np.uint32) for ids, _ in pieces])
        is_response = np.concatenate([np.full(len(ids), mark) for ids, mark in pieces])
        start, stop = truncation_window(is_response, self.max_length)
        keep = np.arange(start, stop)
        if start > 0 and tokens[0] == self._bos:
            keep[0] = 0  # BOS takes the place of one more prompt token
        is_response = is_response[keep]
        is_response[0] = False  # nothing comes before it, so nothing predicts it
        edges = np.flatnonzero(np.diff(is_response, prepend=False, append=False))
        return Encoded(tokens[keep], edges.astype(np.int32), stop - start < len(tokens))

    def _digest(self) -> str:
        """Whatever of tokenizer, template and reading decides the tokens."""
        if hasattr(self._tokenizer, "backend_tokenizer"):
            rules = json.loads(self._tokenizer.backend_tokenizer.to_str())
            rules.pop("truncation", None)  # settings of the last call, not of the tokenizer
            rules.pop("padding", None)
        else:
            rules = [type(self._tokenizer).__name__, self._tokenizer.get_vocab()]
        view = [FORMAT, self.template, self._form.key_text, self._answers, self.max_length, self._lead, rules]
        return hashlib.sha256(json.dumps(view, sort_keys=True).encode()).hexdigest()[:16]


def build_turns(prompt: str, response: str | None, turns: str | None, *, all_answers: bool) -> list[Turn]:
    """The turns of one row up to its answer, which is is_response (with `all_answers`, each earlier answer too).

    The answer is the last assistant turn; turns after it are left out, as a causal model would not see them.
    A blank response is none. Without one nothing is is_response and all turns are context.
    """
    given = json.loads(turns) if turns is not None else [{"role": "user", "content": prompt}]
    said = [Turn(t["role"], t["content"]) for t in given]
    if response is None or not response.strip():
        return said
    answers = [n for n, turn in enumerate(said) if turn.role == "assistant" and turn.content.strip()]
    if not answers:
        said.append(Turn("assistant", response))
        answers = [len(said) - 1]
    marked = set(answers if all_answers else answers[-1:])
    return [turn._replace(is_response=n in marked) for n, turn in enumerate(said[: answers[-1] + 1])]


def truncation_window(is_response: NDArray[np.bool_], size: int) -> tuple[int, int]:
    """The [start, stop) tokens to keep, at most `size`: the end of the row, or less of it where the last stretch
    of response and one token before it do not fit."""
    stop = len(is_response)
    if stop > size and is_response.any():
        last = int(np.flatnonzero(np.diff(is_response, prepend=False) & is_response)[-1])  # where that stretch begins
        stop = min(stop, max(last - 1, 0) + size)
    return max(0, stop - size), stop
