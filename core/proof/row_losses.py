"""Figures of trained models row by row, read from the stages that training runs stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import WorkspaceError
from core.proof.plan import TargetRows, WorkKind
from core.proof.runs import MARGIN, NLL
from core.proof.stored import Proof
from core.schema import Float64Array
from core.workspace.folder import Workspace
from core.workspace.parts import Parts


@dataclass(frozen=True, eq=False)
class RowLosses:
    """What the models of some arms lose on each row of a target, at the first learning rate, mean over seeds.

    Of rows: NLL in nats per response token. Of pairs: the mean log-probability per token of the rejected response minus
    that of the chosen one. Lower is better.
    """

    target: TargetRows
    by_arm: Mapping[str, Float64Array]  # (R,)

    def difference(self, one: str, other: str) -> Float64Array:
        """(R,) the loss of one arm minus that of another; negative: the first is better."""
        return np.asarray(self.by_arm[one] - self.by_arm[other])


def load_row_losses(workspace: Workspace, proof: Proof, target: str, work: WorkKind, arms: Sequence[str]) -> RowLosses:
    """Load the losses of arms on a target. WorkspaceError if an arm has no stored training run."""
    rows = next(one for one in proof.targets if one.target.name == target)
    return RowLosses(rows, {arm: _mean_loss(workspace, proof, rows, work, arm) for arm in arms})


def _mean_loss(workspace: Workspace, proof: Proof, rows: TargetRows, work: WorkKind, arm: str) -> Float64Array:
    wanted = (arm, work, proof.plan.rates[0])
    stages = [run["stage"] for run in proof.runs if (run["arm"], run["work"], run["rate"]) == wanted]
    losses = [_read(workspace, stage, rows) for stage in stages]
    found = [loss for loss in losses if loss is not None]
    if not found:
        raise WorkspaceError(f"No figures of the arm '{arm}' are stored row by row. Run the same proof again.")
    return np.asarray(np.mean(found, axis=0), np.float64)


def _read(workspace: Workspace, stage: str, rows: TargetRows) -> Float64Array | None:
    """Return (R,) losses of one training run; None if its stage was deleted."""
    parts = Parts(workspace.folder("measurements", stage), (np.arange(1),))
    if parts.missing():
        return None
    table = parts.read(0)
    if rows.target.kind == "pairs":
        return -np.asarray(table[MARGIN + rows.target.name][0].as_py(), np.float64)
    return np.asarray(table[NLL + rows.target.name][0].as_py(), np.float64) / rows.response_tokens
