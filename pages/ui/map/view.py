"""Layout of the map: available embeddings, where rows are placed, and the share of the map that a selection reaches."""

from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from core.analysis import maps
from core.analysis.maps import EmbeddingSource
from core.analysis.projection import bounding_frame, count_in_cells
from core.analysis.raster import SIDE
from core.errors import WorkspaceError
from core.measurement.runs import Run
from core.schema import BoolArray, IntArray, Pool, Reading
from core.workspace.files import is_whole
from pages.ui.data import cached
from pages.ui.data.bins import Values
from pages.ui.data.live_selection import LiveSelection
from pages.ui.map import job
from pages.ui.shell import state
from pages.ui.words import escape_markdown, join_range, the_model

CELLS = 128  # of the density, per side
BLUR = 1.0  # of the density, in cells
MARGIN = 0.03  # of the longer side, around the rows
COARSE = 24  # cells per side of the grid in the headline
MAX_PAGE_BYTES = 150_000_000  # bytes of embeddings to read in the page; more are left to a job
UMAP, PCA = "UMAP", "PCA"


@dataclass(frozen=True, eq=False)
class MapLayout:
    """Position of every row of the pool. Read-only."""

    key: str  # identifies the map; used as a cache argument
    layout: str  # "umap" or "pca", whichever is shown
    x: Values  # (N,) 0..SIDE; NaN: not on the map
    y: Values
    rows: IntArray  # rows on the map
    cell: IntArray  # (N,) of COARSE x COARSE; −1: none
    shade: NDArray[np.uint8]  # (CELLS, CELLS) of the density, 0..255
    bounds: tuple[float, float, float, float]  # around the rows: x low, x high, y low, y high
    share: tuple[float, ...]  # share of the variance along each PCA axis

    @property
    def name(self) -> str:
        """Return what a link calls the map: its content key and its layout."""
        return self.key.rpartition("/")[2]


def find_sources(pool: Pool, run: Run) -> dict[str, EmbeddingSource]:
    """Return the embeddings that maps can be made of."""
    runs = tuple(sorted(file.parent.name for file in cached.workspace().root.glob("runs/*/run.json")))
    return _find_sources(pool, run, runs)


@cached.keep()
def _find_sources(pool: Pool, run: Run, runs: tuple[str, ...]) -> dict[str, EmbeddingSource]:
    return maps.list_sources(cached.workspace(), pool, Reading(**run.reading))


def choose_map(available: dict[str, EmbeddingSource]) -> tuple[EmbeddingSource, str]:
    """Let the user choose the embedding and the layout."""
    bound = state.view_choice("map", list(available), "explore.map.of")
    format = job.NAMES.__getitem__
    of = st.segmented_control("Map of", list(available), required=True, format_func=format, **bound)
    bound = state.view_choice("projection", (UMAP, PCA), "explore.map.layout")
    help = "UMAP keeps similar rows together. PCA shows the first two principal components and needs no waiting."
    layout = st.segmented_control("Projection", (UMAP, PCA), required=True, help=help, **bound)
    return available.get(str(of), next(iter(available.values()))), str(layout)


def load_layout(source: EmbeddingSource, layout: str) -> MapLayout | None:
    """Load the UMAP layout if requested and stored, else PCA, which is made if needed.

    None: there is no PCA layout either, and the embeddings are too large to read in the page.
    """
    folder = maps.map_folder(cached.workspace(), source, job.SEED)
    if layout == UMAP and is_whole(folder / "umap.npy"):
        return _load_layout(str(folder), "umap", source)
    if not is_whole(folder / "pca.npy"):
        if source.size() > MAX_PAGE_BYTES:
            return None
        with st.spinner("Computing the PCA map"):
            maps.make_map(cached.workspace(), source, "pca", job.SEED)
    return _load_layout(str(folder), "pca", source)


def find_layout(pool: Pool, run: Run, name: str) -> MapLayout:
    """Load the map of this name. Raise WorkspaceError if it is not stored for the pool."""
    key, _, layout = name.rpartition(" ")
    for source in find_sources(pool, run).values():
        folder = maps.map_folder(cached.workspace(), source, job.SEED)
        if folder.name == key and layout in maps.LAYOUTS:
            return _load_layout(str(folder), layout, source)
    raise WorkspaceError("The map it was drawn on is not stored for this pool.")


@st.cache_resource(show_spinner=False, max_entries=2 * cached.MAX_POOLS)
def _load_layout(folder: str, layout: str, _source: EmbeddingSource) -> MapLayout:
    xy = maps.load_map(cached.workspace(), _source, layout, job.SEED)
    if xy is None:
        raise WorkspaceError(f"{folder}: the map was deleted. Reload the page to compute it again.")
    about = maps.load_map_facts(cached.workspace(), _source, job.SEED)
    left, right, low, high = bounding_frame(xy)
    scaled = SIDE * (xy - np.float32([left, low])) / np.float32([right - left, high - low])
    rows = np.flatnonzero(np.isfinite(scaled).all(axis=1))
    cell = np.full(len(xy), -1, np.int64)
    at = np.minimum(scaled[rows] * COARSE / SIDE, COARSE - 1).astype(np.int64)
    cell[rows] = at[:, 1] * COARSE + at[:, 0]
    x, y = np.ascontiguousarray(scaled.T)
    shade = shade_density(count_in_cells(scaled, (0, SIDE, 0, SIDE), CELLS))
    around = find_bounds(x[rows], y[rows])
    return MapLayout(f"{folder} {layout}", layout, x, y, rows, cell, shade, around, tuple(about["share"]))


def find_bounds(x: Values, y: Values) -> tuple[float, float, float, float]:
    """Return the frame around these positions: x low, x high, y low, y high; the whole map if there are none."""
    if not len(x):
        return 0, SIDE, 0, SIDE
    margin = MARGIN * max(float(np.ptp(x)), float(np.ptp(y)), 1.0)
    return float(x.min()) - margin, float(x.max()) + margin, float(y.min()) - margin, float(y.max()) + margin


def shade_density(counts: IntArray) -> NDArray[np.uint8]:
    """Return the shade of each cell (G, G), 0..255, by the logarithm of the rows in and around it."""
    shade = np.log1p(gaussian_filter(counts.astype(np.float32), BLUR))
    return (255 * shade / max(float(shade.max()), 1e-9)).astype(np.uint8)


# Text


def headline(map_layout: MapLayout, live: LiveSelection, random: list[IntArray]) -> str:
    """Compare the share of the map that the selection reaches with random selections, as a sentence."""
    if not len(live.selection.rows):
        return "No row is selected."
    share = share_of_cells(map_layout.cell, live.selection.rows)
    text = f"The selection reaches {100 * share:.0f}% of the map"
    if not random:
        return f"{text}."
    shares = [100 * share_of_cells(map_layout.cell, rows) for rows in random]
    return f"{text}; random selections reach {join_range(f'{min(shares):.0f}', f'{max(shares):.0f}')}%."


def share_of_cells(cell: IntArray, rows: IntArray) -> float:
    """Return the share of occupied cells that contain one of `rows`; NaN if no cell is occupied."""
    occupied, reached = (_occupied(codes) for codes in (cell, cell[rows]))
    return int(reached.sum()) / int(occupied.sum()) if occupied.any() else float("nan")


def _occupied(codes: IntArray) -> BoolArray:
    """Return which cells contain a row, (COARSE · COARSE,); codes −1 are in none."""
    occupied = np.zeros(COARSE * COARSE + 1, np.bool_)
    occupied[codes] = True
    return occupied[:-1]


def describe(map_layout: MapLayout, source: EmbeddingSource, shown: str, pool: Pool) -> str:
    """Explain what the map shows; `shown`: how many rows have a dot."""
    by = escape_markdown(the_model(source.model))
    how = f"first two principal components, {100 * sum(map_layout.share):.0f}% of variance"
    how = (
        "nearby points are similar; distances between clusters are not meaningful"
        if map_layout.layout == "umap"
        else how
    )
    text = f"Embeddings of {job.NAMES[source.kind].lower()} by {by}: {how}. {shown}"
    lacking = len(pool) - len(map_layout.rows)
    text += f"; {lacking:,} rows without an embedding are not on the map." if lacking else "."
    return f"{text} Reach: share of occupied cells ({COARSE}×{COARSE} grid) that contain a selected row."
