"""The stored map of a pool as a picture, with the selected rows in colour and clusters named by their words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.algorithms.task_clusters import cluster_words
from core.analysis import maps
from core.analysis.map_clusters import densest_places, density_clusters
from core.analysis.projection import bounding_frame, sample_by_group
from core.analysis.raster import SIDE, Layer, encode_png
from core.models.reference import EMBEDDED
from core.output.report.subject import Subject
from core.schema import FloatArray, IntArray, Pool, Reading

SEED = 0  # of the maps that the app and `project` make by default
MAX_DOTS = 200_000  # unselected and selected together: more only cover each other
SELECTED, REST = "#2F7FC1", "#8C949E"
FEW, RADII = 5_000, (4.2, 2.6)
MAX_LABELS = 15  # largest clusters that are named; a name that would cover a larger cluster's is left out
LETTER, LINE = 0.55, 3.5  # half the width of a letter and the height of a line, in percent of the picture


@dataclass(frozen=True)
class Label:
    """The name of a cluster, and the place below it in percent of the picture, from the left and the top."""

    name: str
    left: float
    top: float


@dataclass(frozen=True)
class Picture:
    """A map as a data URL, and what it shows in words."""

    url: str
    words: str
    labels: Sequence[Label]


def draw_map(subject: Subject) -> Picture | None:
    """Draw the first map that is stored, UMAP before PCA; None if there is none."""
    sources = maps.list_sources(subject.workspace, subject.pool, Reading(**subject.run.reading))
    for layout in ("umap", "pca"):
        for kind, source in sources.items():
            for seed in dict.fromkeys((SEED, subject.recipe.seed)):
                xy = maps.load_map(subject.workspace, source, layout, seed)
                if xy is not None:
                    model = "the built-in model" if source.model == EMBEDDED else source.model
                    column = "prompt" if kind == "prompt" else "response"
                    return _draw(subject, xy, f"{layout.upper()} of the {kind} embeddings by {model}", column)
    return None


def _draw(subject: Subject, xy: FloatArray, title: str, column: str) -> Picture:
    left, right, low, _ = bounding_frame(xy)  # a square, so distances keep their proportions
    scaled = (SIDE * (xy - np.array([left, low], np.float32)) / (right - left)).astype(np.float32)
    placed = np.flatnonzero(np.isfinite(xy).all(axis=1))
    x, y = scaled[placed].round().astype(np.uint16).T
    selected = np.isin(placed, subject.selection.rows)
    shown = sample_by_group(selected.astype(np.int64), MAX_DOTS, seed=SEED)
    radius = RADII[len(shown) > FEW]
    layers = [
        Layer(x[rows], y[rows], [colour], np.zeros(len(rows), np.int64), radius, opacity)
        for rows, colour, opacity in ((shown[~selected[shown]], REST, 0.45), (shown[selected[shown]], SELECTED, 0.9))
    ]
    lacking = len(xy) - len(placed)
    words = f"{title}: {len(placed):,} rows, {int(selected.sum()):,} of them selected"
    words += f" ({len(shown):,} dots drawn)" if len(shown) < len(placed) else ""
    words += f"; {lacking:,} rows without an embedding are not on the map" if lacking else ""
    return Picture(encode_png(layers), f"{words}.", place_labels(*_name_clusters(subject.pool, scaled, column)))


def _name_clusters(pool: Pool, positions: FloatArray, column: str) -> tuple[list[str], FloatArray]:
    """Return the names of the largest clusters by density, and their places (C, 2) in percent of the picture."""

    def read(rows: IntArray) -> list[str]:
        return [pool.rows[column][int(row)].as_py() or "" for row in rows]

    codes = density_clusters(positions, seed=SEED)
    codes = np.where(codes < MAX_LABELS, codes, -1)
    words = cluster_words(codes, read, np.random.default_rng(SEED))
    places = densest_places(positions, codes, range(len(words)))
    return [", ".join(each) for each in words], np.asarray(100 * places / SIDE, np.float32)


def place_labels(names: Sequence[str], places: FloatArray) -> list[Label]:
    """Return the labels that cover no earlier one; `places` (C, 2) in percent, rightwards and upwards."""
    labels: list[Label] = []
    for name, (left, up) in zip(names, places.tolist(), strict=True):
        half = LETTER * len(name)
        free = all(
            abs(left - other.left) > half + LETTER * len(other.name) or abs(100 - up - other.top) > LINE
            for other in labels
        )
        if name and free and half < left < 100 - half:
            labels.append(Label(name, left, 100 - up))
    return labels
