"""Replay: write the file of a manifest again, byte for byte, or raise the difference."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from core import __version__
from core.errors import ReplayError
from core.measurement.recipe_inputs import filter_methods, find_recipe_duplicates, measure_methods, open_source
from core.measurement.run_data import load_measured
from core.measurement.runs import Run
from core.output.curate import collect_targets, find_held_out_rows, write_rows
from core.output.destinations import check_destinations, list_inputs, plan_destinations, read_record, stage_files
from core.output.manifest import Manifest, TargetFacts, describe_files, read_manifest, verify_rows
from core.output.row_files import is_parquet
from core.output.writer import ExportResult
from core.progress import Reporter
from core.schema import IntArray, Measured, Order, Pool
from core.selection.recipe import Recipe, make_selection, parse_recipe
from core.selection.selection import Selection
from core.workspace.folder import Workspace

PYARROW = f", or another pyarrow than {pa.__version__}"
QUEUE_METHOD = "task_confidence"  # the method whose queues may name derived tasks, which only a measurement has


def replay_manifest(
    path: Path,
    workspace: Workspace,
    report: Reporter,
    *,
    out: Path | None = None,
    pool_source: str | None = None,
    rows_only: bool = False,
    overwrite: bool = False,
    allow_servers: Collection[str] = (),
) -> ExportResult:
    """Check a manifest and write its file again; ReplayError with the reason if that is impossible.

    out            default: the file that the manifest names, in the manifest's folder
    pool_source    path or hub id of the pool; default: the recipe's
    rows_only      trust the manifest's list of rows, and measure nothing
    overwrite      replace files that are not this manifest's, too
    allow_servers  host or host:port of servers that may be sent prompts, besides those on this computer
    """
    manifest = read_manifest(path)
    recipe = parse_recipe(manifest.recipe, str(path))
    source = pool_source or recipe.pool.source
    moved = {"revision": None} if pool_source else {}
    part = recipe.pool.model_copy(update={"source": source, "fingerprint": None} | moved)
    pool = open_source(part.model_dump(), workspace, report)
    target = path.with_name(manifest.output.file) if out is None else out
    if is_parquet(target) != is_parquet(Path(manifest.output.file)):
        raise ReplayError(
            f"{target} is not of the format of {manifest.output.file}. Give a name with the ending "
            f"{Path(manifest.output.file).suffix}."
        )

    def check() -> None:
        inputs = list_inputs(recipe, pool, workspace.root, path)
        known = read_record(path).values()
        check_destinations(_plan(target, recipe), inputs, overwrite=overwrite, known=known)

    check()
    if rows_only:
        return replay_rows(manifest, recipe, pool, None, target)
    if pool.fingerprint != manifest.pool.fingerprint:  # before any slow work
        raise ReplayError(
            f"{pool.source} is not the pool of this manifest: its fingerprint is {pool.fingerprint}, "
            f"in the manifest {manifest.pool.fingerprint}. {describe_files(pool, manifest.pool)}"
            "Give the right one with --pool."
        )
    also = filter_methods(recipe)
    run = measure_methods(recipe, pool, workspace, report, also, servers=allow_servers)[0]
    find_recipe_duplicates(recipe, pool, workspace, report)
    check()  # again: measuring may have taken hours
    return replay_rows(manifest, recipe, pool, run, target)


def _plan(out: Path, recipe: Recipe) -> dict[str, Path]:
    """Return the path of each file that a replay may write, by role."""
    paths = plan_destinations(out, recipe.export)
    return {role: path for role, path in paths.items() if role in ("chosen", "held_out", "rejected")}


def replay_rows(manifest: Manifest, recipe: Recipe, pool: Pool, run: Run | None, out: Path) -> ExportResult:
    """Write the manifest's file to `out`, only if it is identical byte for byte; ReplayError describes any difference.

    With a run, the rows are selected again and must equal the manifest's; without one, its list of rows is trusted.
    """
    expected, held_out_rows = verify_rows(pool, manifest)
    if run is None:
        if recipe.export.with_scores or (recipe.export.format == "annotation" and recipe.method.name == QUEUE_METHOD):
            raise ReplayError(
                "This file holds scores or derived tasks, which have to be measured. Replay without --rows-only."
            )
        selection = Selection(pool.fingerprint, expected, 0, 0, Order(expected))
        measured = Measured(pool.fingerprint, {})
    else:
        _check_targets(collect_targets(run), manifest.targets)
        measured = load_measured(run)
        selection = make_selection(recipe, pool, measured)
        _check_rows(selection.rows, expected, pool)
        _check_rows(find_held_out_rows(recipe, pool, measured, expected), held_out_rows, pool)
    with stage_files(_plan(out, recipe)) as staged:
        exported = write_rows(recipe, pool, measured, selection, staged["chosen"], held_out_rows)
        _check_bytes(exported, manifest)
    second = exported.held_out
    return replace(exported, path=out, held_out=second and replace(second, path=out.with_name(second.path.name)))


def _check_targets(now: Sequence[TargetFacts], then: Sequence[TargetFacts]) -> None:
    prints = {target.name: target.fingerprint for target in now}
    for target in then:
        if prints.get(target.name) != target.fingerprint:
            raise ReplayError(
                f"The target set '{target.name}' ({target.source}) does not hold the pairs that the rows were "
                "selected with. Restore the pairs, or write the manifest's own rows with --rows-only."
            )


def _check_bytes(exported: ExportResult, manifest: Manifest) -> None:
    written, expected = [exported, exported.held_out], [manifest.output, manifest.output.held_out]
    for new, other in zip(written, expected, strict=True):
        if new is not None and other is not None and new.sha256 != other.sha256:
            raise ReplayError(
                f"The rows are the same, but the file {other.file} is not: its SHA-256 is {new.sha256}, in the "
                f"manifest {other.sha256}. The scores differ in their last digits, or another version wrote the "
                f"file ({manifest.tool.version}; this is {__version__}){PYARROW * is_parquet(Path(other.file))}."
            )


def _check_rows(selected: IntArray, expected: IntArray, pool: Pool) -> None:
    new = np.setdiff1d(selected, expected)
    missing = np.setdiff1d(expected, selected)
    if len(new) or len(missing):
        example = pool.rows["id"][int((missing if len(missing) else new)[0])].as_py()
        raise ReplayError(
            f"The recipe selects other rows here: {len(new)} new, {len(missing)} missing (for example "
            f"'{example}'). On another device, rows with almost equal scores can swap ranks; --rows-only writes "
            "the manifest's own rows."
        )
