"""Embeddings of generated answers in a model's own hidden states: the vectors whose spread ADG measures.

    text    instruction + " " + answer, no special tokens; at most 1,024 tokens, truncated at the end
    h_t     mean of the hidden-state layers −4, −3 and −2 at token t: the inputs of the model's last three blocks
    w_t     0 for a token of only white space and punctuation (Unicode Z*, P*), 1.3 for one with a digit (Nd) or one
            of % ℃ °, else 1
    v       Σ_t w_t h_t over all tokens, including the instruction's, scaled to length 1

With the rule "release", 0 is for a token of only white space and the punctuation that the authors' code lists, which is
ASCII alone and not all of that: # * & @, curly quotes, dashes and … weigh 1 there, and ` and ~, which are symbols, 0.

A token's weight depends on its own decoded text. Part of a character decodes to U+FFFD, which is a symbol, so it has
weight 1 for any character. Symbols such as + = < $ have weight 1 too. `core.models.hidden_states` describes the layers
and what holds for models of few layers.

A row's vectors do not depend on its batch, to 1e-5. Equal answers of a row run once and have bit-identical vectors, so
that their spread is exactly 0.

Source: ADG, https://arxiv.org/abs/2604.10448. Ours: an answer that truncation removes entirely is missing, because its
vector would be the instruction's own.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.models.encoder import decode_tokens, tokenize_texts
from core.models.hidden_states import HiddenStateSums
from core.models.loading import Model
from core.schema import BoolArray, FloatArray, IntArray

MAX_TOKENS = 1024
MARKS = "%℃°"
EMPHASIS = 1.3  # weight of a token with a digit or a mark
RELEASE_PUNCTUATION = frozenset(",.;:!?()[]{}\"'`~-_/\\")
WeightRule = Literal["unicode", "release"]
AnswerLists = Sequence[Sequence[str | None]]  # K per row; None or blank is missing


class AnswerEmbedder:
    """Embeds the K generated answers of each instruction in a model's own hidden states."""

    def __init__(
        self,
        model: Model,
        *,
        weights: WeightRule = "unicode",
        batch_tokens: int | None = None,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        self.model = model
        self.weights = weights
        self.max_tokens = min(max_tokens, model.max_length)
        self._hidden_state_sums = HiddenStateSums(model, batch_tokens=batch_tokens)
        # An instruction runs once for all its answers, unless that would change the model's numbers.
        self.shares_prefix = self._hidden_state_sums.shares_prefix
        self._weight_of: dict[int, float] = {}  # of the token ids seen so far

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Embed the columns instruction (N texts) and answers (N lists of K texts; None or blank is missing). Returns

        vectors  (N, K, d) float32 of length 1. NaN for an answer that is missing, truncated to nothing, or without a
                 token of positive weight. K is the longest list's; shorter lists are filled with NaN.
        cut      (N, K) bool, whether the text was truncated.

        Raises ModelError if a text does not fit into memory by itself.
        """
        tokens, group, at, cut = self._read(batch["instruction"], batch["answers"])
        sums = self._hidden_state_sums(tokens, [self._weigh(ids) for ids in tokens], group)
        vectors = np.full((*at.shape, self.model.hidden), np.nan, np.float32)
        vectors[at >= 0] = scale_to_unit(sums)[at[at >= 0]]
        return {"vectors": vectors, "cut": cut}

    def _read(
        self, instructions: Sequence[str], answers: AnswerLists
    ) -> tuple[list[IntArray], IntArray, IntArray, BoolArray]:
        """Return tokens and rows of U distinct texts, each answer's text or −1 (N, K), and whether it is cut (N, K)."""
        places = answer_places(answers)
        encoded = tokenize_texts(self.model.tokenizer, [f"{instructions[i]} {answers[i][k]}" for i, k in places])
        long = {i for (i, _), ids in zip(places, encoded, strict=True) if len(ids) > self.max_tokens}
        full = {i for i in long if len(tokenize_texts(self.model.tokenizer, [instructions[i]])[0]) >= self.max_tokens}
        at, cut = np.full(table_shape(answers), -1, np.int64), np.zeros(table_shape(answers), np.bool_)
        index: dict[tuple[int, bytes], int] = {}
        tokens: list[IntArray] = []
        for (i, k), ids in zip(places, encoded, strict=True):
            cut[i, k] = len(ids) > self.max_tokens
            text = np.array(ids[: self.max_tokens], np.int64)
            if i in full or not len(text):
                continue
            at[i, k] = index.setdefault((i, text.tobytes()), len(tokens))
            if at[i, k] == len(tokens):
                tokens.append(text)
        return tokens, np.array([i for i, _ in index], np.int64), at, cut

    def _weigh(self, ids: IntArray) -> FloatArray:
        for new in set(ids.tolist()) - self._weight_of.keys():
            self._weight_of[new] = token_weight(decode_tokens(self.model.tokenizer, [new]), self.weights)
        return np.array([self._weight_of[k] for k in ids.tolist()], np.float32)


def encode_answers(encode: Callable[[Sequence[str]], FloatArray], answers: AnswerLists) -> FloatArray:
    """Encode answers without their instructions by a `SentenceEncoder`, to (N, K, d); NaN for None or blank ones.

    Equal answers are encoded once. The encoder truncates what exceeds its context.
    """
    places = answer_places(answers)
    index = {text: place for place, text in enumerate(dict.fromkeys(answers[i][k] or "" for i, k in places))}
    encoded = encode(list(index))
    vectors = np.full((*table_shape(answers), encoded.shape[1]), np.nan, np.float32)
    for i, k in places:
        vectors[i, k] = encoded[index[answers[i][k] or ""]]
    return vectors


def answer_places(answers: AnswerLists) -> list[tuple[int, int]]:
    """Return row and place of every answer that is not missing."""
    return [(i, k) for i, row in enumerate(answers) for k, text in enumerate(row) if text and not text.isspace()]


def table_shape(answers: AnswerLists) -> tuple[int, int]:
    """Return (N, K), with the K of the longest list."""
    return len(answers), max((len(row) for row in answers), default=0)


def token_weight(text: str, rule: WeightRule = "unicode") -> float:
    """Return the weight of a token with this text: 0, 1 or 1.3."""
    if any(c in MARKS or unicodedata.category(c) == "Nd" for c in text):
        return EMPHASIS
    is_punctuation = RELEASE_PUNCTUATION.__contains__ if rule == "release" else _is_punctuation
    return 0.0 if all(c.isspace() or is_punctuation(c) for c in text) else 1.0


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] in "ZP"


def scale_to_unit(sums: FloatArray) -> FloatArray:
    """Scale sums (U, d) to length 1; NaN for a sum that is 0 or not finite."""
    exact = sums.astype(np.float64)
    length = np.linalg.norm(exact, axis=1, keepdims=True)
    scaled = np.divide(exact, length, out=np.full_like(exact, np.nan), where=np.isfinite(length) & (length > 0))
    return np.asarray(scaled, np.float32)
