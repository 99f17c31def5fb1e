"""Near-duplicate texts: MinHash signatures, banding, groups. Texts and arrays only.

1. A row is the set of its shingles: every two adjacent words, in lower case.
       similarity(a, b) = |A ∩ B| / |A ∪ B|        (Jaccard similarity, 0 to 1)
2. A signature holds the minimum hash of the set for each of 128 seeded hash functions. Two signatures agree in one
   position with probability similarity(a, b) (Broder 1997, https://doi.org/10.1109/SEQUEN.1997.666900). By rensa.
3. Rows that agree in a whole band of positions are compared: each with the first of its band and the one before it.
   Bands are as wide as possible while a pair at the threshold still shares one with probability 0.995.
4. Candidate pairs are verified on the exact shingle sets, so hashing causes no false positives.
5. A group is a connected component of such pairs: if a is similar to b, and b to c, all three form one group, even if a
   and c are less similar. So the groups are the same for every order of the rows, and similar rows share a group.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash  # type: ignore[import-untyped]
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from core.schema import BoolArray, IntArray, Progress

SHINGLE_WORDS = 2
SIGNATURE_LENGTH = 128  # hashes in a signature
SEED = 0
MIN_RECALL = 0.995  # probability that two rows at the threshold share a band
SIGNATURE_SLACK = 0.15  # pairs whose signatures agree this much below the threshold are skipped: over 4 standard errors
COMPARED_PAIRS = 1 << 16  # pairs whose signatures are in memory at once
VERSION = f"rensa {RMinHash.ALGORITHM_VERSION}"  # of the signatures

Signatures = NDArray[np.uint32]
Texts = Callable[[int], str]  # row number -> text

# Thai, Lao, Burmese, Khmer, kana, Han: written without spaces, so each character counts as a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def shingles(text: str) -> frozenset[str]:
    """Return every two adjacent words of a text; the text itself if it has fewer."""
    words = split_words(text)
    if len(words) < SHINGLE_WORDS:
        return frozenset([" ".join(words) or text])
    return frozenset(map(" ".join, zip(*(words[k:] for k in range(SHINGLE_WORDS)), strict=False)))


def compute_signatures(texts: Sequence[str]) -> Signatures:
    """Compute one signature per text, (n, 128). The same text always has the same signature."""
    matrix = RMinHash.digest_matrix_from_token_sets([sorted(shingles(text)) for text in texts], SIGNATURE_LENGTH, SEED)
    return np.array(matrix.to_rows(), np.uint32).reshape(len(texts), SIGNATURE_LENGTH)


def choose_bands(similarity: float) -> tuple[int, int]:
    """Return number and width of the bands that find rows of this similarity: P = 1 - (1 - similarity^width)^number."""
    for width in range(SIGNATURE_LENGTH // 4, 0, -1):
        if 1 - (1 - similarity**width) ** (SIGNATURE_LENGTH // width) >= MIN_RECALL:
            return SIGNATURE_LENGTH // width, width
    return SIGNATURE_LENGTH, 1


def group_near_duplicates(
    blocks: Sequence[Signatures], block_rows: int, text: Texts, similarity: float, on_band: Progress
) -> IntArray:
    """Return the first row of each row's group (N,), which is the row itself if it is alone or the first.

    The signatures come in blocks of `block_rows` rows, the last of fewer. Each block is read again for each band, so
    memory holds a block, COMPARED_PAIRS pairs and some 60 bytes per row.
    """
    label = np.arange(block_rows * (len(blocks) - 1) + len(blocks[-1]) if len(blocks) else 0)
    count, width = choose_bands(similarity)
    words = lru_cache(maxsize=65_536)(lambda row: shingles(text(row)))
    for band in range(count):
        places = slice(band * width, (band + 1) * width)
        keys = np.concatenate([_keys(block[:, places]) for block in blocks] or [np.empty(0, np.uint64)])
        for a, b in _neighbours(keys):
            separate = label[a] != label[b]
            a, b = a[separate], b[separate]
            near = _agreement(blocks, block_rows, a, b) >= similarity - SIGNATURE_SLACK
            a, b = a[near], b[near]
            similar = _are_similar(a, b, words, similarity)
            label = _merge_groups(label, a[similar], b[similar])
        on_band(band + 1, count)
    return label


def _agreement(blocks: Sequence[Signatures], block_rows: int, a: IntArray, b: IntArray) -> NDArray[np.float64]:
    """Return the share of positions in which the signatures of rows a and b are equal, pair by pair."""
    shares = [np.empty(0)]
    for start in range(0, len(a), COMPARED_PAIRS):
        pairs = slice(start, start + COMPARED_PAIRS)
        one, other = (_gather(blocks, block_rows, rows[pairs]) for rows in (a, b))
        shares.append((one == other).mean(axis=1))
    return np.concatenate(shares)


def _gather(blocks: Sequence[Signatures], block_rows: int, rows: IntArray) -> Signatures:
    """Return the signatures of these rows; a block is read once."""
    out = np.empty((len(rows), SIGNATURE_LENGTH), np.uint32)
    order = np.argsort(rows, kind="stable")
    block, place = np.divmod(rows[order], block_rows)
    for some in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(block)) + 1):
        if len(some):
            out[order[some]] = blocks[block[some[0]]][place[some]]
    return out


def _keys(places: Signatures) -> NDArray[np.uint64]:
    """Return one number per row (N,), equal if all its positions are equal; unequal rows collide once in 2^64."""
    key = np.zeros(len(places), np.uint64)
    for column in places.T:
        key = (key ^ column) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(32)
    return key


def _neighbours(keys: NDArray[np.uint64]) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield pairs of rows with equal keys: each with the first of them, then each with the one before it."""
    order = np.argsort(keys, kind="stable")
    begins = np.ones(len(keys), np.bool_)
    begins[1:] = keys[order[1:]] != keys[order[:-1]]
    first = order[np.maximum.accumulate(np.where(begins, np.arange(len(keys)), 0))]
    later = np.flatnonzero(~begins)
    yield first[later], order[later]
    yield order[later - 1], order[later]


def _are_similar(a: IntArray, b: IntArray, words: Callable[[int], frozenset[str]], similarity: float) -> BoolArray:
    """Return whether the shingles of rows a and b reach the threshold, pair by pair."""
    similar = np.zeros(len(a), np.bool_)
    for k, (row_a, row_b) in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
        first, second = words(row_a), words(row_b)
        shared = len(first & second)
        similar[k] = shared >= similarity * (len(first) + len(second) - shared)
    return similar


def _merge_groups(label: IntArray, a: IntArray, b: IntArray) -> IntArray:
    """Merge the groups of rows a and b, pair by pair; a group is named by its first row."""
    if not len(a):
        return label
    n = len(label)
    links = coo_matrix((np.ones(len(a), np.bool_), (label[a], label[b])), shape=(n, n))
    _, component = connected_components(links, directed=False)
    earliest = np.full(n, n)
    np.minimum.at(earliest, component, np.arange(n))
    merged: IntArray = earliest[component][label]
    return merged
