"""From a finished run to files: the chosen rows, their manifest, card and recipe. Needs no model.

Beside `chosen.jsonl` come `chosen.manifest.json`, `chosen.recipe.yaml`, `chosen.README.md` (the dataset card)
and, on request, `chosen.rejected.jsonl`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import __version__
from core.card import dataset_card
from core.errors import ReplayError
from core.export import Exported, write_selection
from core.manifest import Manifest, build_manifest, verify_rows, write_manifest
from core.recipe import Recipe, dump_recipe, plan_selection, score_columns
from core.runs import Run, load_measured
from core.schema import IntArray, Measured, Method, Order, Pool
from core.selection import Selection
from core.store import atomic_path, write_atomic
from core.version import commit

QUEUES = "task_confidence"  # the method whose queues may name tasks that only a measurement knows


@dataclass(frozen=True)
class Curated:
    """What was written, and how much it holds."""

    chosen: Path
    manifest: Path
    recipe: Path
    card: Path
    rejected: Path | None
    rows: int
    tokens: int
    sha256: str
    excluded: Mapping[str, int]  # reason -> rows that the order left out


def beside(out: Path, suffix: str) -> Path:
    """`chosen.jsonl` -> `chosen.manifest.json` and the like."""
    return out.with_name(out.name.removesuffix(".jsonl") + suffix)


def settled(recipe: Recipe, pool: Pool, run: Run) -> Recipe:
    """The recipe with nothing left open: pool fingerprint, mapping and model revision as they were."""
    fields = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(pool.fields).items()}
    return recipe.model_copy(
        update={
            "pool": recipe.pool.model_copy(update={"fingerprint": pool.fingerprint, "fields": fields}),
            "reading": recipe.reading.model_copy(update={"revision": run.model["revision"]}),
        }
    )


def curate(recipe: Recipe, pool: Pool, run: Run, out: Path) -> Curated:
    """Choose by the recipe and write everything. Each file is whole or absent; the manifest comes last."""
    measured = load_measured(run)
    selection = plan_selection(recipe, pool, measured)
    recipe = settled(recipe, pool, run)
    exported = write_rows(recipe, pool, measured, selection, out)
    manifest = build_manifest(
        pool,
        selection.rows,
        exported,
        recipe=recipe.as_data(),
        model=dict(run.model),
        encoder=run.encoder,
        version=__version__,
        commit=commit(),
    )
    recipe_path, card_path, manifest_path = (beside(out, s) for s in (".recipe.yaml", ".README.md", ".manifest.json"))
    dump_recipe(recipe, recipe_path)
    write_atomic(card_path, dataset_card(pool, manifest).encode("utf-8"))
    write_manifest(manifest, manifest_path)
    return Curated(
        chosen=exported.path,
        manifest=manifest_path,
        recipe=recipe_path,
        card=card_path,
        rejected=exported.rejected_path,
        rows=exported.rows,
        tokens=selection.tokens,
        sha256=exported.sha256,
        excluded={reason: len(rows) for reason, rows in selection.order.excluded.items()},
    )


def write_rows(recipe: Recipe, pool: Pool, measured: Measured, selection: Selection, out: Path) -> Exported:
    """The chosen rows as the recipe's export part says."""
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
    names = measured.task_names()
    if names is not None:
        columns["derived_task"] = np.array(names, object)
    return columns | {f"{method.name}.rank": rank, f"{method.name}.excluded": why}


def replay(manifest: Manifest, recipe: Recipe, pool: Pool, run: Run | None, out: Path) -> Exported:
    """Write the manifest's file again; nothing is left at `out` unless it is the same, byte for byte.

    With a run, the rows are chosen anew and must be the manifest's; without, its list of rows is taken at
    its word. ReplayError says what differs.
    """
    promised = verify_rows(pool, manifest)
    if run is None:
        if recipe.export.with_scores or (recipe.export.format == "annotation" and recipe.method.name == QUEUES):
            raise ReplayError(
                "This file holds scores or derived tasks, so its rows alone do not make it. Replay without --rows-only."
            )
        selection = Selection(pool.fingerprint, promised, 0, 0, Order(promised))
        measured = Measured(pool.fingerprint, {})
    else:
        measured = load_measured(run)
        selection = plan_selection(recipe, pool, measured)
        _same_rows(selection.rows, promised, pool)
    with atomic_path(out) as temporary:
        exported = write_rows(recipe, pool, measured, selection, temporary)
        if exported.sha256 != manifest.output.sha256:
            raise ReplayError(
                f"The rows are the same, but the file is not: sha256 {exported.sha256}, the manifest says "
                f"{manifest.output.sha256}. The scores column differs in its last digits, or the file was made by "
                f"another version ({manifest.tool.version}; this is {__version__})."
            )
    return replace(exported, path=out)


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
