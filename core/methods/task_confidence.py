"""Task confidence: more rows for the tasks on which the base model is least sure. Rows need no responses.

    c_t   mean confidence of the base model over prompts of task t, in (0, 1]
    w_t   ∝ 1 / c_t
    n_t   rows of task t under a budget of B: Webster seats by w_t, at most what the task has (core/apportion.py)

Confidence of a prompt: the model continues it greedily by up to m tokens, exp(mean_t log p(ŷ_t)). Up to s prompts of
each task are asked, drawn from the seed. Or, where rows have responses, exp(−NLL) of each response: no further pass.

Rows inside a task come in a random order, drawn from the seed. Σ n_t = min(B, rows) exactly, and a larger budget only
ever adds rows. `even` is round robin: every task one row in turn (task diversity without weights).

Tasks are the labels of the pool; rows without a label are a task of their own. A pool without labels has tasks derived
from its prompts' embeddings by k-means (core/derived.py), and they are called derived wherever they are shown.

Source: (Weighted) Task Diversity, https://arxiv.org/abs/2507.21482. Its abstract fixes the principle, weights inverse
to confidence; the formula of the confidence, the caps and the rounding to whole rows are this project's reading.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from core.apportion import drawn, interleaved
from core.certainty import task_means
from core.methods.params import check, param
from core.methods.ranking import FILTERED, NO_RESPONSE, NOT_MEASURED, sort_out, unanswered
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
        check(self)

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
        task, (mean, _, _) = measured.need("task_code"), self.by_task(measured)
        weight = 1 / mean
        weight /= np.nansum(weight) if np.isfinite(weight).any() else 1.0
        known = {"response_confidence": self._of_rows(measured)} if self.confidence == "response" else {}
        return known | {
            "task_confidence": _spread(mean, task).astype(np.float32),
            "task_weight": _spread(weight, task).astype(np.float32),
        }

    def by_task(self, measured: Measured) -> tuple[NDArray[np.float64], NDArray[np.float64], IntArray]:
        """(T,) mean confidence, its standard error, and from how many prompts."""
        task = measured.need("task_code")
        return task_means(self._of_rows(measured), task, int(task.max(initial=-1)) + 1)

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int) -> Order:
        """Rows of all tasks interleaved by seats. Weights are the whole pool's, caps what the filters leave."""
        task, (mean, _, _) = measured.need("task_code"), self.by_task(measured)
        unknown = ~np.isfinite(_spread(mean, task))
        left_out = {FILTERED: ~eligible, NO_RESPONSE: unanswered(measured), NO_TASK: task < 0, NOT_MEASURED: unknown}
        candidates, excluded = sort_out(left_out)
        among = np.full(len(task), -1, np.int64)
        among[candidates] = task[candidates]
        weights = np.where(np.isfinite(mean), 1 / mean, 0) if self.allocation == "weighted" else np.ones(len(mean))
        return Order(interleaved(drawn(among, len(mean), seed), weights), excluded)

    def _of_rows(self, measured: Measured) -> FloatArray:
        if self.confidence == "continuation":
            return measured.need("confidence")
        likelihood: FloatArray = np.exp(-measured.need("nll"))
        return likelihood


def _spread(values: NDArray[np.float64], task: IntArray) -> NDArray[np.float64]:
    """(T,) to (N,): of each row's task; NaN for a row without one."""
    return np.append(values, np.nan)[task]
