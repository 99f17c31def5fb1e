"""From a finished run to files: the chosen rows, their manifest, card and recipe. Needs no model.

Beside `chosen.jsonl` come `chosen.manifest.json`, `chosen.recipe.yaml`, `chosen.README.md` (the dataset card)
and, on request, `chosen.heldout.jsonl` (chosen rows that are kept from training) and `chosen.rejected.jsonl`.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import __version__
from core.columns import EXACT_DUPLICATES
from core.errors import ReplayError
from core.measurement.run_data import load_measured
from core.measurement.runs import Run
from core.output.dataset_card import build_card
from core.output.manifest import Manifest, TargetFacts, build_manifest, current_commit, verify_rows, write_manifest
from core.output.writer import ExportResult, write_selection
from core.schema import IntArray, Measured, Method, Order, Pool
from core.selection.holdout import hold_out_rows
from core.selection.recipe import Recipe, dump_recipe, make_selection, require_near_duplicates, score_columns
from core.selection.selection import Selection
from core.workspace.files import disk_errors, write_atomic

QUEUE_METHOD = "task_confidence"  # the method whose queues may name tasks that only a measurement knows


@dataclass(frozen=True)
class CurateResult:
    """What was written, and how much it holds."""

    chosen: Path
    manifest: Path
    recipe: Path
    card: Path
    rejected: Path | None
    rows: int  # of `chosen`
    tokens: int  # of all chosen rows, held out or not
    sha256: str
    excluded: Mapping[str, int]  # reason -> rows that the order left out
    held_out: Path | None = None
    held_out_rows: int = 0


def sibling_path(out: Path, suffix: str) -> Path:
    """`chosen.jsonl` -> `chosen.manifest.json` and the like."""
    return out.with_name(out.name.removesuffix(".jsonl") + suffix)


def resolve_recipe(recipe: Recipe, pool: Pool, run: Run) -> Recipe:
    """The recipe with nothing left open: pool fingerprint, mapping and model revision as they were."""
    fields = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(pool.fields).items()}
    return recipe.model_copy(
        update={
            "pool": recipe.pool.model_copy(update={"fingerprint": pool.fingerprint, "fields": fields}),
            "reading": recipe.reading.model_copy(update={"revision": run.model["revision"]}),
        }
    )


def curate(recipe: Recipe, pool: Pool, run: Run, out: Path) -> CurateResult:
    """Choose by the recipe and write everything. Each file is whole or absent; the manifest comes last."""
    measured = load_measured(run)
    selection = make_selection(recipe, pool, measured)
    recipe = resolve_recipe(recipe, pool, run)
    apart = find_held_out_rows(recipe, pool, measured, selection.rows)
    exported = write_rows(recipe, pool, measured, selection, out, apart)
    manifest = build_manifest(
        pool,
        selection.rows,
        exported,
        held_out=apart,
        targets=collect_targets(run),
        recipe=recipe.as_data(),
        model=dict(run.model),
        encoder=run.encoder,
        version=__version__,
        commit=current_commit(),
    )
    recipe_path, card_path, manifest_path = (
        sibling_path(out, s) for s in (".recipe.yaml", ".README.md", ".manifest.json")
    )
    dump_recipe(recipe, recipe_path)
    write_atomic(card_path, build_card(pool, manifest).encode("utf-8"))
    write_manifest(manifest, manifest_path)
    return CurateResult(
        chosen=exported.path,
        manifest=manifest_path,
        recipe=recipe_path,
        card=card_path,
        rejected=exported.rejected_path,
        rows=exported.rows,
        tokens=selection.tokens,
        sha256=exported.sha256,
        excluded={reason: len(rows) for reason, rows in selection.order.excluded.items()},
        held_out=exported.held_out.path if exported.held_out else None,
        held_out_rows=len(apart),
    )


def find_held_out_rows(recipe: Recipe, pool: Pool, measured: Measured, rows: IntArray) -> IntArray:
    """Which of the chosen rows the recipe holds out; none unless it says so."""
    part = recipe.export
    if not part.held_out:
        return np.empty(0, np.int64)
    repeats = load_duplicates(part.apart, pool, measured)
    groups = np.where(repeats < 0, np.arange(len(pool)), repeats)
    return hold_out_rows(rows, groups, _task_codes(pool, measured), part.held_out, seed=recipe.seed)


def load_duplicates(column: str, pool: Pool, measured: Measured) -> IntArray:
    """(N,) the row that each row repeats, -1: none, by a column of exact or near duplicates."""
    if column == EXACT_DUPLICATES:
        return np.asarray(pool.rows[EXACT_DUPLICATES].combine_chunks().fill_null(-1), np.int64)
    return np.asarray(require_near_duplicates(column, pool, measured))


def _task_codes(pool: Pool, measured: Measured) -> IntArray:
    """(N,) a number per task, derived ones where tasks are derived; -1: no task."""
    if measured.derived_tasks is not None:
        return np.asarray(measured.columns["task_code"])
    coded = pool.rows["task"].combine_chunks().dictionary_encode()
    return np.asarray(coded.indices.fill_null(-1), np.int64)


def write_rows(
    recipe: Recipe, pool: Pool, measured: Measured, selection: Selection, out: Path, apart: IntArray
) -> ExportResult:
    """The chosen rows as the recipe's export part says; those `apart` to the second file."""
    part = recipe.export
    scores = score_table(recipe.method.build(), measured, selection.order) if part.with_scores else None
    return write_selection(
        pool,
        selection.rows,
        out,
        schema=part.format,
        scores=scores,
        rejected=part.rejected,
        tasks=measured.task_names(),
        held_out=apart,
    )


def score_table(method: Method, measured: Measured, order: Order) -> dict[str, NDArray[Any]]:
    """Every score column plus `<method>.rank` (null = not eligible) and `<method>.excluded` (why)."""
    n = len(measured)
    rank = order.rank(n).astype(np.float64)
    rank[rank < 0] = np.nan
    why = np.full(n, None, object)
    for reason, rows in order.excluded.items():
        why[rows] = reason
    columns = score_columns(method, measured)
    if order.values is not None:
        columns[method.ranks_by] = order.values
    names = measured.task_names()
    if names is not None:
        columns["derived_task"] = np.array(names, object)
    return columns | {f"{method.name}.rank": rank, f"{method.name}.excluded": why}


def replay(manifest: Manifest, recipe: Recipe, pool: Pool, run: Run | None, out: Path) -> ExportResult:
    """Write the manifest's file again; nothing is left at `out` unless it is the same, byte for byte.

    With a run, the rows are chosen anew and must be the manifest's; without, its list of rows is taken at
    its word. ReplayError says what differs.
    """
    promised, apart = verify_rows(pool, manifest)
    if run is None:
        if recipe.export.with_scores or (recipe.export.format == "annotation" and recipe.method.name == QUEUE_METHOD):
            raise ReplayError(
                "This file holds scores or derived tasks, so its rows alone do not make it. Replay without --rows-only."
            )
        selection = Selection(pool.fingerprint, promised, 0, 0, Order(promised))
        measured = Measured(pool.fingerprint, {})
    else:
        _same_targets(collect_targets(run), manifest.targets)
        measured = load_measured(run)
        selection = make_selection(recipe, pool, measured)
        _same_rows(selection.rows, promised, pool)
        _same_rows(find_held_out_rows(recipe, pool, measured, promised), apart, pool)
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(out), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        exported = write_rows(recipe, pool, measured, selection, Path(folder) / out.name, apart)
        _same_bytes(exported, manifest)
        for file in Path(folder).iterdir():
            file.replace(out.with_name(file.name))
    second = exported.held_out
    return replace(exported, path=out, held_out=second and replace(second, path=out.with_name(second.path.name)))


def collect_targets(run: Run) -> list[TargetFacts]:
    """The target sets that a run, or a run that it is made of, was measured on."""
    told = [target for one in (run, *run.members) for target in one.summary.get("targets", ())]
    return [TargetFacts(**{name: target[name] for name in TargetFacts.model_fields}) for target in told]


def _same_targets(now: Sequence[TargetFacts], then: Sequence[TargetFacts]) -> None:
    prints = {target.name: target.fingerprint for target in now}
    for target in then:
        if prints.get(target.name) != target.fingerprint:
            raise ReplayError(
                f"The target set '{target.name}' ({target.source}) does not hold the pairs that the rows were chosen "
                "by. Put the pairs back, or write the manifest's own rows with --rows-only."
            )


def _same_bytes(exported: ExportResult, manifest: Manifest) -> None:
    made, promised = [exported, exported.held_out], [manifest.output, manifest.output.held_out]
    for one, other in zip(made, promised, strict=True):
        if one is not None and other is not None and one.sha256 != other.sha256:
            raise ReplayError(
                f"The rows are the same, but the file {other.file} is not: sha256 {one.sha256}, the manifest says "
                f"{other.sha256}. The scores column differs in its last digits, or the file was made by "
                f"another version ({manifest.tool.version}; this is {__version__})."
            )


def _same_rows(chosen: IntArray, promised: IntArray, pool: Pool) -> None:
    new = np.setdiff1d(chosen, promised)
    lost = np.setdiff1d(promised, chosen)
    if len(new) or len(lost):
        example = pool.rows["id"][int((lost if len(lost) else new)[0])].as_py()
        raise ReplayError(
            f"The recipe chooses other rows here: {len(new)} new, {len(lost)} missing (for example '{example}'). "
            "Measured on another device, rows with almost equal scores can change places; --rows-only writes the "
            "manifest's own rows."
        )
