"""From embeddings to a map: two coordinates per row, so that similar rows are near each other. Arrays only.

1. Axes: embeddings minus their mean, as unit vectors (hidden states of language models share one large direction,
   Ethayarajh 2019, https://arxiv.org/abs/1909.00512), then PCA, fitted to a seeded sample of rows.
2. The first two axes are the PCA map: linear, so distances in it can be compared, but most differences between rows
   are in the other axes.
3. UMAP (McInnes, Healy, Melville 2018, https://arxiv.org/abs/1802.03426) lays out the first WIDTH axes so that
   neighbours stay neighbours. Distances between groups, and their density, are not meaningful.

Neighbours are exact, by brute force in float32: no index is compiled and no search is random, so only UMAP's layout
needs its compiler, and the compiled code is cached on disk (`_compiled`).
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

WIDTH = 50  # axes passed to UMAP
MAX_AXES_ROWS = 20_000  # maximum number of rows that axes are fitted to
MAX_UMAP_ROWS = 50_000  # maximum number of rows that UMAP lays out; the others are placed among them
NEIGHBOURS = 15  # the row itself counts as one
MIN_UMAP_ROWS = 2 * NEIGHBOURS  # minimum number of rows for UMAP
MIN_DISTANCE = 0.1  # UMAP's default: how tightly it packs
PLACING_NEIGHBOURS = 5  # laid-out rows between which another one is placed
BLOCK = 4096  # rows whose neighbours are searched at once
EPOCHS = 200  # passes of the layout; 500 for up to SMALL rows, UMAP's own default
EPOCHS_SMALL, SMALL = 500, 10_000


# Axes


@dataclass(frozen=True, eq=False)
class PrincipalAxes:
    """Directions in which embeddings vary most, largest variance first."""

    centre: FloatArray  # (d,) mean embedding
    middle: FloatArray  # (d,) mean unit vector
    directions: FloatArray  # (d, W)
    share: FloatArray  # (W,) share of all variance, 0..1

    def project(self, vectors: NDArray[np.floating]) -> FloatArray:
        """Return (N, W) the coordinates of vectors (N, d); NaN for a row with a NaN in it."""
        centred: FloatArray = unit_vectors(vectors.astype(np.float32) - self.centre) - self.middle
        with one_thread():
            return centred @ self.directions


def fit_axes(vectors: NDArray[np.floating], *, seed: int, width: int = WIDTH) -> PrincipalAxes:
    """Fit the first `width` axes of (N, d), by randomized PCA of a sample (Halko, Martinsson, Tropp 2011).

    Fewer if there are fewer rows or dimensions. All values finite, at least one row. Same seed, same axes.
    """
    sample = vectors[sample_by_group(np.zeros(len(vectors), np.int64), MAX_AXES_ROWS, seed=seed)].astype(np.float32)
    centre = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = unit_vectors(sample - centre)
    with one_thread(), np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0, if no rows differ
        fitted = PCA(min(width, *centred.shape), svd_solver="randomized", random_state=random_state(seed)).fit(centred)
    share = np.nan_to_num(fitted.explained_variance_ratio_)
    return PrincipalAxes(centre, fitted.mean_, np.ascontiguousarray(fitted.components_.T), share.astype(np.float32))


def pca_layout(vectors: NDArray[np.floating], *, seed: int) -> FloatArray:
    """Return (N, 2) the first two axes of (N, d); the second is 0 if there is no other."""
    return first_two_axes(fit_axes(vectors, seed=seed, width=2).project(vectors))


def first_two_axes(placed: FloatArray) -> FloatArray:
    """Return (N, 2) the first two of (N, W)."""
    if placed.shape[1] >= 2:
        return np.ascontiguousarray(placed[:, :2])
    return np.pad(placed, ((0, 0), (0, 2 - placed.shape[1])))


# UMAP


def umap_layout(placed: FloatArray, *, seed: int, on_step: Progress = ignore_progress) -> FloatArray:
    """Return (N, 2) the UMAP layout of (N, W), all finite. Same seed, same coordinates: it runs on one thread.

    Beyond MAX_UMAP_ROWS rows a seeded sample is laid out, and each other row is placed between its PLACING_NEIGHBOURS
    nearest neighbours there, weighted by 1 / distance. Below MIN_UMAP_ROWS rows it is `first_two_axes`. `on_step`
    receives the work done and the total.
    """
    if len(placed) < MIN_UMAP_ROWS:
        return first_two_axes(placed)
    progress = _UmapProgress(on_step, len(placed))
    laid_out = sample_by_group(np.zeros(len(placed), np.int64), MAX_UMAP_ROWS, seed=seed)
    xy = np.empty((len(placed), 2), np.float32)
    xy[laid_out] = _lay_out(placed[laid_out], seed, progress)
    others = np.setdiff1d(np.arange(len(placed)), laid_out, assume_unique=True)
    for rows, neighbours, distance in _nearest(placed[laid_out], placed[others], PLACING_NEIGHBOURS, progress):
        weight = 1 / np.maximum(distance, 1e-6)
        at = xy[laid_out[neighbours]] * (weight / weight.sum(axis=1, keepdims=True))[:, :, None]
        xy[others[rows]] = at.sum(axis=1)
    return xy


def _lay_out(placed: FloatArray, seed: int, progress: "_UmapProgress") -> FloatArray:
    near = np.empty((len(placed), NEIGHBOURS), np.int64)
    distance = np.zeros((len(placed), NEIGHBOURS), np.float32)
    for rows, neighbours, distances in _nearest(placed, placed, NEIGHBOURS, progress):
        near[rows], distance[rows] = _itself_first(rows, neighbours, distances)
    progress.search_work = progress.done
    library = _compiled()
    with one_thread(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "precomputed_knn", UserWarning)  # it has no index for new rows: none come
        warnings.filterwarnings("ignore", "Graph is not fully connected", UserWarning)  # separate groups are fine
        warnings.filterwarnings("ignore", "Spectral initiali[sz]ation failed", UserWarning)  # it then starts at random
        layout = library.UMAP(
            n_neighbors=NEIGHBOURS,
            min_dist=MIN_DISTANCE,
            n_epochs=_epochs(len(placed)),
            random_state=random_state(seed),
            n_jobs=1,
            precomputed_knn=(near, distance),
            tqdm_kwds={"disable": False, "file": progress, "bar_format": "{n_fmt}\n", "mininterval": 0.5},
        )
        return np.asarray(layout.fit_transform(placed), np.float32)


def _nearest(
    among: FloatArray, queries: FloatArray, k: int, progress: "_UmapProgress"
) -> Iterable[tuple[IntArray, IntArray, FloatArray]]:
    """Yield, per block of `queries`: its rows (B,), their k nearest of `among` (B, k), distances (B, k), ascending."""
    with one_thread():
        search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(among)
        for start in range(0, len(queries), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(queries)))
            distance, near = search.kneighbors(queries[rows])
            yield rows, near, distance.astype(np.float32)
            progress.add(len(rows))


def _itself_first(rows: IntArray, near: IntArray, distance: FloatArray) -> tuple[IntArray, FloatArray]:
    """Move each row to the front of its own neighbours; among equal rows it may come later, or not at all."""
    place = np.where((near == rows[:, None]).any(axis=1), (near == rows[:, None]).argmax(axis=1), near.shape[1] - 1)
    order = np.arange(near.shape[1]) - (np.arange(near.shape[1]) <= place[:, None])  # those before it move down by one
    order[:, 0] = place
    near, distance = np.take_along_axis(near, order, 1), np.take_along_axis(distance, order, 1)
    near[:, 0], distance[:, 0] = rows, 0
    return near, distance


def _compiled() -> Any:
    """Import umap-learn with numba's compiled code cached on disk: 5 s instead of 20 in the next process.

    The cache is where numba keeps it by default (in the library's folder, else the user's own cache), not in a
    workspace: these files are code, and a workspace may be shared.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)  # a part not used here needs it
        import umap as library  # type: ignore[import-untyped]  # imports numba's compiler
        from numba.core.registry import CPUDispatcher
        from umap import layouts, umap_, utils
    for module in (umap_, layouts, utils):
        for function in vars(module).values():
            if isinstance(function, CPUDispatcher):
                function.enable_caching()
    return library


def _epochs(n: int) -> int:
    return EPOCHS_SMALL if n <= SMALL else EPOCHS


class _UmapProgress:
    """Progress in rows searched; the passes of the layout count as much again. UMAP's progress bar writes here."""

    def __init__(self, on_step: Progress, n: int) -> None:
        self.on_step, self.n = on_step, n
        self.done = self.search_work = 0

    def add(self, rows: int) -> None:
        """Add rows to those searched."""
        self.done += rows
        self.on_step(self.done, 2 * self.n)

    def write(self, text: str) -> None:
        """Receive the bar's text, the number of passes done."""
        if (passes := text.strip()).isdigit():
            laid_out = min(self.n, MAX_UMAP_ROWS)
            self.done = self.search_work + self.n * int(passes) // _epochs(laid_out)
            self.on_step(self.done, 2 * self.n)

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""


# Samples and grids for charts


def sample_by_group(groups: IntArray, limit: int, *, seed: int, include: IntArray | None = None) -> IntArray:
    """Sample at most `limit` of N rows, ascending: those of `keep` and, of the rest, each group's (N,) share.

    Rows of a group are shuffled by seed, the groups concatenated, and every n-th row is taken: a group of m rows has
    m · limit / N of them, give or take one. Same seed, same rows.
    """
    if len(groups) <= limit:
        return np.arange(len(groups))
    kept_mask = np.zeros(len(groups), np.bool_)
    kept_mask[include if include is not None else []] = True
    always, rest = np.flatnonzero(kept_mask)[:limit], np.flatnonzero(~kept_mask)
    still_needed = limit - len(always)
    shuffled = rest[np.lexsort((np.random.default_rng(seed).random(len(rest)), groups[rest]))]
    positions = ((np.arange(still_needed) + 0.5) * len(rest) / max(still_needed, 1)).astype(np.int64)
    return np.sort(np.concatenate([always, shuffled[positions]]))


Frame = tuple[float, float, float, float]  # x low, x high, y low, y high


def bounding_frame(xy: FloatArray, *, margin: float = 0.03) -> Frame:
    """Return a frame around all rows of (N, 2) with coordinates, plus a margin on each side; −1 to 1 if none has."""
    placed = xy[np.isfinite(xy).all(axis=1)].astype(np.float64)
    if not len(placed):
        return -1.0, 1.0, -1.0, 1.0
    low, high = placed.min(axis=0), placed.max(axis=0)
    room = np.where(high > low, margin * (high - low), 1.0)
    (left, bottom), (right, top) = low - room, high + room
    return float(left), float(right), float(bottom), float(top)


def count_in_cells(xy: FloatArray, within: Frame, cells: int) -> IntArray:
    """Count (cells, cells) [y, x] the rows of (N, 2) in each cell of a frame; a row on its edge is inside."""
    left, right, low, high = within
    columns, lines = ((xy[:, 0] - left) / (right - left) * cells, (xy[:, 1] - low) / (high - low) * cells)
    inside = (columns >= 0) & (columns <= cells) & (lines >= 0) & (lines <= cells)  # NaN is not
    x, y = (np.minimum(v[inside].astype(np.int64), cells - 1) for v in (columns, lines))
    return np.bincount(y * cells + x, minlength=cells * cells).reshape(cells, cells)
