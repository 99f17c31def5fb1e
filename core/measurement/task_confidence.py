"""Tasks and confidence: which task a row belongs to, and how sure the model is of some prompts of each task.

tasks        labels of the pool; or k-means over embeddings of the prompts: the base pass's own, or those of a
             sentence-transformer (a stage of its own, part by part)
confidence   greedy continuation of up to s prompts per task, part by part, by the base model
"""

import numpy as np
import pyarrow as pa

from core.algorithms.task_clusters import default_task_count, derive_tasks
from core.measurement.prompt_embeddings import prompt_embeddings, prompts
from core.measurement.runs import DERIVED, Tasks, task_source
from core.measurement.stages import Sweep, plan_parts
from core.methods.task_confidence import TaskConfidence, sample_prompts
from core.models.generation.greedy import GreedyContinuation
from core.schema import FloatArray, IntArray, Pool
from core.workspace.files import read_json, write_json

STEP_COST = 4  # a token that is generated costs about as much as so many that are read


def tasks_of(sweep: Sweep, method: TaskConfidence, seed: int) -> tuple[IntArray, Tasks]:
    """(N,) each row's task, −1 for none, and the tasks' names."""
    source = task_source(method, sweep.pool)
    if source != DERIVED:
        names, codes = labels(sweep.pool)
        return codes, Tasks(names, source)
    return _derived(sweep, method, seed)


def labels(pool: Pool) -> tuple[tuple[str | None, ...], IntArray]:
    """Task labels of the pool, those of most rows first (ties: met first), and each row's place in them.

    None stands for rows without a label.
    """
    coded = pool.rows["task"].combine_chunks().dictionary_encode(null_encoding="encode")
    codes = np.asarray(coded.indices, np.int64)
    names = coded.dictionary.to_pylist()
    order = np.argsort(-np.bincount(codes, minlength=len(names)), kind="stable")
    place = np.argsort(order)
    return tuple(names[i] for i in order), place[codes]


def _derived(sweep: Sweep, method: TaskConfidence, seed: int) -> tuple[IntArray, Tasks]:
    count = method.derived_tasks or default_task_count(len(sweep.pool))
    made_of, embeddings = prompt_embeddings(sweep, method.embeddings)
    spec = {"kind": "tasks", "embeddings": made_of, "tasks": count, "seed": seed}
    n = len(sweep.pool)
    with sweep.timed("tasks"), sweep.stage(spec, [np.arange(n)]) as parts:
        if parts.missing():
            sweep.report.stage("Deriving tasks from the prompts", rows=0, work=0)
            found = derive_tasks(embeddings(), lambda rows: prompts(sweep.pool, rows), count, seed=seed)
            write_json(parts.folder / "names.json", list(found.names))
            parts.write(0, pa.table({"task_code": pa.array(found.codes)}))
    names = tuple(read_json(parts.folder / "names.json"))
    return parts.column("task_code", n), Tasks(names, DERIVED, made_of if method.embeddings else "")


def confidence_of(sweep: Sweep, method: TaskConfidence, task: IntArray, seed: int) -> tuple[FloatArray, dict[str, int]]:
    """(N,) confidence of the prompts that were asked, NaN for all others; and how many were asked, how many tokens
    the model went on by."""
    usable = sweep.tokens.columns()["prompt_tokens"] > 0
    asked = sample_prompts(task, int(task.max(initial=-1)) + 1, method.prompts_per_task, seed, usable)
    work = sweep.lengths + STEP_COST * method.new_tokens
    plan = [asked[places] for places in plan_parts(work[asked], sweep.part_tokens)]
    spec = sweep.about_model("confidence") | {"new_tokens": method.new_tokens, "asked": asked.tolist()}
    continuation: GreedyContinuation | None = None
    with sweep.timed("confidence"), sweep.stage(spec, plan) as parts:
        for part, rows in sweep.missing([parts], "Continuing prompts of each task", work):
            continuation = continuation or GreedyContinuation(sweep.model(), new_tokens=method.new_tokens)
            found = continuation(sweep.tokens.batch(rows))
            parts.write(part, pa.table({name: pa.array(values) for name, values in found.items()}))
    n = len(sweep.pool)
    if not len(asked):
        return np.full(n, np.nan, np.float32), {"asked": 0, "continued": 0}
    continued = parts.column("continued", n)
    return parts.column("confidence", n), {"asked": len(asked), "continued": int(continued[asked].sum())}
