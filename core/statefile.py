"""Activation states on disk: from the parts of a measurement to two memory-mapped lists in the order of the pool.

    states.indptr.npy    (N + 1,) int64
    states.indices.npy   uint32, row after row; a row that is ABSENT has none
    states.json          how many neurons the model has; written last, so states are whole or absent

The parts are no longer needed then, and are removed: the lists of a large pool are gigabytes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.states import ABSENT, States
from core.store import Parts, atomic_path, read_json, write_json

COLUMN = "active_neurons"
NEURONS = "neurons"  # in a part's metadata: how many the model has
INDPTR, INDICES, ABOUT = "states.indptr.npy", "states.indices.npy", "states.json"


def have_states(folder: Path) -> bool:
    """Are whole states in this folder?"""
    return (folder / ABOUT).exists()


def gather_states(parts: Parts, n: int) -> None:
    """Write the states of n pool rows from the parts' column `active_neurons`; one part at a time in memory."""
    neurons = int(pq.read_schema(parts.path(0)).metadata[NEURONS.encode()]) if parts.plan else 0
    sizes = np.zeros(n, np.int64)
    for rows, table in _tables(parts):
        sizes[rows] = (table != ABSENT).sum(axis=1)
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    with atomic_path(parts.folder / INDICES) as temporary:
        whole = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint32, shape=(int(ends[-1]),))
        for rows, table in _tables(parts):
            for row, neurons_on in zip(rows.tolist(), table, strict=True):
                whole[ends[row] : ends[row + 1]] = neurons_on[: sizes[row]]
        whole.flush()
        del whole
    with atomic_path(parts.folder / INDPTR) as temporary, temporary.open("wb") as file:
        np.save(file, ends, allow_pickle=False)
    write_json(parts.folder / ABOUT, {"neurons": neurons})
    for part in range(len(parts.plan)):
        parts.path(part).unlink(missing_ok=True)


def read_states(folder: Path) -> States:
    """The states in this folder, memory-mapped."""
    ends = np.load(folder / INDPTR, allow_pickle=False)
    mode: Literal["r"] | None = "r" if ends[-1] else None  # an empty file cannot be mapped
    indices = np.load(folder / INDICES, mmap_mode=mode, allow_pickle=False)
    return States(ends, indices, read_json(folder / ABOUT)["neurons"], check=False)


def _tables(parts: Parts) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint32]]]:
    """Rows and their (n, K) states, part by part."""
    for part, rows in enumerate(parts.plan):
        column = parts.read(part, [COLUMN])[COLUMN].combine_chunks()
        yield rows, np.asarray(column.flatten()).reshape(len(rows), column.type.list_size)
