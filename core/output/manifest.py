"""Manifest of an export: all that is needed to reproduce its rows exactly, or to detect that this is impossible.

It contains no time of day, so the same recipe on the same pool, with the same proof of it or none, gives the same
manifest, byte for byte.
"""

import operator
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field, ValidationError

from core import __version__
from core.errors import RecipeError, ReplayError
from core.models.reference import describe_weights
from core.output.writer import ExportResult
from core.pool.pools import row_place
from core.pool.source_files import describe_changes
from core.schema import NO_ROWS, IntArray, Pool, PoolFile
from core.selection.recipe import StrictModel, describe_invalid
from core.workspace.files import disk_errors, to_json, write_atomic


class FileFacts(StrictModel):
    """A file that the pool was read from."""

    name: str  # relative to the folder or pattern
    bytes: int
    rows: int
    skipped: int
    xxh128: str


class PoolFacts(StrictModel):
    """The pool that rows were selected from."""

    name: str
    source: str
    fingerprint: str
    fields: dict[str, Any]  # core.schema.FieldMap
    rows: int
    files: list[FileFacts] = Field(default_factory=list)  # empty: a hub data set, or not recorded


class ModelFacts(StrictModel):
    """The model that measured the pool."""

    name: str
    revision: str
    weights: str | None = None  # how they differ from those published; None: they do not


class ToolFacts(StrictModel):
    """The Winnow that selected the rows."""

    version: str
    commit: str | None  # None = not run from a repository


class TargetFacts(StrictModel):
    """A target set that influence was measured on."""

    name: str
    source: str
    fingerprint: str  # of its pairs, as in core.pool.preference.target_sets.TargetSet
    pairs: int


class ProofFacts(StrictModel):
    """What a proof found of these rows: a model trained on them, compared with one trained on random rows."""

    id: str  # of the plan
    arm: str
    model: ModelFacts  # that was trained
    sentence: str  # the verdict with its figures
    verdict: str  # core.algorithms.paired_comparison.judge
    target: str  # what the models were evaluated on
    figure: str
    difference: float  # to random: nats per response token, or a share of rows
    low: float  # 95% interval
    high: float
    seeds: int
    rates: dict[str, float]  # learning rate -> difference


class BenchmarkFacts(StrictModel):
    """A benchmark that the pool was compared with (core.pool.benchmarks)."""

    name: str
    files: list[dict[str, str]]  # name and sha256 of each
    rows: int
    similarity: float  # least one of near-duplicates
    overlapping: int  # rows of the pool that overlap with it
    selected: int  # of the selected rows


def _check_plain_name(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError("it must be a file name, without a folder")
    return name


FileName = Annotated[str, AfterValidator(_check_plain_name)]


class HeldOutFacts(StrictModel):
    """The file of selected rows that were held out."""

    file: FileName
    sha256: str
    rows: int


class OutputFacts(StrictModel):
    """The file that was written."""

    file: FileName
    sha256: str
    rows: int
    written_as: str = Field(alias="schema")
    with_scores: bool
    fields: list[str] = Field(default_factory=list)  # top-level fields of a converted schema
    rejected: FileName | None = None  # name of the file of rows not selected
    held_out: HeldOutFacts | None = None
    filled: int = 0  # rows with null in Parquet for a field that only other rows have


class RowKey(StrictModel):
    """One selected row."""

    id: str
    hash: str  # of its content, as in core.schema.Pool


class Manifest(StrictModel):
    """The manifest of one export. Rows are in their files' order."""

    format: Literal[1] = 1
    tool: ToolFacts
    pool: PoolFacts
    model: ModelFacts | None  # None = the method needed none
    encoder: str | None  # digest of tokenizer and template
    targets: list[TargetFacts] = Field(default_factory=list)
    recipe: dict[str, Any]  # core.selection.recipe.Recipe, complete
    output: OutputFacts
    rows: list[RowKey]
    held_out: list[RowKey] = Field(default_factory=list)  # rows of the second file
    given: list[RowKey] = Field(default_factory=list, exclude_if=operator.not_)  # rows used already, in neither file
    facts: dict[str, Any] = Field(default_factory=dict)  # what only the method knows of the rows (core.schema.Method)
    cut: dict[str, int] = Field(default_factory=dict)  # of these rows, what was not read (core.columns.count_cut)
    constant: list[str] = Field(default_factory=list)  # sentences on measured columns of nearly one value
    measured_on: list[dict[str, str]] = Field(default_factory=list)  # kinds of devices (core.measurement.kinds)
    proof: ProofFacts | None = None  # the newest of this selection, if there is one
    benchmarks: list[BenchmarkFacts] = Field(default_factory=list)  # empty: compared with none
    files: dict[str, str] = Field(default_factory=dict)  # name -> SHA-256 of every file of the export but this one


def build_manifest(
    pool: Pool,
    rows: IntArray,
    exported: ExportResult,
    *,
    recipe: dict[str, Any],
    model: dict[str, Any] | None,
    encoder: str | None,
    held_out: IntArray | None = None,
    given: IntArray = NO_ROWS,
    targets: Sequence[TargetFacts] = (),
    facts: Mapping[str, Any] | None = None,
    cut: Mapping[str, int] | None = None,
    constant: Sequence[str] = (),
    measured_on: Sequence[dict[str, str]] = (),
    proof: ProofFacts | None = None,
    benchmarks: Sequence[BenchmarkFacts] = (),
) -> Manifest:
    """Build the manifest of `exported`, which contains `rows` (row numbers, any order) of the pool, some held out.

    `given`: rows used already.
    """
    held_out_rows = np.empty(0, np.int64) if held_out is None else np.sort(held_out)
    fields = orjson.loads(orjson.dumps(asdict(pool.fields)))  # with lists in place of tuples
    rejected, file = exported.rejected_path, exported.held_out
    second = HeldOutFacts(file=file.path.name, sha256=file.sha256, rows=file.rows) if file else None
    return Manifest(
        tool=ToolFacts(version=__version__, commit=current_commit()),
        targets=list(targets),
        pool=PoolFacts(
            name=pool.name,
            source=pool.source,
            fingerprint=pool.fingerprint,
            fields=fields,
            rows=len(pool),
            files=[FileFacts(**asdict(file)) for file in pool.files],
        ),
        model=ModelFacts(**model, weights=describe_weights(model["name"])) if model is not None else None,
        encoder=encoder,
        recipe=recipe,
        output=OutputFacts(
            file=exported.path.name,
            sha256=exported.sha256,
            rows=exported.rows,
            schema=exported.schema,
            with_scores=exported.with_scores,
            fields=list(exported.fields),
            rejected=rejected.name if rejected else None,
            held_out=second,
            filled=exported.filled,
        ),
        rows=_row_keys(pool, np.setdiff1d(rows, held_out_rows)),
        held_out=_row_keys(pool, held_out_rows),
        given=_row_keys(pool, given),
        facts=dict(facts or {}),
        cut=dict(cut or {}),
        constant=list(constant),
        measured_on=list(measured_on),
        proof=proof,
        benchmarks=list(benchmarks),
    )


def _row_keys(pool: Pool, rows: IntArray) -> list[RowKey]:
    ids, hashes = (pool.rows[name].take(pa.array(rows)).to_pylist() for name in ("id", "hash"))
    return [RowKey(id=i, hash=h) for i, h in zip(ids, hashes, strict=True)]


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest that `read_manifest` reads back unchanged."""
    write_atomic(path, to_json(manifest.model_dump(by_alias=True)))


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest; RecipeError with the field if the file is not one."""
    with disk_errors(path):
        if path.is_char_device():  # which may have no end
            raise RecipeError(f"{path} is a device. Give the .manifest.json of an export.")
        data = path.read_bytes()
    try:
        return Manifest.model_validate(orjson.loads(data))
    except orjson.JSONDecodeError as error:
        raise RecipeError(f"{path} is not JSON ({error}). Give the .manifest.json of an export.") from error
    except ValidationError as error:
        invalid = describe_invalid(error, "the file")
        raise RecipeError(f"{path} is not a manifest of this version: {invalid}.") from error


def verify_rows(pool: Pool, manifest: Manifest) -> tuple[IntArray, IntArray]:
    """Return row numbers of all selected rows (ascending), and of those held out.

    ReplayError with the reason if the pool is not the manifest's: another fingerprint, a missing row, a row with other
    content.
    """
    all_rows = [*manifest.rows, *manifest.held_out]
    found_rows = _find_rows(pool, all_rows)
    mismatch = _describe_mismatch(pool, all_rows, found_rows)
    made_from = manifest.pool
    if pool.fingerprint != made_from.fingerprint:
        fate = mismatch or f"It holds all {len(all_rows):,} selected rows unchanged; other rows differ."
        fate = describe_files(pool, made_from) + fate
        raise ReplayError(
            f"This is not the pool that the rows were selected from: '{made_from.name}' had fingerprint "
            f"{made_from.fingerprint} ({made_from.rows:,} rows), '{pool.name}' has {pool.fingerprint} "
            f"({len(pool):,} rows). {fate}"
        )
    if mismatch:
        raise ReplayError(f"The pool '{pool.name}' does not hold the manifest's rows. {mismatch}")
    return np.sort(found_rows), found_rows[len(manifest.rows) :]


def describe_files(pool: Pool, then: PoolFacts) -> str:
    """Return a sentence on the files that have changed; "" if there was one file, or none has its name."""
    files = [PoolFile(**file.model_dump()) for file in then.files]
    shared = {file.name for file in files} & {file.name for file in pool.files}
    changes = describe_changes(files, pool.files) if len(files) > 1 and shared else ""
    return f"Of its files, {changes}. " if changes else ""


def _find_rows(pool: Pool, rows: Sequence[RowKey]) -> IntArray:
    """Return row numbers of these rows, in their order; -1 = no row has that id."""
    ids = pa.array([row.id for row in rows], pa.string())
    row_numbers = pc.index_in(ids, value_set=pool.rows["id"].combine_chunks())
    return np.asarray(row_numbers.fill_null(-1), np.int64)


def _describe_mismatch(pool: Pool, rows: Sequence[RowKey], places: IntArray) -> str:
    """Describe the first row that is missing or changed; empty if there is none."""
    missing = np.flatnonzero(places < 0)
    if len(missing):
        return f"Row '{rows[missing[0]].id}' is not in it ({len(missing):,} of {len(places):,} are missing)."
    hashes = pool.rows["hash"].take(pa.array(places)).to_pylist()
    for place, row, found_hash in zip(places, rows, hashes, strict=True):
        if row.hash != found_hash:
            return f"Row '{row.id}' ({row_place(pool, int(place))}) has changed since it was selected."
    return ""


ROOT = Path(__file__).resolve().parents[2]


@cache
def current_commit() -> str | None:
    """Return the commit of the checkout this code runs from, with "+" if it was changed; None outside git."""
    try:
        result = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except OSError:  # no git on this machine
        return None
    return result.stdout.strip() or None if (ROOT / ".git").exists() else None
