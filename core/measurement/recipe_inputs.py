"""Inputs of a recipe: its pool, the runs of its methods, the duplicates that it names."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from core.algorithms.vector_blocks import VectorBlocks
from core.columns import Duplicates
from core.errors import RecipeError
from core.measurement.lookup import find_signal
from core.measurement.run_data import base_parts
from core.measurement.runs import Run
from core.measurement.semantic_duplicates import find_semantic_duplicates
from core.methods import build_method
from core.methods.imported import Imported
from core.pool.near_duplicates import duplicate_column, find_near_duplicates, load_near_duplicates
from core.pool.outside_scores import list_scores
from core.pool.pools import load_pool, open_pool
from core.progress import Reporter, percent_callback
from core.schema import FieldMap, IntArray, Method, Pool
from core.selection.recipe import Recipe, named_duplicates, parse_pool_part
from core.workspace.folder import Workspace
from core.workspace.shards import ALONE, Shard

FINGERPRINT = re.compile(r"[0-9a-f]{32}")
EMBEDS = "lowest_nll"  # the method that measures embeddings and no more


def with_good_end(recipe: Recipe, pool: Pool, workspace: Workspace) -> Recipe:
    """Complete the recipe of an imported score with the good end that was named on import; other recipes stay."""
    method = recipe.method
    stored = list_scores(workspace.root, pool.fingerprint) if method.name == Imported.name else {}
    about = stored.get(str(method.params.get("field")))
    if about is None or "end" in method.params:
        return recipe
    params = {**method.params, "end": about["end"]}
    return recipe.model_copy(update={"method": method.model_copy(update={"params": params})})


def open_source(part: dict[str, Any], workspace: Workspace, report: Reporter, *, task: str | None = None) -> Pool:
    """Open the pool of a recipe's pool part; `task` overrides the field of the task label ("" = none).

    The source may also be the fingerprint of a pool opened in this workspace before.
    """
    plan = parse_pool_part(part)
    report.stage("Loading the pool", rows=0, work=100)

    def load(fields: FieldMap | None) -> Pool:
        if FINGERPRINT.fullmatch(plan.source) and not Path(plan.source).exists():
            return open_pool(plan.source, workspace=workspace.root)
        return load_pool(
            plan.source,
            workspace=workspace.root,
            fields=fields,
            name=plan.name,
            split=plan.split,
            revision=plan.revision,
            header=plan.header,
            on_progress=percent_callback(report),
        )

    pool = load(plan.field_map())
    if task is not None and (task or None) != pool.fields.task:
        pool = load(replace(pool.fields, task=task or None))
    if plan.fingerprint not in (None, pool.fingerprint):
        raise RecipeError(
            f"{plan.source} is not the pool of this recipe: its fingerprint is {pool.fingerprint}, in the recipe "
            f"{plan.fingerprint}. To use it anyway, remove pool.fingerprint from the recipe."
        )
    return pool


def open_recipe_pool(recipe: Recipe, workspace: Workspace, report: Reporter) -> Pool:
    """Open the pool of a recipe; RecipeError if it has changed since."""
    return open_source(recipe.pool.model_dump(), workspace, report)


def measure_methods(
    recipe: Recipe,
    pool: Pool,
    workspace: Workspace,
    report: Reporter,
    also: Sequence[Method] = (),
    *,
    servers: Collection[str] | None = None,
    shard: Shard = ALONE,
    allow_mix: bool = False,
) -> list[Run]:
    """Measure what the recipe's method and the `also` methods need, or reuse stored runs; one each, its own first.

    `servers`, `shard` and `allow_mix` as for `core.measurement.measure.measure_all`; the servers are those that a
    recipe from a file may send prompts to.
    """
    from core.measurement.measure import measure_all  # imports the hub's client, which other commands do not need

    method, reading = recipe.method.build(), recipe.reading.reading()
    others = [other for other in also if other.name != method.name]
    return measure_all(
        pool,
        [method, *others],
        reading,
        workspace,
        seed=recipe.seed,
        report=report,
        servers=servers,
        shard=shard,
        allow_mix=allow_mix,
    )


def filter_methods(recipe: Recipe) -> list[Method]:
    """Return the methods that measure what filters of the recipe need: embeddings, for semantic duplicates."""
    embeds = any(kind.embedding for kind in named_duplicates(recipe).values())
    return [build_method(EMBEDS, {})] if embeds and recipe.method.name != EMBEDS else []


def find_recipe_duplicates(recipe: Recipe, pool: Pool, workspace: Workspace, report: Reporter) -> None:
    """Find the duplicates that a recipe names, unless stored already. No model runs: RecipeError if one has to."""
    for column, kind in named_duplicates(recipe).items():
        find_duplicates(kind, kind.similarity(column), recipe, pool, workspace, report)


def find_duplicates(
    kind: Duplicates,
    similarity: float,
    recipe: Recipe,
    pool: Pool,
    workspace: Workspace,
    report: Reporter,
    shard: Shard = ALONE,
) -> IntArray:
    """Return the row that each row repeats (N,), -1 for none: by words, or by embeddings under the recipe's reading.

    RecipeError if no model has measured those embeddings.
    """
    if not kind.embedding:
        return find_near_duplicates(pool, workspace, similarity, report, shard)
    if kind.embedding == "response_embedding" and pool.rows["response"].null_count == len(pool):
        raise RecipeError(f"{pool.name} has no responses, so their embeddings cannot be compared. Compare the prompts.")
    run = find_signal(workspace, pool, "base", recipe.reading.reading())
    if run is None:
        raise RecipeError(
            f"{recipe.reading.model} has not measured the embeddings of this pool with these settings. First run, with "
            f"the options of the model: python -m core measure {pool.source} --method {EMBEDS}"
        )
    vectors = VectorBlocks(len(pool), partial(base_parts(workspace, run).blocks, kind.embedding))
    return find_semantic_duplicates(run, vectors, kind, similarity, workspace, report)


def resolve_duplicates(recipe: Recipe, pool: Pool, workspace: Workspace) -> Recipe:
    """Return the recipe with the duplicates that hold-out must not separate: near-duplicates, if stored."""
    if not recipe.export.held_out:
        return recipe
    apart = duplicate_column(load_near_duplicates(workspace.root, pool.fingerprint))
    return recipe.model_copy(update={"export": recipe.export.model_copy(update={"apart": apart})})
