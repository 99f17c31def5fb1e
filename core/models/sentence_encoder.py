"""Sentence encoders: texts to unit vectors in which near means alike in sense.

Only sentence-transformers models are read, from safetensors, in float32; code that comes with a model is never run.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from httpx2 import HTTPError
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from sentence_transformers import SentenceTransformer
from transformers.utils import logging

from core.errors import ModelError
from core.models.loading import LOAD_ERRORS, check_device, move_to_device, pick_device
from core.models.reference import EMBEDDED, resolve_model, weight_files
from core.schema import FloatArray, ModelRef

MODULES_FILE = "modules.json"  # what a sentence-transformers model is made of
SUPPORTED_MODULES = (
    "Transformer",
    "Pooling",
    "Dense",
    "LayerNorm",
    "Normalize",
)  # modules that are nothing but arithmetic
MODULES_WITH_WEIGHTS = ("Dense", "LayerNorm")  # those with weights in a folder of their own
WEIGHTS_FILE = "model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
DOWNLOAD_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
DOWNLOAD_EXCLUDES = ["onnx/*", "openvino/*", "consolidated*"]
BATCH_SIZE = 32


class SentenceEncoder:
    """A sentence-transformers model, by hub id or folder, ready to encode.

    ModelError when there is none, it is none, it needs weights that are not in safetensors or code of its own, it does
    not fit, or `revision` is not what a folder holds. A hub model in the local cache is taken from there.
    """

    revision: str  # commit of the hub, or 32 hex digits over the folder's files
    width: int  # d

    def __init__(self, name: str, *, device: str = "auto", revision: str | None = None) -> None:
        place = check_device(pick_device() if device == "auto" else device)
        self.ref, folder = _find(name, revision)
        self.revision = self.ref.revision
        self._network = move_to_device(_load(self.ref, folder), place, self.ref).eval()
        self.width = int(self._network.get_embedding_dimension())

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        """(N, d) unit vectors, row i of text i: the same to 1e-5 in any batch and order. Texts longer than the model
        reads lose their end."""
        if len(texts) == 0:
            return np.empty((0, self.width), np.float32)
        try:
            found = self._network.encode(
                list(texts), batch_size=BATCH_SIZE, show_progress_bar=False, normalize_embeddings=True
            )
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"Model {self.ref.name!r}: {BATCH_SIZE} texts do not fit into the device's memory beside it. Choose a "
                "smaller model, or device 'cpu'."
            ) from error
        return np.asarray(found, np.float32)


def _find(name: str, revision: str | None) -> tuple[ModelRef, Path]:
    """The model, and its folder, checked."""
    own = name == EMBEDDED or Path(name).expanduser().is_dir()
    ref = resolve_model(name, None if own else revision)
    folder = Path(ref.path) if own else _whole(ref)
    parts = _parts(ref, folder)
    for kind, path in parts:
        if kind in MODULES_WITH_WEIGHTS and not (path / WEIGHTS_FILE).is_file():
            raise ModelError(
                f"Model {name!r}: no {WEIGHTS_FILE} in {path}. Only safetensors weights are read; save the model again "
                "with save_pretrained."
            )
    weight_files(folder)
    if not own:
        return ref, folder
    found = _digest(ref, folder, parts)
    if revision not in (None, found):
        raise ModelError(f"Model {name!r}: its files are revision {found}, not {revision} as asked; they have changed.")
    return ModelRef(name, ref.path, found, ref.size_bytes), folder


def _whole(ref: ModelRef) -> Path:
    """The folder of a hub model with all that it is made of; downloads what is not on this machine yet."""
    folder = Path(ref.path)
    if folder.is_dir() and (folder / MODULES_FILE).is_file():
        needed = [path for kind, path in _parts(ref, folder) if kind not in ("Transformer", "Normalize")]
        if all((path / "config.json").is_file() for path in needed):
            return folder
    try:
        found = snapshot_download(
            ref.name, revision=ref.revision, allow_patterns=DOWNLOAD_PATTERNS, ignore_patterns=DOWNLOAD_EXCLUDES
        )
    except (HfHubHTTPError, HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise ModelError(
            f"Model {ref.name!r} cannot be downloaded ({_first_line(error)}). Go online, or give a folder."
        ) from error
    return Path(found)


def _parts(ref: ModelRef, folder: Path) -> list[tuple[str, Path]]:
    """Kind and folder of each module; ModelError when one is not known here."""
    if not (folder / MODULES_FILE).is_file():
        raise ModelError(
            f"Model {ref.name!r} has no {MODULES_FILE}, so it is not a sentence-transformers model, or only a "
            "part of one. "
            "Choose one that is, such as 'sentence-transformers/all-MiniLM-L6-v2', or go online to have it whole."
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
        if not _known(kind, path):
            raise ModelError(
                f"Model {ref.name!r}: module {kind!r} in {str(path)!r} is not one of {', '.join(SUPPORTED_MODULES)} of "
                "sentence-transformers. Code that comes with a model is not run; choose another one."
            )
    return [(kind.rpartition(".")[2], folder / path) for kind, path in listed]


def _known(kind: str, path: PurePosixPath) -> bool:
    """Is this a module of the library, in a folder of its own: the Transformer at the top, others below it?"""
    top, _, last = kind.rpartition(".")
    inside = not path.is_absolute() and ".." not in path.parts
    below = path != PurePosixPath() or last == "Normalize"
    place = not below if last == "Transformer" else below
    return top.split(".")[0] == "sentence_transformers" and last in SUPPORTED_MODULES and inside and place


def _digest(ref: ModelRef, folder: Path, parts: list[tuple[str, Path]]) -> str:
    """32 hex digits over what decides the vectors: the files that any model has, and what is done to its output."""
    digest = hashlib.sha256(ref.revision.encode())
    paths = {folder / MODULES_FILE, *folder.glob("*sentence*.json")}
    paths |= {path / name for _, path in parts if path != folder for name in ("config.json", WEIGHTS_FILE)}
    for path in sorted(path for path in paths if path.is_file()):
        digest.update(f"\0{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


def _load(ref: ModelRef, folder: Path) -> Any:
    """The network on the CPU, every weight of it read from the files, none made up."""
    weights = {"use_safetensors": True, "dtype": torch.float32}
    try:
        with _no_bars():
            network = SentenceTransformer(
                str(folder), device="cpu", trust_remote_code=False, local_files_only=True, model_kwargs=weights
            )
            body: Any = network[0].auto_model
            _, report = type(body).from_pretrained(  # on "meta" nothing is read but the names and shapes
                folder, config=body.config, device_map="meta", use_safetensors=True, output_loading_info=True
            )
    except LOAD_ERRORS as error:
        raise ModelError(
            f"Model {ref.name!r} cannot be loaded as a sentence encoder ({_first_line(error)})."
        ) from error
    keys = [str(key) for key in [*report["missing_keys"], *report["mismatched_keys"]]]
    lacking = sorted(key for key in keys if not key.startswith("pooler."))  # BERT's own, which no encoder here uses
    if lacking:
        raise ModelError(
            f"Model {ref.name!r}: {len(lacking)} weights are not in its files or have another shape, {lacking[0]} "
            "first. It would run with random numbers in their place, so it is not used."
        )
    return network


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without the bar that transformers draws while it reads weights."""
    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200] or type(error).__name__
