"""What a measurement would cost here, from a trial on a few rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import psutil
import torch

from core.methods.entropy_shift import EntropyShift
from core.model import load_model, load_tokenizer
from core.modelref import resolve_model
from core.probe import Probe
from core.progress import Reporter
from core.schema import IntArray, Method, ModelRef, Pool, Reading
from core.store import Workspace
from core.template import Encoder

TRIAL_ROWS = 32
TRAINING_COST = 3.0  # a training step costs about three forward passes over the same tokens
TOKENISED_ROWS_PER_SECOND = 4000  # tokenising, order of magnitude


@dataclass(frozen=True)
class Estimate:
    """The cost of measuring one pool with one method on this machine."""

    rows: int
    tokens: int  # of the whole pool once, as read; from the trial rows' tokens per character
    passes: int  # over the pool
    seconds: float
    calibration_seconds: float  # of these, training
    memory_bytes: int  # peak, weights included
    disk_bytes: int  # in the workspace afterwards
    disk_free_bytes: int
    trial_rows: int
    trial_seconds: float
    device: str
    dtype: str


@dataclass(frozen=True)
class Trial:
    """What one pass over a few rows took. Without a model: nothing."""

    seconds_per_token: float = 0.0
    seconds: float = 0.0
    width: int = 0  # of an embedding
    parameters: int = 0
    peak_bytes: int = 0
    device: str = "cpu"
    dtype: str = "none"


def estimate(
    pool: Pool,
    method: Method,
    reading: Reading,
    workspace: Workspace,
    *,
    report: Reporter,
) -> Estimate:
    """Read `TRIAL_ROWS` rows spread over the pool's lengths, and scale up by tokens."""
    ref = resolve_model(reading.model, reading.revision)
    encoder = Encoder(load_tokenizer(ref), reading)
    chars = pool.rows["prompt_chars"].to_numpy() + pool.rows["response_chars"].to_numpy().astype(np.int64)
    sample = spread_rows(chars, TRIAL_ROWS)
    batch = encoder(_columns(pool, sample))
    read = sum(len(t) for t in batch["tokens"])
    tokens = int(read / max(1, chars[sample].sum()) * chars.sum())
    shares = calibration_shares(method)
    passes = len(shares) + ("base" in method.needs)
    trial = _try(ref, reading, batch, read, report) if passes else Trial(peak_bytes=psutil.Process().memory_info().rss)
    epochs = method.epochs if isinstance(method, EntropyShift) else 0
    training = TRAINING_COST * trial.seconds_per_token * tokens * epochs * sum(shares)
    return Estimate(
        rows=len(pool),
        tokens=tokens,
        passes=passes,
        seconds=trial.seconds_per_token * tokens * passes + training + len(pool) / TOKENISED_ROWS_PER_SECOND,
        calibration_seconds=training,
        memory_bytes=trial.peak_bytes + (16 * trial.parameters if shares else 0),
        disk_bytes=tokens * 4 + len(pool) * (4 * trial.width + 64) + 4 * trial.parameters * len(shares),
        disk_free_bytes=psutil.disk_usage(str(workspace.root)).free,
        trial_rows=len(sample),
        trial_seconds=trial.seconds,
        device=trial.device,
        dtype=trial.dtype,
    )


def calibration_shares(method: Method) -> list[float]:
    """Share of the pool that each calibration trains on; empty for methods without one."""
    return [method.alpha] + [method.beta] * (method.rounds - 1) if isinstance(method, EntropyShift) else []


def _try(ref: ModelRef, reading: Reading, batch: Mapping[str, Any], tokens: int, report: Reporter) -> Trial:
    report.stage("Loading the model", rows=0, work=1)
    model = load_model(ref, dtype=reading.dtype, device=reading.device)
    probe = Probe(model)
    report.stage("Trial", rows=len(batch["tokens"]), work=1)
    probe({name: batch[name][:2] for name in ("tokens", "spans")})  # the first pass pays for warming up
    began = perf_counter()
    out = probe(batch)
    seconds = perf_counter() - began
    on_gpu = model.device.startswith("cuda")
    return Trial(
        seconds_per_token=seconds / max(1, tokens),
        seconds=seconds,
        width=out["prompt_embedding"].shape[1],
        parameters=model.parameters,
        peak_bytes=torch.cuda.max_memory_allocated(model.device) if on_gpu else psutil.Process().memory_info().rss,
        device=model.device,
        dtype=model.dtype,
    )


def _columns(pool: Pool, rows: IntArray) -> dict[str, list[Any]]:
    view = pool.rows.select(["prompt", "response", "turns"])
    picked = [view.slice(int(row), 1).to_pylist()[0] for row in rows]
    return {name: [row[name] for row in picked] for name in view.column_names}


def spread_rows(chars: IntArray, count: int) -> IntArray:
    """`count` rows at evenly spaced ranks of length, so a trial sees short and long ones alike."""
    order = np.argsort(chars, kind="stable")
    return order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(np.int64)]
