"""Inputs of a recipe: its pool, the runs of its methods, the near-duplicates that it names."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.columns import near_duplicate_similarity
from core.errors import RecipeError
from core.measurement.runs import Run
from core.methods.imported import Imported
from core.pool.near_duplicates import duplicate_column, find_near_duplicates, load_near_duplicates
from core.pool.outside_scores import list_scores
from core.pool.pools import load_pool, open_pool
from core.progress import Reporter, percent_callback
from core.schema import FieldMap, Method, Pool
from core.selection.recipe import Recipe, named_near_duplicates, parse_pool_part
from core.workspace.folder import Workspace
from core.workspace.shards import ALONE, Shard

FINGERPRINT = re.compile(r"[0-9a-f]{32}")


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


def find_recipe_duplicates(recipe: Recipe, pool: Pool, workspace: Workspace, report: Reporter) -> None:
    """Find the near-duplicates that a recipe names, unless stored already: a measurement without a model."""
    for column in sorted(named_near_duplicates(recipe)):
        find_near_duplicates(pool, workspace, near_duplicate_similarity(column) or 1.0, report)


def resolve_duplicates(recipe: Recipe, pool: Pool, workspace: Workspace) -> Recipe:
    """Return the recipe with the duplicates that hold-out must not separate: near-duplicates, if stored."""
    if not recipe.export.held_out:
        return recipe
    apart = duplicate_column(load_near_duplicates(workspace.root, pool.fingerprint))
    return recipe.model_copy(update={"export": recipe.export.model_copy(update={"apart": apart})})
