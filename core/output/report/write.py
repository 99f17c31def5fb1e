"""Writing of a report: all parts as one HTML file.

The file has no script, and its policy lets a browser load nothing but the picture inside it. Jinja escapes all text
but the figures of `svg`, which escape their own. Nothing in it depends on the time of day, so the same selection with
the same proof gives the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from core.errors import OutputError, ReplayError
from core.measurement.run_data import load_measured
from core.measurement.runs import Run
from core.output.destinations import check_destinations, list_inputs
from core.output.manifest import Manifest, verify_rows
from core.output.report import examples, make_up, map_picture, origin, overlap
from core.output.report.proof import describe_proof
from core.output.report.subject import Subject
from core.progress import Reporter, SilentReporter
from core.schema import Pool
from core.selection.budget import Budget
from core.selection.recipe import Recipe
from core.selection.selection import describe_excluded, describe_shortfall
from core.workspace.files import disk_errors, file_digest, write_atomic
from core.workspace.folder import Workspace

HERE = Path(__file__).parent
MARK = b"<!doctype html>\n<!-- Winnow report -->"  # how every report begins
CONTROLS = dict.fromkeys([*range(9), 11, 12, *range(13, 32), *range(127, 160), 0xFFFE, 0xFFFF], "\ufffd")


@dataclass(frozen=True)
class ReportResult:
    """A report that was written."""

    report: Path
    bytes: int
    sha256: str
    rows: int  # selected
    compared: tuple[str, ...]  # other methods
    proved: bool
    map: bool


def check_report_path(out: Path, recipe: Recipe, pool: Pool, workspace: Path, *, overwrite: bool = False) -> None:
    """Raise OutputError for a path that must not be written. A report that is there already may be replaced."""
    if out.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{out} is no name of a report. Give one that ends in .html.")
    known = {file_digest(out)} if _is_report(out) else set()
    check_destinations({"report": out}, list_inputs(recipe, pool, workspace), overwrite=overwrite, known=known)


def _is_report(path: Path) -> bool:
    if not path.is_file():
        return False
    with disk_errors(path), path.open("rb") as file:
        return file.read(len(MARK)) == MARK


def write_report(
    recipe: Recipe,
    pool: Pool,
    run: Run,
    out: Path,
    *,
    select: overlap.Select = overlap.select,
    compared: Sequence[Recipe] | None = None,
    manifest: Manifest | None = None,
    commands: Sequence[Sequence[str]] = (),
    overwrite: bool = False,
    report: Reporter | None = None,
) -> ReportResult:
    """Write the report of the rows that a recipe selects from a finished run. Needs no model.

    select     makes a selection of a recipe, pool and run; one that has made it already returns it
    compared   recipes of the methods to compare with; None: every method that is measured with suggested parameters
    manifest   of an export of the rows, for its checksums; ReplayError if its rows are others
    commands   arguments of `python -m core` that make the selection
    overwrite  replace a file that is no report, too
    """
    report, workspace = report or SilentReporter(), Workspace(run.folder.parents[1])
    check_report_path(out, recipe, pool, workspace.root, overwrite=overwrite)
    report.stage("Selecting the rows", rows=0, work=0)
    subject = Subject(recipe, pool, run, workspace, load_measured(run), select(recipe, pool, run))
    if manifest is not None:
        _check_manifest(subject, manifest)
    report.stage("Comparing the methods", rows=0, work=0)
    others = overlap.compare(subject, overlap.list_recipes(recipe) if compared is None else compared, select)
    report.stage("Writing the report", rows=0, work=0)
    parts = _collect(subject, others, manifest, commands)
    data = _render(parts)
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, data)
    return ReportResult(
        report=out,
        bytes=len(data),
        sha256=file_digest(out),
        rows=len(subject.selection.rows),
        compared=tuple(each.label for each in others),
        proved=parts["proof"] is not None,
        map=parts["map"] is not None,
    )


def _check_manifest(subject: Subject, manifest: Manifest) -> None:
    """Raise ReplayError if a manifest has other rows than the selection."""
    recorded = verify_rows(subject.pool, manifest)[0]
    if not np.array_equal(recorded, np.sort(subject.selection.rows)):
        raise ReplayError(
            f"The recipe of the manifest now selects {len(subject.selection.rows):,} rows, and the manifest lists "
            f"{len(recorded):,} others. `replay` says why; a report of them cannot be written."
        )


def _collect(
    subject: Subject, others: Sequence[overlap.Compared], manifest: Manifest | None, commands: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Return what the page shows, by name. All is text but `scores`, `curves` and `proof.forest`, which are SVG."""
    selection, n = subject.selection, len(subject.pool)
    labels, cells = overlap.tabulate(subject, others)
    recipe, left_out = origin.write_recipe(subject)
    tasks, about_tasks = make_up.list_tasks(subject)
    scores, proof = make_up.draw_scores(subject), describe_proof(subject)
    return {
        "title": f"{len(selection.rows):,} of {n:,} rows selected from {examples.clip(subject.pool.name, 80)}",
        "choices": origin.list_choices(subject),
        "figures": make_up.list_figures(subject),
        "draws": len(subject.random.rows),
        "shortfall": describe_shortfall(selection, Budget.parse(subject.recipe.budget), n),
        "excluded": describe_excluded(selection.order),
        "scores": scores,
        "unscored": subject.method.unscored or f"{subject.method.label} has no score.",
        "cutoff": make_up.describe_cutoff(subject),
        "labels": labels,
        "cells": cells,
        "overlap": overlap.describe(labels, cells),
        "curves": overlap.draw_curves(subject, others),
        "tasks": tasks,
        "about_tasks": about_tasks,
        "lengths": make_up.list_lengths(subject),
        "lengths_of": subject.lengths_of,
        "faults": make_up.list_faults(subject),
        "examples": examples.choose_examples(subject),
        "map": map_picture.draw_map(subject),
        "proof": proof,
        "origins": origin.list_origins(subject),
        "recipe": recipe,
        "recipe_left_out": left_out,
        "checksums": origin.list_checksums(subject, manifest),
        "commands": origin.list_commands(commands, manifest, left_out),
    }


def _render(parts: dict[str, Any]) -> bytes:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("page.html").render(parts, zip=zip).translate(CONTROLS)
    return page.encode("utf-8")
