"""Where the base pass of a run lies, and its tokens and trained state: found from what the run says of itself.

The keys are those of core/sweep.py, which needs the model's tokenizer to make them; a finished run has kept its digest.
So nothing here needs a model, and all of it is what that run was made of, whatever was measured since.
"""

from pathlib import Path
from typing import Any

from core.errors import WorkspaceError
from core.runs import Run
from core.store import Parts, Workspace, content_key


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
