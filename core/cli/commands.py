"""Work of the commands, without the terminal: recipe in, facts out.

Facts are plain data: a table on the terminal, JSON for programs, the result of a job for the app.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.cli.arguments import Facts, build_other_methods, measure_command, select_arguments
from core.cli.reports import count_faults
from core.columns import Duplicates
from core.errors import RecipeError
from core.measurement.lookup import find_run, find_signal, signals_of
from core.measurement.recipe_inputs import find_duplicates, find_recipe_duplicates, measure_methods, open_recipe_pool
from core.measurement.run_data import load_measured
from core.measurement.runs import Run, describe_outdated, list_runs
from core.measurement.token_files import view_means
from core.methods import METHODS, standalone_methods
from core.methods.combined import expand_combinations
from core.methods.preference_influence import PreferenceInfluence
from core.methods.suggestions import with_suggestions
from core.output import curate
from core.output.curves import Tracker, send_curves, warm_up_curves
from core.output.destinations import SUFFIXES
from core.output.given_rows import find_given_rows
from core.output.manifest import read_manifest
from core.output.score_files import collect_scores, write_score_file
from core.output.trainer_folder import write_trainer_folder
from core.pool.benchmarks import Benchmark
from core.pool.outside_scores import ImportedScores
from core.progress import Reporter
from core.proof.row_files import find_file_rows, is_file
from core.schema import Method, Pool
from core.selection.recipe import Recipe, make_selection, parse_recipe
from core.workers.places import LOCAL
from core.workers.records import recording
from core.workers.task import Task
from core.workspace.folder import Workspace
from core.workspace.shards import ALONE, Shard, read_shard


def estimate_cost(recipe: Recipe, pool: Pool, workspace: Workspace, report: Reporter, also: Sequence[Method]) -> Facts:
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
        raise RecipeError(
            f"No model has measured this pool with these settings. First run: {measure_command(recipe, workspace)}"
        )
    views = view_rows(run, rows, workspace, calibrated=own_base_pass, device=reading.device, report=report)
    ids = [pool.rows["id"][row].as_py() for row in rows]
    means = [{"id": name} | own for name, own in zip(ids, view_means(views), strict=True)]
    if not strips:
        return {"rows": means}
    return {"rows": [mean | {state: asdict(read[k]) for state, read in views.items()} for k, mean in enumerate(means)]}


def project_pool(recipe: Recipe, pool: Pool, workspace: Workspace, report: Reporter, of: str, layout: str) -> Facts:
    """Compute a map of the pool, unless stored; return its files and facts. RecipeError if nothing can be mapped."""
    from core.analysis import maps  # imports sklearn, which the other commands do not need

    if layout not in maps.LAYOUTS:
        raise RecipeError(f"--layout {layout}: choose one of {', '.join(maps.LAYOUTS)}.")
    source = maps.need_source(workspace, pool, recipe.reading.reading(), of)
    folder = maps.make_map(workspace, source, layout, recipe.seed, report)
    about = maps.load_map_facts(workspace, source, recipe.seed)
    facts = {"map": of, "model": source.model, "rows": source.rows, "without": source.rows - about["placed"]}
    return facts | {name: str(folder / f"{name}.npy") for name in maps.LAYOUTS if (folder / f"{name}.npy").exists()}


def find_rows(pool: Pool, ids: Sequence[str], numbers: Sequence[int]) -> list[int]:
    """Return rows by id and by number, each once; RecipeError for one that the pool does not have."""
    places = [*(pc.index(pool.rows["id"], name).as_py() for name in ids), *numbers]
    for name, place in zip(ids, places, strict=False):
        if place < 0:
            raise RecipeError(f"{pool.name} has no row with the id '{name}'.")
    for number in numbers:
        if not 0 <= number < len(pool):
            raise RecipeError(f"{pool.name} has no row number {number}. It has {len(pool):,} rows, counted from 0.")
    if not places:
        raise RecipeError("No row is given. Add --row ID or --number N.")
    return list(dict.fromkeys(places))


@contextmanager
def as_shard(shard: str, workers: str, task: Task, report: Reporter) -> Iterator[tuple[Shard, Reporter]]:
    """Yield the shard that `--shard` names, and a reporter that lets others see what it does."""
    if workers != LOCAL:
        raise RecipeError(f"--workers {workers}: leave it out. With --shard, each process is one worker.")
    own = read_shard(shard)
    with recording(Workspace(task.workspace), task.key, own, report) as recorder:
        yield own, recorder


def duplicates_facts(
    kind: Duplicates,
    threshold: float,
    recipe: Recipe,
    pool: Pool,
    workspace: Workspace,
    report: Reporter,
    shard: Shard = ALONE,
) -> Facts:
    """Count rows that repeat an earlier one; found now, or before."""
    repeats = find_duplicates(kind, threshold, recipe, pool, workspace, report, shard)
    sizes = np.bincount(repeats[repeats >= 0]) + 1
    return {
        "pool": pool.name,
        "column": kind.column(threshold),
        "rows": len(pool),
        kind.key: int((repeats >= 0).sum()),
        "exact_duplicates": len(pool) - pool.rows["duplicate_of"].null_count,
        "groups": int((sizes > 1).sum()),
        "largest_group": int(sizes.max(initial=1)),
        **({"model": recipe.reading.model} if kind.embedding else {}),
    }


def score_facts(pool: Pool, read: ImportedScores) -> Facts:
    """Describe the scores that were joined to a pool."""
    about = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(read).items()}
    return about | {"file_rows": about.pop("rows"), "pool": pool.name, "rows": len(pool)}


def write_scores(pool: Pool, workspace: Workspace, out: Path) -> Facts:
    """Write all scores of a pool to a file."""
    columns = collect_scores(list_runs(workspace, pool.fingerprint))
    rows = write_score_file(pool, columns, out)
    return {"pool": pool.name, "file": str(out), "rows": rows, "scores": list(columns)}


def log_warm_ups(runs: Sequence[Run], tracker: Tracker | None, workspace: Workspace) -> Facts:
    """Send the warm-up curves of measurements to a tracker; return what was sent, {} if none was asked for."""
    curves = [curve for run in {run.id: run for run in runs}.values() for curve in warm_up_curves(run)]
    return {} if tracker is None else {"curves": asdict(send_curves(curves, tracker, workspace))}


def overlap_facts(benchmark: Benchmark, pool: Pool) -> Facts:
    """Describe the overlap of a pool with a benchmark."""
    about = asdict(benchmark) | {"files": list(benchmark.files)}
    counts = {"benchmark_rows": about.pop("rows"), "rows": len(pool)}
    return {"pool": pool.name, "column": benchmark.column, **about, **counts}


def add_tags(recipe: Recipe, pool: Pool, words: Sequence[str]) -> Recipe:
    """Return the recipe with the tags that NAME=FILE words give, each on the rows that its file lists."""
    tags: dict[str, list[str]] = {}
    for word in words:
        name, equals, file = word.partition("=")
        if not equals or not is_file(file):
            raise RecipeError(f"--tag {word}: write it as NAME=FILE, with an existing file of rows, one a line.")
        if name in tags:
            raise RecipeError(f"--tag {word}: '{name}' is given twice. Give one file with all its rows.")
        tags[name] = pool.rows["id"].take(pa.array(find_file_rows(pool, Path(file).expanduser()))).to_pylist()
    return parse_recipe(recipe.model_dump(by_alias=True) | {"tags": tags}, "command line")


def add_given(recipe: Recipe, pool: Pool, files: Sequence[Path]) -> tuple[Recipe, Facts]:
    """Return the recipe with the rows that files list as used already, and what the pool does not have of them."""
    if not files:
        return recipe, {}
    given = find_given_rows(pool, files)
    recipe = parse_recipe(recipe.model_dump(by_alias=True) | {"given": given.ids}, "command line")
    return recipe, {"unmatched": given.unmatched, "unmatched_rows": given.unmatched_rows}


def require_run(recipe: Recipe, pool: Pool, workspace: Workspace) -> Run:
    """Return the finished run that the recipe reads; RecipeError with the command that makes it if there is none."""
    method, reading = recipe.method.build(), recipe.reading.reading()
    run = find_run(workspace, pool, method, reading, recipe.seed)
    if run is None:
        command = measure_command(recipe, workspace)
        sentences = [f"{method.label} is not measured on this pool with these settings."]
        sentences += filter(None, [describe_outdated(workspace, pool.fingerprint)])
        raise RecipeError(f"{' '.join(sentences)} First run: {command}")
    return run


def check_influence(
    recipe: Recipe, pool: Pool, workspace: Workspace, report: Reporter, *, halves: int, steps: int
) -> Facts:
    """Check the influence of a finished run against training on random halves of the rows."""
    from core.proof import influence_check

    method = recipe.method.build()
    if not isinstance(method, PreferenceInfluence):
        raise RecipeError(f"--method {method.name} measures no influence. Leave it out: the check has one method.")
    run = require_run(recipe, pool, workspace)
    check = influence_check.check_influence(run, method, pool, workspace, report, halves=halves, steps=steps)
    return {"pool": pool.name, "result": check.sentence, "warning": check.warning or None} | asdict(check)


def curate_run(recipe: Recipe, pool: Pool, run: Run, out: Path, **options: Any) -> Facts:
    """Select and write; return what was written, where, and how much. The options are those of `curate`."""
    return _curate_facts(curate.curate(recipe, pool, run, out, **options))


def _curate_facts(result: curate.CurateResult) -> Facts:
    return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(result).items() if v is not None}


def export_for(recipe: Recipe, pool: Pool, run: Run, trainer: str, folder: Path, **options: Any) -> Facts:
    """Write a folder for a trainer; return what `curate_run` does, the folder, its further files and what trains in it.

    The options are those of `curate`.
    """
    written = write_trainer_folder(recipe, pool, run, trainer, folder, **options)
    about = {"trainer": trainer, "folder": str(folder), "files": list(written.files), "command": written.command}
    return _curate_facts(written.exported) | about


def push_export(name: str, write: Callable[[], Facts], *, public: bool, yes: bool) -> Facts:
    """Write an export as a bundle, and send it to the hub, or only show what would be sent; return the facts of both.

    `write` returns those of `curate_run`.
    """
    from core.output import hub_push  # imports the hub's client

    repository = hub_push.find_repository(name, public=public)  # before anything is written
    written = write()
    scores = written.get("scores")
    push = hub_push.plan_push(repository, Path(written["chosen"]), Path(scores) if scores else None)
    if yes:
        push = hub_push.send(push, f"Add {written['rows']:,} selected rows")
    return written | {"push": asdict(push)}


def is_manifest(source: str) -> bool:
    """Return whether the words of a command name the manifest of an export in place of a pool."""
    return source.endswith(SUFFIXES["manifest"])


def report_manifest(path: Path, workspace: Workspace, report: Reporter, **options: Any) -> Facts:
    """Write the report of an export. The options are those of `write_report`."""
    manifest = read_manifest(path)
    recipe = parse_recipe(manifest.recipe, str(path))
    pool = open_recipe_pool(recipe, workspace, report)
    return report_selection(recipe, pool, workspace, report, manifest=manifest, **options)


def report_selection(recipe: Recipe, pool: Pool, workspace: Workspace, report: Reporter, **options: Any) -> Facts:
    """Write the report of a selection from a finished run. The options are those of `write_report`."""
    from core.output.report.write import check_report_path, write_report  # imports sklearn

    check_report_path(options["out"], recipe, pool, workspace.root, overwrite=options["overwrite"])
    run = require_run(recipe, pool, workspace)
    find_recipe_duplicates(recipe, pool, workspace, report)
    arguments = select_arguments(recipe)  # without the workspace: others have their own
    written = write_report(recipe, pool, run, report=report, commands=[arguments] if arguments else [], **options)
    return asdict(written) | {"report": str(written.report), "compared": list(written.compared)}


def run_demo(workspace: Workspace, report: Reporter, out: Path, budget: str, *, overwrite: bool = False) -> Facts:
    """Run every method on the demo pool and count the known bad rows that each selects."""
    recipes = {name: _demo_recipe(name, budget) for name in standalone_methods()}
    pool = open_recipe_pool(recipes["random"], workspace, report)
    for name, recipe in recipes.items():
        curate.check_outputs(recipe, pool, workspace.root, out / f"{name}.jsonl", overwrite=overwrite)
    rows, files = [], []
    also = build_other_methods(["all"], [], "embedded")
    for name, recipe in recipes.items():
        run = measure_methods(recipe, pool, workspace, report, also)[0]
        result = curate.curate(recipe, pool, run, out / f"{name}.jsonl", overwrite=overwrite)
        selection = make_selection(recipe, pool, load_measured(run))
        faults = count_faults(pool, selection.rows)
        rows.append({"method": METHODS[name].label, "rows": result.rows, "response tokens": result.tokens} | faults)
        files.append(str(result.chosen))
    planted = count_faults(pool, np.arange(len(pool)))
    return {"pool": "demo", "budget": budget, "methods": rows, "planted": planted, "files": files}


def _demo_recipe(name: str, budget: str) -> Recipe:
    method = {"name": name, "params": with_suggestions(name, {}, "embedded")}
    return parse_recipe({"pool": {"source": "demo"}, "method": method, "budget": budget}, "demo")
