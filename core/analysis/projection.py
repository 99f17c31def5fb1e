"""Projection of embeddings to two coordinates per row, so that similar rows are near each other. Arrays only.

1. Axes: embeddings minus their mean, as unit vectors (hidden states of language models share one large direction,
   Ethayarajh 2019, https://arxiv.org/abs/1909.00512), then PCA, fitted to a seeded sample of rows.
2. PCA map: the first two axes. It is linear, so its distances can be compared, but most of the variance is in the
   other axes.
3. UMAP map (McInnes, Healy, Melville 2018, https://arxiv.org/abs/1802.03426): a layout of the first WIDTH axes that
   preserves neighbours. Distances between groups and their densities mean little.

Neighbours are exact, by brute force in float32: no index is compiled and no search is random. Only UMAP's layout
needs numba, and its compiled functions are cached on disk (`_load_umap`).
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
MAX_AXES_ROWS = 20_000  # sample size for fitting axes
MAX_UMAP_ROWS = 50_000  # sample size for UMAP; the other rows are placed among the sample
NEIGHBOURS = 15  # including the row itself
MIN_UMAP_ROWS = 2 * NEIGHBOURS  # fewer rows are laid out by the first two axes
MIN_DISTANCE = 0.1  # UMAP's default: how tightly it packs rows
PLACING_NEIGHBOURS = 5  # sampled rows that place each other row
BLOCK = 4096  # rows per neighbour search
EPOCHS = 200  # passes of the layout; 500 up to SMALL rows, as in UMAP's defaults
EPOCHS_SMALL, SMALL = 500, 10_000


# Axes


@dataclass(frozen=True, eq=False)
class PrincipalAxes:
    """Principal axes of centred unit vectors, largest variance first."""

    centre: FloatArray  # (d,) mean embedding
    middle: FloatArray  # (d,) mean unit vector
    directions: FloatArray  # (d, W)
    share: FloatArray  # (W,) share of the variance, 0..1

    def project(self, vectors: NDArray[np.floating]) -> FloatArray:
        """Return (N, W) coordinates of (N, d) embeddings; NaN for a row that contains NaN."""
        centred: FloatArray = unit_vectors(vectors.astype(np.float32) - self.centre) - self.middle
        with one_thread():
            return centred @ self.directions


def fit_axes(vectors: NDArray[np.floating], *, seed: int, width: int = WIDTH) -> PrincipalAxes:
    """Fit the first `width` axes of (N, d), by randomized PCA of a sample (Halko, Martinsson, Tropp 2011).

    There are fewer axes if rows or dimensions are fewer. Values must be finite, with at least one row. The same seed
    gives the same axes.
    """
    some = vectors[sample_by_group(np.zeros(len(vectors), np.int64), MAX_AXES_ROWS, seed=seed)].astype(np.float32)
    centre = some.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = unit_vectors(some - centre)
    with one_thread(), np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 where all rows are equal
        pca = PCA(min(width, *centred.shape), svd_solver="randomized", random_state=random_state(seed)).fit(centred)
    share = np.nan_to_num(pca.explained_variance_ratio_)
    return PrincipalAxes(centre, pca.mean_, np.ascontiguousarray(pca.components_.T), share.astype(np.float32))


def first_two_axes(placed: FloatArray) -> FloatArray:
    """Return the first two of (N, W) columns as (N, 2), padded with 0."""
    if placed.shape[1] >= 2:
        return np.ascontiguousarray(placed[:, :2])
    return np.pad(placed, ((0, 0), (0, 2 - placed.shape[1])))


# UMAP


def umap_layout(placed: FloatArray, *, seed: int, on_step: Progress = ignore_progress) -> FloatArray:
    """Return the (N, 2) UMAP layout of (N, W) coordinates, all finite.

    It runs on one thread, so the same seed gives the same coordinates. Above MAX_UMAP_ROWS a seeded sample is laid
    out, and every other row is placed between its PLACING_NEIGHBOURS nearest sampled rows, weighted by 1 / distance.
    Below MIN_UMAP_ROWS the first two axes are returned. `on_step` receives the work done and the total.
    """
    if len(placed) < MIN_UMAP_ROWS:
        return first_two_axes(placed)
    progress = _UmapProgress(on_step, len(placed))
    laid = sample_by_group(np.zeros(len(placed), np.int64), MAX_UMAP_ROWS, seed=seed)
    xy = np.empty((len(placed), 2), np.float32)
    xy[laid] = _lay_out(placed[laid], seed, progress)
    others = np.setdiff1d(np.arange(len(placed)), laid, assume_unique=True)
    for rows, near, distance in _search_neighbours(placed[laid], placed[others], PLACING_NEIGHBOURS, progress):
        weight = 1 / np.maximum(distance, 1e-6)
        at = xy[laid[near]] * (weight / weight.sum(axis=1, keepdims=True))[:, :, None]
        xy[others[rows]] = at.sum(axis=1)
    return xy


def _lay_out(placed: FloatArray, seed: int, progress: "_UmapProgress") -> FloatArray:
    near = np.empty((len(placed), NEIGHBOURS), np.int64)
    distance = np.zeros((len(placed), NEIGHBOURS), np.float32)
    for rows, nearest, apart in _search_neighbours(placed, placed, NEIGHBOURS, progress):
        near[rows], distance[rows] = _put_itself_first(rows, nearest, apart)
    progress.search_done = progress.done
    library = _load_umap()
    with one_thread(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "precomputed_knn", UserWarning)  # new rows cannot be added: none are
        warnings.filterwarnings("ignore", "Graph is not fully connected", UserWarning)  # separate groups are fine
        warnings.filterwarnings("ignore", "Spectral initiali[sz]ation failed", UserWarning)  # uses a random start
        layout = library.UMAP(
            n_neighbors=NEIGHBOURS,
            min_dist=MIN_DISTANCE,
            n_epochs=_layout_epochs(len(placed)),
            random_state=random_state(seed),
            n_jobs=1,
            precomputed_knn=(near, distance),
            tqdm_kwds={"disable": False, "file": progress, "bar_format": "{n_fmt}\n", "mininterval": 0.5},
        )
        return np.asarray(layout.fit_transform(placed), np.float32)


def _search_neighbours(
    among: FloatArray, wanted: FloatArray, k: int, progress: "_UmapProgress"
) -> Iterable[tuple[IntArray, IntArray, FloatArray]]:
    """Yield by block of `wanted`: rows (B,), their k nearest of `among` (B, k) and distances (B, k), nearest first."""
    with one_thread():
        search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(among)
        for start in range(0, len(wanted), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(wanted)))
            distance, near = search.kneighbors(wanted[rows])
            yield rows, near, distance.astype(np.float32)
            progress.add(len(rows))


def _put_itself_first(rows: IntArray, near: IntArray, distance: FloatArray) -> tuple[IntArray, FloatArray]:
    """Move each row to the front of its own neighbours; among equal rows it may come later or be missing."""
    place = np.where((near == rows[:, None]).any(axis=1), (near == rows[:, None]).argmax(axis=1), near.shape[1] - 1)
    order = np.arange(near.shape[1]) - (np.arange(near.shape[1]) <= place[:, None])  # earlier entries move back
    order[:, 0] = place
    near, distance = np.take_along_axis(near, order, 1), np.take_along_axis(distance, order, 1)
    near[:, 0], distance[:, 0] = rows, 0
    return near, distance


def _load_umap() -> Any:
    """Import umap-learn with numba's on-disk cache enabled: 5 s instead of 20 s in the next process.

    The cache is in numba's own place (next to the library, else the user's cache), not in the workspace: these files
    are code, and a workspace may be shared.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)  # for a part not used here
        import umap as library  # type: ignore[import-untyped]  # slow: imports numba's compiler
        from numba.core.registry import CPUDispatcher
        from umap import layouts, umap_, utils
    for module in (umap_, layouts, utils):
        for function in vars(module).values():
            if isinstance(function, CPUDispatcher):
                function.enable_caching()
    return library


def _layout_epochs(n: int) -> int:
    return EPOCHS_SMALL if n <= SMALL else EPOCHS


class _UmapProgress:
    """Progress in rows searched; the passes of the layout count as much again. UMAP's progress bar writes to it."""

    def __init__(self, on_step: Progress, n: int) -> None:
        self.on_step, self.n = on_step, n
        self.done = self.search_done = 0

    def add(self, rows: int) -> None:
        """Count `rows` more as searched."""
        self.done += rows
        self.on_step(self.done, 2 * self.n)

    def write(self, text: str) -> None:
        """Parse the bar's text, the number of passes done."""
        if (passes := text.strip()).isdigit():
            laid = min(self.n, MAX_UMAP_ROWS)
            self.done = self.search_done + self.n * int(passes) // _layout_epochs(laid)
            self.on_step(self.done, 2 * self.n)

    def flush(self) -> None:
        """Do nothing, because writes are not buffered."""


# Samples and cell counts for charts


def sample_by_group(groups: IntArray, limit: int, *, seed: int, include: IntArray | None = None) -> IntArray:
    """Return at most `limit` of N rows, ascending: those in `include`, and each group's (N,) share of the others.

    The rows are shuffled within groups, the groups concatenated, and every n-th row is used, so a group of m rows has
    m · limit / N of them, give or take one. The same seed gives the same rows.
    """
    if len(groups) <= limit:
        return np.arange(len(groups))
    included = np.zeros(len(groups), np.bool_)
    included[include if include is not None else []] = True
    always, rest = np.flatnonzero(included)[:limit], np.flatnonzero(~included)
    wanted = limit - len(always)
    shuffled = rest[np.lexsort((np.random.default_rng(seed).random(len(rest)), groups[rest]))]
    positions = ((np.arange(wanted) + 0.5) * len(rest) / max(wanted, 1)).astype(np.int64)
    return np.sort(np.concatenate([always, shuffled[positions]]))


Frame = tuple[float, float, float, float]  # x low, x high, y low, y high


def bounding_frame(xy: FloatArray, *, margin: float = 0.03) -> Frame:
    """Return the square around all finite points of (N, 2), with a margin on each side; −1 to 1 if there are none.

    Both sides are equally long, so distances keep their proportions.
    """
    finite = xy[np.isfinite(xy).all(axis=1)].astype(np.float64)
    if not len(finite):
        return -1.0, 1.0, -1.0, 1.0
    low, high = finite.min(axis=0), finite.max(axis=0)
    longest = float((high - low).max())
    reach = (0.5 + margin) * longest or 1.0
    (left, bottom), (right, top) = (low + high) / 2 - reach, (low + high) / 2 + reach
    return float(left), float(right), float(bottom), float(top)


def count_in_cells(xy: FloatArray, within: Frame, cells: int) -> IntArray:
    """Return (cells, cells) counts [y, x] of points (N, 2) in each cell of a frame; its edge is inside."""
    left, right, low, high = within
    columns, lines = ((xy[:, 0] - left) / (right - left) * cells, (xy[:, 1] - low) / (high - low) * cells)
    inside = (columns >= 0) & (columns <= cells) & (lines >= 0) & (lines <= cells)  # False for NaN
    x, y = (np.minimum(v[inside].astype(np.int64), cells - 1) for v in (columns, lines))
    return np.bincount(y * cells + x, minlength=cells * cells).reshape(cells, cells)
