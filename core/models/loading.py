"""Loading of causal language models, and their LM head on its own.

    body:  token ids (B, T)      -> hidden states (B, T, d), after the final norm
    head:  hidden states (R, d)  -> logits (R, V), at the requested positions only

Weights are read from safetensors only, and code that comes with a model is never run.
"""

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from httpx2 import HTTPError
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from core.errors import DamagedFile, ModelError
from core.models.gguf import dequantise
from core.models.lora import load_adapter
from core.models.reference import check_files, find_gguf
from core.models.size_check import ADAPTER_CONFIG, check_config, check_counts, check_gguf, count_parameters
from core.schema import ModelRef
from core.workspace.files import damaged_files

BFLOAT16_MIN_PARAMETERS = 100_000_000  # smaller models use float32 on a CPU
DOWNLOAD_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
DOWNLOAD_EXCLUDES = ["*/*", "consolidated*"]
WEIGHTS_FILE = "model.safetensors"  # in the folder of a trained state: all parameters
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LOAD_ERRORS = (
    OSError, ValueError, TypeError, LookupError, AttributeError, ImportError, RuntimeError, ArithmeticError,
    AssertionError, MemoryError, SafetensorError, StrictDataclassError,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded model in one state: base, calibrated, or with an adapter."""

    ref: ModelRef
    network: Any  # transformers.PreTrainedModel, in eval mode on `device`
    tokenizer: Any
    device: str  # "cpu", "cuda", "cuda:1"
    dtype: str  # compute dtype: "float32" | "bfloat16"
    parameters: int
    hidden: int  # d, the width of a hidden state
    vocabulary: int  # V, the width of the logits
    max_length: int  # context length in tokens
    memory: int | None = None  # bytes of a GPU that batches are planned for (core.models.batching.planned_memory)


def pick_device() -> str:
    """Return the first CUDA device if there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def pick_dtype(device: str, parameters: int = BFLOAT16_MIN_PARAMETERS) -> str:
    """Return bfloat16 where the hardware computes it natively, else float32.

    On a CPU this requires AVX-512 BF16 or AMX, and a model of at least BFLOAT16_MIN_PARAMETERS parameters. Smaller
    models, including the embedded one, gain little and stay in float32, where results are reproducible bit for bit.
    """
    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    fast = any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return "bfloat16" if fast and parameters >= BFLOAT16_MIN_PARAMETERS else "float32"


def device_limit(limits: Mapping[str, int], device: str) -> int:
    """Return the limit of this kind of device; that of "cpu" for a kind without one."""
    return limits.get(torch.device(device).type, limits["cpu"])


def load_tokenizer(ref: ModelRef) -> Any:
    """Load the model's tokenizer, with `model_max_length` capped at the model's context length.

    Raises ModelError if it cannot be loaded without running the model's own code.
    """
    folder = fetch_model(ref)
    check_counts(ref, folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        tokenizer.model_max_length = min(int(tokenizer.model_max_length), _context_length(config))
    except LOAD_ERRORS as error:
        raise ModelError(f"Model {ref.name!r}: its tokenizer cannot be loaded ({first_line(error)}).") from error
    return tokenizer


def load_model(ref: ModelRef, *, dtype: str = "auto", device: str = "auto", state: Path | None = None) -> Model:
    """Load the model, optionally in the `state` folder written by `core.models.training.finetune.train`.

    A LoRA adapter is not merged into the weights, because in bfloat16 merging would round it away. Raises ModelError if
    it is not a causal language model, does not fit into memory, lacks weights, or needs its own code.
    """
    device = check_device(device)
    dtype = resolve_dtype(ref, dtype, device)
    network = load_network(ref, dtype)
    if state is not None:
        network = _apply_state(network, state)
    return wrap_network(ref, move_to_device(network, device, ref), device=device, dtype=dtype)


def wrap_network(ref: ModelRef, network: Any, *, device: str, dtype: str) -> Model:
    """Return a network that is on its device as a `Model`, for evaluation."""
    head = network.get_output_embeddings()
    return Model(
        ref=ref,
        network=network.eval(),
        tokenizer=load_tokenizer(ref),
        device=device,
        dtype=dtype,
        parameters=sum(p.numel() for p in network.parameters()),
        hidden=int(head.weight.shape[1]),
        vocabulary=int(head.weight.shape[0]),
        max_length=_context_length(network.config),
    )


def resolve_dtype(ref: ModelRef, dtype: str, device: str) -> str:
    """Return the dtype, for "auto" the one that `pick_dtype` returns for this model."""
    return pick_dtype(device, count_parameters(fetch_model(ref))) if dtype == "auto" else dtype


def load_network(ref: ModelRef, dtype: str) -> Any:
    """Load the bare transformers model on the CPU; ModelError if any weight is missing from its files."""
    folder = fetch_model(ref)
    if dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r} is not known; choose auto, {' or '.join(DTYPES)}.")
    try:
        check_config(ref, folder)
        with without_progress_bars():
            network, report = AutoModelForCausalLM.from_pretrained(
                folder, dtype=DTYPES[dtype], trust_remote_code=False, use_safetensors=True, output_loading_info=True
            )
    except LOAD_ERRORS as error:
        raise ModelError(
            f"Model {ref.name!r} cannot be loaded as a causal language model ({first_line(error)})."
        ) from error
    check_weights(ref, report)
    if network.get_output_embeddings() is None:
        raise ModelError(f"Model {ref.name!r} has no language-model head.")
    return network


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Suppress the progress bar that transformers shows while loading weights."""
    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()


def check_weights(ref: ModelRef, report: Mapping[str, Any], unused: tuple[str, ...] = ()) -> None:
    """Raise ModelError if transformers' loading report names weights that are not in the files.

    Names that begin with one of `unused` may be missing.
    """
    names = [str(key) for key in [*report["missing_keys"], *report["mismatched_keys"]]]
    if missing := sorted(name for name in names if not name.startswith(unused)):
        raise ModelError(
            f"Model {ref.name!r}: {len(missing)} weights are not in its files or have another shape, {missing[0]} "
            "first. It would run with random numbers in their place, so it is not used."
        )


def fetch_model(ref: ModelRef) -> Path:
    """Return the model's folder; dequantise a GGUF file, or download this revision from the hub, if it is not there.

    Raises ModelError for a folder with files that describe no model (`check_files`).
    """
    folder, file = Path(ref.path), find_gguf(ref.name)
    if not folder.is_dir():
        folder = _make_folder(ref, folder, file)
    check_files(folder)
    return folder


def _make_folder(ref: ModelRef, folder: Path, file: Path | None) -> Path:
    if file is None:
        return download_model(ref, ref.path, DOWNLOAD_EXCLUDES)
    try:
        check_gguf(ref, file)
        with without_progress_bars():
            dequantise(file, folder)
    except (*LOAD_ERRORS, struct.error) as error:
        raise ModelError(f"{file} cannot be read as a GGUF model ({first_line(error)}).") from error
    return folder


def download_model(ref: ModelRef, hub_id: str, excludes: list[str]) -> Path:
    """Download this revision from the hub, but files that match `excludes`; return its folder."""
    try:
        downloaded = snapshot_download(
            hub_id, revision=ref.revision, allow_patterns=DOWNLOAD_PATTERNS, ignore_patterns=excludes
        )
    except (HfHubHTTPError, HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise ModelError(
            f"Model {ref.name!r} cannot be downloaded ({first_line(error)}). Go online, or give a folder."
        ) from error
    return Path(downloaded)


def count_cards() -> int:
    """Return how many GPUs this process may use."""
    return torch.cuda.device_count()


def describe_device(device: str) -> dict[str, str | int]:
    """Return what the last digits of a score may depend on: kind of device, PyTorch's version and its threads."""
    kind = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "cpu"
    return {"device": kind, "torch": torch.__version__, "threads": torch.get_num_threads()}


def check_device(device: str) -> str:
    """Return the device, for "auto" the one that `pick_device` returns; ModelError if it cannot be used."""
    device = pick_device() if device == "auto" else device
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"Device {device!r} cannot be used here ({first_line(error)}). Choose 'cpu' or 'auto'."
        ) from error
    return device


def move_to_device(network: Any, device: str, ref: ModelRef) -> Any:
    """Move the network to the device; ModelError if it does not fit there.

    On a GPU, cuDNN's attention is turned off: it prepares a plan for every new shape, of which there are many here (one
    for each token that is generated), and that takes as long as the pass.
    """
    if torch.device(device).type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        return network.to(device)
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"Model {ref.name!r} does not fit into the memory of {device}. Choose a smaller model, or device 'cpu'."
        ) from error


def compute_logits(network: Any, hidden: Tensor) -> Tensor:
    """Compute logits (R, V) from hidden states (R, d), scaled or capped as in the model's own forward pass.

    Gemma caps them (tanh), Cohere and Granite scale them, Falcon-H1 multiplies them. `check_head` verifies that nothing
    else is applied.
    """
    config = network.config.get_text_config()
    logits: Tensor = network.get_output_embeddings()(hidden)
    if scale := getattr(config, "logit_scale", None):
        logits = logits * scale
    if multiplier := getattr(config, "lm_head_multiplier", None):
        logits = logits * multiplier
    if scaling := getattr(config, "logits_scaling", None):
        logits = logits / scaling
    if cap := getattr(config, "final_logit_softcapping", None) or getattr(config, "logits_soft_cap", None):
        logits = torch.tanh(logits / cap) * cap
    return logits


@torch.inference_mode()
def check_head(network: Any, device: str) -> None:
    """Compare body + `compute_logits` with the whole model on a few tokens; ModelError if they differ."""
    vocabulary = network.get_input_embeddings().weight.shape[0]
    tokens = torch.arange(3, 3 + 7, device=device).remainder(vocabulary)[None]
    hidden = network.base_model(input_ids=tokens, use_cache=False).last_hidden_state
    ours = compute_logits(network, hidden[0]).float()
    whole = network(input_ids=tokens, use_cache=False).logits[0].float()
    tolerance = 1e-4 if network.dtype == torch.float32 else 0.05
    if ours.shape != whole.shape or not torch.allclose(ours, whole, rtol=tolerance, atol=tolerance):
        raise ModelError(
            f"The architecture {type(network).__name__} transforms its logits in an unsupported way, so its "
            "likelihoods would be wrong. Choose another model."
        )


def _apply_state(network: Any, state: Path) -> Any:
    """Return the network in a trained state: with an adapter added, or with all weights replaced."""
    for damaged in damaged_files(state):
        raise DamagedFile(f"{damaged} is damaged or missing. Measure again to repeat the training.")
    try:
        if (state / ADAPTER_CONFIG).exists():
            return load_adapter(network, state)
        weights = load_file(state / WEIGHTS_FILE)
    except LOAD_ERRORS as error:
        raise ModelError(
            f"The trained state in {state} cannot be read ({first_line(error)}). Train it again."
        ) from error
    parameters = dict(network.named_parameters())
    if parameters.keys() != weights.keys() or any(parameters[k].shape != weights[k].shape for k in parameters):
        raise ModelError(f"The trained state in {state} belongs to another model. Train it again for this one.")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
    return network


def _context_length(config: Any) -> int:
    """Return the context length in tokens from the configuration; a very large number if it sets none."""
    return int(getattr(config.get_text_config(), "max_position_embeddings", None) or 10**9)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters; its type if there is no message.

    A first line that ends with a colon has the second one after it.
    """
    first, *rest = str(error).strip().split("\n")
    text = f"{first} {rest[0].strip()}" if rest and first.endswith(":") else first
    return text[:200] or type(error).__name__


def peak_memory(device: str) -> int:
    """Return the peak bytes of a GPU that this process allocated there; on a processor, the bytes it holds now."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    return int(psutil.Process().memory_info().rss)
