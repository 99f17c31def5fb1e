"""Work of the commands, without the terminal: recipe in, facts out.

Facts are plain data: a table on the terminal, JSON for programs, the result of a job for the app.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from core.cli.arguments import (
    Facts,
    build_other_methods,
    measure_command,
    read_settings,
)
from core.cli.reports import count_faults
from core.columns import near_duplicate_column, near_duplicate_similarity
from core.errors import RecipeError, ReplayError
from core.measurement.lookup import find_run, find_signal, signals_of
from core.measurement.run_data import load_measured
from core.measurement.runs import Run
from core.measurement.token_files import view_means
from core.methods import METHODS, standalone_methods
from core.methods.combined import expand_combinations
from core.methods.suggestions import with_suggestions
from core.output import curate
from core.output.manifest import Manifest, read_manifest
from core.output.writer import write_scores
from core.pool.near_duplicates import duplicate_column, find_near_duplicates, load_near_duplicates
from core.pool.pools import load_pool, open_pool
from core.progress import Reporter, percent_callback
from core.schema import FieldMap, Method, Pool
from core.selection.recipe import PoolPart, Recipe, make_selection, named_near_duplicates, parse_recipe
from core.workspace.folder import Workspace

FINGERPRINT = re.compile(r"[0-9a-f]{32}")


def build_recipe(
    workspace: Workspace,
    report: Reporter,
    *,
    pool: Facts,
    task: str | None,
    method: str,
    settings: Sequence[str],
    reading: Facts,
    also: Sequence[str] = (),
    **rest: Any,
) -> tuple[Recipe, Pool]:
    """Build the recipe described by command line options and open its pool; settings of `also` are ignored."""
    params = with_suggestions(method, read_settings(settings, also).get("", {}), reading["model"])
    data = {"pool": pool, "method": {"name": method, "params": params}, "reading": reading}
    recipe = parse_recipe(data | rest, "command line")
    opened = open_source(pool, workspace, report, task=task)
    return recipe, opened


def open_source(part: Facts, workspace: Workspace, report: Reporter, *, task: str | None = None) -> Pool:
    """Open the pool of a recipe's pool part; `task` overrides the field of the task label ("" = none).

    The source may also be the fingerprint of a pool opened in this workspace before.
    """
    plan = PoolPart.model_validate(part)
    report.stage("Reading the pool", rows=0, work=100)

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
            on_progress=percent_callback(report),
        )

    pool = load(plan.field_map())
    if task is not None and (task or None) != pool.fields.task:
        pool = load(replace(pool.fields, task=task or None))
    if plan.fingerprint not in (None, pool.fingerprint):
        raise RecipeError(
            f"{plan.source} is not the pool that the recipe was made on: its fingerprint is {pool.fingerprint}, "
            f"the recipe says {plan.fingerprint}. Remove pool.fingerprint from the recipe to use it all the same."
        )
    return pool


def open_recipe_pool(recipe: Recipe, workspace: Workspace, report: Reporter) -> Pool:
    """Open the pool of a recipe; RecipeError if it has changed since."""
    return open_source(recipe.pool.model_dump(), workspace, report)


def measure_methods(
    recipe: Recipe, pool: Pool, workspace: Workspace, report: Reporter, also: Sequence[Method] = ()
) -> list[Run]:
    """Measure what the recipe's method and the `also` methods need, or reuse stored runs; one each, its own first."""
    from core.measurement.measure import measure_all  # imports torch, which the other commands do not need

    method, reading = recipe.method.build(), recipe.reading.reading()
    others = [other for other in also if other.name != method.name]
    return measure_all(pool, [method, *others], reading, workspace, seed=recipe.seed, report=report)


def estimate_cost(
    recipe: Recipe, pool: Pool, workspace: Workspace, report: Reporter, also: Sequence[Method] = ()
) -> Facts:
    """Estimate the cost of `measure_methods`."""
    from core.measurement.cost import estimate  # imports torch

    method, reading = recipe.method.build(), recipe.reading.reading()
    others = [other for other in also if other.name != method.name]
    return asdict(estimate(pool, expand_combinations([method, *others]), reading, workspace, report=report))


def view_tokens(
    recipe: Recipe, pool: Pool, workspace: Workspace, report: Reporter, rows: Sequence[int], *, strips: bool
) -> Facts:
    """Return rows token by token, with the base model and, if the recipe's method trained it, the calibrated one.

    The result has the means; with `strips`, every token as well. RecipeError if no run has read the pool in this way.
    """
    from core.measurement.token_view import view_rows  # imports torch

    reading = recipe.reading.reading()
    own = find_run(workspace, pool, recipe.method.build(), reading, recipe.seed)
    own_base_pass = own is not None and "base" in signals_of(own) and not own.members
    run = own if own_base_pass else find_signal(workspace, pool, "base", reading)
    if run is None:
        raise RecipeError(f"No model has read this pool in this way. First run: {measure_command(recipe, workspace)}")
    views = view_rows(run, rows, workspace, calibrated=own_base_pass, device=reading.device, report=report)
    ids = [pool.rows["id"][row].as_py() for row in rows]
    means = [{"id": name} | own for name, own in zip(ids, view_means(views), strict=True)]
    if not strips:
        return {"rows": means}
    return {"rows": [mean | {state: asdict(read[k]) for state, read in views.items()} for k, mean in enumerate(means)]}


def project_pool(recipe: Recipe, pool: Pool, workspace: Workspace, report: Reporter, of: str, layout: str) -> Facts:
    """Lay the pool out as a map and return where its coordinates are. RecipeError if there is nothing to lay out."""
    from core.analysis import maps  # imports sklearn, which the other commands do not need

    if layout not in maps.LAYOUTS:
        raise RecipeError(f"--layout {layout}: choose one of {', '.join(maps.LAYOUTS)}.")
    source = maps.need_source(workspace, pool, recipe.reading.reading(), of)
    folder = maps.make_map(workspace, source, layout, recipe.seed, report)
    about = maps.load_map_facts(workspace, source, recipe.seed)
    facts = {"map": of, "model": source.by, "rows": source.rows, "without": source.rows - about["placed"]}
    return facts | {name: str(folder / f"{name}.npy") for name in maps.LAYOUTS if (folder / f"{name}.npy").exists()}


def find_rows(pool: Pool, ids: Sequence[str], numbers: Sequence[int]) -> list[int]:
    """Return rows by id and by number, each once; RecipeError for one that the pool does not have."""
    places = [*(pc.index(pool.rows["id"], name).as_py() for name in ids), *numbers]
    for name, place in zip([*ids, *numbers], places, strict=True):
        if not 0 <= place < len(pool):
            raise RecipeError(f"{pool.name} has no row '{name}'. Its {len(pool):,} rows are counted from 0.")
    if not places:
        raise RecipeError("No row is named. Give --row ID or --number N.")
    return list(dict.fromkeys(places))


def resolve_duplicates(recipe: Recipe, pool: Pool, workspace: Workspace) -> Recipe:
    """Return the recipe with the duplicates that hold-out must not separate: near-duplicates, if stored."""
    if not recipe.export.held_out:
        return recipe
    apart = duplicate_column(load_near_duplicates(workspace.root, pool.fingerprint))
    return recipe.model_copy(update={"export": recipe.export.model_copy(update={"apart": apart})})


def find_recipe_duplicates(recipe: Recipe, pool: Pool, workspace: Workspace, report: Reporter) -> None:
    """Find the near-duplicates that a recipe names, unless stored already: a measurement without a model."""
    for column in sorted(named_near_duplicates(recipe)):
        find_near_duplicates(pool, workspace, near_duplicate_similarity(column) or 1.0, report)


def duplicates_facts(pool: Pool, workspace: Workspace, threshold: float, report: Reporter) -> Facts:
    """Count rows that nearly repeat an earlier one; measured now, or before."""
    repeats = find_near_duplicates(pool, workspace, threshold, report)
    sizes = np.bincount(repeats[repeats >= 0]) + 1
    return {
        "pool": pool.name,
        "column": near_duplicate_column(threshold),
        "rows": len(pool),
        "near_duplicates": int((repeats >= 0).sum()),
        "exact_duplicates": len(pool) - pool.rows["duplicate_of"].null_count,
        "groups": int((sizes > 1).sum()),
        "largest_group": int(sizes.max(initial=1)),
    }


def require_run(recipe: Recipe, pool: Pool, workspace: Workspace) -> Run:
    """Return the finished run that the recipe reads; RecipeError with the command that makes it if there is none."""
    method, reading = recipe.method.build(), recipe.reading.reading()
    run = find_run(workspace, pool, method, reading, recipe.seed)
    if run is None:
        raise RecipeError(
            f"{method.label} is not measured on this pool with these settings. First run: "
            f"{measure_command(recipe, workspace)}"
        )
    return run


def curate_run(recipe: Recipe, pool: Pool, run: Run, out: Path, scores: Path | None = None) -> Facts:
    """Select and write; return what was written, where, and how much."""
    result = curate.curate(recipe, pool, run, out)
    if scores is not None:
        measured = load_measured(run)
        order = make_selection(recipe, pool, measured).order
        write_scores(scores, pool, curate.score_table(recipe.method.build(), measured, order))
    facts = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(result).items() if v is not None}
    return facts | ({"scores": str(scores)} if scores else {})


def replay_manifest(
    path: Path,
    workspace: Workspace,
    report: Reporter,
    out: Path | None,
    pool_source: str | None,
    *,
    rows_only: bool,
) -> Facts:
    """Check a manifest and write its file again; ReplayError with the reason if that is impossible."""
    manifest = read_manifest(path)
    recipe = parse_recipe(manifest.recipe, str(path))
    source = pool_source or recipe.pool.source
    part = recipe.pool.model_copy(update={"source": source, "fingerprint": None})
    pool = open_source(part.model_dump(), workspace, report)
    target = out or path.with_name(manifest.output.file)
    run = None if rows_only else measure_methods(recipe, check_pool(pool, manifest), workspace, report)[0]
    if run is not None:
        find_recipe_duplicates(recipe, pool, workspace, report)
    exported = curate.replay(manifest, recipe, pool, run, target)
    return {"chosen": str(exported.path), "rows": exported.rows, "sha256": exported.sha256, "identical": True}


def check_pool(pool: Pool, manifest: Manifest) -> Pool:
    """Return the pool if it is the manifest's; checked before any slow work."""
    if pool.fingerprint != manifest.pool.fingerprint:
        raise ReplayError(
            f"{pool.source} is not the pool of this manifest: its fingerprint is {pool.fingerprint}, "
            f"the manifest's is {manifest.pool.fingerprint}. Give the right one with --pool."
        )
    return pool


def run_demo(workspace: Workspace, report: Reporter, out: Path, budget: str) -> Facts:
    """Run every method on the demo pool and count the planted faults each selects."""
    rows, files = [], []
    also = build_other_methods(["all"], [], "embedded")
    for name in standalone_methods():
        params = with_suggestions(name, {}, "embedded")
        data = {"pool": {"source": "demo"}, "method": {"name": name, "params": params}, "budget": budget}
        recipe = parse_recipe(data, "demo")
        pool = open_recipe_pool(recipe, workspace, report)
        run = measure_methods(recipe, pool, workspace, report, also)[0]
        result = curate.curate(recipe, pool, run, out / f"{name}.jsonl")
        selection = make_selection(recipe, pool, load_measured(run))
        faults = count_faults(pool, selection.rows)
        rows.append({"method": METHODS[name].label, "rows": result.rows, "response tokens": result.tokens} | faults)
        files.append(str(result.chosen))
    return {
        "pool": "demo",
        "budget": budget,
        "methods": rows,
        "planted": count_faults(pool, np.arange(len(pool))),
        "files": files,
    }
