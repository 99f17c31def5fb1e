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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

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
from core.models.lora import add_adapter, base_network
from core.models.training import checkpoints
from core.models.training.micro_batch import MicroBatches
from core.models.training.schedule import TrainSpec, key_fields, learning_rate, plan_steps
from core.schema import FloatArray, IntArray, ModelRef, Progress, ignore_progress
from core.workspace.files import atomic_folder, read_json, write_json

FORMAT = 1
CPU_TOKENS = 2048  # padded tokens in one forward and backward on a processor
MAX_CHECKPOINT_SHARE = 0.1  # share of the time that writing checkpoints may take


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
    plan: list[IntArray]  # rows of every step
    key: str  # of everything that affects the result; a checkpoint with another key is rejected
    parameters: dict[str, nn.Parameter]
    optimizer: torch.optim.AdamW
    cost: BatchCost  # of a micro-batch
    micro_batches: MicroBatches
    losses: list[float] = field(default_factory=list)

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch, of a training by epochs."""
        return self.steps // self.spec.epochs

    @property
    def steps(self) -> int:
        return len(self.plan)

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
    if spec.epoch_checkpoints and (spec.steps or spec.response_tokens):
        raise ModelError("Epochs are kept of trainings by epochs and rows. Set steps and response_tokens to 0.")
    rows = _rows_with_response(tokens, spans)
    device = loading.check_device(device)
    dtype = loading.resolve_dtype(ref, dtype, device)
    key = _key(ref, rows, spec, dtype)
    checkpoints.remove_damaged_training(folder)
    if not (folder / "state").exists():
        run = _train(ref, rows, spec, device, dtype, key, folder, on_step, checkpoint_seconds, checkpoint_steps)
        _write_result(run, folder)
    return _load_result(folder, key)


def train_in_memory(
    ref: ModelRef,
    tokens: Ragged,
    spans: Ragged,
    spec: TrainSpec,
    *,
    folder: Path,
    dtype: str,
    device: str,
    on_step: Progress = ignore_progress,
    checkpoint_seconds: float = 60,
    checkpoint_steps: int | None = None,
) -> tuple[loading.Model, FloatArray]:
    """Train as `train` does; return the trained model, and its losses (steps,) in nats per response token.

    Nothing but checkpoints is written, to `folder`/checkpoint: they are the caller's to remove. The model computes what
    `core.models.loading.load_model` gives for the state that `train` would have written.
    """
    rows = _rows_with_response(tokens, spans)
    key = _key(ref, rows, spec, dtype)
    run = _train(ref, rows, spec, device, dtype, key, folder, on_step, checkpoint_seconds, checkpoint_steps)
    run.optimizer.zero_grad(set_to_none=True)
    if not spec.lora_rank:  # not buffers: rotary frequencies stay in float32
        for parameter in run.parameters.values():
            parameter.data = parameter.data.to(loading.DTYPES[dtype])
    model = loading.wrap_network(ref, base_network(run.network), device=device, dtype=dtype)
    return model, np.array(run.losses, np.float32)


def _rows_with_response(tokens: Ragged, spans: Ragged) -> list[Any]:
    rows = [(t, s) for t, s in zip(tokens, spans, strict=True) if count_predicted_tokens(s)]
    if not rows:
        raise ModelError("None of the rows to train on has a response. Choose other rows, or a larger share.")
    return rows


def _train(
    ref: ModelRef,
    rows: list[Any],
    spec: TrainSpec,
    device: str,
    dtype: str,
    key: str,
    folder: Path,
    on_step: Progress,
    checkpoint_seconds: float,
    checkpoint_steps: int | None,
) -> _Run:
    """Run all steps, from the last checkpoint in `folder`."""
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        run = _start(ref, rows, spec, device, dtype, key, folder)
        run.losses = checkpoints.restore_checkpoint(folder / "checkpoint", key, run.parameters, run.optimizer)
        if spec.epoch_checkpoints:
            checkpoints.check_epochs(folder, len(run.losses) // run.per_epoch, key)
        _run_steps(run, folder, on_step, checkpoint_seconds, checkpoint_steps)
    return run


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
    plan = plan_steps(spec, np.array([count_predicted_tokens(spans) for _, spans in rows], np.int64))
    longest = max(len(tokens) for tokens, _ in rows)
    micro_batches = MicroBatches(
        network, list(parameters.values()), device=device, dtype=dtype, launch=cost.launch, longest=longest
    )
    return _Run(spec, network, device, dtype, rows, plan, key, parameters, optimizer, cost, micro_batches)


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
    rows = [run.rows[i] for i in run.plan[step]]
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


def _backward(run: _Run, rows: list[Any]) -> float | None:
    """Compute the step's gradient in place and return its loss.

    If memory runs out, release what CUDA graphs hold, or else halve the micro-batch budget, and return None.
    """
    run.optimizer.zero_grad(set_to_none=not run.micro_batches.keeps_gradients)
    lengths = np.array([len(t) for t, _ in rows], np.int64)
    total = sum(count_predicted_tokens(s) for _, s in rows)
    try:
        losses = []
        for some in plan_batches(lengths, run.cost):
            tokens, spans = zip(*(rows[i] for i in some), strict=True)
            losses.append(run.micro_batches.backward(tokens, spans, total))
        return float(torch.stack(losses).double().sum())  # the one synchronisation of a step
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if run.cost.capacity <= int(lengths.max()) and not run.micro_batches.keeps_gradients:
            raise ModelError(
                f"Training on a row of {int(lengths.max())} tokens does not fit into the memory of {run.device}. "
                "Lower max_length, train a LoRA adapter (lora_rank 8), or choose a smaller model."
            ) from error
    if not run.micro_batches.stop_capturing():
        run.cost = replace(run.cost, capacity=max(run.cost.capacity // 2, int(lengths.max())))
    return None


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
