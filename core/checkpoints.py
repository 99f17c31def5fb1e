"""Where a training stands, on disk: one folder per checkpoint, whole or absent, the last one kept.

step-00000120/weights.safetensors    the trained parameters
              moments.safetensors    AdamW's two averages of each
              progress.json          the losses so far, and the key of the training
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from core.errors import ModelError, WorkspaceError
from core.store import atomic_folder, disk_errors, read_json, sync_folder, write_json

MOMENTS = ("exp_avg", "exp_avg_sq")


def save(
    folder: Path,
    *,
    key: str,
    losses: list[float],
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.AdamW,
) -> None:
    """Write a checkpoint, then drop the one before: at every moment there is a whole one."""
    target = folder / f"step-{len(losses):08d}"
    with atomic_folder(target) as temporary:
        write_tensors(temporary / "weights.safetensors", parameters)
        write_tensors(temporary / "moments.safetensors", moments_of(parameters, optimizer))
        write_json(temporary / "progress.json", {"key": key, "losses": losses})
        sync_files(temporary)
    with disk_errors(folder):
        for old in folder.glob("step-*"):
            if old != target:
                shutil.rmtree(old)


def restore(
    folder: Path, key: str, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.AdamW
) -> list[float]:
    """Put parameters and optimizer back to the last checkpoint; its losses, [] where there is none.

    ModelError when the checkpoint is of another training.
    """
    found = sorted(folder.glob("step-*"))
    if not found:
        return []
    progress = read_json(found[-1] / "progress.json")
    check_key(folder, progress["key"], key)
    with disk_errors(found[-1]):
        weights = load_file(found[-1] / "weights.safetensors")
        moments = load_file(found[-1] / "moments.safetensors")
    losses: list[float] = progress["losses"]
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
            optimizer.state[parameter] = {
                "step": torch.tensor(float(len(losses))),
                **{moment: moments[f"{name}.{moment}"].to(parameter.device) for moment in MOMENTS},
            }
    return losses


def moments_of(parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """AdamW's two averages of each parameter, as `<parameter>.exp_avg` and `<parameter>.exp_avg_sq`."""
    return {f"{name}.{moment}": optimizer.state[p][moment] for name, p in parameters.items() for moment in MOMENTS}


def check_key(folder: Path, found: str, expected: str) -> None:
    """ModelError unless what `folder` holds was made with the same rows, model and settings."""
    if found != expected:
        raise ModelError(f"{folder} holds a training on other rows, model or settings. Train in another folder.")


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file; WorkspaceError when the disk will not."""
    with _weights_into(path.parent):
        save_file({name: tensor.detach().cpu() for name, tensor in tensors.items()}, path)


def write_adapter(folder: Path, network: Any) -> None:
    """Write a LoRA adapter as `core.model.load_model` takes it; WorkspaceError when the disk will not."""
    with _weights_into(folder):
        network.save_pretrained(str(folder))


@contextmanager
def _weights_into(folder: Path) -> Iterator[None]:
    try:
        yield
    except SafetensorError as error:
        raise WorkspaceError(
            f"{folder.parent}: weights cannot be written ({error}). Free some space and run the same command "
            "again; it goes on from the last checkpoint."
        ) from error


def sync_files(folder: Path) -> None:
    """Put every file of the folder and of those in it on the disk, before the folder gets its name."""
    for path in folder.iterdir():
        if path.is_dir():
            sync_files(path)
            continue
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
