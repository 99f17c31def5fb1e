"""Loss curves of trainings for trackio or wandb, where one is installed and only on request.

    trackio   on this computer, in TRACKIO_DIR, unless its own settings name a server
    wandb     offline, unless WANDB_MODE says otherwise; the files are in WANDB_DIR, else in curves/ of the workspace

Each training is one run with the loss (nats per response token) of each step, and the settings of the plan. The curves
are those that a proof or a measurement has stored: nothing is read back, and no figure depends on them. A curve is
sent once; the workspace records which were.
"""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from core.errors import RecipeError, WorkspaceError
from core.measurement.runs import Run
from core.proof.stored import Proof
from core.workspace.files import make_folder, read_json, write_json
from core.workspace.folder import Workspace, content_key

Tracker = Literal["trackio", "wandb"]
PROJECT = "winnow"
SENT = "sent.json"
NOTHING_ELSE = {  # settings of wandb: no console, code, git state, machine or its load
    "console": "off",
    "silent": True,
    "disable_git": True,
    "disable_code": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
}


@dataclass(frozen=True)
class Curve:
    """The losses of one training."""

    name: str
    group: str  # of trainings that belong together
    losses: Sequence[float]  # of each step
    config: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The content key of the training: the same whenever it is sent."""
        return content_key({"name": self.name, "group": self.group, **self.config})


@dataclass(frozen=True)
class SentCurves:
    """What was sent to a tracker."""

    to: Tracker
    project: str
    sent: int
    sent_before: int
    folder: str  # of the files, where they are on this computer; "": the tracker's own


def require_tracker(tracker: Tracker) -> None:
    """Raise RecipeError if the tracker is not installed; to be asked before a training."""
    if find_spec(tracker) is None:
        raise RecipeError(f"--log-to {tracker}: it is not installed. Run: pip install {tracker}")


def proof_curves(proof: Proof) -> list[Curve]:
    """Return the curves of a proof's trainings; the untrained model has none."""
    plan = proof.plan
    shared = {"proof": proof.id, "pool": plan.pool["name"], "model": dict(plan.train_model), "budget": plan.budget}
    shared |= {"tokens_per_step": plan.work.tokens_per_step, "epochs": plan.work.epochs}
    return [
        Curve(
            f"{run['arm']}, seed {run['seed']}, learning rate {run['rate']:g}, equal {run['work']}",
            f"proof {proof.id}",
            run["losses"],
            shared | {name: run[name] for name in ("arm", "seed", "rate", "work", "rows", "tokens")},
        )
        for run in proof.runs
        if run["losses"]
    ]


def warm_up_curves(run: Run) -> list[Curve]:
    """Return the curves of the warm-up trainings of a measurement; none if it trained no model."""
    groups = run.summary.get("groups", ())
    rounds = [("", one) for one in run.summary.get("rounds", ())]
    rounds += [(f", {group['name']}", one) for group in groups for one in group["rounds"]]
    rounds += [("", run.summary["warm_up"])] if "warm_up" in run.summary else []
    shared = {"run": run.id, "model": dict(run.model), "seed": run.seed, **run.method["params"]}
    return [
        Curve(f"{run.method['name']} warm-up {k}{of}", f"measurement {run.id}", one["loss"], shared | {"warm_up": k})
        for k, (of, one) in enumerate(rounds, 1)
        if one.get("loss")
    ]


def send_curves(curves: Sequence[Curve], tracker: Tracker, workspace: Workspace) -> SentCurves:
    """Send the curves that were not sent yet. Raise RecipeError if the tracker is not installed or refuses them."""
    require_tracker(tracker)
    folder = workspace.root / "curves" / tracker
    record = folder / SENT
    sent = read_json(record)["sent"] if record.exists() else []
    missing = [curve for curve in curves if curve.key not in sent]
    if missing:
        make_folder(folder)
    for curve in missing:
        _send(curve, tracker, folder)
        sent.append(curve.key)
        write_json(record, {"sent": sent})
    own = str(folder / "wandb") if tracker == "wandb" and "WANDB_DIR" not in os.environ else ""
    return SentCurves(tracker, _project(tracker), len(missing), len(curves) - len(missing), own)


def _project(tracker: Tracker) -> str:
    return os.environ.get("WANDB_PROJECT", PROJECT) if tracker == "wandb" else PROJECT


def _send(curve: Curve, tracker: Tracker, folder: Path) -> None:
    with redirect_stdout(io.StringIO()):  # stdout is that of --json
        module = import_module(tracker)
        options: dict[str, Any] = {"auto_log_cpu": False, "auto_log_gpu": False, "embed": False}
        if tracker == "wandb":
            mode = os.environ.get("WANDB_MODE", "offline")
            options = {"id": curve.key, "resume": "allow", "mode": mode, "settings": module.Settings(**NOTHING_ELSE)}
            options["dir"] = os.environ.get("WANDB_DIR", str(folder))
        with _failures(module, tracker):
            run = module.init(
                project=_project(tracker), name=curve.name, group=curve.group, config=dict(curve.config), **options
            )
            for step, loss in enumerate(curve.losses, 1):
                run.log({"loss": loss}, step=step)
            run.finish()


@contextmanager
def _failures(module: Any, tracker: Tracker) -> Iterator[None]:
    """Turn what a tracker raises into one sentence."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, getattr(module, "Error", OSError)) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise WorkspaceError(
            f"{tracker} did not take the curves: {reason} All results are stored; the same command sends the rest."
        ) from error
