"""What is kept of every epoch of a training, for good: the adapter, AdamW's averages, the rate it was trained at.

epochs/1/state/                 the adapter, as `core.model.load_model` takes it
         moments.safetensors    AdamW's two averages of each parameter, by its name
         epoch.json             epoch, steps taken so far, mean learning rate of its steps, key of the training

A folder is whole or absent. It is written before any checkpoint of a later step, so a training that goes on from a
checkpoint has those of all epochs behind it, and comes by the others again.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from core.checkpoints import check_key, sync_files, write_adapter, write_tensors
from core.errors import WorkspaceError
from core.store import atomic_folder, disk_errors, read_json, write_json


@dataclass(frozen=True)
class Checkpoint:
    """A training as it stood at the end of one epoch."""

    epoch: int  # 1, 2, ...
    state: Path  # for core.model.load_model
    moments: Path  # for core.adamform.Moments.of_file
    steps: int  # optimizer steps taken since the start of the training
    learning_rate: float  # mean over the steps of this epoch


def keep_epoch(
    folder: Path, epoch: int, *, key: str, network: Any, moments: Mapping[str, Tensor], rates: Sequence[float]
) -> None:
    """Keep epoch 1, 2, ... as it stands after its last step; `rates` are those of all steps up to here.

    One that is there already stays as it is: the training was interrupted after it, and has come by again.
    """
    target = _place(folder, epoch)
    if target.exists():
        return
    own = rates[-(len(rates) // epoch) :]  # every epoch has as many steps
    about = {"epoch": epoch, "steps": len(rates), "learning_rate": float(np.mean(own))}
    with atomic_folder(target) as temporary:
        write_adapter(temporary / "state", network)
        write_tensors(temporary / "moments.safetensors", moments)
        write_json(temporary / "epoch.json", about | {"key": key})
        sync_files(temporary)


def check_epochs(folder: Path, finished: int, key: str) -> None:
    """Before a training goes on: its first `finished` epochs are kept, and none of another training is.

    What an interrupted writing left behind is removed. ModelError for another training, WorkspaceError for a gap.
    """
    with disk_errors(folder):
        for half in folder.glob("epochs/.*"):
            shutil.rmtree(half)
    expected = {_place(folder, epoch) for epoch in range(1, finished + 1)}
    for place in sorted(expected.union(folder.glob("epochs/*"))):
        _checkpoint(place, key)


def epoch_checkpoints(folder: Path) -> tuple[Checkpoint, ...]:
    """One for each epoch of the finished training in `folder`, in order; WorkspaceError when any is missing."""
    if not (folder / "loss.json").exists():
        raise WorkspaceError(f"{folder} holds no finished training. Run the training again; it goes on where it was.")
    about = read_json(folder / "loss.json")
    if not about["spec"].get("epoch_checkpoints", False):
        raise WorkspaceError(f"{folder}: this training kept none of its epochs. Train again with epoch_checkpoints.")
    epochs = range(1, about["spec"]["epochs"] + 1)
    return tuple(_checkpoint(_place(folder, epoch), about["key"]) for epoch in epochs)


def _checkpoint(place: Path, key: str) -> Checkpoint:
    folder = place.parent.parent
    state, moments, about = place / "state", place / "moments.safetensors", place / "epoch.json"
    if not (state.is_dir() and moments.exists() and about.exists()):
        raise WorkspaceError(f"{place} is not there or not whole any more. Remove {folder} and train again.")
    told = read_json(about)
    check_key(folder, told["key"], key)
    return Checkpoint(told["epoch"], state, moments, told["steps"], told["learning_rate"])


def _place(folder: Path, epoch: int) -> Path:
    return folder / "epochs" / str(epoch)
