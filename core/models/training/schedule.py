"""Settings of a training, and what follows from them: the rows and the learning rate of every optimizer step.

A pass goes through all rows in an order of its own, drawn from the seed. A step is `batch_size` rows of one pass, or,
with `response_tokens`, rows of consecutive passes:

    step k ends after the row where the response tokens since the first step are nearest to k · response_tokens

so that any two trainings of as many steps are trained on the same number of response tokens, to within half a row.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np

from core.models.lora import LayerChoice
from core.schema import IntArray


@dataclass(frozen=True)
class TrainSpec:
    """Training settings. Together with the rows and the model they determine the result."""

    learning_rate: float = 2e-5
    epochs: int = 3  # passes over the rows, unless `steps` is given
    batch_size: int = 16  # rows per optimizer step, unless `response_tokens` is given
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
    steps: int = 0  # optimizer steps, in as many passes as they need; 0: `epochs` passes
    response_tokens: int = 0  # of an optimizer step; 0: `batch_size` rows


# Fields added after trainings had been stored.
LATER_FIELDS = ("schedule", "lora_dropout", "lora_on", "epoch_checkpoints", "steps", "response_tokens")


def key_fields(spec: TrainSpec) -> dict[str, Any]:
    """Return the fields for a content key; those of LATER_FIELDS only if not at their defaults.

    So trainings stored before these fields existed keep their keys.
    """
    at_default = {f.name for f in fields(spec) if f.name in LATER_FIELDS and getattr(spec, f.name) == f.default}
    return {name: value for name, value in asdict(spec).items() if name not in at_default}


def learning_rate(spec: TrainSpec, step: int, steps: int) -> float:
    """Return the learning rate of step 0..steps-1: a linear rise over the warm-up, then a decay to 0."""
    rising = math.ceil(spec.warmup * steps)
    if step < rising:
        return spec.learning_rate * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    left = 1 - done if spec.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return spec.learning_rate * left


def plan_steps(spec: TrainSpec, response_tokens: IntArray) -> list[IntArray]:
    """Return the rows of every step; `response_tokens` (N,) are those of each row, all positive.

    With `response_tokens` in the spec, a row that is longer than a step is a step by itself, and a step of few rows may
    hold a row twice.
    """
    if spec.response_tokens:
        return _steps_by_tokens(spec, response_tokens)
    per_pass = math.ceil(len(response_tokens) / spec.batch_size)
    passes = math.ceil(spec.steps / per_pass) or spec.epochs
    starts = range(0, len(response_tokens), spec.batch_size)
    orders = (_order(spec, epoch, len(response_tokens)) for epoch in range(passes))
    steps = [order[start : start + spec.batch_size] for order in orders for start in starts]
    return steps[: spec.steps or None]


def _steps_by_tokens(spec: TrainSpec, response_tokens: IntArray) -> list[IntArray]:
    n, total = len(response_tokens), int(response_tokens.sum())
    # A step that a long row has to itself moves later ones back by at most a row each: hence the second summand.
    passes = math.ceil(spec.steps * spec.response_tokens / total) + math.ceil(spec.steps / n) or spec.epochs
    rows = np.concatenate([_order(spec, epoch, n) for epoch in range(passes)])
    tokens = np.cumsum([0, *response_tokens[rows]])
    count = spec.steps or max(1, round(total * passes / spec.response_tokens))
    ends = _nearest(tokens, spec.response_tokens * np.arange(1, count + 1))
    ends = np.maximum.accumulate(ends - np.arange(count)) + np.arange(count)  # at least one row in a step
    if not spec.steps:  # every row of every pass
        ends = np.unique(np.minimum([*ends[:-1], len(rows)], len(rows)))
    return np.split(rows[: ends[-1]], ends[:-1])


def _nearest(sums: IntArray, goals: IntArray) -> IntArray:
    """Return the index of the ascending sum that is nearest to each goal; the first index is 1."""
    after = np.searchsorted(sums, goals).clip(1, len(sums) - 1)
    before = np.maximum(after - 1, 1)
    return np.where(goals - sums[before] <= sums[after] - goals, before, after)


def _order(spec: TrainSpec, epoch: int, n: int) -> IntArray:
    return np.random.default_rng([spec.seed, epoch]).permutation(n)
