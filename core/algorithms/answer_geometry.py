"""How far apart the answers to one instruction lie, and in how many directions. Arrays only.

    V ∈ R^{K×d}                            one unit vector per answer
    S = V Vᵀ                               Gram matrix: the similarities (cosines) of the answers
    S_c = H S H,  H = I − 11ᵀ/K            the same from the answers' mean; eigenvalues λ_1 ≥ λ_2 ≥ … ≥ 0
    dispersion  D = tr(S_c) / K            mean squared distance from it: 0 = alike, 1 − 1/K = unrelated, 1 at most
    anisotropy  I = 1 − λ_1 / tr(S_c)      0 = all spread lies on one line; 1 − 1/(K−1) = equal in all directions

Both are 0 where tr(S_c) < 1e-12. (By its name anisotropy ought to be high where one direction holds all the spread; it
is the other way round, as in the source.) Source: ADG, https://arxiv.org/abs/2604.10448.

An answer that is missing has NaN for a vector. The figures are those of the K' answers that are there, and take their
K' for K, so such a row is not quite comparable with whole ones: of alike drawn answers D is (K' − 1) / K' of their
variance, and two answers always lie on one line, I = 0. How many were there is told beside them.

Of the vectors the Gram matrix is kept, K² numbers a row, and their mean, for a map. In float32 it carries D to about
1e-7, so I says nothing where D is smaller than that and not 0; equal vectors give entries equal to the last bit, and so
0 and 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.schema import BoolArray, FloatArray, IntArray

Float64Array = NDArray[np.float64]

CHUNK = 1 << 20  # numbers of float64 worked on at once: 8 MiB, a few times over
CENTRE = "answer_centre"  # the column that `centres` are stored in
MIN_SPREAD = 1e-12  # tr(S_c) below this is rounding
TIE = 1e-6  # of two parts of an eigenvector that differ by less, neither is the larger


@dataclass(frozen=True, eq=False)
class AnswerGeometry:
    """Of each row's answers; NaN where fewer than two are there."""

    dispersion: Float64Array  # (N,) D in [0, 1]
    anisotropy: Float64Array  # (N,) I in [0, 1 − 1/(K−1)]
    counted: IntArray  # (N,) K', how many answers are there: fewer than K is to be shown


def gram_matrices(vectors: NDArray[np.floating]) -> FloatArray:
    """(N, K, K) similarities of (N, K, d) unit vectors of any float type; NaN for every pair with a missing answer.

    Summed in float64. `vectors` may be memory-mapped: a few megabytes of it are read at a time.
    """
    n, k, width = vectors.shape
    found = np.empty((n, k, k), np.float32)
    for some in _chunks(n, k * max(k, width)):
        part = np.asarray(vectors[some], np.float64)
        # one dot product per pair, unlike a matrix product, sums in the same order whichever the pair
        found[some] = np.vecdot(part[:, :, None], part[:, None])
    return found


def answer_centres(vectors: NDArray[np.floating]) -> FloatArray:
    """(N, d) mean of the answers that are there, from (N, K, d) unit vectors: where a row's answers lie.

    NaN without any. Its length is √(1 − D): answers that differ more lie nearer to the middle.
    """
    n, k, width = vectors.shape
    found = np.full((n, width), np.nan, np.float32)
    for some in _chunks(n, k * width):
        part = np.asarray(vectors[some], np.float64)
        there: BoolArray = np.asarray(np.isfinite(part).all(axis=2))
        count = there.sum(axis=1)
        total = np.where(there[:, :, None], part, 0).sum(axis=1)
        found[some] = np.where(count[:, None], total / np.maximum(count, 1)[:, None], np.nan)
    return found


def compute_geometry(gram: FloatArray | Float64Array) -> AnswerGeometry:
    """D and I of the answers that are there, from (N, K, K) similarities."""
    n, k = gram.shape[:2]
    dispersion, anisotropy = np.full(n, np.nan), np.full(n, np.nan)
    counted = np.zeros(n, np.int64)
    for some in _chunks(n, k * k):
        centred, there = _centred(gram[some])
        counted[some] = own = there.sum(axis=1)
        enough = own >= 2
        spread = np.maximum(np.trace(centred, axis1=1, axis2=2), 0)
        largest = np.linalg.eigvalsh(centred)[:, -1] if k else spread  # a missing answer only adds an eigenvalue of 0
        apart = spread >= MIN_SPREAD
        one_line = np.divide(largest, spread, out=np.ones(len(own)), where=apart)
        dispersion[some] = np.where(enough, np.where(apart, spread, 0) / np.maximum(own, 1), np.nan)
        anisotropy[some] = np.where(enough, np.maximum(1 - one_line, 0), np.nan)
    return AnswerGeometry(dispersion, anisotropy, counted)


def answer_coordinates(gram_row: FloatArray | Float64Array) -> Float64Array:
    """(K, 2) a small map of one row's answers, from (K, K) similarities; NaN for answers that are missing.

    Classical scaling: √λ_1 u_1 and √λ_2 u_2 of S_c. The first axis holds 1 − I of the spread; where two hold all of it
    the distances on the map are those between the answers. The part of each axis that is farthest from 0 is positive
    (of equally far ones the first).
    """
    found = np.full((len(gram_row), 2), np.nan)
    centred, there = _centred(gram_row[None])
    rows = np.flatnonzero(there[0])
    values, axes = np.linalg.eigh(centred[0][np.ix_(rows, rows)])
    found[rows] = 0
    for axis, number in enumerate(range(len(rows) - 1, -1, -1)[:2]):
        own = axes[:, number]
        size = np.abs(own)
        first = np.flatnonzero(size > size.max() - TIE)[0]
        found[rows, axis] = own * np.sign(own[first]) * np.sqrt(max(values[number], 0))
    return found


def _centred(gram: FloatArray | Float64Array) -> tuple[Float64Array, BoolArray]:
    """S_c of the answers that are there, (n, K, K) with 0 for the others, and which are there, (n, K)."""
    there: BoolArray = np.isfinite(np.diagonal(gram, axis1=1, axis2=2))
    pairs = there[:, :, None] & there[:, None]
    known = np.where(pairs, gram, 0).astype(np.float64)
    count = np.maximum(there.sum(axis=1), 1)[:, None]
    mean = known.sum(axis=2) / count
    whole = mean.sum(axis=1, keepdims=True) / count
    return np.where(pairs, known - mean[:, :, None] - mean[:, None] + whole[:, :, None], 0), there


def _chunks(n: int, each: int) -> Iterator[slice]:
    """Stretches of 0..n − 1 that hold about CHUNK numbers, at `each` numbers a row."""
    size = max(1, CHUNK // max(1, each))
    return (slice(start, start + size) for start in range(0, n, size))
