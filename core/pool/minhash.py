"""Rows that say nearly the same: MinHash signatures, bands of them, and groups. Texts and arrays only.

1. A row is the set of its shingles: every two neighbouring words, in lower case.
       alike(a, b) = |A ∩ B| / |A ∪ B|        (Jaccard, 0 to 1)
2. A signature is, for each of 128 seeded hash functions, the lowest hash of the set. Two signatures agree in one
   place with probability alike(a, b) (Broder 1997, https://doi.org/10.1109/SEQUEN.1997.666900). By the library rensa.
3. Rows that agree in a whole band of places are looked at: each with the first of its band and the one before it.
   Bands are as wide as they can be and still bring rows that are alike enough together in 99.5 of 100 cases.
4. What is looked at is decided by the shingles themselves, so no pair is taken by chance.
5. A group is a connected component of such pairs: if a is like b, and b like c, all three are one group, though a and
   c may be less alike. So "once" means the same for every order of the rows, and nothing alike lies in two groups.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash  # type: ignore[import-untyped]
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from core.schema import BoolArray, IntArray

SHINGLE_WORDS = 2  # in a shingle
SIGNATURE_LENGTH = 128  # of a signature
SEED = 0
MIN_RECALL = 0.995  # chance that two rows just alike enough share a band
SIGNATURE_SLACK = (
    0.15  # signatures that agree in so much less than wanted are not looked at further: over 4 standard errors
)
VERSION = f"rensa {RMinHash.ALGORITHM_VERSION}"  # of the signatures

Signatures = NDArray[np.uint32]
Texts = Callable[[int], str]  # row number -> its text

# Thai, Lao, Burmese, Khmer, kana, Han: written without spaces, so each character counts as a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


def shingles(text: str) -> frozenset[str]:
    """Every two neighbouring words of a text; the text itself where it has fewer."""
    words = _WORD.findall(text.lower())
    if len(words) < SHINGLE_WORDS:
        return frozenset([" ".join(words) or text])
    return frozenset(map(" ".join, zip(*(words[k:] for k in range(SHINGLE_WORDS)), strict=False)))


def compute_signatures(texts: Sequence[str]) -> Signatures:
    """(n, 128) one signature per text; the same text has the same one everywhere."""
    matrix = RMinHash.digest_matrix_from_token_sets([sorted(shingles(text)) for text in texts], SIGNATURE_LENGTH, SEED)
    return np.array(matrix.to_rows(), np.uint32).reshape(len(texts), SIGNATURE_LENGTH)


def choose_bands(alike: float) -> tuple[int, int]:
    """How many bands, and how many places wide, to find rows that are so alike: P = 1 - (1 - alike^wide)^bands."""
    for wide in range(SIGNATURE_LENGTH // 4, 0, -1):
        if 1 - (1 - alike**wide) ** (SIGNATURE_LENGTH // wide) >= MIN_RECALL:
            return SIGNATURE_LENGTH // wide, wide
    return SIGNATURE_LENGTH, 1


def group_near_duplicates(
    signed: Signatures, text: Texts, alike: float, on_band: Callable[[int, int], None]
) -> IntArray:
    """(N,) the earliest row of the group that each row is in, itself where it is alone or the first."""
    label = np.arange(len(signed))
    many, wide = choose_bands(alike)

    @lru_cache(maxsize=65_536)
    def words(row: int) -> frozenset[str]:
        return shingles(text(row))

    for band in range(many):
        keys = _keys(signed[:, band * wide : (band + 1) * wide])
        for a, b in _neighbours(keys):
            new = label[a] != label[b]
            a, b = a[new], b[new]
            near = (signed[a] == signed[b]).mean(axis=1) >= alike - SIGNATURE_SLACK
            a, b = a[near], b[near]
            same = _alike(a, b, words, alike)
            label = _joined(label, a[same], b[same])
        on_band(band + 1, many)
    return label


def _keys(places: Signatures) -> NDArray[np.uint64]:
    """(N,) one number per row, equal where all of its places are; unequal ones collide once in 2^64."""
    key = np.zeros(len(places), np.uint64)
    for column in places.T:
        key = (key ^ column) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(32)
    return key


def _neighbours(keys: NDArray[np.uint64]) -> Iterator[tuple[IntArray, IntArray]]:
    """Rows with equal keys: each with the first of them, then each with the one before it."""
    order = np.argsort(keys, kind="stable")
    begins = np.ones(len(keys), np.bool_)
    begins[1:] = keys[order[1:]] != keys[order[:-1]]
    first = order[np.maximum.accumulate(np.where(begins, np.arange(len(keys)), 0))]
    later = np.flatnonzero(~begins)
    yield first[later], order[later]
    yield order[later - 1], order[later]


def _alike(a: IntArray, b: IntArray, words: Callable[[int], frozenset[str]], alike: float) -> BoolArray:
    """Whether the shingles of rows a and b, pair by pair, are as alike as wanted."""
    found = np.zeros(len(a), np.bool_)
    for k, (one, two) in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
        first, second = words(one), words(two)
        both = len(first & second)
        found[k] = both >= alike * (len(first) + len(second) - both)
    return found


def _joined(label: IntArray, a: IntArray, b: IntArray) -> IntArray:
    """The groups after rows a and b have become one, pair by pair; each is named by its earliest row."""
    if not len(a):
        return label
    n = len(label)
    links = coo_matrix((np.ones(len(a), np.bool_), (label[a], label[b])), shape=(n, n))
    _, part = connected_components(links, directed=False)
    earliest = np.full(n, n)
    np.minimum.at(earliest, part, np.arange(n))
    named: IntArray = earliest[part][label]
    return named
