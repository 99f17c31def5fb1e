"""Sentence encoders: texts to unit vectors, where similar meanings are close.

Only sentence-transformers models are supported, in safetensors and float32. Code that comes with a model is never run.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

from core.errors import ModelError
from core.models import loading
from core.models.reference import EMBEDDED, check_files, check_revision, resolve_model, weight_files
from core.models.size_check import ADAPTER_CONFIG, check_config
from core.schema import FloatArray, ModelRef

MODULES_FILE = "modules.json"  # lists the modules of a sentence-transformers model
SUPPORTED_MODULES = ("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize")  # modules that only do arithmetic
MODULES_WITH_WEIGHTS = ("Dense", "LayerNorm")  # those with weights in their own folder
DOWNLOAD_EXCLUDES = ["onnx/*", "openvino/*", "consolidated*"]
BATCH_SIZE = 32


class SentenceEncoder:
    """A sentence-transformers model, by hub id or folder, ready to encode.

    Raises ModelError if it does not exist, is not a sentence-transformers model, has weights that are not in
    safetensors, needs its own code, does not fit into memory, or `revision` is not that of the folder. A hub model in
    the local cache is loaded from there.
    """

    def __init__(self, name: str, *, device: str = "auto", revision: str | None = None) -> None:
        self.device = device = loading.check_device(device)
        self.ref, folder = _resolve(name, revision)
        self.revision = self.ref.revision  # commit of the hub, or 32 hex digits over the folder's files
        self._network = loading.move_to_device(_load(self.ref, folder), device, self.ref).eval()
        self.width = int(self._network.get_embedding_dimension())  # d

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        """Encode N texts as (N, d) unit vectors, the same to 1e-5 in any batch. Overlong texts lose their end."""
        if len(texts) == 0:
            return np.empty((0, self.width), np.float32)
        try:
            vectors = self._network.encode(
                list(texts), batch_size=BATCH_SIZE, show_progress_bar=False, normalize_embeddings=True
            )
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"Model {self.ref.name!r}: {BATCH_SIZE} texts do not fit into the device's memory next to it. "
                "Choose a smaller model, or device 'cpu'."
            ) from error
        return np.asarray(vectors, np.float32)


def _resolve(name: str, revision: str | None) -> tuple[ModelRef, Path]:
    """Return the model's reference and its folder, both checked."""
    local = name == EMBEDDED or Path(name).expanduser().is_dir()
    ref = resolve_model(name, None if local else revision)
    folder = Path(ref.path) if local else _complete_folder(ref)
    check_files(folder)
    modules = _list_modules(ref, folder)
    for kind, path in modules:
        if kind in MODULES_WITH_WEIGHTS and not (path / loading.WEIGHTS_FILE).is_file():
            raise ModelError(
                f"Model {name!r}: no {loading.WEIGHTS_FILE} in {path}. Only safetensors weights are read; save the "
                "model again with save_pretrained."
            )
    weight_files(folder)
    if not local:
        return ref, folder
    actual = _digest(ref, folder, modules)
    check_revision(name, actual, revision)
    return ModelRef(name, ref.path, actual, ref.size_bytes), folder


def _complete_folder(ref: ModelRef) -> Path:
    """Return the folder of a complete hub model; download what is not on this machine."""
    folder = Path(ref.path)
    if folder.is_dir() and (folder / MODULES_FILE).is_file():
        needed = [path for kind, path in _list_modules(ref, folder) if kind not in ("Transformer", "Normalize")]
        if all((path / "config.json").is_file() for path in needed):
            return folder
    return loading.download_model(ref, ref.name, DOWNLOAD_EXCLUDES)


def _list_modules(ref: ModelRef, folder: Path) -> list[tuple[str, Path]]:
    """Return kind and folder of each module; ModelError for an unsupported one."""
    if not (folder / MODULES_FILE).is_file():
        raise ModelError(
            f"Model {ref.name!r} has no {MODULES_FILE}, so it is not a sentence-transformers model, or an "
            "incomplete one. Choose one, such as 'sentence-transformers/all-MiniLM-L6-v2', or go online to "
            "download it completely."
        )
    if (folder / ADAPTER_CONFIG).exists():
        raise ModelError(f"Model {ref.name!r} is an adapter. Merge it into its base first.")
    try:
        entries = json.loads((folder / MODULES_FILE).read_text(encoding="utf-8"))
        listed = [(str(entry["type"]), PurePosixPath(entry["path"])) for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"Model {ref.name!r}: its {MODULES_FILE} cannot be read. Download or save it again."
        ) from error
    for kind, path in listed:
        if not _is_supported(kind, path):
            raise ModelError(
                f"Model {ref.name!r}: module {kind!r} in {str(path)!r} is not one of {', '.join(SUPPORTED_MODULES)} of "
                "sentence-transformers. Code that comes with a model is not run; choose another one."
            )
    return [(kind.rpartition(".")[2], folder / path) for kind, path in listed]


def _is_supported(kind: str, path: PurePosixPath) -> bool:
    """Return whether this is a library module in its own folder: the Transformer at the top, others below."""
    top, _, last = kind.rpartition(".")
    inside = not path.is_absolute() and ".." not in path.parts
    below = path != PurePosixPath() or last == "Normalize"
    place = not below if last == "Transformer" else below
    return top.split(".")[0] == "sentence_transformers" and last in SUPPORTED_MODULES and inside and place


def _digest(ref: ModelRef, folder: Path, modules: list[tuple[str, Path]]) -> str:
    """Return 32 hex digits over everything that affects the vectors: the model's files and the modules on top."""
    digest = hashlib.sha256(ref.revision.encode())
    paths = {folder / MODULES_FILE, *folder.glob("*sentence*.json")}
    paths |= {path / name for _, path in modules if path != folder for name in ("config.json", loading.WEIGHTS_FILE)}
    for path in sorted(path for path in paths if path.is_file()):
        digest.update(f"\0{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


def _load(ref: ModelRef, folder: Path) -> Any:
    """Load the network on the CPU; ModelError if any weight is missing from its files."""
    weights = {"use_safetensors": True, "dtype": torch.float32}
    try:
        check_config(ref, folder, AutoModel)
        with loading.without_progress_bars():
            network = SentenceTransformer(
                str(folder), device="cpu", trust_remote_code=False, local_files_only=True, model_kwargs=weights
            )
            body: Any = network[0].auto_model
            _, report = type(body).from_pretrained(  # on "meta" only names and shapes are read
                folder, config=body.config, device_map="meta", use_safetensors=True, output_loading_info=True
            )
    except loading.LOAD_ERRORS as error:
        reason = loading.first_line(error)
        raise ModelError(f"Model {ref.name!r} cannot be loaded as a sentence encoder ({reason}).") from error
    loading.check_weights(ref, report, unused=("pooler.",))  # BERT's pooler, which no encoder here uses
    return network
