"""Where the base pass of a run lies, and its tokens and trained state: found from what the run says of itself.

The keys are those of core/measurement/stages.py, which needs the model's tokenizer to make them; a finished run has
kept its digest.
So nothing here needs a model, and all of it is what that run was made of, whatever was measured since.

Activation states on disk: from the parts of a measurement to two memory-mapped lists in the order of the pool.

    states.indptr.npy    (N + 1,) int64
    states.indices.npy   uint32, row after row; a row that is ABSENT has none
    states.json          how many neurons the model has; written last, so states are whole or absent

The parts are no longer needed then, and are removed: the lists of a large pool are gigabytes.

One row, token by token, as it is kept: a small file for each row and state of the model. Needs no model to be read.

    NLL_t = −log π(y_t | x, y_<t)        H_t = −Σ_v π(v | x, y_<t) log π(v | x, y_<t)        nats

Their means over the row are its nll and entropy (core/models/forward_pass.py). Written by
core/measurement/token_view.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.algorithms.active_neurons import ABSENT, ActiveNeurons
from core.algorithms.influences import Influences
from core.errors import WorkspaceError
from core.measurement.runs import (
    INFLUENCES,
    SUBTASKS,
    Run,
)
from core.methods.combined import merge_columns
from core.pool.near_duplicates import load_near_duplicates
from core.schema import FloatArray, IntArray, Measured
from core.workspace.files import atomic_path, disk_errors, read_json, write_json
from core.workspace.folder import Workspace, content_key
from core.workspace.parts import Parts


def about(run: Run, kind: str) -> dict[str, Any]:
    """What a stage of this kind is keyed by, where it runs this run's model over this run's tokens."""
    return {
        "kind": kind,
        "tokens": content_key({"kind": "tokens", "pool": run.pool_id, "encoder": run.encoder}),
        "revision": run.model["revision"],
        "dtype": run.summary["dtype"],
    }


def base_parts(workspace: Workspace, run: Run) -> Parts:
    """NLL, entropy and embeddings under the base model, in parts. WorkspaceError when they are no longer there."""
    folder = workspace.folder("measurements", content_key(about(run, "probe") | {"state": None}))
    return _stored(folder, "what the base pass of this run left is", mapped=False)


def token_parts(workspace: Workspace, run: Run) -> Parts:
    """Token ids and response spans of every row. WorkspaceError when they are no longer there."""
    return _stored(
        workspace.folder("measurements", about(run, "")["tokens"]), "the tokens of this run are", mapped=True
    )


def _stored(folder: Path, what: str, *, mapped: bool) -> Parts:
    if not (folder / "plan.parquet").exists():
        raise WorkspaceError(f"{folder}: {what} gone. Measure again.")
    return Parts.open(folder, {}, [], mapped=mapped)


def trained_state(workspace: Workspace, run: Run) -> Path | None:
    """The folder of the calibrated state that this run was made with; None where it has none, or it is gone."""
    rounds = run.summary.get("rounds") or [{}]
    name = rounds[-1].get("state")
    folder = workspace.folder("models", name) / "state" if name else None
    return folder if folder is not None and folder.is_dir() else None


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


def read_states(folder: Path) -> ActiveNeurons:
    """The states in this folder, memory-mapped."""
    ends = np.load(folder / INDPTR, allow_pickle=False)
    mode: Literal["r"] | None = "r" if ends[-1] else None  # an empty file cannot be mapped
    indices = np.load(folder / INDICES, mmap_mode=mode, allow_pickle=False)
    return ActiveNeurons(ends, indices, read_json(folder / ABOUT)["neurons"], check=False)


def _tables(parts: Parts) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint32]]]:
    """Rows and their (n, K) states, part by part."""
    for part, rows in enumerate(parts.plan):
        column = parts.read(part, [COLUMN])[COLUMN].combine_chunks()
        yield rows, np.asarray(column.flatten()).reshape(len(rows), column.type.list_size)


KIND = "token view"
BASE, CALIBRATED = "base", "calibrated"  # states of the model
COLUMN_ENDS = {BASE: "", CALIBRATED: "_cal"}


@dataclass(frozen=True, eq=False)
class TokenView:
    """The T tokens of a row's response, in order."""

    texts: tuple[str, ...]  # (T,) "": part of a letter, which the next token ends
    nll: FloatArray  # (T,)
    entropy: FloatArray  # (T,)
    starts: tuple[int, ...]  # places where an answer begins: one, or several where all answers of a row count

    def __len__(self) -> int:
        return len(self.texts)


def token_file(workspace: Workspace, run: Run, row: int, state: Path | None) -> Path:
    """Where the view of a row, as this run read it, is or will be; `state`: None = the base model."""
    spec = about(run, KIND) | {"state": state.parent.name if state else None}
    return workspace.folder("measurements", content_key(spec)) / f"{row:08d}.json"


def read_view(file: Path) -> TokenView | None:
    """The view in this file; None where there is none yet."""
    if not file.exists():
        return None
    said = read_json(file)
    nll, entropy = (np.array(said[name], np.float32) for name in ("nll", "entropy"))
    return TokenView(tuple(said["texts"]), nll, entropy, tuple(said["starts"]))


def write_view(file: Path, view: TokenView) -> None:
    """Keep a view."""
    write_json(file, asdict(view))


def view_means(views: Mapping[str, Sequence[TokenView]]) -> list[dict[str, Any]]:
    """Of each row how many tokens its response has, and under each state the means, called as in a run's columns.

    None where there are no tokens.
    """
    means: list[dict[str, Any]] = [{"tokens": len(one)} for one in views[BASE]]
    for state, own in views.items():
        for row, one in zip(means, own, strict=True):
            for name, values in (("nll", one.nll), ("entropy", one.entropy)):
                row[name + COLUMN_ENDS[state]] = float(np.mean(values, dtype=np.float64)) if len(one) else None
    return means


MERGES = "merges.npy"


def load_measured(run: Run) -> Measured:
    """The run's columns as read-only arrays, one value per pool row; and what is known of near duplicates."""
    measured = _load_joined(run) if run.members else _load_one(run)
    return replace(measured, near_duplicates=load_near_duplicates(run.folder.parents[1], run.pool_id))


def _load_one(run: Run) -> Measured:
    table = pq.read_table(run.folder / "columns.parquet")
    columns = {name: table[name].to_numpy() for name in run.columns}
    for values in columns.values():
        values.flags.writeable = False
    derived = run.tasks.names if run.tasks is not None and run.tasks.derived else None
    return Measured(run.pool_id, columns, load_states(run), derived, load_merges(run), load_influences(run))


def _load_joined(run: Run) -> Measured:
    """What all members read, in one table; and what each reads."""
    once = {member.id: load_measured(member) for member in run.members}
    members = tuple(once[member.id] for member in run.members)
    derived = run.tasks.names if run.tasks is not None and run.tasks.derived else None
    return Measured(
        run.pool_id, merge_columns([each.columns for each in members]), derived_tasks=derived, members=members
    )


def load_states(run: Run) -> ActiveNeurons | None:
    """The activation states that the run was made with, memory-mapped; None where it has none.

    WorkspaceError when they are no longer there.
    """
    folder = kept_folder(run, "states")
    if folder is None:
        return None
    if not have_states(folder):
        raise WorkspaceError(f"{folder}: the activation states of this run are gone. Measure again.")
    return read_states(folder)


def kept_folder(run: Run, what: str) -> Path | None:
    """The measurement that holds states, answers, grams or bins of this run; None where it has none."""
    return run.folder.parents[1] / "measurements" / run.kept[what] if what in run.kept else None


def write_merges(folder: Path, merges: IntArray) -> None:
    """Keep which semantic bins become one, beside the bins."""
    with atomic_path(folder / MERGES) as temporary, temporary.open("wb") as file:
        np.save(file, merges, allow_pickle=False)


def load_merges(run: Run) -> IntArray | None:
    """Which semantic bins become one as there are fewer; None where the run has no bins."""
    folder = kept_folder(run, "bins")
    if folder is None:
        return None
    with disk_errors(folder / MERGES):
        merges: IntArray = np.load(folder / MERGES, allow_pickle=False)
    return merges


def load_influences(run: Run) -> Influences | None:
    """Influence of every row on every target, as it was summed over checkpoints; None where it was not measured."""
    folder = kept_folder(run, INFLUENCES)
    if folder is None:
        return None
    with disk_errors(folder):
        table = pq.read_table(folder / "part-00000.parquet")
    subtasks = {name: tuple(names) for name, names in read_json(folder / SUBTASKS).items()}
    width = sum(map(len, subtasks.values()))
    values = (table[side].combine_chunks().flatten().to_numpy().reshape(-1, width) for side in ("preference", "sft"))
    return Influences(subtasks, *values)
