"""Where a model places the answers to one instruction: the vectors whose spread ADG measures.

    text    instruction + " " + answer, no special tokens; at most 1,024 tokens, the end is cut
    h_t     mean of the hidden-state layers −4, −3 and −2 at token t: what the model's last three blocks are given
    w_t     0 for a token of nothing but white space and punctuation (Unicode Z*, P*), 1.3 for one that holds a digit
            (Nd) or one of % ℃ °, else 1
    v       Σ_t w_t h_t over all tokens, those of the instruction too, scaled to length 1

A token is weighed by what it decodes to by itself. A piece of a character shows as U+FFFD, which is a symbol, so it
weighs 1, whatever the character is. Symbols such as + = < $ weigh 1 too. Which modules the layers are, and what holds
for a model of few layers, is in core/models/hidden_states.py.

The same row gives the same vectors alone or in any batch, to 1e-5. Equal answers of a row run once and have equal
vectors, bit for bit, so that their spread is 0 and not rounding.

Source: ADG, https://arxiv.org/abs/2604.10448. Ours: an answer of which the limit leaves nothing is missing, for its
vector would be the instruction's own.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.models.hidden_states import HiddenStateSums
from core.models.loading import Model
from core.schema import BoolArray, FloatArray, IntArray

MAX_TOKENS = 1024
MARKS = "%℃°"
EMPHASIS = 1.3  # weight of a token with a digit or a mark
AnswerLists = Sequence[Sequence[str | None]]  # K of each row; None or blank is missing


class AnswerEmbedder:
    """Embeds the K answers of each instruction in a model's own hidden states."""

    def __init__(self, model: Model, *, batch_tokens: int | None = None, max_tokens: int = MAX_TOKENS) -> None:
        self.model = model
        self.max_tokens = min(max_tokens, model.max_length)
        self._states = HiddenStateSums(model, batch_tokens=batch_tokens)
        self._weights: dict[int, float] = {}  # of the token ids met so far

    @property
    def shares_prefix(self) -> bool:
        """Whether an instruction is run once for all its answers; else the model's numbers would not be the same."""
        return self._states.shares_prefix

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Columns instruction (N texts) and answers (N lists of K texts; None or blank is missing) to

        vectors  (N, K, d) float32 of length 1. NaN for an answer that is missing, of which the limit leaves nothing,
                 or whose text has no token that weighs anything; K is the longest list's, and shorter ones end in NaN.
        cut      (N, K) bool, whether the text lost its end.

        ModelError when a text does not fit into memory by itself.
        """
        tokens, group, at, cut = self._read(batch["instruction"], batch["answers"])
        sums = self._states(tokens, [self._weigh(ids) for ids in tokens], group)
        vectors = np.full((*at.shape, self.model.hidden), np.nan, np.float32)
        vectors[at >= 0] = scale_to_unit(sums)[at[at >= 0]]
        return {"vectors": vectors, "cut": cut}

    def _read(
        self, instructions: Sequence[str], answers: AnswerLists
    ) -> tuple[list[NDArray[np.int64]], IntArray, IntArray, BoolArray]:
        """Tokens of U different texts, their rows (U,), each answer's text or −1 (N, K), whether it is cut (N, K)."""
        asked = answer_places(answers)
        found = self._tokenized([f"{instructions[i]} {answers[i][k]}" for i, k in asked])
        long = {i for (i, _), ids in zip(asked, found, strict=True) if len(ids) > self.max_tokens}
        full = {i for i in long if len(self._tokenized([instructions[i]])[0]) >= self.max_tokens}
        at, cut = np.full(table_shape(answers), -1, np.int64), np.zeros(table_shape(answers), np.bool_)
        known: dict[tuple[int, bytes], int] = {}
        tokens: list[NDArray[np.int64]] = []
        for (i, k), ids in zip(asked, found, strict=True):
            cut[i, k] = len(ids) > self.max_tokens
            own = np.array(ids[: self.max_tokens], np.int64)
            if i in full or not len(own):
                continue
            at[i, k] = known.setdefault((i, own.tobytes()), len(tokens))
            if at[i, k] == len(tokens):
                tokens.append(own)
        return tokens, np.array([i for i, _ in known], np.int64), at, cut

    def _tokenized(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        found: list[list[int]] = self.model.tokenizer(
            texts,
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        return found

    def _weigh(self, ids: NDArray[np.int64]) -> FloatArray:
        for new in set(ids.tolist()) - self._weights.keys():
            text = self.model.tokenizer.decode([new], skip_special_tokens=False, clean_up_tokenization_spaces=False)
            self._weights[new] = token_weight(text)
        return np.array([self._weights[k] for k in ids.tolist()], np.float32)


def encode_answers(encode: Callable[[Sequence[str]], FloatArray], answers: AnswerLists) -> FloatArray:
    """(N, K, d) by a `core.models.sentence_encoder.SentenceEncoder`, of the answers alone; NaN for those that are None
    or blank.

    Equal answers are encoded once. The encoder cuts what is longer than it reads.
    """
    asked = answer_places(answers)
    known = {text: place for place, text in enumerate(dict.fromkeys(answers[i][k] or "" for i, k in asked))}
    found = encode(list(known))
    vectors = np.full((*table_shape(answers), found.shape[1]), np.nan, np.float32)
    for i, k in asked:
        vectors[i, k] = found[known[answers[i][k] or ""]]
    return vectors


def answer_places(answers: AnswerLists) -> list[tuple[int, int]]:
    """Row and place of every answer that is there."""
    return [(i, k) for i, row in enumerate(answers) for k, text in enumerate(row) if text and not text.isspace()]


def table_shape(answers: AnswerLists) -> tuple[int, int]:
    """(N, K), with the K of the longest list."""
    return len(answers), max((len(row) for row in answers), default=0)


def token_weight(text: str) -> float:
    """What a token that reads so weighs: 0, 1 or 1.3."""
    kinds = [unicodedata.category(c) for c in text]
    if "Nd" in kinds or any(c in MARKS for c in text):
        return EMPHASIS
    return 0.0 if all(c.isspace() or kind[0] in "ZP" for c, kind in zip(text, kinds, strict=True)) else 1.0


def scale_to_unit(sums: FloatArray) -> FloatArray:
    """(U, d) scaled to length 1; NaN for a sum that is 0 or no number."""
    exact = sums.astype(np.float64)
    length = np.linalg.norm(exact, axis=1, keepdims=True)
    scaled = np.divide(exact, length, out=np.full_like(exact, np.nan), where=np.isfinite(length) & (length > 0))
    return np.asarray(scaled, np.float32)
