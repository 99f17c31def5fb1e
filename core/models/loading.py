"""Load a causal language model, and its head by itself.

    body:  token ids (B, T)      -> hidden states (B, T, d), after the final norm
    head:  hidden states (R, d)  -> logits (R, V), for those positions that are asked for

Everything is read from safetensors; code that comes with a model is never run.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from httpx2 import HTTPError
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from core.errors import ModelError
from core.models.lora import load_adapter
from core.models.reference import weight_files
from core.schema import ModelRef

BFLOAT16_MIN_PARAMETERS = 100_000_000  # parameters; below it a CPU computes in float32
DOWNLOAD_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
DOWNLOAD_EXCLUDES = ["*/*", "consolidated*"]
ADAPTER_CONFIG = "adapter_config.json"  # in a state's folder: a LoRA adapter
WEIGHTS_FILE = "model.safetensors"  # in a state's folder: every parameter
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LOAD_ERRORS = (OSError, ValueError, KeyError, AttributeError, ImportError, RuntimeError, SafetensorError)


@dataclass(frozen=True, eq=False)
class Model:
    """One model in one state, ready to be read from."""

    ref: ModelRef
    network: Any  # transformers.PreTrainedModel, in eval mode on `device`
    tokenizer: Any
    device: str  # "cpu", "cuda", "cuda:1"
    dtype: str  # what it computes in: "float32" | "bfloat16"
    parameters: int
    hidden: int  # d, the width of a hidden state
    vocabulary: int  # V, the width of the logits
    max_length: int  # tokens it can read at once


def pick_device() -> str:
    """The first CUDA device where there is one, else the processor."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def pick_dtype(device: str, parameters: int = BFLOAT16_MIN_PARAMETERS) -> str:
    """The dtype that pays on this device: bfloat16 where the hardware computes it, else float32.

    On a processor that means AVX-512 BF16 or AMX, and only for models of SMALL parameters and more: smaller ones,
    the embedded model among them, gain little and stay in float32, where results are the same bit for bit.
    """
    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    able = torch.cpu.get_capabilities()
    fast = able.get("avx512_bf16", False) or able.get("amx_bf16", False)
    return "bfloat16" if fast and parameters >= BFLOAT16_MIN_PARAMETERS else "float32"


def count_parameters(folder: Path) -> int:
    """Parameters in a model folder, from the headers of its safetensors; no weight is read."""
    total = 0
    for path in weight_files(folder):
        try:
            with safe_open(path, "pt") as file:
                names = file.keys()  # it cannot be iterated itself
                total += sum(prod(file.get_slice(name).get_shape()) for name in names)
        except SafetensorError as error:
            raise ModelError(f"{path} is not a whole safetensors file. Save or download the model again.") from error
    return total


def load_tokenizer(ref: ModelRef) -> Any:
    """The model's tokenizer; its `model_max_length` is at most what the model can read.

    ModelError when there is none that can be read without running code of the model's own.
    """
    folder = fetch_model(ref)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except LOAD_ERRORS as error:
        raise ModelError(f"Model {ref.name!r}: its tokenizer cannot be loaded ({_first_line(error)}).") from error
    tokenizer.model_max_length = min(int(tokenizer.model_max_length), _reach(config))
    return tokenizer


def load_model(ref: ModelRef, *, dtype: str = "auto", device: str = "auto", state: Path | None = None) -> Model:
    """The model, in the state that `core.models.training.finetune.train` wrote to `state` if one is given.

    A LoRA state is kept beside the weights, not merged into them: in bfloat16 merging would round it away.
    ModelError when it is no causal language model, does not fit, lacks weights, or needs code of its own.
    """
    folder = fetch_model(ref)
    place = check_device(pick_device() if device == "auto" else device)
    kind = pick_dtype(place, count_parameters(folder)) if dtype == "auto" else dtype
    network = load_network(ref, kind)
    if state is not None:
        network = _with_state(network, state)
    network = move_to_device(network, place, ref).eval()
    head = network.get_output_embeddings()
    return Model(
        ref=ref,
        network=network,
        tokenizer=load_tokenizer(ref),
        device=place,
        dtype=kind,
        parameters=sum(p.numel() for p in network.parameters()),
        hidden=int(head.weight.shape[1]),
        vocabulary=int(head.weight.shape[0]),
        max_length=_reach(network.config),
    )


def load_network(ref: ModelRef, dtype: str) -> Any:
    """The bare transformers model on the CPU, every weight of it read from the files, none made up."""
    folder = fetch_model(ref)
    if dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r} is not known; choose auto, {' or '.join(DTYPES)}.")
    try:
        network, report = AutoModelForCausalLM.from_pretrained(
            folder, dtype=DTYPES[dtype], trust_remote_code=False, use_safetensors=True, output_loading_info=True
        )
    except LOAD_ERRORS as error:
        raise ModelError(
            f"Model {ref.name!r} cannot be loaded as a causal language model ({_first_line(error)})."
        ) from error
    lacking = sorted(str(k) for k in [*report["missing_keys"], *report["mismatched_keys"]])
    if lacking:
        raise ModelError(
            f"Model {ref.name!r}: {len(lacking)} weights are not in its files or have another shape, {lacking[0]} "
            "first. It would run with random numbers in their place, so it is not used."
        )
    if network.get_output_embeddings() is None:
        raise ModelError(f"Model {ref.name!r} has no language-model head.")
    return network


def fetch_model(ref: ModelRef) -> Path:
    """The model's folder; downloads it from the hub at its revision when it is not on this machine yet."""
    folder = Path(ref.path)
    if folder.is_dir():
        return folder
    try:
        found = snapshot_download(
            ref.path, revision=ref.revision, allow_patterns=DOWNLOAD_PATTERNS, ignore_patterns=DOWNLOAD_EXCLUDES
        )
    except (HfHubHTTPError, HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise ModelError(
            f"Model {ref.name!r} cannot be downloaded ({_first_line(error)}). Go online, or give a folder."
        ) from error
    return Path(found)


def check_device(device: str) -> str:
    """The device, if it is there; ModelError if not."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"Device {device!r} cannot be used here ({_first_line(error)}). Choose 'cpu' or 'auto'."
        ) from error
    return device


def move_to_device(network: Any, device: str, ref: ModelRef) -> Any:
    """The network on the device; ModelError when it does not fit there."""
    try:
        return network.to(device)
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"Model {ref.name!r} does not fit into the memory of {device}. Choose a smaller model, or device 'cpu'."
        ) from error


def compute_logits(network: Any, hidden: Tensor) -> Tensor:
    """What the model itself makes of hidden states: (R, d) to logits (R, V), scaled or capped as its family does.

    Gemma caps them (tanh), Cohere and Granite scale them, Falcon-H1 multiplies. Whether this is all that the
    model does to them is checked by `check_head`.
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
    """Compare body + `compute_logits` with the whole model on a few tokens; ModelError when they differ."""
    vocabulary = network.get_input_embeddings().weight.shape[0]
    tokens = torch.arange(3, 3 + 7, device=device).remainder(vocabulary)[None]
    hidden = network.base_model(input_ids=tokens, use_cache=False).last_hidden_state
    ours = compute_logits(network, hidden[0]).float()
    whole = network(input_ids=tokens, use_cache=False).logits[0].float()
    tolerance = 1e-4 if network.dtype == torch.float32 else 0.05
    if ours.shape != whole.shape or not torch.allclose(ours, whole, rtol=tolerance, atol=tolerance):
        raise ModelError(
            f"{type(network).__name__} does something to its logits that is not known here, so its likelihoods "
            "would be wrong. Choose another model."
        )


def _with_state(network: Any, state: Path) -> Any:
    """The network with a trained state in it: an adapter beside its weights, or all of them replaced."""
    try:
        if (state / ADAPTER_CONFIG).exists():
            return load_adapter(network, state)
        weights = load_file(state / WEIGHTS_FILE)
    except LOAD_ERRORS as error:
        raise ModelError(
            f"The trained state in {state} cannot be read ({_first_line(error)}). Train it again."
        ) from error
    own = dict(network.named_parameters())
    if own.keys() != weights.keys() or any(own[k].shape != weights[k].shape for k in own):
        raise ModelError(f"The trained state in {state} belongs to another model. Train it again for this one.")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])
    return network


def _reach(config: Any) -> int:
    """Tokens the model can read at once, by its configuration; a very large number where that sets no limit."""
    return int(getattr(config.get_text_config(), "max_position_embeddings", None) or 10**9)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200] or type(error).__name__
