"""Answer geometry: how much the generated answers to one instruction differ, and in how many directions. Arrays only.

    V ∈ R^{K×d}                            one unit vector per answer
    S = V Vᵀ                               Gram matrix: the similarities (cosines) of the answers
    S_c = H S H,  H = I − 11ᵀ/K            the same relative to the answers' mean; eigenvalues λ_1 ≥ λ_2 ≥ … ≥ 0
    dispersion  D = tr(S_c) / K            mean squared distance from it: 0 = equal, 1 − 1/K = unrelated, 1 at most
    anisotropy  I = 1 − λ_1 / tr(S_c)      0 = all spread along one line; 1 − 1/(K−1) = equal in all directions

Both are 0 if tr(S_c) < 1e-12. (The name anisotropy suggests high for spread along one direction; it is the other way
round, as in the source.) Source: ADG, https://arxiv.org/abs/2604.10448.

A missing answer has NaN for a vector. D and I are those of the K' answers present, with K' for K, so such a row is not
quite comparable with complete ones: of identically distributed answers D is (K' − 1) / K' of their variance, and two
answers always span one line, I = 0. K' is returned with them.

Only the Gram matrix of the vectors is stored, K² numbers a row, and their mean, for a map. In float32 it gives D to
about 1e-7, so I means nothing where D is smaller than that and not 0; equal vectors give entries equal to the last bit,
and so D = I = 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.schema import BoolArray, Float64Array, FloatArray, IntArray

CHUNK = 1 << 20  # float64 numbers in memory at once: 8 MiB, a few times over
CENTRE = "answer_centre"  # the column that `answer_centres` are stored in
MIN_SPREAD = 1e-12  # tr(S_c) below this is rounding
TIE = 1e-6  # entries of an eigenvector that differ by less count as equal


@dataclass(frozen=True, eq=False)
class AnswerGeometry:
    """Dispersion and anisotropy of each row's answers; NaN for rows with fewer than two."""

    dispersion: Float64Array  # (N,) D in [0, 1]
    anisotropy: Float64Array  # (N,) I in [0, 1 − 1/(K−1)]
    counted: IntArray  # (N,) K', how many answers are present: shown where fewer than K


def gram_matrices(vectors: NDArray[np.floating]) -> FloatArray:
    """Return (N, K, K) similarities of (N, K, d) unit vectors of any float type; NaN for pairs with a missing answer.

    Summed in float64. `vectors` may be memory-mapped: a few megabytes of it are read at a time.
    """
    n, k, width = vectors.shape
    gram = np.empty((n, k, k), np.float32)
    for chunk in _chunks(n, k * max(k, width)):
        part = np.asarray(vectors[chunk], np.float64)
        # unlike a matrix product, one dot product per pair sums in the same order for every pair
        gram[chunk] = np.vecdot(part[:, :, None], part[:, None])
    return gram


def answer_centres(vectors: NDArray[np.floating]) -> FloatArray:
    """Return (N, d) the mean of each row's answers, from (N, K, d) unit vectors; missing answers are ignored.

    NaN without any. Its length is √(1 − D): the more the answers differ, the shorter.
    """
    n, k, width = vectors.shape
    means = np.full((n, width), np.nan, np.float32)
    for chunk in _chunks(n, k * width):
        part = np.asarray(vectors[chunk], np.float64)
        present: BoolArray = np.asarray(np.isfinite(part).all(axis=2))
        count = present.sum(axis=1)
        total = np.where(present[:, :, None], part, 0).sum(axis=1)
        means[chunk] = np.where(count[:, None], total / np.maximum(count, 1)[:, None], np.nan)
    return means


def compute_geometry(gram: FloatArray | Float64Array) -> AnswerGeometry:
    """Compute D and I of the answers present, from (N, K, K) similarities."""
    n, k = gram.shape[:2]
    dispersion, anisotropy = np.full(n, np.nan), np.full(n, np.nan)
    counted = np.zeros(n, np.int64)
    for chunk in _chunks(n, k * k):
        centred, present = _centred(gram[chunk])
        counted[chunk] = count = present.sum(axis=1)
        enough = count >= 2
        spread = np.maximum(np.trace(centred, axis1=1, axis2=2), 0)
        largest = np.linalg.eigvalsh(centred)[:, -1] if k else spread  # a missing answer only adds an eigenvalue of 0
        has_spread = spread >= MIN_SPREAD
        one_line = np.divide(largest, spread, out=np.ones(len(count)), where=has_spread)
        dispersion[chunk] = np.where(enough, np.where(has_spread, spread, 0) / np.maximum(count, 1), np.nan)
        anisotropy[chunk] = np.where(enough, np.maximum(1 - one_line, 0), np.nan)
    return AnswerGeometry(dispersion, anisotropy, counted)


def answer_coordinates(gram_row: FloatArray | Float64Array) -> Float64Array:
    """Return (K, 2) a small map of one row's answers, from (K, K) similarities; NaN for missing answers.

    Classical scaling: √λ_1 u_1 and √λ_2 u_2 of S_c. The first axis holds 1 − I of the spread; where two axes hold all
    of it, distances on the map are those between the answers. The entry of each axis farthest from 0 is positive (of
    equally far ones the first).
    """
    xy = np.full((len(gram_row), 2), np.nan)
    centred, present = _centred(gram_row[None])
    rows = np.flatnonzero(present[0])
    values, axes = np.linalg.eigh(centred[0][np.ix_(rows, rows)])
    xy[rows] = 0
    for axis, number in enumerate(range(len(rows) - 1, -1, -1)[:2]):
        vector = axes[:, number]
        size = np.abs(vector)
        first = np.flatnonzero(size > size.max() - TIE)[0]
        xy[rows, axis] = vector * np.sign(vector[first]) * np.sqrt(max(values[number], 0))
    return xy


def _centred(gram: FloatArray | Float64Array) -> tuple[Float64Array, BoolArray]:
    """Return S_c of the answers present, (n, K, K) with 0 for the others, and a mask of those present, (n, K)."""
    present: BoolArray = np.isfinite(np.diagonal(gram, axis1=1, axis2=2))
    pairs = present[:, :, None] & present[:, None]
    similarity = np.where(pairs, gram, 0).astype(np.float64)
    count = np.maximum(present.sum(axis=1), 1)[:, None]
    mean = similarity.sum(axis=2) / count
    grand_mean = mean.sum(axis=1, keepdims=True) / count
    return np.where(pairs, similarity - mean[:, :, None] - mean[:, None] + grand_mean[:, :, None], 0), present


def _chunks(n: int, each: int) -> Iterator[slice]:
    """Split 0..n − 1 into slices of about CHUNK numbers, at `each` numbers a row."""
    size = max(1, CHUNK // max(1, each))
    return (slice(start, start + size) for start in range(0, n, size))
