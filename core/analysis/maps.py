"""Maps of a pool as stored stages: which embeddings the pool has, and the coordinates of each row.

    measurements/<key>/pca.npy     (N, 2) float32, seconds                 keyed by the measurement that stores the
    measurements/<key>/umap.npy    (N, 2) float32, a minute, as a job      embeddings, which of them, and the seed
    measurements/<key>/about.json  facts about them; written with each

A row without an embedding (no response, no answer, no active neuron) is NaN. Independent of models, so pages can use
it too.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.algorithms.activation_clusters import projector
from core.algorithms.answer_geometry import CENTRE
from core.analysis import projection
from core.analysis.projection import PrincipalAxes
from core.errors import RecipeError, WorkspaceError
from core.measurement.activation_files import has_activations, read_activations
from core.measurement.lookup import reads_alike
from core.measurement.run_data import base_parts
from core.measurement.runs import Run, list_runs
from core.progress import Reporter, SilentReporter, percent_callback
from core.schema import FloatArray, IntArray, Pool, Reading
from core.workspace.files import is_whole, read_json, reading, remove_damaged, write_array, write_json
from core.workspace.folder import Workspace, content_key
from core.workspace.parts import Parts
from core.workspace.stages import Stages

FORMAT = 1  # format of what is stored here: raise it when core.analysis.projection gives other coordinates
BASE_COLUMNS = {"prompt": "prompt_embedding", "response": "response_embedding"}  # columns of the base pass
ANSWERS, ACTIVATIONS = "answers", "activations"
COLUMNS = BASE_COLUMNS | {ANSWERS: CENTRE}
EMBEDDING_KINDS = (*COLUMNS, ACTIVATIONS)
LAYOUTS = ("pca", "umap")
ABOUT = "about.json"
MEASURED_BY = {ANSWERS: "answer_divergence", ACTIVATIONS: "activation_coverage"}  # other kinds: any method with a model


@dataclass(frozen=True)
class EmbeddingSource:
    """Embeddings that can be laid out."""

    kind: str  # one of EMBEDDING_KINDS
    folder: Path  # of the stage that stores them
    model: str  # that computed them
    rows: int  # of the pool

    def size(self) -> int:
        """Return bytes on disk: an estimate of what can be read at once."""
        return sum(file.stat().st_size for file in self.folder.iterdir())


def list_sources(workspace: Workspace, pool: Pool, reading: Reading) -> dict[str, EmbeddingSource]:
    """List the embeddings measured under this reading, by kind in the order of EMBEDDING_KINDS; of each the newest."""
    newest: dict[str, EmbeddingSource] = {}
    for run in list_runs(workspace, pool.fingerprint):
        if reads_alike(run, reading):
            for kind, folder in _stored_embeddings(workspace, run):
                newest.setdefault(kind, EmbeddingSource(kind, folder, _embedder(run, kind), len(pool)))
    if pool.rows["response"].null_count == len(pool):  # a pool of prompts only
        newest.pop("response", None)
    return {kind: newest[kind] for kind in EMBEDDING_KINDS if kind in newest}


def _stored_embeddings(workspace: Workspace, run: Run) -> Iterator[tuple[str, Path]]:
    if "dtype" in run.summary:  # a model has read the pool
        with suppress(WorkspaceError):  # it was removed, or there has been no base pass
            parts = base_parts(workspace, run)
            if not parts.missing():
                yield from ((kind, parts.folder) for kind in BASE_COLUMNS)
    if (folder := run.stage_folder("grams")) and _has_answer_centres(folder):
        yield ANSWERS, folder
    if (folder := run.stage_folder("states")) and has_activations(folder):
        yield ACTIVATIONS, folder


def _has_answer_centres(folder: Path) -> bool:
    """Return whether answer centres are stored; measurements made before there was a map of answers have none."""
    with suppress(WorkspaceError):  # it was removed or damaged
        return CENTRE in Parts.stored(folder).columns
    return False


def _embedder(run: Run, kind: str) -> str:
    """Return the model of the embeddings; for answers, the sentence encoder that was requested."""
    named = run.method["params"].get("embeddings") if kind == ANSWERS else None
    return str(named or run.model["name"])


def need_source(workspace: Workspace, pool: Pool, reading: Reading, kind: str) -> EmbeddingSource:
    """Return the embeddings of one kind; RecipeError with the reason if there are none."""
    if kind not in EMBEDDING_KINDS:
        raise RecipeError(f"--of {kind}: choose one of {', '.join(EMBEDDING_KINDS)}.")
    source = list_sources(workspace, pool, reading).get(kind)
    if source is None:
        method = MEASURED_BY.get(kind, "entropy_shift")
        raise RecipeError(
            f"This model has not measured the {kind} embeddings of this pool. First run measure, for example with "
            f"--method {method}."
        )
    return source


# Stored maps


def map_folder(workspace: Workspace, source: EmbeddingSource, seed: int) -> Path:
    """Return the folder of the coordinates, made or not."""
    return workspace.folder("measurements", content_key(_spec(source, seed)))


def _spec(source: EmbeddingSource, seed: int) -> dict[str, Any]:
    return {"kind": "map", "held": source.folder.name, "of": source.kind, "seed": seed, "map_format": FORMAT}


def load_map(workspace: Workspace, source: EmbeddingSource, layout: str, seed: int) -> FloatArray | None:
    """Load (N, 2) stored coordinates, read-only; None if there are none yet."""
    file = map_folder(workspace, source, seed) / f"{layout}.npy"
    if not is_whole(file):
        return None
    with reading(file):
        xy: FloatArray = np.load(file, allow_pickle=False)
    xy.flags.writeable = False
    return xy


def load_map_facts(workspace: Workspace, source: EmbeddingSource, seed: int) -> Mapping[str, Any]:
    """Load facts about stored coordinates: `share` of variance in each of the two PCA axes; rows `placed`."""
    return dict(read_json(map_folder(workspace, source, seed) / ABOUT))


def make_map(
    workspace: Workspace, source: EmbeddingSource, layout: str, seed: int, report: Reporter | None = None
) -> Path:
    """Store the PCA map, and with layout "umap" also the UMAP, unless stored already; return the folder."""
    report, folder = report or SilentReporter(), map_folder(workspace, source, seed)
    files = [folder / f"{name}.npy" for name in LAYOUTS[: LAYOUTS.index(layout) + 1]]
    if all(map(is_whole, (folder / ABOUT, *files))):
        return folder
    with Stages(workspace, report).locked(
        f"map-{folder.name}-{layout}", "Waiting for another job that computes the same map."
    ):
        remove_damaged((folder / ABOUT, *files))
        rows, placed, axes = project_source(source, seed, report)
        write_json(folder / "spec.json", _spec(source, seed))
        facts = {"placed": len(rows), "laid": min(len(rows), projection.MAX_UMAP_ROWS)}
        write_json(folder / ABOUT, {"share": axes.share[:2].tolist()} | facts)
        _save_layout(folder / "pca.npy", source.rows, rows, projection.first_two_axes(placed))
        if not files[-1].exists():  # UMAP: the PCA map is there
            report.stage("Computing the map (UMAP)", rows=0, work=100)
            xy = projection.umap_layout(placed, seed=seed, on_step=percent_callback(report))
            _save_layout(folder / "umap.npy", source.rows, rows, xy)
    return folder


def _save_layout(file: Path, n: int, rows: IntArray, xy: FloatArray) -> None:
    layout = np.full((n, 2), np.nan, np.float32)
    layout[rows] = xy
    write_array(file, layout)


# From stored embeddings to a few axes


def project_source(source: EmbeddingSource, seed: int, report: Reporter) -> tuple[IntArray, FloatArray, PrincipalAxes]:
    """Return the rows that have an embedding (K,), their coordinates on the axes (K, ≤ WIDTH), and the axes.

    In memory: the sample that axes are fitted to, one part of the embeddings, and K · WIDTH numbers.
    """
    report.stage("Loading the embeddings", rows=0, work=100)
    if source.kind == ACTIVATIONS:
        neurons = read_activations(source.folder)
        rows = np.flatnonzero(np.diff(neurons.indptr))
        if not len(rows):
            raise WorkspaceError(f"{source.folder}: no row of this pool has an active neuron, so there is no map.")
        projected = np.concatenate([v for _, v in projector(neurons, rows, seed, percent_callback(report))()])
        axes = projection.fit_axes(projected, seed=seed)
        return rows, axes.project(projected), axes
    blocks = _Blocks(source)
    axes = projection.fit_axes(blocks.sample(seed), seed=seed)
    coordinates = np.full((source.rows, axes.directions.shape[1]), np.nan, np.float32)
    for done, (part_rows, vectors) in enumerate(blocks):
        coordinates[part_rows] = axes.project(vectors)
        percent_callback(report)(done + 1, len(blocks.parts.plan))
    rows = np.flatnonzero(np.isfinite(coordinates).all(axis=1))
    return rows, coordinates[rows], axes


class _Blocks:
    """Stored embeddings, part by part."""

    def __init__(self, source: EmbeddingSource) -> None:
        self.source, self.column = source, COLUMNS[source.kind]
        self.parts = Parts.stored(source.folder)

    def __iter__(self) -> Iterator[tuple[IntArray, NDArray[np.float16]]]:
        return self.parts.blocks(self.column)

    def sample(self, seed: int) -> NDArray[np.float16]:
        """Return a seeded sample of the embeddings that exist, to fit axes to."""
        one_group = np.zeros(self.source.rows, np.int64)
        sampled = np.zeros(self.source.rows, np.bool_)
        sampled[projection.sample_by_group(one_group, projection.MAX_AXES_ROWS, seed=seed)] = True
        blocks = [(rows[sampled[rows]], vectors[sampled[rows]]) for rows, vectors in self]
        rows, vectors = (np.concatenate(v) for v in zip(*blocks, strict=True))
        present = np.isfinite(vectors).all(axis=1)
        if not present.any():
            raise WorkspaceError(
                f"{self.source.folder}: no row has a {self.source.kind} embedding, so there is no map."
            )
        return np.asarray(vectors[present][np.argsort(rows[present])])
