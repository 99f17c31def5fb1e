"""The stored map of a pool as a picture, with the selected rows in colour."""

from dataclasses import dataclass

import numpy as np

from core.analysis import maps
from core.analysis.projection import bounding_frame, sample_by_group
from core.analysis.raster import SIDE, Layer, encode_png
from core.models.reference import EMBEDDED
from core.output.report.subject import Subject
from core.schema import FloatArray, Reading

SEED = 0  # of the maps that the app and `project` make by default
MAX_DOTS = 200_000  # unselected and selected together: more only cover each other
SELECTED, REST = "#2F7FC1", "#8C949E"
FEW, RADII = 5_000, (4.2, 2.6)


@dataclass(frozen=True)
class Picture:
    """A map as a data URL, and what it shows in words."""

    url: str
    words: str


def draw_map(subject: Subject) -> Picture | None:
    """Draw the first map that is stored, UMAP before PCA; None if there is none."""
    sources = maps.list_sources(subject.workspace, subject.pool, Reading(**subject.run.reading))
    for layout in ("umap", "pca"):
        for kind, source in sources.items():
            for seed in dict.fromkeys((SEED, subject.recipe.seed)):
                xy = maps.load_map(subject.workspace, source, layout, seed)
                if xy is not None:
                    model = "the built-in model" if source.model == EMBEDDED else source.model
                    return _draw(subject, xy, f"{layout.upper()} of the {kind} embeddings by {model}")
    return None


def _draw(subject: Subject, xy: FloatArray, title: str) -> Picture:
    left, right, low, _ = bounding_frame(xy)  # a square, so distances keep their proportions
    placed = np.flatnonzero(np.isfinite(xy).all(axis=1))
    corner = np.array([left, low], np.float32)
    x, y = (SIDE * (xy[placed] - corner) / (right - left)).round().astype(np.uint16).T
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
    return Picture(encode_png(layers), f"{words}.")
