"""Overlap of a pool with benchmark files, so that what a model is tested on is not what it is trained on.

Every text of a benchmark row is a reference of its own, and so is the whole row; of a pool row, prompt, response and
the whole are compared (`core.pool.text_overlap`). The score of each row is a column of the pool, overlap@NAME, 0 for no
overlap (`core.pool.pool_columns`); the matching texts are stored beside it, one line for each row that overlaps.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.columns import OVERLAP_PREFIX
from core.errors import PoolError, RecipeError
from core.pool.minhash import split_words
from core.pool.near_duplicates import row_text
from core.pool.pool_columns import check_name, column_folder, load_facts, store_column
from core.pool.pools import iter_text
from core.pool.readers.records import read_object
from core.pool.readers.sources import open_source
from core.pool.text_overlap import MIN_WORDS, NGRAM_WORDS, Overlap, ReferenceIndex, iter_strings
from core.pool.turns import UnusableRow
from core.progress import Reporter
from core.schema import Pool
from core.workspace.files import reading, stored_path
from core.workspace.folder import Workspace
from core.workspace.parts import Parts, plan_blocks
from core.workspace.stages import Stages

PART_ROWS = 8192
SIMILARITY = 0.5  # of near-duplicates: share of word pairs in common
SIDES = ("prompt", "response", "whole row")
VERSION = 1
WAITING = "Waiting for another job that compares the pool with the same files."


class Reference(NamedTuple):
    """A text of a benchmark, and where it is."""

    file: str
    line: int
    text: str


@dataclass(frozen=True)
class Benchmark:
    """What the overlap of a pool was computed from, and how many rows overlap."""

    name: str
    files: tuple[dict[str, str], ...]  # name and sha256 of each
    rows: int  # of all files
    texts: int  # that were compared
    short: int  # texts of fewer than MIN_WORDS words, which were not
    similarity: float
    overlapping: int  # rows of the pool
    by_side: dict[str, int]  # of these, how many by which text of theirs

    @property
    def column(self) -> str:
        """Return the column of scores."""
        return f"{OVERLAP_PREFIX}{self.name}"


def find_overlap(
    pool: Pool, files: Sequence[str], workspace: Workspace, report: Reporter, *, name: str = "", similarity: float = 0.5
) -> Benchmark:
    """Compare every row of the pool with benchmark files, and store the result under a name. Resumable.

    `files`: anything that a pool can be read from on this machine. `similarity`: least one of near-duplicates. Raise
    PoolError for a file without rows, RecipeError for a bad name or similarity.
    """
    name = _check(name or default_name(files), similarity)
    report.stage("Reading benchmark files", rows=0, work=0)
    contents = [{"name": Path(file).name, "sha256": _digest(file)} for file in files]
    spec: dict[str, Any] = {
        "kind": "benchmark-overlap",
        "pool": pool.fingerprint,
        "files": [one["sha256"] for one in contents],
    }
    spec |= {"words": NGRAM_WORDS, "similarity": similarity, "version": VERSION}
    references, rows, short = read_references(files, workspace)
    index = ReferenceIndex([one.text for one in references], similarity)
    stages = Stages(workspace, report)

    def load() -> Any:
        return lambda part: _compare(pool, part, index)

    parts = stages.fill(spec, plan_blocks(len(pool), PART_ROWS), "Comparing rows with the benchmark", load)
    with stages.locked(f"overlap-{pool.fingerprint}-{name}", WAITING):
        return _store(pool, workspace, parts, references, Benchmark(
            name, tuple(contents), rows, len(references), short, similarity, 0, {}
        ))  # fmt: skip


def default_name(files: Sequence[str]) -> str:
    """Return the name of a benchmark that is given none: that of its first file, and how many more there are."""
    stem = re.sub(r"[^\w.-]", "-", Path(files[0]).name.partition(".")[0])[:48]
    return stem + (f"-and-{len(files) - 1}" if len(files) > 1 else "")


def _check(name: str, similarity: float) -> str:
    if not 0.3 <= similarity <= 1:
        raise RecipeError(f"The similarity of near-duplicates is a number from 0.3 to 1, not {similarity:g}.")
    return check_name(name)


def _digest(file: str) -> str:
    try:
        with Path(file).open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise PoolError(f"{file}: cannot be read ({error.strerror}). Give a benchmark as a file.") from error


def read_references(files: Sequence[str], workspace: Workspace) -> tuple[list[Reference], int, int]:
    """Return the texts of benchmark files, each once; the number of rows; and the number of texts too short to use."""
    texts: dict[str, Reference] = {}
    rows = short = 0
    cache = workspace.folder("measurements", "benchmarks")
    cache.parent.mkdir(parents=True, exist_ok=True)
    for file in files:
        before = rows
        with open_source(file, name=None, split=None, revision=None, cache=cache) as source:
            for line, strings in _rows(source):
                rows += 1
                candidates = [*strings, "\n".join(strings)] if len(strings) > 1 else strings
                for text in candidates:
                    if len(split_words(text)) < MIN_WORDS:
                        short += 1
                    else:
                        texts.setdefault(text, Reference(Path(file).name, line, text))
        if rows == before:
            raise PoolError(f"{file}: holds no row that can be read. Give a file of JSON objects, CSV or Parquet.")
    return list(texts.values()), rows, short


def _rows(source: Any) -> Iterator[tuple[int, list[str]]]:
    for block in source.blocks:
        for line, raw in block.records:
            try:
                yield line, list(iter_strings(read_object(raw)))
            except UnusableRow:
                continue


def _compare(pool: Pool, rows: NDArray[np.int64], index: ReferenceIndex) -> pa.Table:
    block = next(iter_text(pool, int(rows[0]), int(rows[-1]) + 1, size=len(rows)))
    pieces = []  # of each row: prompt, response, and the turns if it has several
    for prompt, response, turns in zip(*block.values(), strict=True):
        texts = (prompt or "", response or "", row_text(prompt, response, turns) if turns else "")
        pieces += [split_words(text) for text in texts]
    tokens = index.tokenize(pieces)
    row, which = np.divmod(np.arange(len(pieces)), 3)
    has_turns = np.array([bool(turns) for turns in block["turns"]])[row]
    sides = (which == 0, which == 1, (which == 2) == has_turns)
    overlaps = [index.compare(tokens.pick(side, row)) for side in sides]
    side = np.argmax([each.score for each in overlaps], axis=0)

    def chosen(values: Any) -> Any:
        return np.choose(side, [values(each) for each in overlaps])

    def coverage(each: Overlap) -> Any:
        return each.coverage

    columns = {
        "coverage": chosen(coverage).astype(np.float32),
        "similarity": chosen(lambda each: each.similarity).astype(np.float32),
        "reference": chosen(lambda each: each.reference),
        "side": side.astype(np.int8),
    }
    return pa.table(columns)


def _store(
    pool: Pool, workspace: Workspace, parts: Parts, references: Sequence[Reference], about: Benchmark
) -> Benchmark:
    n = len(pool)
    coverage, similarity = parts.column("coverage", n), parts.column("similarity", n)
    reference, side = parts.column("reference", n), parts.column("side", n)
    score = np.maximum(coverage, similarity)
    rows = np.flatnonzero(score > 0)
    rows = rows[np.argsort(-score[rows], kind="stable")]
    found = [references[k] for k in reference[rows].tolist()]
    by_side = dict(zip(SIDES, np.bincount(side[rows], minlength=len(SIDES)).tolist(), strict=True))
    about = Benchmark(**{**asdict(about), "files": about.files, "overlapping": len(rows), "by_side": by_side})
    matches = {
        "row": rows,
        "side": [SIDES[k] for k in side[rows].tolist()],
        "coverage": coverage[rows],
        "similarity": similarity[rows],
        "file": [one.file for one in found],
        "line": [one.line for one in found],
        "text": [one.text for one in found],
    }
    store_column(workspace.root, pool.fingerprint, about.column, score, asdict(about))
    with stored_path(_matches_file(workspace.root, pool.fingerprint, about.name)) as temporary:
        pq.write_table(pa.table(matches), temporary, compression="zstd")
    return about


# Stored results


def list_benchmarks(root: Path, fingerprint: str) -> dict[str, Benchmark]:
    """Return the benchmarks that a pool was compared with, by column."""
    found = load_facts(root, fingerprint, OVERLAP_PREFIX)
    return {column: Benchmark(**{**data, "files": tuple(data["files"])}) for column, data in found.items()}


def load_matches(root: Path, fingerprint: str, name: str) -> pa.Table:
    """Load the rows that overlap with a benchmark, highest score first, each with the matching text."""
    file = _matches_file(root, fingerprint, name)
    with reading(file):
        return pq.read_table(file, memory_map=True)


def _matches_file(root: Path, fingerprint: str, name: str) -> Path:
    return column_folder(root, fingerprint) / f"{OVERLAP_PREFIX}{name}.parquet"
