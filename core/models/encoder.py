"""Encoding of rows as token ids, with the response marked.

Each piece of a row is tokenised separately, so no token spans the boundary between prompt and response, and the
prompt's tokens are the same for any response, unless it has to be shortened for one. A model that continues or answers
prompts reads them by themselves (`Encoder.encode_prompts`). Control-token names in a row's own text are read as text.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelError
from core.models.chat_layout import AlpacaLayout, ChatLayout, Piece, Turn, drop_blank_answers
from core.models.shortening import Pieces, count_tokens, shorten
from core.schema import BoolArray, Reading

FORMAT = 3  # increase when the same row would give different tokens
LEAD = "\n"  # prepended to a text that continues another, if the tokenizer would add a space
Batch = Mapping[str, Sequence[Any]]


class Encoded(NamedTuple):
    """One row as token ids."""

    tokens: NDArray[np.uint32]
    spans: NDArray[np.int32]  # flat [start, end) pairs of the response's tokens; empty: no response
    prompt_cut: int  # tokens of the prompt that were not read
    response_cut: int  # tokens of the response that were not read


class Laid(NamedTuple):
    """One row, laid out and tokenised."""

    context: Sequence[Turn]  # before the response
    answer: Sequence[Turn]  # the response's turn, or none
    prompt: Pieces
    response: Pieces


class Encoder:
    """Encodes batches of rows as token ids; stateless between calls.

    `max_length` is the smaller of the reading's and the model's (`load_tokenizer` sets it). In a longer row the prompt
    is shortened (core.models.shortening) to what the response leaves, but to no less than `prompt_share` of the length;
    then the response loses its end. Raises ModelError if the template alone leaves no room.
    """

    def __init__(self, tokenizer: Any, reading: Reading) -> None:
        self.max_length = min(reading.max_length, int(tokenizer.model_max_length))
        if self.max_length < 2:
            raise ModelError(f"max_length is {self.max_length}; a row needs at least 2 tokens to be measured.")
        chat = bool(tokenizer.chat_template) if reading.template == "auto" else reading.template == "chat"
        self.template = "chat" if chat else "alpaca"
        self._tokenizer = tokenizer
        self._answers = reading.answers
        self._prompt_share = reading.prompt_share
        self._lead = self._leading_ids()
        eos = tokenizer.eos_token_id
        self._layout = ChatLayout(tokenizer) if chat else AlpacaLayout(self._default_bos(), eos)
        self.digest = self._digest()

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """Encode the columns prompt, response (None: no response) and turns (JSON or None) to the columns of `Encoded`.

        prompt_tokens and response_tokens count the tokens that are read; their sum is the row's length. truncated tells
        whether any were cut.
        """
        rows = self._lay_out(self._turns(batch))
        return _columns([self._fit(row, self._room(row)) for row in rows])

    def encode_pairs(self, chosen: Batch, rejected: Batch) -> tuple[dict[str, Any], dict[str, Any]]:
        """Encode pairs of rows that differ only in the response, as `__call__` does, each pair after the same prompt.

        The prompt is shortened for the longer response.
        """
        sides = [self._lay_out(self._turns(side)) for side in (chosen, rejected)]
        rooms = [min(map(self._room, pair)) for pair in zip(*sides, strict=True)]
        first, second = ([self._fit(row, room) for row, room in zip(side, rooms, strict=True)] for side in sides)
        return _columns(first), _columns(second)

    def encode_prompts(self, batch: Batch, room: int) -> list[NDArray[np.uint32]]:
        """Encode the prompts of these rows by themselves, up to where the response begins.

        So they are the same with any response and with none. A longer prompt is shortened to `room` tokens, or to
        `max_length` if that is less.
        """
        room = min(room, self.max_length)
        turns = [[turn._replace(is_response=False) for turn in split_answer(row)[0]] for row in self._turns(batch)]
        return [_tokens(self._shorten(row, room, room)) for row in self._lay_out(turns)]

    def _turns(self, batch: Batch) -> list[list[Turn]]:
        columns = (batch["prompt"], batch["response"], batch["turns"])
        return [build_turns(*row, all_answers=self._answers == "all") for row in zip(*columns, strict=True)]

    def _lay_out(self, rows: Sequence[Sequence[Turn]]) -> list[Laid]:
        """Lay out rows and tokenise them, in two tokenizer calls for the whole batch."""
        tokenised = self._encode([self._layout.pieces(row) for row in rows])
        return [Laid(*split_answer(row), *split_response(pieces)) for row, pieces in zip(rows, tokenised, strict=True)]

    def _room(self, row: Laid) -> int:
        """Return how many tokens the prompt may take: what the response leaves, and at least its share."""
        return max(self.max_length - count_tokens(row.response), int(self._prompt_share * self.max_length))

    def _fit(self, row: Laid, room: int) -> Encoded:
        prompt = self._shorten(row, room, self.max_length - bool(row.response))
        tokens = _tokens([*prompt, *row.response])[: self.max_length]
        whole, read = (_response_mask([*part, *row.response]) for part in (row.prompt, prompt))
        read = read[: self.max_length]
        edges = np.flatnonzero(np.diff(read, prepend=False, append=False))
        cut = len(whole) - len(read)
        response_cut = int(whole.sum() - read.sum())
        return Encoded(tokens, edges.astype(np.int32), cut - response_cut, response_cut)

    def _shorten(self, row: Laid, room: int, limit: int) -> Pieces:
        """Return the prompt in `room` tokens, or in as many as the template alone takes, up to `limit`."""
        if count_tokens(row.prompt) <= room:
            return row.prompt

        def lay_out(context: Sequence[Turn]) -> Pieces:
            return split_response(self._encode([self._layout.pieces([*context, *row.answer])])[0])[0]

        prompt = shorten(row.context, row.prompt, room, lay_out)
        if count_tokens(prompt) > limit:
            raise ModelError(
                f"The template alone has {count_tokens(prompt)} tokens, and max_length {self.max_length} leaves "
                f"only {limit} for a prompt. Raise max_length, generate fewer tokens, or choose a model that reads "
                "more."
            )
        return prompt

    def _encode(self, rows: Sequence[list[Piece]]) -> list[Pieces]:
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
        bos: int | None = self._tokenizer.bos_token_id
        return bos if ids and ids[0] == bos else None

    def _digest(self) -> str:
        """Return a hash of everything in tokenizer, template and reading that affects the tokens."""
        if hasattr(self._tokenizer, "backend_tokenizer"):
            rules = json.loads(self._tokenizer.backend_tokenizer.to_str())
            for setting in ("truncation", "padding"):  # set by the last call, not by the tokenizer
                rules.pop(setting, None)
        else:
            rules = [type(self._tokenizer).__name__, self._tokenizer.get_vocab()]
        reading = [self._answers, self.max_length, self._prompt_share]
        view = [FORMAT, self.template, self._layout.key_text, *reading, self._lead, rules]
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


def split_answer(turns: Sequence[Turn]) -> tuple[Sequence[Turn], Sequence[Turn]]:
    """Split the turns of a row before its response, which is the last turn if there is one."""
    size = len(turns) - (len(turns) > 0 and turns[-1].is_response)
    return drop_blank_answers(turns[:size]), turns[size:]


def split_response(pieces: Pieces) -> tuple[Pieces, Pieces]:
    """Split the pieces of a row before the last response."""
    response = list(takewhile(lambda piece: piece[1], reversed(pieces)))
    return pieces[: len(pieces) - len(response)], response[::-1]


def _columns(rows: Sequence[Encoded]) -> dict[str, Any]:
    """Return rows as columns, with the counts that are stored."""
    cut = np.array([(row.prompt_cut, row.response_cut) for row in rows], np.int64).reshape(-1, 2)
    responses = np.array([int(np.sum(row.spans[1::2] - row.spans[::2])) for row in rows], np.int64)
    return {
        "tokens": [row.tokens for row in rows],
        "spans": [row.spans for row in rows],
        "prompt_tokens": np.array([len(row.tokens) for row in rows], np.int64) - responses,
        "response_tokens": responses,
        "prompt_cut": cut[:, 0],
        "response_cut": cut[:, 1],
        "truncated": cut.any(axis=1),
    }


def _tokens(pieces: Pieces) -> NDArray[np.uint32]:
    return np.concatenate([np.empty(0, np.uint32), *(np.asarray(ids, np.uint32) for ids, _ in pieces)])


def _response_mask(pieces: Pieces) -> BoolArray:
    """Return (T,) which tokens belong to a response; the first never does, because nothing predicts it."""
    mask = np.repeat(np.array([mark for _, mark in pieces], np.bool_), [len(ids) for ids, _ in pieces])
    mask[:1] = False
    return mask
