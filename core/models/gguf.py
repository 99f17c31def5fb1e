"""GGUF files: their weights are dequantised once, into a folder that is loaded like any other model.

The numbers are those of the quantised file, rounded to bfloat16: 2 bytes a parameter. The tokenizer and its chat
template come from the file too. Reading the format is transformers' work.
"""

from pathlib import Path

import torch
from gguf import GGUFReader, GGUFValueType
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.quantization_config import GgufConfig

from core.workspace.files import atomic_folder


def read_header(file: Path) -> tuple[list[int], dict[str, int]]:
    """Return the number of elements of every tensor of a GGUF file, and its integer settings by name.

    Raises what the package `gguf` raises for a file it cannot read.
    """
    reader = GGUFReader(file)
    no_numbers = (GGUFValueType.STRING, GGUFValueType.ARRAY, GGUFValueType.BOOL)
    settings = {
        name: field.parts[field.data[0]][0] for name, field in reader.fields.items() if field.types[0] not in no_numbers
    }
    return [int(t.n_elements) for t in reader.tensors], {name: int(value) for name, value in settings.items()}


def dequantise(file: Path, folder: Path) -> None:
    """Write the model of a GGUF file to `folder`, as config.json, model.safetensors and the tokenizer's files.

    Raises what transformers raises for a file it cannot read.
    """
    options = {"gguf_file": file.name, "trust_remote_code": False, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **options)
    network = AutoModelForCausalLM.from_pretrained(
        file.parent, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True), **options
    )
    with atomic_folder(folder) as temporary:
        network.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
