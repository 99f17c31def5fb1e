"""Activations on disk: two memory-mapped lists in pool order, written from the parts of a stage.

    states.indptr.npy    (N + 1,) int64
    states.indices.npy   uint32, row after row; a row that is ABSENT has none
    states.json          the number of neurons of the model; written last, so activations are complete or absent

The parts are removed afterwards: the lists of a large pool are gigabytes.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from core.algorithms.active_neurons import ABSENT, ActiveNeurons
from core.workspace.files import read_json, reading, remove_damaged, stored_path, write_array, write_json
from core.workspace.parts import Parts

COLUMN = "active_neurons"
NEURONS = "neurons"  # in a part's metadata: the number of neurons of the model
INDPTR, INDICES, ABOUT = "states.indptr.npy", "states.indices.npy", "states.json"


def has_activations(folder: Path) -> bool:
    """Return whether this folder holds complete activations."""
    return (folder / ABOUT).exists()


def remove_damaged_activations(folder: Path) -> None:
    """Remove activations of which a file is damaged, so that they are collected again."""
    remove_damaged(folder / name for name in (INDPTR, INDICES, ABOUT))
    if not ((folder / INDPTR).exists() and (folder / INDICES).exists()):
        (folder / ABOUT).unlink(missing_ok=True)


def gather_activations(parts: Parts, n: int) -> None:
    """Write the activations of n pool rows from the parts, with one part at a time in memory; remove the parts."""
    neurons = int(parts.read(0, [COLUMN]).schema.metadata[NEURONS.encode()]) if parts.plan else 0
    sizes = np.zeros(n, np.int64)
    for part, rows in enumerate(parts.plan):
        sizes[rows] = (parts.values(part, COLUMN) != ABSENT).sum(axis=1)
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    with stored_path(parts.folder / INDICES) as temporary:
        whole = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint32, shape=(int(ends[-1]),))
        for part, rows in enumerate(parts.plan):
            for row, neurons_on in zip(rows.tolist(), parts.values(part, COLUMN), strict=True):
                whole[ends[row] : ends[row + 1]] = neurons_on[: sizes[row]]
        whole.flush()
        del whole
    write_array(parts.folder / INDPTR, ends)
    write_json(parts.folder / ABOUT, {"neurons": neurons})
    parts.remove()


def read_activations(folder: Path) -> ActiveNeurons:
    """Load the activations in this folder, memory-mapped."""
    with reading(folder / INDPTR):
        ends = np.load(folder / INDPTR, allow_pickle=False)
    mode: Literal["r"] | None = "r" if ends[-1] else None  # an empty file cannot be mapped
    with reading(folder / INDICES):
        indices = np.load(folder / INDICES, mmap_mode=mode, allow_pickle=False)
    return ActiveNeurons(ends, indices, read_json(folder / ABOUT)["neurons"], check=False)
