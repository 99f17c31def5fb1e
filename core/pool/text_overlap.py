"""Overlap of texts with reference texts, such as the questions of a benchmark: shared n-grams, and near-duplicates.

A text is a sequence of words, in lower case and without punctuation (`core.pool.minhash`).
    coverage(a)      = share of the words of a that are inside an n-gram of 13 words that a reference has as well
    similarity(a, b) = |A ∩ B| / |A ∪ B| of the sets of two adjacent words (Jaccard), kept where it reaches a threshold
Both are exact: no hashing of sets, no sampling. The word n-grams are compared by 64-bit hashes, which collide for one
pair in 2^64. Source of the 13: Brown et al. 2020, Language Models are Few-Shot Learners, appendix C; there a text is
removed for one shared n-gram, here the share of its words is returned, so that a threshold can be chosen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from core.pool.minhash import split_words
from core.schema import IntArray

NGRAM_WORDS = 13
MIN_WORDS = 8  # of a reference text; shorter ones, such as "All of the above", say nothing
PAIR_WORDS = 2  # of the elements of a set
_BASE = np.uint64(0x9E3779B97F4A7C15)
Hashes = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Overlap:
    """The overlap of each text with its most similar reference text; all (n,)."""

    coverage: NDArray[np.float32]  # 0..1; 0: no shared n-gram
    similarity: NDArray[np.float32]  # 0..1; 0: below the threshold
    reference: IntArray  # the reference text, -1: none

    @property
    def score(self) -> NDArray[np.float32]:
        """Return the greater of coverage and similarity."""
        return np.maximum(self.coverage, self.similarity)


class ReferenceIndex:
    """Reference texts, indexed by their n-grams and by their pairs of words."""

    def __init__(self, texts: Sequence[str]) -> None:
        words = [split_words(text) for text in texts]
        self.vocabulary = {word: k for k, word in enumerate(sorted({w for row in words for w in row}))}
        tokens = _Tokens.of(words, self.vocabulary)
        long_enough = tokens.lengths >= MIN_WORDS
        grams, at = tokens.grams(NGRAM_WORDS)
        kept = long_enough[at]
        self.grams, first = np.unique(grams[kept], return_index=True)
        self.gram_text = at[kept][first]
        pairs, of = tokens.distinct_pairs()
        kept = long_enough[of]
        order = np.lexsort((of[kept], pairs[kept]))
        self.pairs, starts = np.unique(pairs[kept][order], return_index=True)
        self.postings = of[kept][order]  # the texts of each pair, one pair after another
        self.starts = np.append(starts, len(order))
        self.pair_counts = np.bincount(of[kept], minlength=len(texts))  # distinct pairs of each text

    def find_overlap(self, texts: Sequence[str], similarity: float) -> Overlap:
        """Return the overlap of each text; near-duplicates from this similarity on."""
        tokens = _Tokens.of([split_words(text) for text in texts], self.vocabulary)
        coverage, reference = self._cover(tokens)
        best, nearest = self._find_nearest(tokens, similarity)
        return Overlap(coverage, best, np.where(best > coverage, nearest, reference))

    def _cover(self, tokens: "_Tokens") -> tuple[NDArray[np.float32], IntArray]:
        """Return the coverage of each text, and the reference text of its first shared n-gram."""
        n = len(tokens.lengths)
        grams, at, starts = tokens.grams(NGRAM_WORDS, places=True)
        place = np.minimum(np.searchsorted(self.grams, grams), max(len(self.grams) - 1, 0))
        shared = self.grams[place] == grams if len(self.grams) else np.zeros(len(grams), np.bool_)
        change = np.zeros(len(tokens.ids) + 1, np.int64)
        np.add.at(change, starts[shared], 1)
        np.add.at(change, starts[shared] + NGRAM_WORDS, -1)
        covered = np.bincount(tokens.text_of_word, weights=np.cumsum(change)[:-1] > 0, minlength=n)
        reference = np.full(n, -1, np.int64)
        texts, first = np.unique(at[shared], return_index=True)
        reference[texts] = self.gram_text[place[shared][first]]
        return (covered / np.maximum(tokens.lengths, 1)).astype(np.float32), reference

    def _find_nearest(self, tokens: "_Tokens", similarity: float) -> tuple[NDArray[np.float32], IntArray]:
        """Return the greatest similarity of each text from the threshold on, and the reference text that has it."""
        n = len(tokens.lengths)
        best, nearest = np.zeros(n, np.float32), np.full(n, -1, np.int64)
        if not len(self.pairs):
            return best, nearest
        pairs, of = tokens.distinct_pairs()
        place = np.minimum(np.searchsorted(self.pairs, pairs), len(self.pairs) - 1)
        known = self.pairs[place] == pairs
        total, shared = np.bincount(of, minlength=n), np.bincount(of[known], minlength=n)
        begins = np.append(0, np.cumsum(total))
        for text in np.flatnonzero((shared > 0) & (shared >= similarity * total)).tolist():
            own = slice(begins[text], begins[text + 1])
            best[text], nearest[text] = self._compare(place[own][known[own]], int(total[text]), similarity)
        return best, nearest

    def _compare(self, known: IntArray, total: int, similarity: float) -> tuple[float, int]:
        """Return the greatest similarity of one text, and the reference that has it. `known`: its pairs in the index.

        A reference that reaches the threshold has one of the rarest `total - ceil(similarity * total) + 1` pairs; those
        that no reference has are the rarest.
        """
        rarest = total - ceil(similarity * total) + 1 - (total - len(known))
        frequencies = self.starts[known + 1] - self.starts[known]
        probed = known[np.argsort(frequencies, kind="stable")[:rarest]]
        candidates = np.unique(np.concatenate([self._texts_with(pair) for pair in probed] or [np.empty(0, np.int64)]))
        sizes = self.pair_counts[candidates]
        candidates = candidates[(sizes >= similarity * total) & (sizes * similarity <= total)]
        if not len(candidates):
            return 0.0, -1
        counts = np.zeros(len(candidates), np.int64)
        for pair in known:
            counts += np.isin(candidates, self._texts_with(pair), assume_unique=True)
        shares = counts / (total + self.pair_counts[candidates] - counts)
        top = int(np.argmax(shares))
        return (float(shares[top]), int(candidates[top])) if shares[top] >= similarity else (0.0, -1)

    def _texts_with(self, pair: int) -> IntArray:
        found: IntArray = self.postings[self.starts[pair] : self.starts[pair + 1]]
        return found


class _Numbers(dict[str, int]):
    """The numbers of a vocabulary; words that are not in it get negative ones."""

    def __missing__(self, word: str) -> int:
        self[word] = number = -1 - len(self)
        return number


@dataclass(frozen=True, eq=False)
class _Tokens:
    """The words of several texts as numbers, one text after another."""

    ids: IntArray  # (W,); negative: not in the vocabulary
    lengths: IntArray  # (n,) words of each text
    text_of_word: IntArray  # (W,)

    @classmethod
    def of(cls, words: Sequence[Sequence[str]], vocabulary: dict[str, int]) -> "_Tokens":
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        number = _Numbers(vocabulary)
        ids = np.fromiter((number[word] for row in words for word in row), np.int64, int(lengths.sum()))
        return cls(ids, lengths, np.repeat(np.arange(len(words)), lengths))

    def _starts(self, n: int) -> IntArray:
        """Return the places where n words of one text begin, ascending."""
        if len(self.ids) < n:
            return np.empty(0, np.int64)
        same: IntArray = np.flatnonzero(self.text_of_word[n - 1 :] == self.text_of_word[: len(self.ids) - n + 1])
        return same

    def _hash(self, starts: IntArray, n: int) -> Hashes:
        words = (self.ids.astype(np.uint64) + np.uint64(1)) * _BASE
        words ^= words >> np.uint64(29)
        hashes = np.zeros(len(starts), np.uint64)
        for k in range(n):
            hashes = (hashes ^ words[starts + k]) * _BASE
            hashes ^= hashes >> np.uint64(32)
        return hashes

    def grams(self, n: int, *, places: bool = False) -> tuple[NDArray[np.generic], ...]:
        """Return the hash of every n adjacent words that are all in the vocabulary, and its text; with its place."""
        starts = self._starts(n)
        unknown = np.append(0, np.cumsum(self.ids < 0))
        starts = starts[unknown[starts + n] == unknown[starts]]
        found = self._hash(starts, n), self.text_of_word[starts]
        return (*found, starts) if places else found

    def distinct_pairs(self) -> tuple[Hashes, IntArray]:
        """Return the distinct pairs of adjacent words of each text, by text, as hashes; and the text of each."""
        starts = self._starts(PAIR_WORDS)
        hashes, of = self._hash(starts, PAIR_WORDS), self.text_of_word[starts]
        order = np.lexsort((hashes, of))
        hashes, of = hashes[order], of[order]
        new = np.ones(len(hashes), np.bool_)
        new[1:] = (hashes[1:] != hashes[:-1]) | (of[1:] != of[:-1])
        return hashes[new], of[new]


def iter_strings(value: object) -> Iterator[str]:
    """Yield the texts inside a JSON value, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from iter_strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from iter_strings(one)
