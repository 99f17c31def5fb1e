"""What a measurement would cost here, from a trial on a few rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
import psutil
import pyarrow.compute as pc
import torch

from core.algorithms.task_clusters import default_task_count
from core.measurement.answer_divergence import sampling
from core.measurement.measure import riding
from core.measurement.run_data import COLUMN
from core.measurement.runs import DERIVED, task_source
from core.measurement.stages import RIDES, TAKES
from core.measurement.warm_up import adapter_share, adapter_spec
from core.methods.answer_divergence import AnswerDivergence
from core.methods.entropy_shift import EntropyShift
from core.methods.preference_influence import PreferenceInfluence
from core.methods.task_confidence import TaskConfidence
from core.models.activations import ActivationObserver
from core.models.encoder import Encoder
from core.models.forward_pass import ForwardPass
from core.models.generation.greedy import GreedyContinuation
from core.models.generation.sampler import Sampler
from core.models.loading import Model, load_model, load_tokenizer
from core.models.lora import add_adapter
from core.models.reference import resolve_model
from core.models.training.row_gradients import RowGradients
from core.progress import Reporter
from core.schema import IntArray, Method, ModelRef, Pool, Reading
from core.workspace.folder import Workspace

TRIAL_ROWS = 32
TRAINING_COST = 3.0  # a training step costs about three forward passes over the same tokens
DRAWN_ROWS, DRAWN_TOKENS = 4, 32  # of the trial answers; longer ones cost in proportion
BYTES_PER_TOKEN = 3  # of an answer's text, compressed
TOKENISED_ROWS_PER_SECOND = 4000  # tokenising, order of magnitude


@dataclass(frozen=True)
class Estimate:
    """The cost of measuring one pool with one method on this machine."""

    rows: int
    tokens: int  # of the whole pool once, as read; from the trial rows' tokens per character
    passes: int  # over the pool
    takes: str  # what the pass of the base model gives
    seconds: float
    calibration_seconds: float  # of these, training
    epochs: int  # of warm-ups after which every row's gradient is taken
    gradient_seconds: float  # of these, for gradients
    asked: int  # prompts that the model goes on with, at most
    asking_seconds: float  # of these, for that
    generated: int  # tokens of answers that are drawn, at most
    answering_seconds: float  # of these, for that: at most, for answers may end early; 0 where a server draws them
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
    seconds_per_gradient: float = 0.0  # token, of a row's gradient and its cosines
    seconds_per_prompt: float = 0.0  # of going on with it
    seconds_per_drawn: float = 0.0  # token of an answer
    width: int = 0  # of an embedding
    active: int = 0  # neurons on in a row
    parameters: int = 0
    peak_bytes: int = 0
    device: str = "cpu"
    dtype: str = "none"

    @classmethod
    def without(cls) -> "Trial":
        """No model is needed."""
        return cls(peak_bytes=psutil.Process().memory_info().rss)


def estimate(
    pool: Pool,
    methods: Sequence[Method],
    reading: Reading,
    workspace: Workspace,
    *,
    report: Reporter,
) -> Estimate:
    """Read `TRIAL_ROWS` rows spread over the pool's lengths, and scale up by tokens; what several methods need of the
    base model is read once. Prompts to go on with are scaled up by their number."""
    ref = resolve_model(reading.model, reading.revision)
    encoder = Encoder(load_tokenizer(ref), reading)
    chars = pool.rows["prompt_chars"].to_numpy() + pool.rows["response_chars"].to_numpy().astype(np.int64)
    sample = spread_rows(chars, TRIAL_ROWS)
    batch = encoder(_columns(pool, sample))
    tokens = int(sum(len(t) for t in batch["tokens"]) / max(1, chars[sample].sum()) * chars.sum())
    shares = [share for method in methods for share in calibration_shares(method)]
    base = any(reads_pool(method, pool) for method in methods)
    asked = max(prompts_asked(method, pool) for method in methods)
    drawn = len(pool) * sum(tokens_drawn(method) for method in methods)
    epochs = sum(gradient_passes(method) for method in methods)
    trial = _try(ref, reading, batch, methods, report) if base or asked or epochs else Trial.without()
    training = trial.seconds_per_token * tokens * sum(training_cost(method, len(pool)) for method in methods)
    passes, asking, answering = len(shares) + base, asked * trial.seconds_per_prompt, drawn * trial.seconds_per_drawn
    reading_all = trial.seconds_per_token * tokens * passes + len(pool) / TOKENISED_ROWS_PER_SECOND
    gradients = trial.seconds_per_gradient * tokens * epochs
    return Estimate(
        rows=len(pool),
        tokens=tokens,
        passes=passes,
        takes=", ".join(TAKES[kind] for kind in ("probe", *([RIDES] if riding(methods) else []))) if base else "",
        seconds=reading_all + training + gradients + asking + answering,
        calibration_seconds=training,
        epochs=epochs,
        gradient_seconds=gradients,
        asked=asked,
        asking_seconds=asking,
        generated=drawn,
        answering_seconds=answering,
        memory_bytes=trial.peak_bytes + (16 * trial.parameters if shares else 0),
        disk_bytes=tokens * 4
        + drawn * BYTES_PER_TOKEN
        + len(pool) * (4 * trial.width * base + 4 * trial.active + 64)
        + 4 * trial.parameters * len(shares),
        disk_free_bytes=psutil.disk_usage(str(workspace.root)).free,
        trial_rows=len(sample),
        trial_seconds=trial.seconds,
        device=trial.device,
        dtype=trial.dtype,
    )


def calibration_shares(method: Method) -> list[float]:
    """Share of the pool that each calibration trains on; empty for methods without one."""
    return [method.alpha] + [method.beta] * (method.rounds - 1) if isinstance(method, EntropyShift) else []


def training_cost(method: Method, rows: int) -> float:
    """Warm-up training in passes over a pool of so many rows."""
    if isinstance(method, PreferenceInfluence):
        return TRAINING_COST * method.epochs * adapter_share(method, rows)
    return TRAINING_COST * method.epochs * sum(calibration_shares(method)) if isinstance(method, EntropyShift) else 0.0


def gradient_passes(method: Method) -> int:
    """How often every row's gradient is taken for this method."""
    return method.epochs if isinstance(method, PreferenceInfluence) else 0


def reads_pool(method: Method, pool: Pool) -> bool:
    """Does the base model read every row for this method?"""
    if "base" in method.needs:
        return True
    derived = isinstance(method, TaskConfidence) and task_source(method, pool) == DERIVED
    return isinstance(method, TaskConfidence) and derived and not method.embeddings


def tokens_drawn(method: Method) -> int:
    """Tokens of answers that a model draws for each row, at most: this one or a server's."""
    drawn = isinstance(method, AnswerDivergence) and method.source != "file"
    return method.answers * method.max_new_tokens if isinstance(method, AnswerDivergence) and drawn else 0


def prompts_asked(method: Method, pool: Pool) -> int:
    """Prompts that the model goes on with for this method, at most; 0 for methods that ask nothing."""
    if not isinstance(method, TaskConfidence) or "confidence" not in method.needs:
        return 0
    if task_source(method, pool) == DERIVED:
        return min(len(pool), method.prompts_per_task * (method.derived_tasks or default_task_count(len(pool))))
    held = pc.value_counts(pool.rows["task"]).field("counts").to_numpy()
    return int(np.minimum(held, method.prompts_per_task).sum())


def _try(
    ref: ModelRef, reading: Reading, batch: Mapping[str, Any], methods: Sequence[Method], report: Reporter
) -> Trial:
    report.stage("Loading the model", rows=0, work=1)
    model = load_model(ref, dtype=reading.dtype, device=reading.device)
    rides = riding(methods)
    probe = ForwardPass(model, observers=[ActivationObserver(model, **asdict(rides))] if rides else [])
    report.stage("Trial", rows=len(batch["tokens"]), work=1)
    few = {name: batch[name][:2] for name in ("tokens", "spans")}
    out, seconds = _timed(probe, few, batch)
    going_on = drawing = 0.0
    for method in methods:
        if isinstance(method, TaskConfidence) and "confidence" in method.needs:
            _, going_on = _timed(GreedyContinuation(model, new_tokens=method.new_tokens), few, batch)
        if isinstance(method, AnswerDivergence) and method.source == "local":
            drawing = _drawing(model, method, batch)
    on_gpu = model.device.startswith("cuda")
    gradient = _gradient(model, few, batch) if any(gradient_passes(method) for method in methods) else 0.0
    return Trial(
        seconds_per_token=seconds / max(1, sum(len(t) for t in batch["tokens"])),
        seconds=seconds + going_on,
        seconds_per_gradient=gradient,
        seconds_per_drawn=drawing,
        seconds_per_prompt=going_on / len(batch["tokens"]),
        width=out["prompt_embedding"].shape[1],
        active=out[COLUMN].shape[1] if rides else 0,
        parameters=model.parameters,
        peak_bytes=torch.cuda.max_memory_allocated(model.device) if on_gpu else psutil.Process().memory_info().rss,
        device=model.device,
        dtype=model.dtype,
    )


def _gradient(model: Model, few: Mapping[str, Any], batch: Mapping[str, Any]) -> float:
    """Seconds for each token of a row's gradient. Puts an adapter on the model: the last thing to do with it."""
    spec = adapter_spec(PreferenceInfluence(), 0, len(batch["tokens"]), model.parameters)
    alpha = spec.lora_alpha * spec.lora_rank
    network = add_adapter(model.network, rank=spec.lora_rank, alpha=alpha, layers=spec.lora_on).eval()
    gradients = RowGradients(replace(model, network=network.get_base_model()))
    some = {name: torch.ones(shape) for name, shape in gradients.shapes.items()}
    _, seconds = _timed(lambda rows: gradients.scores(rows, [some]), few, batch)
    return seconds / max(1, sum(len(t) for t in batch["tokens"]))


def _drawing(model: Model, method: AnswerDivergence, batch: Mapping[str, Any]) -> float:
    """Seconds for each token of an answer, from short answers to a few prompts."""
    settings = replace(sampling(method, 0), max_new_tokens=min(DRAWN_TOKENS, method.max_new_tokens))
    few = {name: batch[name][:DRAWN_ROWS] for name in ("tokens", "spans")}
    few["ids"] = [str(k) for k in range(len(few["tokens"]))]
    out, seconds = _timed(Sampler(model, settings), few, few)
    drawn = sum(tokens or 0 for row in out["answer_tokens"] for tokens in row)
    return seconds / max(1, drawn)


def _timed(
    measurement: Callable[[Mapping[str, Any]], Any], few: Mapping[str, Any], batch: Mapping[str, Any]
) -> tuple[Any, float]:
    """What it says of the batch, and the seconds it took; the few before it pay for warming up."""
    measurement(few)
    began = perf_counter()
    out = measurement(batch)
    return out, perf_counter() - began


def _columns(pool: Pool, rows: IntArray) -> dict[str, list[Any]]:
    view = pool.rows.select(["prompt", "response", "turns"])
    picked = [view.slice(int(row), 1).to_pylist()[0] for row in rows]
    return {name: [row[name] for row in picked] for name in view.column_names}


def spread_rows(chars: IntArray, count: int) -> IntArray:
    """`count` rows at evenly spaced ranks of length, so a trial sees short and long ones alike."""
    order = np.argsort(chars, kind="stable")
    return order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(np.int64)]
