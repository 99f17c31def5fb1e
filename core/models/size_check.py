"""Checks that a model is about as large as its files, before it is built.

A configuration of 10⁶ layers would take hours or all memory to build, before any weight is found to be missing. So its
counts are compared with the number of tensors, and the model is built without memory for its parameters first.
"""

import re
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM

from core.errors import ModelError
from core.models.gguf import read_header
from core.models.reference import read_model_json, weight_files
from core.schema import ModelRef

ADAPTER_CONFIG = "adapter_config.json"  # in the folder of a trained state: a LoRA adapter
# settings that say how many modules are built in a loop
COUNTS = re.compile(r"(?:.*[_.])?(?:layers?|blocks?|experts|(?:block|expert)_count)")
FEW = 1024  # modules that are built in no time
PACKED = 8  # quantised weights may hold so many parameters in one number
SPARE = 1 << 26  # numbers that a model computes when it is built, such as positions


def count_parameters(folder: Path) -> int:
    """Count the parameters of a model folder from its safetensors headers, without reading weights."""
    return sum(_tensor_sizes(folder))


def _tensor_sizes(folder: Path) -> list[int]:
    """Return the number of elements of every tensor in a model folder, read from the headers of its weight files."""
    sizes: list[int] = []
    for path in weight_files(folder):
        try:
            with safe_open(path, "pt") as file:
                names = file.keys()  # it cannot be iterated itself
                sizes += [prod(file.get_slice(name).get_shape()) for name in names]
        except SafetensorError as error:
            raise ModelError(f"{path} is not a complete safetensors file. Save or download the model again.") from error
    return sizes


def check_config(ref: ModelRef, folder: Path, kind: Any = AutoModelForCausalLM) -> None:
    """Raise ModelError if config.json describes a model far larger than the weights in the folder, or an adapter.

    `kind` is the class of transformers that builds it.
    """
    if (folder / ADAPTER_CONFIG).exists():
        raise ModelError(f"Model {ref.name!r} is an adapter, or its folder has one. Merge it into its base first.")
    sizes = check_counts(ref, folder)
    _check_size(ref, AutoConfig.from_pretrained(folder, trust_remote_code=False), sum(sizes), kind)


def check_counts(ref: ModelRef, folder: Path) -> list[int]:
    """Return the size of every tensor; ModelError if config.json counts more layers than there are tensors."""
    sizes = _tensor_sizes(folder)
    _compare_counts(ref, _integers(read_model_json(folder / "config.json")), len(sizes))
    return sizes


def check_gguf(ref: ModelRef, file: Path) -> None:
    """Check the settings of a GGUF file as `check_config` checks those of a folder."""
    sizes, settings = read_header(file)
    _compare_counts(ref, settings.items(), len(sizes))
    config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
    _check_size(ref, config, sum(sizes), AutoModelForCausalLM)


def _compare_counts(ref: ModelRef, settings: Iterable[tuple[str, int]], tensors: int) -> None:
    """Raise ModelError for a setting that counts layers, and counts more than there are tensors."""
    for name, value in settings:
        if COUNTS.fullmatch(name) and value > max(tensors, FEW):
            raise ModelError(
                f"Model {ref.name!r}: its configuration has {name} {value:,}, but its files hold only {tensors:,} "
                "tensors. Save or download the model again."
            )


def _check_size(ref: ModelRef, config: Any, held: int, kind: Any) -> None:
    """Build the model without memory for its parameters; ModelError if it has far more than the files hold."""
    with torch.device("meta"):
        network = kind.from_config(config, trust_remote_code=False)
    described = sum(p.numel() for p in network.parameters())
    computed = sum(b.numel() for b in network.buffers())
    if described > PACKED * held or computed > PACKED * held + SPARE:
        raise ModelError(
            f"Model {ref.name!r}: its configuration describes {max(described, computed):,} parameters, but its files "
            f"hold {held:,}. Save or download the model again."
        )


def _integers(value: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """Yield the name and value of every integer in JSON data."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _integers(part, key)
    elif isinstance(value, int):
        yield name, value
