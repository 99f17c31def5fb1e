"""Measurement of task confidence: the task of each row, and the model's confidence on some prompts of each task.

tasks        labels of the pool; or k-means over embeddings of prompts, from the base pass or from a
             sentence-transformer (a separate stage)
confidence   greedy continuation of up to s prompts per task by the base model, part by part
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.algorithms.task_clusters import default_task_count, derive_tasks
from core.columns import Column, Signals, group_column
from core.measurement.measurement import Measurement, Result, TrialBatch, Work
from core.measurement.prompt_embeddings import prompt_embeddings, prompts, sample_key
from core.measurement.runs import DERIVED, Run, Tasks
from core.measurement.stages import STEP_COST, PoolStages
from core.methods.task_confidence import TaskConfidence, mean_by_task, sample_prompts
from core.schema import Columns, FloatArray, IntArray, Pool, Progress
from core.workspace.files import read_json, write_json
from core.workspace.parts import plan_by_work

if TYPE_CHECKING:
    from core.models.loading import Model

NAMES = "names.json"


class ConfidenceMeasurement(Measurement[TaskConfidence]):
    """Tasks, and the confidence of greedy continuations (Weighted Task Diversity)."""

    signals: ClassVar[Signals] = {
        "tasks": {  # labels of the pool, or derived from embeddings of the prompts
            "task_code": group_column("Task number", "the row's task")
        },
        "confidence": {
            "confidence": Column(
                "Confidence",
                "the base model is less certain how to continue the prompt",
                "the base model is more certain how to continue the prompt",
                "exp of the mean log-likelihood of the base model's own greedy continuation, for sampled prompts.",
            )
        },
    }
    scores: ClassVar[Mapping[str, Column]] = {
        "response_confidence": Column(
            "Response confidence",
            "the base model finds the response less likely",
            "the base model finds the response more likely",
            "exp of minus the NLL of the response under the base model.",
        ),
        "task_confidence": Column(
            "Task confidence",
            "the base model is less certain on the row's task, so the task gets more rows",
            "the base model is more certain on the row's task, so the task gets fewer rows",
            "Mean confidence over the sampled prompts of the row's task; the same for all rows of a task.",
        ),
        "task_weight": Column(
            "Task weight",
            "the row's task gets a smaller share of the budget",
            "the row's task gets a larger share of the budget",
            "1 / confidence of the row's task, divided by the sum over all tasks: the share of the budget for the task "
            "until it has no rows left.",
        ),
    }
    work_in_words: ClassVar[Mapping[str, str]] = {
        "confidence": "The model continues a sample of prompts per task (greedy decoding)."
    }

    def run(self, stages: PoolStages, method: TaskConfidence, columns: Columns, seed: int) -> Result:
        """Find the task of each row; then continue prompts, unless the confidence of responses is used."""
        codes, tasks = find_tasks(stages, method, seed)
        if "confidence" not in method.needs:
            return Result({"task_code": codes}, tasks=tasks)
        confidence, counts = measure_confidence(stages, method, codes, seed)
        return Result({"task_code": codes, "confidence": confidence}, summary=counts, tasks=tasks)

    def cost(self, method: TaskConfidence, pool: Pool) -> Work:
        """Return the base pass, if needed, and the number of prompts that are continued."""
        derived = task_source(method, pool) == DERIVED
        base = "base" in method.needs or (derived and not method.embeddings)
        if "confidence" not in method.needs:
            return Work(base_pass=base)
        if derived:
            count = method.derived_tasks or default_task_count(len(pool))
            prompts = min(len(pool), method.prompts_per_task * count)
        else:
            sizes = pc.value_counts(pool.rows["task"]).field("counts").to_numpy()
            prompts = int(np.minimum(sizes, method.prompts_per_task).sum())
        return Work(base_pass=base, prompts=prompts, words=f"{prompts:,} prompts × {method.new_tokens} tokens")

    def time_trial(self, model: "Model", method: TaskConfidence, batch: TrialBatch) -> Mapping[str, float]:
        """Return the seconds that continuing a prompt takes."""
        from core.models.generation.greedy import GreedyContinuation

        if "confidence" not in method.needs:
            return {}
        continuation = GreedyContinuation(model, new_tokens=method.new_tokens)
        _, seconds = batch.prompts(continuation.room).time(continuation)
        return {"seconds_per_prompt": seconds / batch.rows}

    def warnings(self, columns: Mapping[str, Any], result: Result) -> list[str]:
        """Warn about tasks with fewer than two prompts in their mean confidence."""
        if result.tasks is None or "confidence" not in columns:
            return []
        _, _, counts = mean_by_task(columns["confidence"], columns["task_code"], len(result.tasks.names))
        few, tasks = int((counts < 2).sum()), len(result.tasks.names)
        return (
            [f"{few:,} of {tasks:,} tasks have fewer than two prompts, so their confidence has no standard error."]
            if few
            else []
        )

    def key(self, method: TaskConfidence, pool: Pool) -> dict[str, Any]:
        """Return the source of tasks."""
        return {"tasks": task_source(method, pool)}

    def fits(self, run: Run, method: TaskConfidence, pool: Pool) -> bool:
        """Return whether the run has the same source of tasks as this method."""
        return run.tasks is not None and run.tasks.source == task_source(method, pool)


def task_source(method: TaskConfidence, pool: Pool) -> str:
    """Return the source of tasks: the labels of the pool, if it has any and the method accepts them; else DERIVED."""
    labelled = pool.rows["task"].null_count < len(pool)
    return f"labels: {pool.fields.task}" if labelled and method.tasks != DERIVED else DERIVED


def find_tasks(stages: PoolStages, method: TaskConfidence, seed: int) -> tuple[IntArray, Tasks]:
    """Return the task of each row (N,), −1 for none, and the tasks' names."""
    source = task_source(method, stages.pool)
    if source == DERIVED:
        return _derive_tasks(stages, method, seed)
    names, codes = code_labels(stages.pool)
    return codes, Tasks(names, source)


def code_labels(pool: Pool) -> tuple[tuple[str | None, ...], IntArray]:
    """Return the task labels of the pool, most frequent first (ties: first occurrence), and each row's index in them.

    Rows without a label are the task None.
    """
    coded = pool.rows["task"].combine_chunks().dictionary_encode(null_encoding="encode")
    codes = np.asarray(coded.indices, np.int64)
    names = coded.dictionary.to_pylist()
    order = np.argsort(-np.bincount(codes, minlength=len(names)), kind="stable")
    return tuple(names[i] for i in order), np.argsort(order)[codes]


def _derive_tasks(stages: PoolStages, method: TaskConfidence, seed: int) -> tuple[IntArray, Tasks]:
    count = method.derived_tasks or default_task_count(len(stages.pool))
    made_of, embeddings = prompt_embeddings(stages, method.embeddings)

    def make(folder: Path, _: Progress) -> IntArray:
        tasks = derive_tasks(embeddings, lambda rows: prompts(stages.pool, rows), count, seed=seed)
        write_json(folder / NAMES, {"names": tasks.names})
        return tasks.codes

    spec = {"kind": "tasks", "embeddings": made_of, "tasks": count, "seed": seed}
    spec |= sample_key(stages, embeddings.n, embeddings.width)
    title = "Deriving tasks from the prompts"
    folder, codes = stages.once(spec, len(stages.pool), "task_code", title, make, percent=False, files=[NAMES])
    return codes, Tasks(_read_names(folder / NAMES), DERIVED, made_of if method.embeddings else "")


def _read_names(file: Path) -> tuple[str, ...]:
    stored = read_json(file)
    return tuple(stored["names"] if isinstance(stored, dict) else stored)  # a list until version 0.2


def measure_confidence(
    stages: PoolStages, method: TaskConfidence, task: IntArray, seed: int
) -> tuple[FloatArray, dict[str, int]]:
    """Return the confidence (N,) of the prompts that were continued, NaN for all others, and how many these are."""
    usable = stages.counts["prompt_tokens"] > 0
    asked = sample_prompts(task, int(task.max(initial=-1)) + 1, method.prompts_per_task, seed, usable)
    work = stages.prompt_lengths + STEP_COST * method.new_tokens
    plan = [asked[places] for places in plan_by_work(work[asked], stages.part_tokens)]
    spec = stages.model_spec("confidence") | {"new_tokens": method.new_tokens, "asked": asked.tolist()}

    def load() -> Callable[[IntArray], pa.Table]:
        from core.models.generation.greedy import GreedyContinuation

        continuation = GreedyContinuation(stages.model(), new_tokens=method.new_tokens)
        return lambda rows: pa.table(dict(continuation({"tokens": stages.prompts(rows, continuation.room)})))

    parts = stages.fill(spec, plan, "Continuing prompts of each task", load, work)
    n = len(stages.pool)
    if not len(asked):
        return np.full(n, np.nan, np.float32), {"asked": 0, "continued": 0}
    continued = parts.column("continued", n)
    return parts.column("confidence", n), {"asked": len(asked), "continued": int(continued[asked].sum())}
