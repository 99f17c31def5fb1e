"""Cost of a measurement on this machine: the work its methods state, times the rates of a trial on a few rows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import psutil

from core.measurement import measurement_of
from core.measurement.measure import activation_options
from core.measurement.measurement import TrialBatch
from core.measurement.stage_times import StageTime, planned_times
from core.measurement.stages import ACTIVATIONS, PASS_GIVES
from core.measurement.trial import Rates, run_trial
from core.models.encoder import Encoder
from core.models.loading import count_cards, load_tokenizer
from core.models.reference import resolve_model
from core.progress import Reporter
from core.schema import IntArray, Method, Pool, Reading
from core.workspace.folder import Workspace

TRIAL_ROWS = 32
BYTES_PER_TOKEN = 3  # of an answer's text, compressed


@dataclass(frozen=True)
class Estimate:
    """The cost of measuring one pool with some methods on this machine."""

    rows: int
    tokens: int  # of the pool, estimated from tokens per character of the trial rows
    passes: int  # over the pool
    takes: str  # outputs of the base model's pass, in words
    seconds: float
    stages: list[StageTime]  # parts of `seconds`
    trained_models: int  # that training writes; those of adapters are not counted
    calibration_seconds: float  # part of `seconds`: training
    epochs: int  # of warm-ups after which the gradient of every row is taken
    gradient_seconds: float  # part of `seconds`: gradients
    asked: int  # prompts continued, at most
    asking_seconds: float  # part of `seconds`: continuing prompts
    generated: int  # tokens of generated answers, at most
    answering_seconds: float  # part of `seconds`: answers, at most, as they may end early; 0 if a server generates
    memory_bytes: int  # peak, weights included
    disk_bytes: int  # in the workspace afterwards
    disk_free_bytes: int
    trial_rows: int
    trial_seconds: float
    device: str
    dtype: str
    cards: int  # GPUs that may share the work
    rates: dict[str, Any]  # of the trial: core.measurement.trial.Rates


def estimate(
    pool: Pool, methods: Sequence[Method], reading: Reading, workspace: Workspace, *, report: Reporter
) -> Estimate:
    """Time `TRIAL_ROWS` rows, spread over the pool's lengths, and scale up the work that the methods state.

    On a GPU more rows are timed, so many that a batch is filled (core.measurement.trial.rows_to_fill).

    The base pass is counted once for all methods.
    """
    ref = resolve_model(reading.model, reading.revision, models=workspace.models)
    chars = pool.rows["prompt_chars"].to_numpy() + pool.rows["response_chars"].to_numpy().astype(np.int64)
    encoder = Encoder(load_tokenizer(ref), reading)

    def draw(count: int) -> TrialBatch:
        return _encode(encoder, pool, spread_rows(chars, count))

    sample = spread_rows(chars, TRIAL_ROWS)
    batch = draw(TRIAL_ROWS)
    tokens = int(sum(map(len, batch.columns["tokens"])) / max(1, chars[sample].sum()) * chars.sum())

    works = {method: measurement_of(method.name).cost(method, pool) for method in methods}
    base = any(work.base_pass or "base" in method.needs for method, work in works.items())
    trained = sum(work.trained_passes for work in works.values())
    models = sum(work.trained_models for work in works.values())
    epochs = sum(work.gradient_passes for work in works.values())
    prompts = max(work.prompts for work in works.values())
    generated = len(pool) * sum(work.generated + work.served for work in works.values())
    if base or prompts or epochs:
        last = sorted(methods, key=lambda method: works[method].gradient_passes)
        rates = run_trial(ref, reading, batch, draw, last, report)
    else:
        rates = Rates.without_model()

    training = rates.seconds_per_token * tokens * sum(work.training for work in works.values())
    training += rates.seconds_per_step * sum(work.steps for work in works.values())
    prompting, generating = prompts * rates.seconds_per_prompt, generated * rates.seconds_per_generated
    timed = asdict(rates)
    stages = planned_times(list(works.values()), base=base, rates=timed, rows=len(pool), tokens=tokens) or []
    gradients = rates.seconds_per_gradient * tokens * epochs
    kinds = ("probe", *([ACTIVATIONS] if activation_options(methods) else []))
    return Estimate(
        rows=len(pool),
        tokens=tokens,
        passes=trained + base,
        takes=", ".join(PASS_GIVES[kind] for kind in kinds) if base else "",
        seconds=sum(stage.seconds for stage in stages),
        stages=stages,
        trained_models=models,
        calibration_seconds=training,
        epochs=epochs,
        gradient_seconds=gradients,
        asked=prompts,
        asking_seconds=prompting,
        generated=generated,
        answering_seconds=generating,
        memory_bytes=rates.peak_bytes + (16 * rates.parameters if models else 0),
        disk_bytes=tokens * 4
        + generated * BYTES_PER_TOKEN
        + len(pool) * (4 * rates.width * base + 4 * rates.active + 64)
        + 4 * rates.parameters * models,
        disk_free_bytes=psutil.disk_usage(str(workspace.root)).free,
        trial_rows=rates.rows or len(sample),
        trial_seconds=rates.seconds,
        device=rates.device,
        dtype=rates.dtype,
        cards=count_cards() if reading.device in ("auto", "cuda") else 0,
        rates=timed,
    )


def _encode(encoder: Encoder, pool: Pool, rows: IntArray) -> TrialBatch:
    view = pool.rows.select(["prompt", "response", "turns"])
    selected = [view.slice(int(row), 1).to_pylist()[0] for row in rows]
    texts = {name: [row[name] for row in selected] for name in view.column_names}
    columns: dict[str, Any] = encoder(texts)
    ids = [str(k) for k in range(len(rows))]
    named = {"tokens": columns["tokens"], "spans": columns["spans"], "ids": ids}
    return TrialBatch(named, partial(encoder.encode_prompts, texts))


def spread_rows(chars: IntArray, count: int) -> IntArray:
    """Return `count` rows at evenly spaced ranks of length, so that a trial has both short and long ones."""
    order = np.argsort(chars, kind="stable")
    return order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(np.int64)]
