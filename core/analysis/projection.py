"""From embeddings to a map: two numbers for each row, so that near rows are alike. Arrays only.

1. Axes: embeddings less their mean, as unit vectors (hidden states of language models share one large direction,
   Ethayarajh 2019, https://arxiv.org/abs/1909.00512), then PCA, fitted to a seeded sample of rows.
2. The first two of these are the PCA map: straight, so distances in it can be compared, but most of what sets rows
   apart is in the others.
3. UMAP (McInnes, Healy, Melville 2018, https://arxiv.org/abs/1802.03426) lays out the first WIDTH of them so that
   neighbours stay neighbours. How far apart two groups lie, and how dense they look, says little.

Neighbours are exact, by brute force in float32: no index is compiled and no search is random, so UMAP's layout is all
that needs its compiler, and what that compiled is kept on disk (`_compiled`).
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from core.algorithms.kmeans import one_thread, random_state, unit_vectors
from core.schema import FloatArray, IntArray, Progress, ignore_progress

WIDTH = 50  # axes that UMAP is given
MAX_AXES_ROWS = 20_000  # rows that axes are fitted to, at most
MAX_UMAP_ROWS = 50_000  # rows that UMAP lays out, at most; the others are placed among them
NEIGHBOURS = 15  # a row's own place counts as one
MIN_UMAP_ROWS = 2 * NEIGHBOURS  # rows below which there is no UMAP
MIN_DISTANCE = 0.1  # UMAP's own standard: how tightly it packs
PLACING_NEIGHBOURS = 5  # laid-out rows that place another one
BLOCK = 4096  # rows whose neighbours are sought at once
EPOCHS = 200  # passes of the layout; 500 for up to SMALL rows, as UMAP itself has it
EPOCHS_SMALL, SMALL = 500, 10_000


# Axes


@dataclass(frozen=True, eq=False)
class PrincipalAxes:
    """Directions in which embeddings differ most, those that differ more first."""

    centre: FloatArray  # (d,) mean embedding
    middle: FloatArray  # (d,) mean unit vector
    directions: FloatArray  # (d, W)
    share: FloatArray  # (W,) of all variance, 0..1

    def project(self, vectors: NDArray[np.floating]) -> FloatArray:
        """(N, W) where rows of (N, d) lie; NaN for a row with a NaN in it."""
        turned: FloatArray = unit_vectors(vectors.astype(np.float32) - self.centre) - self.middle
        with one_thread():
            return turned @ self.directions


def fit_axes(vectors: NDArray[np.floating], *, seed: int, width: int = WIDTH) -> PrincipalAxes:
    """The first `width` axes of (N, d), by randomized PCA of a sample of them (Halko, Martinsson, Tropp 2011).

    Fewer where there are fewer rows or dimensions. All values finite, at least one row. Same seed, same axes.
    """
    some = vectors[sample_by_group(np.zeros(len(vectors), np.int64), MAX_AXES_ROWS, seed=seed)].astype(np.float32)
    centre = some.mean(axis=0, dtype=np.float64).astype(np.float32)
    turned = unit_vectors(some - centre)
    with one_thread(), np.errstate(invalid="ignore", divide="ignore"):  # share of nothing, where no rows differ
        found = PCA(min(width, *turned.shape), svd_solver="randomized", random_state=random_state(seed)).fit(turned)
    share = np.nan_to_num(found.explained_variance_ratio_)
    return PrincipalAxes(centre, found.mean_, np.ascontiguousarray(found.components_.T), share.astype(np.float32))


def pca_layout(vectors: NDArray[np.floating], *, seed: int) -> FloatArray:
    """(N, 2) the first two axes of (N, d); the second is 0 where there is no other."""
    return first_two_axes(fit_axes(vectors, seed=seed, width=2).project(vectors))


def first_two_axes(placed: FloatArray) -> FloatArray:
    """(N, 2) the first two of (N, W)."""
    if placed.shape[1] >= 2:
        return np.ascontiguousarray(placed[:, :2])
    return np.pad(placed, ((0, 0), (0, 2 - placed.shape[1])))


# Neighbours kept together


def umap_layout(placed: FloatArray, *, seed: int, on_step: Progress = ignore_progress) -> FloatArray:
    """(N, 2) UMAP of (N, W), all finite. Same seed, same coordinates: it runs on one thread.

    Beyond FITTED_MAP rows a seeded sample is laid out, and each other row is placed between its NEAREST neighbours
    there, weighted by 1 / distance. Below FEWEST rows it is `two`. `on_step` is told of work done and in all.
    """
    if len(placed) < MIN_UMAP_ROWS:
        return first_two_axes(placed)
    told = _Told(on_step, len(placed))
    laid = sample_by_group(np.zeros(len(placed), np.int64), MAX_UMAP_ROWS, seed=seed)
    found = np.empty((len(placed), 2), np.float32)
    found[laid] = _laid_out(placed[laid], seed, told)
    others = np.setdiff1d(np.arange(len(placed)), laid, assume_unique=True)
    for rows, near, distance in _nearest(placed[laid], placed[others], PLACING_NEIGHBOURS, told):
        weight = 1 / np.maximum(distance, 1e-6)
        at = found[laid[near]] * (weight / weight.sum(axis=1, keepdims=True))[:, :, None]
        found[others[rows]] = at.sum(axis=1)
    return found


def _laid_out(placed: FloatArray, seed: int, told: "_Told") -> FloatArray:
    near = np.empty((len(placed), NEIGHBOURS), np.int64)
    distance = np.zeros((len(placed), NEIGHBOURS), np.float32)
    for rows, found, apart in _nearest(placed, placed, NEIGHBOURS, told):
        near[rows], distance[rows] = _itself_first(rows, found, apart)
    told.began = told.done
    library = _compiled()
    with one_thread(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "precomputed_knn", UserWarning)  # it has no index for rows to come: none do
        warnings.filterwarnings("ignore", "Graph is not fully connected", UserWarning)  # groups apart are no fault
        warnings.filterwarnings("ignore", "Spectral initiali[sz]ation failed", UserWarning)  # then it starts at random
        layout = library.UMAP(
            n_neighbors=NEIGHBOURS,
            min_dist=MIN_DISTANCE,
            n_epochs=_epochs(len(placed)),
            random_state=random_state(seed),
            n_jobs=1,
            precomputed_knn=(near, distance),
            tqdm_kwds={"disable": False, "file": told, "bar_format": "{n_fmt}\n", "mininterval": 0.5},
        )
        return np.asarray(layout.fit_transform(placed), np.float32)


def _nearest(
    among: FloatArray, wanted: FloatArray, k: int, told: "_Told"
) -> Iterable[tuple[IntArray, IntArray, FloatArray]]:
    """Block by block of `wanted`: its rows (B,), their k nearest of `among` (B, k), how far (B, k), nearest first."""
    with one_thread():
        search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(among)
        for start in range(0, len(wanted), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(wanted)))
            distance, near = search.kneighbors(wanted[rows])
            yield rows, near, distance.astype(np.float32)
            told.add(len(rows))


def _itself_first(rows: IntArray, near: IntArray, distance: FloatArray) -> tuple[IntArray, FloatArray]:
    """A row's nearest is itself; where others equal it, it may come later among them, or not at all."""
    place = np.where((near == rows[:, None]).any(axis=1), (near == rows[:, None]).argmax(axis=1), near.shape[1] - 1)
    order = np.arange(near.shape[1]) - (np.arange(near.shape[1]) <= place[:, None])  # those before move up by one
    order[:, 0] = place
    near, distance = np.take_along_axis(near, order, 1), np.take_along_axis(distance, order, 1)
    near[:, 0], distance[:, 0] = rows, 0
    return near, distance


def _compiled() -> Any:
    """umap-learn, with all that numba compiles for it kept on disk: 5 s instead of 20 in the next process.

    It goes to where numba keeps such things by itself (beside the library, else the user's own cache), not into a
    workspace: these files are code, and a workspace may be shared.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)  # for a part not used here
        import umap as library  # type: ignore[import-untyped]  # brings numba's compiler
        from numba.core.registry import CPUDispatcher
        from umap import layouts, umap_, utils
    for module in (umap_, layouts, utils):
        for function in vars(module).values():
            if isinstance(function, CPUDispatcher):
                function.enable_caching()
    return library


def _epochs(n: int) -> int:
    return EPOCHS_SMALL if n <= SMALL else EPOCHS


class _Told:
    """Work done, in rows searched; passes of the layout count as much again. UMAP's progress bar writes here."""

    def __init__(self, on_step: Progress, n: int) -> None:
        self.on_step, self.n = on_step, n
        self.done = self.began = 0

    def add(self, rows: int) -> None:
        """So many more rows are searched."""
        self.done += rows
        self.on_step(self.done, 2 * self.n)

    def write(self, text: str) -> None:
        """The bar, which says how many passes are done."""
        if (said := text.strip()).isdigit():
            laid = min(self.n, MAX_UMAP_ROWS)
            self.done = self.began + self.n * int(said) // _epochs(laid)
            self.on_step(self.done, 2 * self.n)

    def flush(self) -> None:
        """Nothing is held back."""


# What is sent to be drawn


def sample_by_group(groups: IntArray, limit: int, *, seed: int, include: IntArray | None = None) -> IntArray:
    """At most `limit` of N rows, ascending: those of `include` and, of the rest, from each group (N,) its share.

    Rows of a group in seeded random order, the groups end to end, and from that every n-th: so a group of m rows has
    m · limit / N of them, less or more than one. Same seed, same rows.
    """
    if len(groups) <= limit:
        return np.arange(len(groups))
    held = np.zeros(len(groups), np.bool_)
    held[include if include is not None else []] = True
    always, rest = np.flatnonzero(held)[:limit], np.flatnonzero(~held)
    wanted = limit - len(always)
    line = rest[np.lexsort((np.random.default_rng(seed).random(len(rest)), groups[rest]))]
    every = ((np.arange(wanted) + 0.5) * len(rest) / max(wanted, 1)).astype(np.int64)
    return np.sort(np.concatenate([always, line[every]]))


Frame = tuple[float, float, float, float]  # x low, x high, y low, y high


def bounding_frame(xy: FloatArray, *, margin: float = 0.03) -> Frame:
    """What holds every row of (N, 2) that has a place, with a margin on each side; −1 to 1 where none has."""
    there = xy[np.isfinite(xy).all(axis=1)].astype(np.float64)
    if not len(there):
        return -1.0, 1.0, -1.0, 1.0
    low, high = there.min(axis=0), there.max(axis=0)
    room = np.where(high > low, margin * (high - low), 1.0)
    (left, bottom), (right, top) = low - room, high + room
    return float(left), float(right), float(bottom), float(top)


def count_in_cells(xy: FloatArray, within: Frame, cells: int) -> IntArray:
    """(cells, cells) [y, x] how many rows of (N, 2) lie in each cell of a frame; a row on its edge is inside."""
    left, right, low, high = within
    columns, lines = ((xy[:, 0] - left) / (right - left) * cells, (xy[:, 1] - low) / (high - low) * cells)
    inside = (columns >= 0) & (columns <= cells) & (lines >= 0) & (lines <= cells)  # NaN is not
    x, y = (np.minimum(v[inside].astype(np.int64), cells - 1) for v in (columns, lines))
    return np.bincount(y * cells + x, minlength=cells * cells).reshape(cells, cells)
