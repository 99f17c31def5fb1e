"""Curation: write the rows selected from a finished run, with their manifest, card and recipe. Needs no model.

Next to `chosen.jsonl` it writes `chosen.manifest.json`, `chosen.recipe.yaml`, `chosen.README.md` (the dataset card)
and, on request, `chosen.heldout.jsonl` (selected rows held out of training) and `chosen.rejected.jsonl`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.columns import EXACT_DUPLICATES, SHARED_SIGNALS, count_cut
from core.errors import RecipeError
from core.measurement.measure import describe_constant_columns
from core.measurement.run_data import load_measured
from core.measurement.runs import Run
from core.output.dataset_card import build_card
from core.output.destinations import (
    BUNDLE,
    SUFFIXES,
    WORDS,
    check_destinations,
    list_inputs,
    plan_destinations,
    stage_files,
)
from core.output.manifest import BenchmarkFacts, ModelFacts, ProofFacts, TargetFacts, build_manifest, write_manifest
from core.output.row_files import sibling_path
from core.output.writer import ExportResult, write_scores, write_selection
from core.pool.benchmarks import list_benchmarks
from core.pool.pools import hub_commit
from core.proof.headline import describe_verdict, main_verdict
from core.proof.stored import find_proof
from core.schema import IntArray, Measured, Method, Order, Pool
from core.selection.budget import Budget
from core.selection.holdout import hold_out_rows
from core.selection.recipe import Recipe, dump_recipe, make_selection, require_duplicates, score_columns
from core.selection.selection import Selection, describe_shortfall
from core.selection.tags import has_id, tag_lists
from core.workspace.files import file_digest, to_json, write_atomic
from core.workspace.folder import Workspace


@dataclass(frozen=True)
class CurateResult:
    """Files written, and their contents in numbers."""

    chosen: Path
    manifest: Path
    recipe: Path
    card: Path
    rejected: Path | None
    rows: int  # rows in `chosen`
    tokens: int  # response tokens of all selected rows, held out or not
    used: int | None  # rows used already; None: there are none
    shortfall: str | None  # one sentence if the budget is not filled (core.selection.selection.describe_shortfall)
    sha256: str
    excluded: Mapping[str, int]  # reason -> rows excluded from the order
    facts: Mapping[str, Any] | None  # what only the method knows of the selected rows (core.schema.Method)
    cut: Mapping[str, int] | None  # of the selected rows, what the model did not read (core.columns.count_cut)
    held_out: Path | None = None
    held_out_rows: int = 0
    scores: Path | None = None


def resolve_recipe(recipe: Recipe, pool: Pool, run: Run) -> Recipe:
    """Return the recipe with pool fingerprint, mapping, and revisions of pool and model filled in from the run."""
    fields = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(pool.fields).items()}
    found = {"fingerprint": pool.fingerprint, "fields": fields}
    if commit := hub_commit(pool):
        found |= {"source": pool.source, "revision": commit}  # the source without the revision that it may name
    part = recipe.pool.model_copy(update=found)
    reading = recipe.reading.model_copy(update={"revision": run.model["revision"]})
    return recipe.model_copy(update={"pool": part, "reading": reading})


def check_outputs(
    recipe: Recipe,
    pool: Pool,
    workspace: Path,
    out: Path,
    *,
    scores: Path | None = None,
    source: Path | None = None,
    given: Sequence[Path] = (),
    overwrite: bool = False,
    bundle: bool = False,
) -> dict[str, Path]:
    """Return the path of each file that `curate` may write, by role; OutputError if one must not be written.

    A recipe file that is run, `source`, is left as it is where the recipe of the export would take its place.
    """
    paths = plan_destinations(out, recipe.export, scores, bundle=bundle)
    if source is not None and paths["recipe"].exists() and paths["recipe"].samefile(source):
        del paths["recipe"]
    check_destinations(paths, list_inputs(recipe, pool, workspace, source, given), overwrite=overwrite)
    return paths


def curate(
    recipe: Recipe,
    pool: Pool,
    run: Run,
    out: Path,
    *,
    scores: Path | None = None,
    source: Path | None = None,
    given: Sequence[Path] = (),
    overwrite: bool = False,
    bundle: bool = False,
) -> CurateResult:
    """Select by the recipe and write all files, or none. The manifest is written last.

    scores     where to write ids and every score column
    source     the file that the recipe was read from
    given      the files that its rows used already were read from
    overwrite  replace files that no earlier export wrote, too
    bundle     also write the rows in the other format, JSONL or Parquet, and the newest proof of the selection
    """
    workspace = run.folder.parents[1]
    read: dict[str, Any] = {"source": source, "given": given}
    paths = check_outputs(recipe, pool, workspace, out, scores=scores, **read, overwrite=overwrite, bundle=bundle)
    measured = load_measured(run)
    selection = make_selection(recipe, pool, measured)
    shortfall = describe_shortfall(selection, Budget.parse(recipe.budget), len(pool))
    if shortfall and selection.spent.rows and not len(selection.rows):
        raise RecipeError(f"No row is selected. {shortfall}")
    facts = recipe.method.build().facts(measured, selection.order, selection.rows)
    cut = count_cut({name: measured.columns[name][selection.rows] for name in SHARED_SIGNALS["tokens"]})
    recipe = resolve_recipe(recipe, pool, run)
    held_out_rows = find_held_out_rows(recipe, pool, measured, selection.rows)
    with stage_files(paths) as staged:
        exported = write_rows(recipe, pool, measured, selection, staged["chosen"], held_out_rows)
        manifest = build_manifest(
            pool,
            selection.rows,
            exported,
            held_out=held_out_rows,
            given=selection.order.used,
            targets=collect_targets(run),
            recipe=recipe.as_data(),
            model=dict(run.model),
            encoder=run.encoder,
            facts=facts,
            cut=cut,
            constant=describe_constant_columns(measured.columns),
            measured_on=run.summary.get("kinds", ()),
            proof=find_proof_facts(Workspace(workspace), pool, recipe),
            benchmarks=collect_benchmarks(pool, selection.rows, workspace, measured),
        )
        if "twin" in staged:
            write_rows(recipe, pool, measured, selection, staged["twin"], held_out_rows, rejected=False)
        if "proof" in staged and (found := find_proof(Workspace(workspace), pool, recipe)):
            write_atomic(staged["proof"], to_json(found[0].as_data()))
        others = {staged[role].name: WORDS[role] for role in BUNDLE if role in staged and staged[role].exists()}
        write_atomic(staged["card"], build_card(pool, manifest, others=others).encode("utf-8"))
        if "recipe" in staged:
            dump_recipe(recipe, staged["recipe"])
        if "scores" in staged:
            write_scores(staged["scores"], pool, score_table(recipe.method.build(), measured, selection.order))
        files = {path.name: file_digest(path) for path in staged.values() if path.exists()}
        write_manifest(manifest.model_copy(update={"files": files}), staged["manifest"])
    return CurateResult(
        chosen=out,
        manifest=paths["manifest"],
        recipe=sibling_path(out, SUFFIXES["recipe"]),
        card=paths["card"],
        rejected=paths.get("rejected"),
        rows=exported.rows,
        tokens=selection.tokens,
        used=selection.spent.rows or None,
        shortfall=shortfall,
        sha256=exported.sha256,
        excluded={reason: len(rows) for reason, rows in selection.order.excluded.items()},
        facts=facts or None,
        cut=cut if cut["rows"] else None,
        held_out=paths["held_out"] if exported.held_out else None,
        held_out_rows=len(held_out_rows),
        scores=scores,
    )


def find_proof_facts(workspace: Workspace, pool: Pool, recipe: Recipe) -> ProofFacts | None:
    """Return what the newest proof of a selection found; None if there is none with a verdict."""
    found = find_proof(workspace, pool, recipe)
    verdict = found and main_verdict(found[0].verdicts, found[1])
    if not found or not verdict:
        return None
    proof, arm = found
    kept = ("verdict", "target", "figure", "difference", "low", "high", "seeds")
    return ProofFacts(
        id=proof.id,
        arm=arm,
        model=ModelFacts(**proof.plan.train_model),
        sentence=describe_verdict(verdict),
        rates=dict(verdict.rates),
        **{name: getattr(verdict, name) for name in kept},
    )


def find_held_out_rows(recipe: Recipe, pool: Pool, measured: Measured, rows: IntArray) -> IntArray:
    """Return the selected rows that the recipe holds out; none by default."""
    part = recipe.export
    if not part.held_out:
        return np.empty(0, np.int64)
    repeats = load_duplicates(part.apart, pool, measured)
    groups = np.where(repeats < 0, np.arange(len(pool)), repeats)
    used = np.flatnonzero(has_id(pool, recipe.given, "given has"))
    rows = rows[~np.isin(groups[rows], groups[used])]  # what repeats a row that was trained on is no test
    return hold_out_rows(rows, groups, _task_codes(pool, measured), part.held_out, seed=recipe.seed)


def load_duplicates(column: str, pool: Pool, measured: Measured) -> IntArray:
    """Return (N,) the row that each row repeats, -1: none, by a column of exact, near- or semantic duplicates."""
    if column == EXACT_DUPLICATES:
        return np.asarray(pool.rows[EXACT_DUPLICATES].combine_chunks().fill_null(-1), np.int64)
    return np.asarray(require_duplicates(column, pool, measured))


def _task_codes(pool: Pool, measured: Measured) -> IntArray:
    """Return (N,) a number per task, of derived tasks if tasks are derived; -1: no task."""
    if "derived_tasks" in measured.artifacts:
        return np.asarray(measured.columns["task_code"])
    coded = pool.rows["task"].combine_chunks().dictionary_encode()
    return np.asarray(coded.indices.fill_null(-1), np.int64)


def write_rows(
    recipe: Recipe,
    pool: Pool,
    measured: Measured,
    selection: Selection,
    out: Path,
    held_out: IntArray,
    *,
    rejected: bool = True,
) -> ExportResult:
    """Write the selected rows as the recipe's export part defines; `held_out` go to the second file.

    `rejected`: whether to write the unselected rows, if the recipe asks for them.
    """
    part = recipe.export
    scores = score_table(recipe.method.build(), measured, selection.order) if part.with_scores else None
    return write_selection(
        pool,
        selection.rows,
        out,
        schema=part.format,
        scores=scores,
        tags=tag_lists(pool, recipe.tags) if part.tags else None,
        rejected=part.rejected and rejected,
        tasks=measured.task_names(),
        held_out=held_out,
    )


def score_table(method: Method, measured: Measured, order: Order) -> dict[str, NDArray[Any]]:
    """Return every score column plus `<method>.rank` (null = not eligible) and `<method>.excluded` (the reason)."""
    n = len(measured)
    rank = order.rank(n).astype(np.float64)
    rank[rank < 0] = np.nan
    reasons = np.full(n, None, object)
    for reason, rows in order.excluded.items():
        reasons[rows] = reason
    columns = score_columns(method, measured)
    if order.values is not None:
        columns[method.ranks_by] = order.values
    names = measured.task_names()
    if names is not None:
        columns["derived_task"] = np.array(names, object)
    return columns | {f"{method.name}.rank": rank, f"{method.name}.excluded": reasons}


def collect_benchmarks(pool: Pool, rows: IntArray, root: Path, measured: Measured) -> list[BenchmarkFacts]:
    """Return the benchmarks that the pool was compared with, and how many of these rows overlap with each."""
    overlaps = measured.artifacts["pool_columns"]
    return [
        BenchmarkFacts(
            name=one.name,
            files=list(one.files),
            rows=one.rows,
            similarity=one.similarity,
            overlapping=one.overlapping,
            selected=int((overlaps[column][rows] > 0).sum()),
        )
        for column, one in list_benchmarks(root, pool.fingerprint).items()
    ]


def collect_targets(run: Run) -> list[TargetFacts]:
    """Return the target sets that a run and its member runs were measured on."""
    targets = [target for each in (run, *run.members) for target in each.summary.get("targets", ())]
    return [TargetFacts(**{name: target[name] for name in TargetFacts.model_fields}) for target in targets]
