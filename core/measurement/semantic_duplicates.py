"""Semantic duplicates of a pool: rows whose embeddings of the base pass nearly agree. Computed once and stored.

One folder per pool in `workspace/measurements` holds two arrays for every base pass and column requested, such as
<base pass>-semantic_duplicate_of@0.95.npy, (N,) int64, the kept row that a row repeats, -1 if it repeats none, and
similarity-<the same>.npy, (N,) float32, its similarity to that row.
"""

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.algorithms.similar_vectors import SimilarRows, find_similar_rows
from core.algorithms.vector_blocks import VectorBlocks
from core.columns import Duplicates
from core.measurement.lookup import newest_with
from core.measurement.runs import Run
from core.progress import Reporter, percent_callback
from core.schema import IntArray, Reading
from core.workspace.files import disk_errors, is_whole, reading, remove_damaged, write_array
from core.workspace.folder import Workspace, content_key
from core.workspace.stages import Stages

VERSION = 1  # raise it when core.algorithms.similar_vectors finds other rows
WAITING = "Waiting for another job that finds the same semantic duplicates."


def find_semantic_duplicates(
    run: Run, vectors: VectorBlocks, kind: Duplicates, similarity: float, workspace: Workspace, report: Reporter
) -> IntArray:
    """Return the kept row that each row repeats (N,), -1 for none. Compute it unless it is stored.

    `vectors`: the embeddings of the run's base pass that the kind names.
    """
    stages, column = Stages(workspace, report), kind.column(similarity)
    spec = _spec(run.pool_id)
    file = stages.folder(spec) / f"{run.kept['base']}-{column}.npy"
    both = file, _similarity(file)
    if all(map(is_whole, both)):
        return _load(file)
    with stages.open(spec, [], waiting=WAITING) as parts:
        remove_damaged(both)
        if not all(one.exists() for one in both):
            report.stage(f"Comparing embeddings: {kind.measure} ≥ {similarity:g}", rows=0, work=100)
            with disk_errors(parts.folder):
                scratch, progress = partial(_array_on_disk, parts.folder), percent_callback(report)
                found = find_similar_rows(vectors, similarity, scratch=scratch, on_progress=progress)
            write_array(_similarity(file), found.similarity)
            write_array(file, found.repeats)
    return _load(file)


def _array_on_disk(folder: Path, shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Make an array in a file without a name, which the operating system removes with it."""
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, max(1, shape[0] * shape[1] * dtype.itemsize))  # else a full disk kills
        return np.memmap(file, dtype, "r+", shape=shape)


def load_semantic_duplicates(root: Path, fingerprint: str, model: Reading) -> dict[str, SimilarRows]:
    """Load the semantic duplicates that are stored for the newest base pass under a reading: memory-mapped, by column.

    The base pass may be that of a run of any method.
    """
    folder = _folder(root, fingerprint)
    base = newest_with(Workspace(root), fingerprint, "base", model) if folder.exists() else None
    if base is None:
        return {}
    before = f"{base.kept.get('base')}-"
    files = sorted(folder.glob(f"{before}*.npy"))
    return {file.stem.removeprefix(before): SimilarRows(_load(file), _load(_similarity(file))) for file in files}


def cache_stamp(root: Path, fingerprint: str) -> int:
    """Return a number that changes when more semantic duplicates are stored; for cache keys."""
    folder = _folder(root, fingerprint)
    return folder.stat().st_mtime_ns if folder.exists() else 0


def _similarity(file: Path) -> Path:
    """Return the file of similarities that belongs to a file of rows."""
    return file.with_name(f"similarity-{file.name}")


def _load(file: Path) -> NDArray[Any]:
    with reading(file):
        values: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    return values


def _folder(root: Path, fingerprint: str) -> Path:
    return root / "measurements" / content_key(_spec(fingerprint))


def _spec(fingerprint: str) -> dict[str, Any]:
    return {"kind": "semantic-duplicates", "pool": fingerprint, "version": VERSION}
