"""Overlap of texts with reference texts, such as the questions of a benchmark: shared n-grams, and near-duplicates.

A text is a sequence of words, in lower case and without punctuation (`core.pool.minhash`).
    coverage(a)      = share of the words of a that are inside an n-gram of 13 words that a reference has as well
    similarity(a, b) = |A ∩ B| / |A ∪ B| of the sets of two adjacent words (Jaccard), kept where it reaches a threshold
Both are exact: no hashing of sets, no sampling. The n-grams are compared by 64-bit hashes, which collide for one pair
in 2^64; pairs of words by their numbers. Source of the 13: Brown et al. 2020, Language Models are Few-Shot Learners,
appendix C; there a text is removed for one shared n-gram, here the share of its words is returned, so that a threshold
can be chosen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from core.pool.minhash import split_words
from core.schema import BoolArray, IntArray

NGRAM_WORDS = 13
MIN_WORDS = 8  # of a reference text; shorter ones, such as "All of the above", say nothing
COMPARED = 1 << 21  # pairs of words that are compared at once
KEY_BITS = 64  # of a text and a pair of its words, sorted as one number
ROUNDING = 1e-9  # of a threshold times a number of pairs
_BASE, _ODD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
Hashes = NDArray[np.uint64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Overlap:
    """The overlap of each text with its most similar reference text; all (n,)."""

    coverage: Floats  # 0..1; 0: no shared n-gram
    similarity: Floats  # 0..1; 0: below the threshold
    reference: IntArray  # the reference text, -1: none

    @property
    def score(self) -> Floats:
        """Return the greater of coverage and similarity."""
        return np.maximum(self.coverage, self.similarity)


class ReferenceIndex:
    """Reference texts, indexed by their n-grams and by their rarest pairs of words.

    Near-duplicates are found by prefix filtering (Chaudhuri et al. 2006, Bayardo et al. 2007): of two sets, sorted by
    one order, that have `need` elements in common, the first `size - need + 1` of each share one. The order is from the
    rarest pair to the most common one; pairs that no reference has are rarer still. What shares one is compared whole.
    """

    def __init__(self, texts: Sequence[str], similarity: float) -> None:
        """Index texts, to find near-duplicates from this similarity on."""
        words = [split_words(text) for text in texts]
        self.similarity = similarity
        self.vocabulary = {word: k for k, word in enumerate(sorted(set(chain.from_iterable(words))))}
        tokens = Tokens.of(words, self.vocabulary)
        long_enough = tokens.lengths >= MIN_WORDS
        grams, at, _ = tokens.grams()
        kept = long_enough[at]
        hashes, first = np.unique(grams[kept], return_index=True)
        self.grams, self.gram_text = _Lookup(hashes), at[kept][first]
        pairs, of = tokens.distinct_pairs()
        kept = long_enough[of]
        self._index_pairs(pairs[kept], of[kept], len(texts))

    def _index_pairs(self, pairs: Hashes, of: IntArray, n: int) -> None:
        hashes, which, counts = np.unique(pairs, return_inverse=True, return_counts=True)
        rank = np.empty(len(hashes), np.int64)
        rank[np.argsort(counts, kind="stable")] = np.arange(len(hashes))
        self.pairs, self.rank = _Lookup(hashes), rank
        self.sizes = np.bincount(of, minlength=n)  # (n,) distinct pairs of each text
        self.begins = _begins(self.sizes)
        own = rank[which]
        self.pairs_of_text = own[np.lexsort((own, of))]  # the ranks of each text, ascending, one text after another
        in_prefix = _places(self.sizes) < (self.sizes - self._least(self.sizes) + 1)[of]
        texts, ranks = of[in_prefix], self.pairs_of_text[in_prefix]
        self.postings = texts[np.argsort(ranks, kind="stable")]  # the texts with each rank in their prefix
        self.posting_begins = _begins(np.bincount(ranks, minlength=len(hashes)))

    def _least(self, sizes: IntArray) -> IntArray:
        """Return how many elements a set of this size shares at least with one that reaches the threshold."""
        least: IntArray = np.ceil(self.similarity * sizes - ROUNDING).astype(np.int64)
        return least

    def find_overlap(self, texts: Sequence[str]) -> Overlap:
        """Return the overlap of each text."""
        return self.compare(self.tokenize([split_words(text) for text in texts]))

    def tokenize(self, words: Sequence[Sequence[str]]) -> "Tokens":
        """Return the words of texts as numbers."""
        return Tokens.of(words, self.vocabulary)

    def compare(self, tokens: "Tokens") -> Overlap:
        """Return the overlap of each text."""
        coverage, reference = self._cover(tokens)
        best, nearest = self._find_nearest(tokens)
        return Overlap(coverage, best, np.where(best > coverage, nearest, reference))

    def _cover(self, tokens: "Tokens") -> tuple[Floats, IntArray]:
        """Return the coverage of each text, and the reference text of its first shared n-gram."""
        n, size = len(tokens.lengths), len(tokens.ids) + 1
        grams, at, starts = tokens.grams()
        place = self.grams.find(grams)
        shared = place >= 0
        at, starts = at[shared], starts[shared]
        change = np.bincount(starts, minlength=size) - np.bincount(starts + NGRAM_WORDS, minlength=size)
        covered = np.bincount(tokens.text_of_word, weights=np.cumsum(change)[:-1] > 0, minlength=n)
        reference = np.full(n, -1, np.int64)
        texts, first = np.unique(at, return_index=True)
        reference[texts] = self.gram_text[place[shared][first]]
        return (covered / np.maximum(tokens.lengths, 1)).astype(np.float32), reference

    def _find_nearest(self, tokens: "Tokens") -> tuple[Floats, IntArray]:
        """Return the greatest similarity of each text from the threshold on, and the first reference that has it."""
        n, width = len(tokens.lengths), max(len(self.rank), 1)
        best, nearest = np.zeros(n, np.float32), np.full(n, -1, np.int64)
        pairs, of = tokens.distinct_pairs()
        total, place = np.bincount(of, minlength=n), self.pairs.find(pairs)
        known = place >= 0
        shared = np.bincount(of[known], minlength=n)
        able = known & ((shared >= self._least(total)) & (shared > 0))[of]
        of = of[able]
        elements = np.sort(of * width + self.rank[place[able]])  # by text, then by rank
        prefix = shared - self._least(total) + 1  # the others of it no reference has
        probing = _places(np.bincount(of, minlength=n)) < prefix[of]
        text, rank = of[probing], (elements - of * width)[probing]
        lengths = self.posting_begins[rank + 1] - self.posting_begins[rank]
        for part in _slices(lengths, COMPARED):
            at = np.repeat(text[part], lengths[part])
            reference = self.postings[_ranges(self.posting_begins[rank[part]], lengths[part])]
            fits = self._fits(total[at], self.sizes[reference])
            at, reference = np.divmod(np.unique(at[fits] * len(self.sizes) + reference[fits]), len(self.sizes))
            shares = self._compare(elements, at, reference, total[at])
            order = np.lexsort((reference, -shares, at))
            at, first = np.unique(at[order], return_index=True)
            reference, shares = reference[order][first], shares[order][first]
            better = (shares >= self.similarity) & (
                (shares > best[at]) | ((shares == best[at]) & (reference < nearest[at]))
            )
            best[at[better]], nearest[at[better]] = shares[better], reference[better]
        return best, nearest

    def _fits(self, sizes: IntArray, others: IntArray) -> BoolArray:
        """Return which sets of these sizes can reach the threshold with the others."""
        smaller, larger = np.minimum(sizes, others), np.maximum(sizes, others)
        fits: BoolArray = smaller >= self._least(larger)
        return fits

    def _compare(self, elements: IntArray, text: IntArray, reference: IntArray, total: IntArray) -> Floats:
        """Return the similarity of each text to a reference; all (c,). `elements`: of all texts, sorted."""
        width, counts, sizes = max(len(self.rank), 1), np.zeros(len(text), np.int64), self.sizes[reference]
        for part in _slices(sizes, COMPARED):
            ranks = self.pairs_of_text[_ranges(self.begins[reference[part]], sizes[part])]
            wanted = np.repeat(text[part], sizes[part]) * width + ranks
            place = np.minimum(np.searchsorted(elements, wanted), len(elements) - 1)
            shared = np.append(0, np.cumsum(elements[place] == wanted))
            ends = np.cumsum(sizes[part])
            counts[part] = shared[ends] - shared[ends - sizes[part]]
        shares: Floats = (counts / np.maximum(total + sizes - counts, 1)).astype(np.float32)
        return shares


class _Lookup:
    """The places of 64-bit hashes in a sorted array: found by their leading bits, then one after another."""

    def __init__(self, hashes: Hashes) -> None:
        self.hashes = hashes
        bits = len(hashes).bit_length() + 1
        self.shift = np.uint64(64 - bits)
        counts = np.bincount((hashes >> self.shift).astype(np.int64), minlength=1 << bits)
        self.begins = _begins(counts)

    def find(self, wanted: Hashes) -> IntArray:
        """Return the place of each hash, -1: not there."""
        bucket = (wanted >> self.shift).astype(np.int64)
        place, end = self.begins[bucket], self.begins[bucket + 1]
        found = np.full(len(wanted), -1, np.int64)
        left = np.flatnonzero(place < end)
        while len(left):
            at = place[left]
            same = self.hashes[at] == wanted[left]
            found[left[same]] = at[same]
            place[left] = at = at + 1
            left = left[~same & (at < end[left])]
        return found


def _begins(counts: IntArray) -> IntArray:
    """Return where each group begins, and the end of the last: (n + 1,)."""
    return np.append(0, np.cumsum(counts))


def _places(counts: IntArray) -> IntArray:
    """Return the place of each element in its group, for groups of these sizes, one after another."""
    return _ranges(np.zeros(len(counts), np.int64), counts)


def _ranges(begins: IntArray, lengths: IntArray) -> IntArray:
    """Return the numbers from each beginning on, so many for each, one range after another."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    ranges: IntArray = np.arange(total) + np.repeat(begins - (ends - lengths), lengths)
    return ranges


def _slices(lengths: IntArray, most: int) -> Iterator[slice]:
    """Yield slices whose lengths sum up to `most` at most; one that is longer is alone."""
    ends = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + most, "right")), start + 1)
        yield slice(start, stop)
        start = stop


class _Numbers(dict[str, int]):
    """The numbers of a vocabulary; words that are not in it get the next ones."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


@dataclass(frozen=True, eq=False)
class Tokens:
    """The words of several texts as numbers, one text after another."""

    ids: IntArray  # (W,)
    lengths: IntArray  # (n,) words of each text
    text_of_word: IntArray  # (W,)
    known: int  # words of the vocabulary: smaller numbers

    @classmethod
    def of(cls, words: Sequence[Sequence[str]], vocabulary: dict[str, int]) -> "Tokens":
        """Number the words of texts."""
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        numbers = map(_Numbers(vocabulary).__getitem__, chain.from_iterable(words))
        ids = np.fromiter(numbers, np.int64, int(lengths.sum()))
        return cls(ids, lengths, np.repeat(np.arange(len(words)), lengths), len(vocabulary))

    def pick(self, pieces: BoolArray, text: IntArray) -> "Tokens":
        """Return the tokens of texts that are some of these pieces, in order. `text`: of each piece, ascending."""
        kept = pieces[self.text_of_word]
        of = text[self.text_of_word[kept]]
        lengths = np.bincount(of, minlength=int(text[-1]) + 1 if len(text) else 0)
        return Tokens(self.ids[kept], lengths, of, self.known)

    def grams(self) -> tuple[Hashes, IntArray, IntArray]:
        """Return the hash of every n-gram whose words are all in the vocabulary, its text, and where it begins."""
        if len(self.ids) < NGRAM_WORDS:
            return np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64)
        unknown = np.append(0, np.cumsum(self.ids >= self.known))
        within = self.text_of_word[: 1 - NGRAM_WORDS] == self.text_of_word[NGRAM_WORDS - 1 :]
        starts = np.flatnonzero(within & (unknown[NGRAM_WORDS:] == unknown[:-NGRAM_WORDS]))
        one = _mix(self.ids.astype(np.uint64), np.uint64(1))
        two = _mix(one[:-1], one[1:])
        four = _mix(two[:-2], two[2:])
        twelve = _mix(_mix(four[:-4], four[4:])[:-4], four[8:])
        return _mix(twelve[:-1], one[12:])[starts], self.text_of_word[starts], starts

    def distinct_pairs(self) -> tuple[Hashes, IntArray]:
        """Return the distinct pairs of adjacent words of each text, by text, as numbers; and the text of each.

        Words outside the vocabulary are numbered for these texts alone, so their pairs match no others.
        """
        inside = np.flatnonzero(self.text_of_word[:-1] == self.text_of_word[1:])
        of = self.text_of_word[inside]
        bits = np.uint64(max(int(self.ids.max(initial=0)).bit_length(), 1))
        words = self.ids.astype(np.uint64)
        pairs = words[inside] << bits | words[inside + 1]
        if len(self.lengths).bit_length() + 2 * int(bits) <= KEY_BITS:
            keys = np.sort(of.astype(np.uint64) << (bits + bits) | pairs)
            of, pairs = (
                (keys >> (bits + bits)).astype(np.int64),
                keys & ((np.uint64(1) << (bits + bits)) - np.uint64(1)),
            )
        else:
            order = np.lexsort((pairs, of))
            of, pairs = of[order], pairs[order]
        new = np.ones(len(of), np.bool_)
        new[1:] = (pairs[1:] != pairs[:-1]) | (of[1:] != of[:-1])
        of, pairs = of[new], pairs[new]
        return (pairs >> bits << np.uint64(32) | pairs & ((np.uint64(1) << bits) - np.uint64(1))) * _BASE, of


def _mix(first: Hashes, second: Hashes | np.uint64) -> Hashes:
    """Return hashes of two hashes each."""
    hashes = (first * _BASE ^ second) * _ODD
    hashes ^= hashes >> np.uint64(32)
    return hashes


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
