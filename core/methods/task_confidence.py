"""Task confidence: more rows for the tasks on which the base model is least confident. Rows need no responses.

    c_t   mean confidence of the base model over prompts of task t, in (0, 1]
    w_t   ∝ 1 / c_t
    n_t   rows of task t under a budget of B: Webster seats by w_t, at most what the task has
          (core/algorithms/apportionment.py)

Confidence of a prompt: the model continues it greedily by up to m tokens, exp(mean_t log p(ŷ_t)). Up to s prompts of
each task are continued, sampled with the seed. Or, where rows have responses, exp(−NLL) of each response: no further
pass.

    standard error of c_t = s / √n,  with s² = Σ (c − c_t)² / (n − 1) over the n rows sampled

A few prompts per task are enough, and the standard error states how precise the mean is. Rows of a task are sampled
without replacement from a finite set, so it is conservative: with every row sampled, no error remains.

Rows inside a task come in seeded random order. Σ n_t = min(B, rows) exactly, and a larger budget only ever adds rows.
Rows that are used already have the first seats of their tasks.
`even` is round robin: one row per task in turn (task diversity without weights).

Tasks are the labels of the pool; rows without a label form a task of their own. A pool without labels has tasks derived
from its prompts' embeddings by k-means (core/algorithms/task_clusters.py), which are shown as derived everywhere.

Source: (Weighted) Task Diversity, https://arxiv.org/abs/2507.21482. Its abstract fixes the principle, weights inverse
to confidence; the formula of the confidence, the caps and the rounding to whole rows are this project's reading.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from core.algorithms.apportionment import interleave_by_seats, shuffle_by_task
from core.methods.params import BaseMethod, measure_param, number, option, param
from core.methods.ranking import FILTERED, NO_RESPONSE, NOT_MEASURED, missing_response, put_first, split_eligible
from core.schema import NO_ROWS, BoolArray, Float64Array, FloatArray, IntArray, Measured, Order, Prefer

NO_TASK = "no task"


@dataclass(frozen=True)
class TaskConfidence(BaseMethod):
    """Rows per task by how unsure the base model is of the task (Weighted Task Diversity)."""

    name: ClassVar[str] = "task_confidence"
    label: ClassVar[str] = "Task confidence"
    paper: ClassVar[str] = "Weighted Task Diversity"
    summary: ClassVar[str] = (
        "Selects more rows of the tasks on which the model is less confident, at random inside each task. "
        "Needs no responses."
    )
    unscored: ClassVar[str] = (
        "Task confidence distributes rows over tasks; within a task, the seed determines the order."
    )
    ranks_by: ClassVar[str] = "task_confidence.rank"  # its own: rows inside a task are random, without a score
    prefer: ClassVar[Prefer] = "low"

    allocation: Literal["weighted", "even"] = param(
        option("weighted", label="Rows per task", words={"weighted": "inverse to confidence", "even": "equal"}),
        "How the budget is shared among the tasks: more rows for tasks of low confidence, or one row of each in turn.",
    )
    confidence: Literal["continuation", "response"] = measure_param(
        option(
            "continuation",
            label="Confidence in",
            words={"continuation": "the model's continuation", "response": "the pool's response"},
        ),
        "The text whose probability is the confidence. The pool's response (exp −NLL) needs no further pass.",
    )
    prompts_per_task: int = measure_param(
        number(64, 2, 10_000),
        "Maximum number of prompts per task that the model continues, sampled by seed.",
        used_if=lambda method: method.confidence == "continuation",
    )
    new_tokens: int = measure_param(
        number(32, 1, 1024, label="Max new tokens"),
        "Maximum length of a continuation, in tokens.",
        used_if=lambda method: method.confidence == "continuation",
    )
    tasks: Literal["auto", "derived"] = measure_param(
        option("auto", words={"auto": "automatic", "derived": "derived"}),
        "Automatic uses the pool's task labels, and derives tasks if it has none. Derived tasks are clusters of "
        "similar prompts (k-means).",
        minor=True,
    )
    derived_tasks: int = measure_param(
        number(0, 0, 1000, label="Number of derived tasks", zero="automatic"),
        "Automatic depends on the pool's size. Has no effect on a pool's own labels.",
        minor=True,
    )
    embeddings: str = measure_param(
        option("", label="Embedding model", names="model", words={"": "the measuring model"}),
        "A sentence-transformer (id or folder) that derives tasks. Empty: hidden states of the measuring model. Has no "
        "effect on a pool's own labels.",
        minor=True,
    )

    @property
    def needs(self) -> tuple[str, ...]:
        """Signals to measure; a pass over all rows only for the likelihood of responses."""
        confidence_signal = ("base",) if self.confidence == "response" else ("confidence",)
        return ("tokens", "tasks", *confidence_signal)

    def scores(self, measured: Measured) -> dict[str, NDArray[Any]]:
        """Return task_confidence c_t and task_weight w_t (Σ_t w_t = 1) of each row's task.

        With `response`, also response_confidence exp(−NLL) of each row. NaN if no prompt of the task has a confidence.
        """
        task, (mean, _, _) = measured.need("task_code"), self.confidence_by_task(measured)
        weight = 1 / mean
        weight /= np.nansum(weight) if np.isfinite(weight).any() else 1.0
        row_scores = {"response_confidence": self._row_confidence(measured)} if self.confidence == "response" else {}
        return row_scores | {
            "task_confidence": _per_row(mean, task).astype(np.float32),
            "task_weight": _per_row(weight, task).astype(np.float32),
        }

    def confidence_by_task(self, measured: Measured) -> tuple[Float64Array, Float64Array, IntArray]:
        """Return (T,) mean confidence, its standard error, and the number of prompts behind it."""
        task = measured.need("task_code")
        return mean_by_task(self._row_confidence(measured), task, int(task.max(initial=-1)) + 1)

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int, used: IntArray = NO_ROWS) -> Order:
        """Interleave the rows of all tasks by seats. Weights come from the whole pool, caps from the eligible rows."""
        task, (mean, _, _) = measured.need("task_code"), self.confidence_by_task(measured)
        excluded_by = {FILTERED: ~eligible, NO_RESPONSE: missing_response(measured), NO_TASK: task < 0}
        candidates, excluded = split_eligible(excluded_by | {NOT_MEASURED: ~np.isfinite(_per_row(mean, task))})
        eligible_task = np.full(len(task), -1, np.int64)
        eligible_task[candidates] = task[candidates]
        weights = np.where(np.isfinite(mean), 1 / mean, 0) if self.allocation == "weighted" else np.ones(len(mean))
        orders = put_first(used, task, shuffle_by_task(eligible_task, len(mean), seed))
        return Order(interleave_by_seats(orders, weights), excluded)

    def _row_confidence(self, measured: Measured) -> FloatArray:
        if self.confidence == "continuation":
            return np.asarray(measured.need("confidence"))
        return np.asarray(np.exp(-measured.need("nll")))


def _per_row(values: Float64Array, task: IntArray) -> Float64Array:
    """Expand (T,) to (N,): each row gets its task's value; NaN for a row without a task."""
    return np.append(values, np.nan)[task]


def sample_prompts(task: IntArray, tasks: int, per_task: int, seed: int, usable: BoolArray) -> IntArray:
    """Sample the rows whose prompts are continued, ascending: up to `per_task` usable rows of each task.

    `task` and `usable` are (N,); rows of task −1 are never sampled. A larger `per_task` samples the same rows and more,
    and a row that is not usable is replaced by the next of its task without moving the others.
    """
    sampled = [rows[usable[rows]][:per_task] for rows in shuffle_by_task(task, tasks, seed)]
    return np.sort(np.concatenate([np.empty(0, np.int64), *sampled]))


def mean_by_task(
    confidence: FloatArray | Float64Array, task: IntArray, tasks: int
) -> tuple[Float64Array, Float64Array, IntArray]:
    """Return (T,) mean, (T,) standard error and (T,) count of the finite confidences of each task 0 to T − 1.

    The mean is NaN for a task without any, the standard error for one with fewer than two. Rows of task −1 are ignored.
    """
    measured = np.isfinite(confidence) & (task >= 0)
    values, task_of = confidence[measured].astype(np.float64), task[measured]
    count = np.bincount(task_of, minlength=tasks).astype(np.int64)
    mean = _ratio(_sums(values, task_of, tasks), count, count > 0)
    squares = _sums((values - mean[task_of]) ** 2, task_of, tasks)
    return mean, np.sqrt(_ratio(squares, count * (count - 1), count > 1)), count


def _sums(values: Float64Array, task: IntArray, tasks: int) -> Float64Array:
    """Sum the values of each task, as float64 even without any values."""
    return np.bincount(task, weights=values, minlength=tasks).astype(np.float64)


def _ratio(above: Float64Array, below: IntArray, where: BoolArray) -> Float64Array:
    """Divide above by below where `where` holds; NaN elsewhere."""
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=where))
