"""Task confidence: more rows for the tasks on which the base model is least sure. Rows need no responses.

    c_t   mean confidence of the base model over prompts of task t, in (0, 1]
    w_t   ∝ 1 / c_t
    n_t   rows of task t under a budget of B: Webster seats by w_t, at most what the task has
    (core/algorithms/apportionment.py)

Confidence of a prompt: the model continues it greedily by up to m tokens, exp(mean_t log p(ŷ_t)). Up to s prompts of
each task are asked, drawn from the seed. Or, where rows have responses, exp(−NLL) of each response: no further pass.

Rows inside a task come in a random order, drawn from the seed. Σ n_t = min(B, rows) exactly, and a larger budget only
ever adds rows. `even` is round robin: every task one row in turn (task diversity without weights).

Tasks are the labels of the pool; rows without a label are a task of their own. A pool without labels has tasks derived
from its prompts' embeddings by k-means (core/algorithms/task_clusters.py), and they are called derived wherever they
are shown.

Source: (Weighted) Task Diversity, https://arxiv.org/abs/2507.21482. Its abstract fixes the principle, weights inverse
to confidence; the formula of the confidence, the caps and the rounding to whole rows are this project's reading.

How sure a model is in each task, from a few of its prompts: which rows to ask, and what their answers come to.

    c_t = mean confidence over the rows of task t that were asked
    its standard error = s / √n,  with s² = Σ (c − c_t)² / (n − 1)

The confidence of one prompt is that of core/models/generation/greedy.py, in (0, 1], high = sure. Of many prompts a few
per task
are enough, and the standard error says how far the mean is to be trusted. As the rows of a task are drawn without
replacement and all of them could be asked, it is on the safe side: with every row asked there is no error left.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from core.algorithms.apportionment import interleave_by_seats, shuffle_by_task
from core.methods.params import check_params, param
from core.methods.ranking import FILTERED, NO_RESPONSE, NOT_MEASURED, missing_response, split_eligible
from core.schema import BoolArray, FloatArray, IntArray, Measured, Order

NO_TASK = "no task"


@dataclass(frozen=True)
class TaskConfidence:
    """Rows per task by how little the base model is sure of it (Weighted Task Diversity)."""

    name: ClassVar[str] = "task_confidence"
    label: ClassVar[str] = "Task confidence"
    summary: ClassVar[str] = (
        "Gives each task rows in proportion to how unsure the model is of it; inside a task rows are random. "
        "Needs no responses."
    )

    allocation: Literal["weighted", "even"] = param(
        "weighted",
        "Weighted: more rows for tasks of low confidence. Even: every task one row in turn.",
        label="Rows per task",
        choices=("weighted", "even"),
    )
    confidence: Literal["continuation", "response"] = param(
        "continuation",
        "Of what the model itself goes on with after a prompt, or of the pool's response (exp −NLL, no further pass).",
        label="Confidence of",
        choices=("continuation", "response"),
        stage="measure",
    )
    prompts_per_task: int = param(
        64, "Prompts of each task that the model continues.", low=2, high=10_000, stage="measure"
    )
    new_tokens: int = param(32, "Tokens it continues each by, at most.", low=1, high=1024, stage="measure")
    tasks: Literal["auto", "derived"] = param(
        "auto",
        "The pool's own labels where it has any, else (or always) groups of like prompts, derived by k-means.",
        choices=("auto", "derived"),
        stage="measure",
    )
    derived_tasks: int = param(
        0,
        "How many tasks to derive, where they are derived. 0: as suits the pool's size.",
        low=0,
        high=1000,
        stage="measure",
    )
    embeddings: str = param(
        "",
        "A sentence-transformer (id or folder) to derive tasks with. Empty: the scoring model's own hidden states.",
        label="Embeddings by",
        stage="measure",
        names="model",
    )

    def __post_init__(self) -> None:
        check_params(self)

    @property
    def needs(self) -> tuple[str, ...]:
        """A pass over all rows only where the likelihood of responses is asked for."""
        own = ("base",) if self.confidence == "response" else ("confidence",)
        return ("tokens", "tasks", *own)

    @property
    def ranks_by(self) -> str:
        """Its own place in the order: rows are drawn, so there is no score behind it."""
        return "task_confidence.rank"

    @property
    def prefer(self) -> Literal["high", "low", "middle"]:
        """The first places."""
        return "low"

    def scores(self, measured: Measured) -> dict[str, NDArray[Any]]:
        """task_confidence c_t and task_weight w_t (Σ_t w_t = 1) of each row's task; with `response`
        response_confidence exp(−NLL) of each row too. NaN where no prompt of the task has a confidence."""
        task, (mean, _, _) = measured.need("task_code"), self.confidence_by_task(measured)
        weight = 1 / mean
        weight /= np.nansum(weight) if np.isfinite(weight).any() else 1.0
        known = {"response_confidence": self._of_rows(measured)} if self.confidence == "response" else {}
        return known | {
            "task_confidence": _spread(mean, task).astype(np.float32),
            "task_weight": _spread(weight, task).astype(np.float32),
        }

    def confidence_by_task(self, measured: Measured) -> tuple[NDArray[np.float64], NDArray[np.float64], IntArray]:
        """(T,) mean confidence, its standard error, and from how many prompts."""
        task = measured.need("task_code")
        return mean_by_task(self._of_rows(measured), task, int(task.max(initial=-1)) + 1)

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int) -> Order:
        """Rows of all tasks interleaved by seats. Weights are the whole pool's, caps what the filters leave."""
        task, (mean, _, _) = measured.need("task_code"), self.confidence_by_task(measured)
        unknown = ~np.isfinite(_spread(mean, task))
        left_out = {
            FILTERED: ~eligible,
            NO_RESPONSE: missing_response(measured),
            NO_TASK: task < 0,
            NOT_MEASURED: unknown,
        }
        candidates, excluded = split_eligible(left_out)
        among = np.full(len(task), -1, np.int64)
        among[candidates] = task[candidates]
        weights = np.where(np.isfinite(mean), 1 / mean, 0) if self.allocation == "weighted" else np.ones(len(mean))
        return Order(interleave_by_seats(shuffle_by_task(among, len(mean), seed), weights), excluded)

    def _of_rows(self, measured: Measured) -> FloatArray:
        if self.confidence == "continuation":
            return measured.need("confidence")
        likelihood: FloatArray = np.exp(-measured.need("nll"))
        return likelihood


def _spread(values: NDArray[np.float64], task: IntArray) -> NDArray[np.float64]:
    """(T,) to (N,): of each row's task; NaN for a row without one."""
    return np.append(values, np.nan)[task]


Float64Array = NDArray[np.float64]


def sample_prompts(task: IntArray, tasks: int, per_task: int, seed: int, usable: BoolArray) -> IntArray:
    """Rows to ask, ascending: of each task up to `per_task` of those that are usable, drawn at random.

    `task` and `usable` are (N,); rows of task −1 are in none. A larger `per_task` asks the same rows and more, and a
    row that is not usable makes room for the next of its task without moving the others.
    """
    chosen = [own[usable[own]][:per_task] for own in shuffle_by_task(task, tasks, seed)]
    return np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))


def mean_by_task(
    confidence: FloatArray | Float64Array, task: IntArray, tasks: int
) -> tuple[Float64Array, Float64Array, IntArray]:
    """(T,) mean, (T,) standard error and (T,) count of the finite confidences of each task 0 to T − 1.

    The mean is NaN where a task has none, the standard error where it has fewer than two. Rows of task −1 are in none.
    """
    known = np.isfinite(confidence) & (task >= 0)
    values, own = confidence[known].astype(np.float64), task[known]
    count = np.bincount(own, minlength=tasks).astype(np.int64)
    mean = _ratio(_sums(values, own, tasks), count, count > 0)
    squares = _sums((values - mean[own]) ** 2, own, tasks)
    error: Float64Array = np.sqrt(_ratio(squares, count * (count - 1), count > 1))
    return mean, error, count


def _sums(values: Float64Array, own: IntArray, tasks: int) -> Float64Array:
    """The sum of the values of each task; float64 also where there are none at all."""
    return np.bincount(own, weights=values, minlength=tasks).astype(np.float64)


def _ratio(above: Float64Array, below: IntArray, where: BoolArray) -> Float64Array:
    """above / below where it is asked for, else NaN."""
    found: Float64Array = np.divide(above, below, out=np.full(len(above), np.nan), where=where)
    return found
