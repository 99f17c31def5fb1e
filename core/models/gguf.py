"""GGUF files: their weights are dequantised once, into a folder that is loaded like any other model.

The numbers are those of the quantised file, rounded to bfloat16: 2 bytes a parameter. The tokenizer and its chat
template come from the file too. Reading the format is transformers' work, which needs the package `gguf`.
"""

from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.quantization_config import GgufConfig

from core.errors import ModelError
from core.workspace.files import atomic_folder


def dequantise(file: Path, folder: Path) -> None:
    """Write the model of a GGUF file to `folder`, as config.json, model.safetensors and the tokenizer's files.

    Raises ModelError if the package `gguf` is not installed, and what transformers raises for a file it cannot read.
    """
    if find_spec("gguf") is None:
        raise ModelError(f"{file.name}: GGUF files are read with the package gguf. Install it: pip install gguf.")
    options = {"gguf_file": file.name, "trust_remote_code": False, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **options)
    network = AutoModelForCausalLM.from_pretrained(
        file.parent, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True), **options
    )
    with atomic_folder(folder) as temporary:
        network.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
