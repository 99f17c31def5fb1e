"""Fine-tuning of a model on rows of tokens (warm-up), with the loss on response tokens only.

    step loss = −(Σ over the step's response tokens of log π(y_t | x, y_<t)) / (number of those tokens)

AdamW, linear warm-up then cosine or linear decay to 0, gradient clipping by norm; master weights in float32. An
interrupted training called again with the same arguments resumes from its last checkpoint; on a CPU in float32 the
result is bit-identical to an uninterrupted one.
"""

import hashlib
import math
import shutil
import time
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from core.errors import ModelError
from core.models import loading
from core.models.batching import (
    BatchCost,
    Ragged,
    batch_cost,
    count_predicted_tokens,
    is_out_of_memory,
    plan_batches,
    planned_memory,
)
from core.models.forward_pass import LOGIT_BYTES, logit_rows, pad_rows
from core.models.lora import LayerChoice, add_adapter, base_network
from core.models.training import checkpoints
from core.schema import FloatArray, IntArray, ModelRef, Progress, ignore_progress
from core.workspace.files import atomic_folder, read_json, write_json

FORMAT = 1
CPU_TOKENS = 2048  # padded tokens in one forward and backward on a processor
MAX_CHECKPOINT_SHARE = 0.1  # share of the time that writing checkpoints may take


@dataclass(frozen=True)
class TrainSpec:
    """Training settings. Together with the rows and the model they determine the result."""

    learning_rate: float = 2e-5
    epochs: int = 3
    batch_size: int = 16  # rows per optimizer step
    warmup: float = 0.05  # share of the steps over which the rate rises
    weight_decay: float = 0.01  # of matrices; vectors (norms, biases) are not decayed
    clip: float = 1.0  # maximum gradient norm of a step
    lora_rank: int = 0  # 0: all parameters are trained
    lora_alpha: float = 2.0  # adapter scale, as a multiple of its rank
    seed: int = 0
    schedule: Literal["cosine", "linear"] = "cosine"  # decay to 0 after the warm-up
    lora_dropout: float = 0.0  # share of an adapter's inputs set to zero in training
    lora_on: LayerChoice = "all"  # layers that are adapted
    epoch_checkpoints: bool = False  # keep adapter and AdamW averages of every epoch: see checkpoints.py


# Fields added after trainings had been stored.
LATER_FIELDS = ("schedule", "lora_dropout", "lora_on", "epoch_checkpoints")


def key_fields(spec: TrainSpec) -> dict[str, Any]:
    """Return the fields for a content key; those of LATER_FIELDS only if not at their defaults.

    So trainings stored before these fields existed keep their keys.
    """
    at_default = {f.name for f in fields(spec) if f.name in LATER_FIELDS and getattr(spec, f.name) == f.default}
    return {name: value for name, value in asdict(spec).items() if name not in at_default}


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A finished training; `folder`/state is an input of `core.models.loading.load_model`."""

    losses: FloatArray  # (steps,) mean nats per response token, before each update
    steps: int
    folder: Path


@dataclass(eq=False)
class _Run:
    """A training in progress: fixed inputs, and what changes with every step."""

    spec: TrainSpec
    network: Any
    device: str
    dtype: str
    rows: list[tuple[NDArray[Any], NDArray[Any]]]  # (tokens, spans) of the rows with a response
    key: str  # of everything that affects the result; a checkpoint with another key is rejected
    parameters: dict[str, nn.Parameter]
    optimizer: torch.optim.AdamW
    cost: BatchCost  # of a micro-batch
    losses: list[float] = field(default_factory=list)

    @property
    def per_epoch(self) -> int:
        return math.ceil(len(self.rows) / self.spec.batch_size)

    @property
    def steps(self) -> int:
        return self.per_epoch * self.spec.epochs

    @property
    def rates(self) -> list[float]:
        return [learning_rate(self.spec, step, self.steps) for step in range(self.steps)]


def train(
    ref: ModelRef,
    tokens: Ragged,
    spans: Ragged,
    spec: TrainSpec,
    *,
    folder: Path,
    dtype: str = "auto",
    device: str = "auto",
    on_step: Progress = ignore_progress,
    checkpoint_seconds: float = 60,
    checkpoint_steps: int | None = None,
) -> TrainResult:
    """Train `ref` on the rows with a response; write the trained state to `folder`/state and the curve to loss.json.

    Rows are as from `core.models.encoder.Encoder`. A finished training is returned at once. Checkpoints are written
    every `checkpoint_seconds` (less often if writing would take over a tenth of the time), and every `checkpoint_steps`
    if given. Raises ModelError if no row has a response, the loss is not finite, a single row does not fit into memory,
    or `folder` holds another training.
    """
    if spec.epoch_checkpoints and not spec.lora_rank:
        raise ModelError(
            "Epochs are kept of LoRA adapters only. Train one (lora_rank 8), or do without epoch_checkpoints."
        )
    rows = [(t, s) for t, s in zip(tokens, spans, strict=True) if count_predicted_tokens(s)]
    if not rows:
        raise ModelError("None of the rows to train on has a response. Choose other rows, or a larger share.")
    device = loading.check_device(device)
    dtype = loading.resolve_dtype(ref, dtype, device)
    key = _key(ref, rows, spec, dtype)
    checkpoints.remove_damaged_training(folder)
    if (folder / "state").exists():
        return _load_result(folder, key)
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        run = _start(ref, rows, spec, device, dtype, key, folder)
        run.losses = checkpoints.restore_checkpoint(folder / "checkpoint", key, run.parameters, run.optimizer)
        if spec.epoch_checkpoints:
            checkpoints.check_epochs(folder, len(run.losses) // run.per_epoch, key)
        _run_steps(run, folder, on_step, checkpoint_seconds, checkpoint_steps)
        _write_result(run, folder)
    return _load_result(folder, key)


def learning_rate(spec: TrainSpec, step: int, steps: int) -> float:
    """Return the learning rate of step 0..steps-1: a linear rise over the warm-up, then a decay to 0."""
    rising = math.ceil(spec.warmup * steps)
    if step < rising:
        return spec.learning_rate * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    left = 1 - done if spec.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return spec.learning_rate * left


def _start(ref: ModelRef, rows: list[Any], spec: TrainSpec, device: str, dtype: str, key: str, folder: Path) -> _Run:
    torch.manual_seed(spec.seed)  # for the random initialisation of a LoRA adapter
    network = loading.load_network(ref, dtype if spec.lora_rank else "float32")
    network = loading.move_to_device(network, device, ref)
    loading.check_head(network, device)
    if spec.lora_rank:
        alpha = spec.lora_alpha * spec.lora_rank
        network = add_adapter(network, rank=spec.lora_rank, alpha=alpha, dropout=spec.lora_dropout, layers=spec.lora_on)
    network = network.train()
    parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
    matrices = [p for p in parameters.values() if p.ndim >= 2]
    vectors = [p for p in parameters.values() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": spec.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=spec.learning_rate, fused=device.startswith("cuda")
    )
    memory = planned_memory(folder, device)
    cost = batch_cost(base_network(network), device, "training", CPU_TOKENS, memory=memory)
    return _Run(spec, network, device, dtype, rows, key, parameters, optimizer, cost)


def _run_steps(run: _Run, folder: Path, on_step: Progress, seconds: float, every: int | None) -> None:
    saved, wait = time.monotonic(), seconds
    while len(run.losses) < run.steps:
        _run_step(run)
        done = len(run.losses)
        if run.spec.epoch_checkpoints and done % run.per_epoch == 0:
            moments = checkpoints.optimizer_moments(run.parameters, run.optimizer)
            epoch, rates = done // run.per_epoch, run.rates[:done]
            checkpoints.save_epoch(folder, epoch, key=run.key, network=run.network, moments=moments, rates=rates)
        due = time.monotonic() - saved >= wait or (every is not None and done % every == 0)
        if due and done < run.steps:
            began = time.monotonic()
            checkpoints.save_checkpoint(folder / "checkpoint", run.key, run.losses, run.parameters, run.optimizer)
            saved = time.monotonic()
            wait = max(seconds, (saved - began) / MAX_CHECKPOINT_SHARE)
        on_step(done, run.steps)


def _run_step(run: _Run) -> None:
    """Run one optimizer step. Seeded by its number, so that dropout is the same after a resume."""
    step = len(run.losses)
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(run.spec, step, run.steps)
    rows = [run.rows[i] for i in _step_rows(run, step)]
    loss = None
    while loss is None:
        torch.manual_seed(run.spec.seed * 1_000_003 + step)
        loss = _backward(run, rows)
    if not math.isfinite(loss):
        raise ModelError(
            f"Training: the loss of step {step + 1} is {loss}. Lower the learning rate ({run.spec.learning_rate:g})."
        )
    _update(run)
    run.losses.append(loss)


def _update(run: _Run) -> None:
    """Update the parameters; ModelError if AdamW's averages, allocated in step 1, do not fit into memory."""
    try:
        nn.utils.clip_grad_norm_(run.parameters.values(), run.spec.clip)
        run.optimizer.step()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(
            f"AdamW's averages do not fit into the memory of {run.device} next to the model. Train a LoRA adapter "
            "(lora_rank 8), or choose a smaller model."
        ) from error


def _step_rows(run: _Run, step: int) -> IntArray:
    """Return the rows of one step; each epoch has its own order, from the seed."""
    epoch, place = divmod(step, run.per_epoch)
    order = np.random.default_rng([run.spec.seed, epoch]).permutation(len(run.rows))
    return order[place * run.spec.batch_size :][: run.spec.batch_size]


def _backward(run: _Run, rows: list[Any]) -> float | None:
    """Compute the step's gradient in place and return its loss.

    If memory runs out, halve the micro-batch budget and return None.
    """
    run.optimizer.zero_grad(set_to_none=True)
    lengths = np.array([len(t) for t, _ in rows], np.int64)
    total = sum(count_predicted_tokens(s) for _, s in rows)
    try:
        losses = []
        for some in plan_batches(lengths, run.cost):
            part = _loss(run, [rows[i] for i in some]) / total
            torch.autograd.backward(part)
            losses.append(part.detach())
        return float(torch.stack(losses).double().sum())  # the one synchronisation of a step
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if run.cost.capacity <= int(lengths.max()):
            raise ModelError(
                f"Training on a row of {int(lengths.max())} tokens does not fit into the memory of {run.device}. "
                "Lower max_length, train a LoRA adapter (lora_rank 8), or choose a smaller model."
            ) from error
    run.cost = replace(run.cost, capacity=max(run.cost.capacity // 2, int(lengths.max())))
    return None


def _loss(run: _Run, rows: list[Any]) -> Tensor:
    """Return the sum over response tokens of −log π, for the rows of one micro-batch."""
    ids, _, response = pad_rows([t for t, _ in rows], [s for _, s in rows])
    padded = torch.from_numpy(ids).to(run.device)
    row, place = (torch.from_numpy(x).to(run.device) for x in np.nonzero(response[:, 1:]))
    with torch.autocast(torch.device(run.device).type, torch.bfloat16, enabled=run.dtype == "bfloat16"):
        hidden = base_network(run.network).base_model(input_ids=padded, use_cache=False).last_hidden_state
        predicting, targets = hidden[row, place], padded[row, place + 1]
        vocabulary = base_network(run.network).get_output_embeddings().weight.shape[0]
        size = logit_rows(LOGIT_BYTES, run.device, vocabulary)
        if len(predicting) <= size:
            return _chunk_loss(run, predicting, targets)
        recomputed = partial(checkpoint, use_reentrant=False)  # logits are recomputed in the backward pass, not kept
        chunks = zip(torch.split(predicting, size), torch.split(targets, size), strict=True)
        parts = [recomputed(_chunk_loss, run, *chunk) for chunk in chunks]
    return torch.stack(parts).sum()


def _chunk_loss(run: _Run, predicting: Tensor, targets: Tensor) -> Tensor:
    logits = loading.compute_logits(base_network(run.network), predicting).float()
    return nn.functional.cross_entropy(logits, targets, reduction="sum")


def _write_result(run: _Run, folder: Path) -> None:
    curve = {"step": list(range(1, run.steps + 1)), "lr": run.rates, "loss": run.losses}
    about = {"format": FORMAT, "key": run.key, "spec": asdict(run.spec), "rows": len(run.rows), "dtype": run.dtype}
    write_json(folder / "loss.json", about | curve)
    with atomic_folder(folder / "state") as temporary:
        if run.spec.lora_rank:
            checkpoints.write_adapter(temporary, run.network)
        else:
            checkpoints.write_tensors(temporary / loading.WEIGHTS_FILE, run.parameters)
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)


def _load_result(folder: Path, key: str) -> TrainResult:
    curve = read_json(folder / "loss.json")
    checkpoints.check_key(folder, curve["key"], key)
    return TrainResult(np.array(curve["loss"], np.float32), len(curve["loss"]), folder)


def _key(ref: ModelRef, rows: list[Any], spec: TrainSpec, dtype: str) -> str:
    digest = hashlib.sha256(repr((FORMAT, ref.revision, dtype, sorted(key_fields(spec).items()))).encode())
    for tokens, spans in rows:
        for part in (np.asarray(tokens, np.uint32), np.asarray(spans, np.int32)):
            digest.update(len(part).to_bytes(8, "little") + part.tobytes())
    return digest.hexdigest()[:32]
