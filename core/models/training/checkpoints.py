"""Checkpoints of a training on disk: the latest step, to resume from, and every epoch, to keep.

checkpoint/step-00000120/weights.safetensors    the trained parameters
                         moments.safetensors    AdamW's two averages of each
                         progress.json          the losses so far, and the key of the training
epochs/1/state/                 the adapter, an input of `core.models.loading.load_model`
         moments.safetensors    AdamW's two averages of each parameter, by its name
         epoch.json             epoch, steps so far, mean learning rate of the epoch's steps, key of the training

A folder is complete or absent. An epoch is written before any checkpoint of a later step, so a training resumed from a
checkpoint already has every earlier epoch and will recompute the later ones.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from core.errors import ModelError, WorkspaceError
from core.workspace.files import (
    LOG,
    atomic_folder,
    damaged_files,
    disk_errors,
    is_whole,
    read_json,
    reading,
    write_json,
)

MOMENT_NAMES = ("exp_avg", "exp_avg_sq")


def save_checkpoint(
    folder: Path, key: str, losses: list[float], parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.AdamW
) -> None:
    """Write a checkpoint, then delete the previous one, so that a complete one always exists."""
    target = folder / f"step-{len(losses):08d}"
    with atomic_folder(target) as temporary:
        write_tensors(temporary / "weights.safetensors", parameters)
        write_tensors(temporary / "moments.safetensors", optimizer_moments(parameters, optimizer))
        write_json(temporary / "progress.json", {"key": key, "losses": losses})
    with disk_errors(folder):
        for old in folder.glob("step-*"):
            if old != target:
                shutil.rmtree(old)


def restore_checkpoint(
    folder: Path, key: str, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.AdamW
) -> list[float]:
    """Restore parameters and optimizer from the last checkpoint; return its losses, [] if there is none.

    Raises ModelError if the checkpoint belongs to another training.
    """
    folders = sorted(folder.glob("step-*"))
    if not folders or _remove_if_damaged(folder, damaged_files(folders[-1])):
        return []
    progress = read_json(folders[-1] / "progress.json")
    check_key(folder, progress["key"], key)
    weights, moments = (read_tensors(folders[-1] / f"{name}.safetensors") for name in ("weights", "moments"))
    losses: list[float] = progress["losses"]
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
            optimizer.state[parameter] = {
                "step": torch.tensor(float(len(losses)), device=parameter.device),  # a fused AdamW counts there
                **{moment: moments[f"{name}.{moment}"].to(parameter.device) for moment in MOMENT_NAMES},
            }
    return losses


def optimizer_moments(parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """Return AdamW's two averages of each parameter, as `<parameter>.exp_avg` and `<parameter>.exp_avg_sq`."""
    return {f"{name}.{moment}": optimizer.state[p][moment] for name, p in parameters.items() for moment in MOMENT_NAMES}


def check_key(folder: Path, actual: str, expected: str) -> None:
    """Raise ModelError unless `folder` was written with the same rows, model and settings."""
    if actual != expected:
        raise ModelError(f"{folder} holds a training on other rows, model or settings. Train in another folder.")


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file; WorkspaceError if the disk cannot be written."""
    with _weight_errors(path.parent):
        save_file({name: tensor.detach().cpu() for name, tensor in tensors.items()}, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; DamagedFile if it is missing or damaged."""
    with reading(path, SafetensorError):
        return load_file(path)


def remove_damaged_training(folder: Path) -> None:
    """Remove a training of which a file is damaged, so that it is repeated; its latest step is no matter here."""
    curve = folder / "loss.json"
    lost = [curve] if (folder / "state").exists() and not is_whole(curve) else []
    _remove_if_damaged(folder, [*damaged_files(folder / "state"), *damaged_files(folder / "epochs"), *lost])


def _remove_if_damaged(folder: Path, damaged: Sequence[Path]) -> bool:
    if damaged:
        LOG.warning("%s is damaged or missing, and the training is repeated.", damaged[0])
        with disk_errors(folder):
            shutil.rmtree(folder)
    return bool(damaged)


def write_adapter(folder: Path, network: Any) -> None:
    """Write a LoRA adapter for `core.models.loading.load_model`; WorkspaceError if the disk cannot be written."""
    with _weight_errors(folder):
        network.save_pretrained(str(folder))


@contextmanager
def _weight_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except SafetensorError as error:
        raise WorkspaceError(
            f"{folder.parent}: weights cannot be written ({error}). Free some space and run the same command "
            "again; it continues from the last checkpoint."
        ) from error


@dataclass(frozen=True)
class EpochCheckpoint:
    """The state of a training at the end of one epoch."""

    epoch: int  # 1, 2, ...
    state: Path  # for core.models.loading.load_model
    moments: Path  # for AdamMoments.from_file
    steps: int  # optimizer steps since the start of the training
    learning_rate: float  # mean over the steps of this epoch


def save_epoch(
    folder: Path, epoch: int, *, key: str, network: Any, moments: Mapping[str, Tensor], rates: Sequence[float]
) -> None:
    """Save epoch 1, 2, ... after its last step; `rates` are the learning rates of all steps so far.

    An existing one is left unchanged: the training was interrupted after it and has now recomputed it.
    """
    target = _epoch_folder(folder, epoch)
    if target.exists():
        return
    own = rates[-(len(rates) // epoch) :]  # every epoch has the same number of steps
    about = {"epoch": epoch, "steps": len(rates), "learning_rate": float(np.mean(own))}
    with atomic_folder(target) as temporary:
        write_adapter(temporary / "state", network)
        write_tensors(temporary / "moments.safetensors", moments)
        write_json(temporary / "epoch.json", about | {"key": key})


def check_epochs(folder: Path, finished: int, key: str) -> None:
    """Check, before resuming, that the first `finished` epochs are stored and belong to this training.

    Removes what an interrupted write left. Raises ModelError for another training, WorkspaceError for a missing epoch.
    """
    with disk_errors(folder):
        for half in folder.glob("epochs/.*"):
            shutil.rmtree(half)
    expected = {_epoch_folder(folder, epoch) for epoch in range(1, finished + 1)}
    for place in sorted(expected.union(folder.glob("epochs/*"))):
        _checkpoint(place, key)


def load_epoch_checkpoints(folder: Path) -> tuple[EpochCheckpoint, ...]:
    """Return one checkpoint for each epoch of the finished training in `folder`; WorkspaceError if any is missing."""
    if not (folder / "loss.json").exists():
        raise WorkspaceError(f"{folder} has no finished training. Run the training again to continue it.")
    about = read_json(folder / "loss.json")
    if not about["spec"].get("epoch_checkpoints", False):
        raise WorkspaceError(f"{folder}: this training kept none of its epochs. Train again with epoch_checkpoints.")
    epochs = range(1, about["spec"]["epochs"] + 1)
    return tuple(_checkpoint(_epoch_folder(folder, epoch), about["key"]) for epoch in epochs)


def _checkpoint(place: Path, key: str) -> EpochCheckpoint:
    folder = place.parent.parent
    state, moments, about = place / "state", place / "moments.safetensors", place / "epoch.json"
    if not (state.is_dir() and moments.exists() and about.exists()):
        raise WorkspaceError(f"{place} is missing or incomplete. Remove {folder} and train again.")
    record = read_json(about)
    check_key(folder, record["key"], key)
    return EpochCheckpoint(record["epoch"], state, moments, record["steps"], record["learning_rate"])


def _epoch_folder(folder: Path, epoch: int) -> Path:
    return folder / "epochs" / str(epoch)
