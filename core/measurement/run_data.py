"""Stored data of finished runs, loaded without a model: stages, trained state, columns, artifacts."""

from dataclasses import replace
from pathlib import Path

from core.errors import WorkspaceError
from core.measurement import measurement_of
from core.measurement.runs import Run
from core.measurement.semantic_duplicates import load_semantic_duplicates
from core.methods.combined import merge_columns
from core.pool.near_duplicates import load_near_duplicates
from core.pool.pool_columns import load_columns
from core.schema import Measured, Reading
from core.workspace.files import damaged_files
from core.workspace.folder import Workspace
from core.workspace.parts import PLAN, Parts


def base_parts(workspace: Workspace, run: Run) -> Parts:
    """Open the NLL, entropy and embeddings of the base pass, in parts; WorkspaceError if they were removed."""
    return _open(workspace, run, "base", "the base pass of this run is", mapped=False)


def token_parts(workspace: Workspace, run: Run) -> Parts:
    """Open token ids and response spans of every row, in parts; WorkspaceError if they were removed."""
    return _open(workspace, run, "tokens", "the tokens of this run are", mapped=True)


def _open(workspace: Workspace, run: Run, name: str, what: str, *, mapped: bool) -> Parts:
    folder = workspace.folder("measurements", run.kept.get(name, "?"))
    if not (folder / PLAN).exists():
        raise WorkspaceError(f"{folder}: {what} missing. Measure again.")
    return Parts.stored(folder, mapped=mapped)


def trained_state(workspace: Workspace, run: Run, row: int) -> Path | None:
    """Return the folder of the calibrated model state that reads this row; None if it has none, or it was removed."""
    rounds = run.summary.get("rounds")
    if "groups" in run.summary:
        group = int(run.load_columns(["shift_group"])["shift_group"][row])
        rounds = run.summary["groups"][group]["rounds"] if group >= 0 else None
    name = rounds[-1].get("state") if rounds else None
    folder = workspace.folder("models", name) / "state" if name else None
    return folder if folder is not None and folder.is_dir() else None


def damaged_data(workspace: Workspace, run: Run) -> list[Path]:
    """Return the damaged files among all that a run was made from: stages, and trained states of the model."""
    states = [workspace.folder("models", name["state"]) for name in run.summary.get("rounds", ())]
    stages = [workspace.folder("measurements", key) for key in run.kept.values()]
    return [file for folder in (*stages, *states) for file in damaged_files(folder)]


def load_measured(run: Run) -> Measured:
    """Load the columns of a run as read-only arrays, its artifacts, and the pool's duplicates and columns."""
    loaded = _load_combined(run) if run.members else _load_one(run)
    stored = run.folder.parents[1], run.pool_id
    model = replace(Reading(**run.reading), revision=run.model["revision"])
    semantic = {name: rows.repeats for name, rows in load_semantic_duplicates(*stored, model).items()}
    of_pool = {"duplicates": load_near_duplicates(*stored) | semantic, "pool_columns": load_columns(*stored)}
    return Measured(run.pool_id, loaded.columns, {**loaded.artifacts, **of_pool})


def _load_one(run: Run) -> Measured:
    artifacts = measurement_of(run.method["name"]).load(run)
    return Measured(run.pool_id, run.load_columns(run.columns), {**artifacts, **_derived_tasks(run)})


def _load_combined(run: Run) -> Measured:
    """Load the columns of all members as one set, and each member as an artifact."""
    once = {member.id: load_measured(member) for member in run.members}
    members = tuple(once[member.id] for member in run.members)
    columns = merge_columns([each.columns for each in members])
    return Measured(run.pool_id, columns, {"members": members, **_derived_tasks(run)})


def _derived_tasks(run: Run) -> dict[str, tuple[str, ...]]:
    return {"derived_tasks": run.tasks.names} if run.tasks is not None and run.tasks.derived else {}
