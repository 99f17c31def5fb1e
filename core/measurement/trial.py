"""A trial on a few rows: rates at which this machine runs a model, for an estimate to scale up."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from time import monotonic
from typing import Any

import psutil

from core.measurement import measurement_of
from core.measurement.activation_files import COLUMN
from core.measurement.measure import activation_options
from core.measurement.measurement import TrialBatch
from core.models.activations import ActivationObserver
from core.models.batching import BatchCost, batch_cost
from core.models.forward_pass import CPU_TOKENS, ForwardPass
from core.models.loading import load_model, peak_memory
from core.progress import Reporter
from core.schema import Method, ModelRef, Reading

FILLED = 8  # times the tokens that take as long as starting a pass


@dataclass(frozen=True)
class Rates:
    """Times and sizes measured in a trial; all 0 if no model is needed."""

    seconds_to_load: float = 0.0
    seconds_per_token: float = 0.0  # of a forward pass
    seconds_per_step: float = 0.0  # to start a training step, besides its tokens
    seconds_per_gradient: float = 0.0  # per token, of a row's gradient and its cosines
    seconds_per_prompt: float = 0.0  # to continue it
    seconds_per_generated: float = 0.0  # per token of a generated answer
    seconds_per_embedded: float = 0.0  # per answer of full length
    seconds: float = 0.0  # of the whole trial
    rows: int = 0  # of the trial
    width: int = 0  # of an embedding
    active: int = 0  # neurons that a row activates
    parameters: int = 0
    peak_bytes: int = 0
    device: str = "cpu"
    dtype: str = "none"

    @classmethod
    def without_model(cls) -> "Rates":
        """Return the rates of a measurement that runs no model."""
        return cls(peak_bytes=psutil.Process().memory_info().rss)


def rows_to_fill(cost: BatchCost, batch: TrialBatch) -> int:
    """Return how many rows like those of `batch` fill a batch: starting it is a small part of its time.

    At least as many as there are, and no more than the memory holds. On a processor starting takes no time to speak of.
    """
    return max(batch.rows, int(min(FILLED * cost.launch, cost.capacity) * batch.rows / batch.tokens))


def run_trial(
    ref: ModelRef,
    reading: Reading,
    batch: TrialBatch,
    draw: Callable[[int], TrialBatch],
    methods: Sequence[Method],
    report: Reporter,
) -> Rates:
    """Load the model and time the work of these methods on `batch`; those that change the model must be last.

    `draw` returns a trial of so many rows, or all of a smaller pool: it takes the place of a `batch` that is too small
    to fill one of the device's.
    """
    report.stage("Loading the model", rows=0, work=1)
    began = monotonic()
    model = load_model(ref, dtype=reading.dtype, device=reading.device)
    loaded = monotonic()
    cost = batch_cost(model.network, model.device, "pass", CPU_TOKENS)
    wanted = rows_to_fill(cost, batch)
    if wanted > batch.rows:
        batch = draw(wanted)
    options = activation_options(methods)
    forward = ForwardPass(model, observers=[ActivationObserver(model, **asdict(options))] if options else [])
    report.stage("Trial", rows=batch.rows, work=1)
    out, seconds = batch.time(forward)
    rates = Rates(
        seconds_to_load=loaded - began,
        seconds_per_token=seconds / batch.tokens,
        seconds_per_step=cost.launch * seconds / batch.tokens,
        rows=batch.rows,
        width=out["prompt_embedding"].shape[1],
        active=out[COLUMN].shape[1] if options else 0,
        parameters=model.parameters,
        device=model.device,
        dtype=model.dtype,
    )
    for method in methods:
        timed: dict[str, Any] = dict(measurement_of(method.name).time_trial(model, method, batch))
        rates = replace(rates, **timed)
    seconds += rates.seconds_per_prompt * batch.rows
    return replace(rates, seconds=seconds, peak_bytes=peak_memory(model.device))
