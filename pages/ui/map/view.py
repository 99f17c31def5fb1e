"""Layout of the map: available embeddings, where rows are placed, and the share of the map that a selection reaches."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from core.analysis import maps
from core.analysis.maps import EmbeddingSource
from core.analysis.projection import bounding_frame, count_in_cells
from core.errors import WorkspaceError
from core.measurement.runs import Run
from core.schema import IntArray, Pool, Reading
from core.workspace.files import is_whole
from pages.ui.data import cached
from pages.ui.data.bins import Values
from pages.ui.data.live_selection import LiveSelection
from pages.ui.map import job
from pages.ui.map.figure import SIDE
from pages.ui.shell import state
from pages.ui.words import escape_markdown, join_range, the_model

CELLS = 128  # of the density, per side
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
    density: IntArray  # (CELLS, CELLS)
    share: tuple[float, ...]  # share of the variance along each PCA axis


def find_sources(pool: Pool, run: Run) -> dict[str, EmbeddingSource]:
    """Return the embeddings that maps can be made of."""
    runs = tuple(sorted(file.parent.name for file in cached.workspace().root.glob("runs/*/run.json")))
    return _find_sources(pool, run, runs)


@cached.keep()
def _find_sources(pool: Pool, run: Run, runs: tuple[str, ...]) -> dict[str, EmbeddingSource]:
    return maps.list_sources(cached.workspace(), pool, Reading(**run.reading))


def choose_map(available: dict[str, EmbeddingSource]) -> tuple[EmbeddingSource, str]:
    """Let the user choose the embedding and the layout."""
    left, right, _ = st.columns([5, 3, 4], vertical_alignment="bottom")
    with left:
        bound = state.view_choice("map", list(available), "explore.map.of")
        format = job.NAMES.__getitem__
        of = st.segmented_control("Map of", list(available), required=True, format_func=format, **bound)
    with right:
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


def find_layout(pool: Pool, run: Run, key: str) -> MapLayout:
    """Load the map with this key. Raise WorkspaceError if it is not stored for the pool."""
    folder, _, layout = key.rpartition(" ")
    for source in find_sources(pool, run).values():
        if str(maps.map_folder(cached.workspace(), source, job.SEED)) == folder:
            return _load_layout(folder, layout, source)
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
    density = count_in_cells(scaled, (0, SIDE, 0, SIDE), CELLS)
    return MapLayout(f"{folder} {layout}", layout, x, y, rows, cell, density, tuple(about["share"]))


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
    occupied, reached_cells = (np.unique(codes[codes >= 0]) for codes in (cell, cell[rows]))
    return len(reached_cells) / len(occupied) if len(occupied) else float("nan")


def describe(map_layout: MapLayout, source: EmbeddingSource, sent_rows: int, pool: Pool) -> str:
    """Explain what the map shows and how many rows are sent."""
    by = escape_markdown(the_model(source.model))
    how = f"first two principal components, {100 * sum(map_layout.share):.0f}% of variance"
    how = (
        "nearby points are similar; distances between clusters are not meaningful"
        if map_layout.layout == "umap"
        else how
    )
    text = f"Embeddings of {job.NAMES[source.kind].lower()} by {by}: {how}."
    n = len(map_layout.rows)
    sent = (
        f"{sent_rows:,} of {n:,} rows shown over the density of all rows" if sent_rows < n else f"All {n:,} rows shown"
    )
    lacking = len(pool) - n
    sent += f"; {lacking:,} rows without an embedding are not on the map." if lacking else "."
    return f"{text} {sent} Reach: share of occupied cells ({COARSE}×{COARSE} grid) that contain a selected row."
