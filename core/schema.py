"""The nouns of Winnow: plain frozen data, in the order one becomes the next.

    Pool -> Measured -> Order -> Selection

N is the number of rows of the pool. Row i of every array is always row i of the pool.
A missing value is NaN or null: it is counted and shown, and its row is never selected.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.errors import MethodError

FloatArray = NDArray[np.float32]
Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Columns = Mapping[str, NDArray[Any]]
NO_ROWS: IntArray = np.empty(0, np.int64)
Prefer = Literal["high", "low", "middle"]  # the end of a column that is selected first
Progress = Callable[[int, int], None]  # (done, total), in whatever unit the caller counts


def ignore_progress(done: int, total: int) -> None:
    """Do nothing: the default `Progress` callback."""


@dataclass(frozen=True)
class FieldMap:
    """The fields of an original row, by meaning. `a.b` is field b of field a (core.pool.nested_fields).

    `schema` is one of core.pool.schema_detection.SCHEMAS. The `prompt` fields are joined with one newline, without
    empty ones. `turns` names a field that holds a list of turns; it excludes `prompt` and `response`.
    """

    schema: str
    prompt: tuple[str, ...] = ()
    response: str | None = None
    system: str | None = None
    history: str | None = None
    turns: str | None = None
    tools: str | None = None
    task: str | None = None
    id: str | None = None

    def content_fields(self) -> dict[str, Any]:
        """Return the fields that decide what a model reads: all but `task` and `id`."""
        return {k: v for k, v in asdict(self).items() if k not in ("task", "id")}


@dataclass(frozen=True)
class PoolFile:
    """One file that a pool was read from."""

    name: str  # relative to the folder or pattern that was named
    bytes: int
    rows: int  # usable
    skipped: int
    xxh128: str  # of its bytes: 32 hex digits


def format_place(file: str, line: int) -> str:
    """Return a place in a source: "line 3", or "part-2.jsonl, line 3" where there are several files."""
    return f"{file}, line {line:,}" if file else f"line {line:,}"


@dataclass(frozen=True)
class Row:
    """One row as shown to people."""

    index: int  # 0-based position in the pool
    id: str
    line: int  # 1-based line (JSONL, CSV) or element number (arrays, Parquet) in its file
    prompt: str
    response: str | None
    task: str | None
    turns: tuple[dict[str, str], ...]  # {"role": system|user|assistant|tool, "content": str}, the whole conversation
    original: str  # the row's JSON text; verbatim for JSONL
    file: str = ""  # name of its file, in a pool of several

    @property
    def place(self) -> str:
        """Return where the row is in the source."""
        return format_place(self.file, self.line)


@dataclass(frozen=True, eq=False)
class Pool:
    """The usable rows of one source, validated once and never changed. `rows` is memory-mapped Arrow.

    Columns of `rows`, in order: id string, line int64, hash string (32 hex digits of the row's content),
    prompt string, response string (null: none), task string (null: none), turns string (JSON list of
    {"role", "content"}; null: one user turn, one assistant turn), original string (JSON text),
    prompt_chars int32, response_chars int32 (0 without a response),
    duplicate_of int64 (index of the first row with the same prompt, turns and response; null: none).
    Columns of `set_aside`: line int64, reason string, text string (the start of the offending text); in a pool of
    several files, file string.
    """

    fingerprint: str  # 32 hex digits of the usable rows, in order, and how they are read; not of the file name
    name: str  # display name: file name or hub id
    source: str  # as given: path, hub id or "demo"
    fields: FieldMap
    rows: pa.Table
    set_aside: pa.Table
    notices: tuple[str, ...] = ()  # sentences about the whole pool, for display
    files: tuple[PoolFile, ...] = ()  # that it was read from, in order; () for a hub data set

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @cached_property
    def file_ends(self) -> list[int]:
        """Return for each file the index of the first row after it."""
        return list(accumulate(file.rows for file in self.files))


@dataclass(frozen=True, eq=False)
class Measured:
    """The measurements of every row of one pool: token counts, and values computed by models.

    Columns (each (N,)): prompt_tokens, response_tokens int64; prompt_cut, response_cut int64 (tokens that were not
    read); truncated bool (any was not); nll, entropy float32
    (base model, nats per response token); nll_cal, entropy_cal float32 (calibrated model);
    coverage_gain float64 (f of the rows up to and including this one minus f without it, in the greedy order);
    activation_cluster int64 (-1: none); task_code int64 (-1: no task); confidence float32 in (0, 1], of the
    prompts that were continued; shift_group int64 (index into shift_groups, -1: none). Only measured columns are
    present.

    Artifacts are more than a number a row: activations (ActiveNeurons of the N rows), influences (Influences),
    bin_merges (B - 1, 2) (core.algorithms.semantic_bins), shift_groups (the labels of groups that are calibrated by
    themselves), warm_up_rows (how many rows each of them was first trained on), start_model (its kind, in words),
    derived_tasks (the names of task_code; absent where tasks are the pool's own), members (of a
    combination, the Measured of each), duplicates (column -> (N,) row that it repeats, -1: none), pool_columns
    (column -> (N,) floats that no run measured, core.pool.pool_columns).
    """

    pool_id: str
    columns: Columns
    artifacts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {name: len(values) for name, values in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise MethodError(f"Measured columns must have one value per row, got lengths {lengths}.")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def need(self, name: str) -> Any:
        """Return one column or artifact; MethodError if it was not measured."""
        there = self.columns if name in self.columns else self.artifacts
        if name not in there:
            raise MethodError(
                f"This needs '{name}', which is not measured yet "
                f"(measured: {', '.join(sorted(self.columns)) or 'nothing'}). Measure the pool with this method first."
            )
        return there[name]

    def task_names(self) -> list[str | None] | None:
        """Return the derived task of each row (N,), None for a row without one; None if tasks are the pool's own."""
        if "derived_tasks" not in self.artifacts:
            return None
        names = (*self.artifacts["derived_tasks"], None)
        return [names[code] for code in self.columns["task_code"].tolist()]


@dataclass(frozen=True, eq=False)
class Order:
    """Eligible rows, best first, without ties. The selection at any budget is a prefix of it."""

    rows: IntArray  # (M,) row numbers, no repeats, M <= N
    excluded: Mapping[str, IntArray] = field(default_factory=dict)  # reason in words -> row numbers
    values: NDArray[Any] | None = None  # (N,) scores it was sorted by, if they depend on eligibility; None: `ranks_by`
    fixed: IntArray | None = None  # rows that a rule for one budget selects: the first ones, pins aside; None: no such
    used: IntArray = field(default_factory=NO_ROWS.copy)  # rows used already, which are excluded; a budget counts them

    def rank(self, n: int) -> IntArray:
        """Return the 0-based rank of every row (n,); -1 for a row that is not in the order."""
        rank = np.full(n, -1, np.int64)
        rank[self.rows] = np.arange(len(self.rows))
        return rank


class Method(Protocol):
    """One way to put rows in order. A frozen dataclass; its fields are the parameters (core.methods.params)."""

    name: ClassVar[str]  # stable id, written into recipes and manifests; never rename
    label: ClassVar[str]  # name on screen
    paper: ClassVar[str]  # short name of the paper it is from; "" for baselines and what combines or imports
    summary: ClassVar[str]  # one sentence on screen: what it selects and why
    unscored: ClassVar[str]  # where it has no score, a sentence on what decides instead; "" otherwise

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the signals to measure (core.measurement.all_signals)."""

    @property
    def ranks_by(self) -> str:
        """The column the order follows (of `scores` or of Measured)."""

    @property
    def prefer(self) -> Prefer:
        """The end of that column that is selected first."""

    def scores(self, measured: Measured) -> dict[str, NDArray[Any]]:
        """Return the method's own score columns, each (N,); NaN for rows without a score."""

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int, used: IntArray = NO_ROWS) -> Order:
        """Return the `eligible` (N,) rows, best first; the same input gives the same order.

        `used`: rows that are selected already, eligible or not. What depends on rows selected before, such as coverage
        and the quotas of groups, begins with them. They may be in the order, for the caller to remove
        (core.selection.used_rows): ranks of the other rows then stay as they are without any `used`.
        """

    def facts(self, measured: Measured, order: Order, rows: IntArray) -> dict[str, Any]:
        """Return, by name, what this method alone knows of the selected `rows` as a whole, for results and manifest."""

    def facts_in_words(self, facts: Mapping[str, Any]) -> list[str]:
        """Return these facts as sentences, for the dataset card."""


@dataclass(frozen=True)
class ModelRef:
    """A model with its exact revision, so that it can be found again."""

    name: str  # as given: "embedded", a folder or a hub id
    path: str  # folder with config.json and *.safetensors, or the hub id
    revision: str  # commit of the hub, or 32 hex digits over the folder's files
    size_bytes: int  # of the weights; 0 = not known yet


@dataclass(frozen=True)
class Reading:
    """How a model reads a row. Every field is part of a measurement's key."""

    model: str = "embedded"
    revision: str | None = None
    template: Literal["auto", "chat", "alpaca"] = "auto"
    answers: Literal["last", "all"] = "last"  # which assistant turns count as the response
    max_length: int = 2048  # tokens; a longer row is cut (core.models.encoder)
    prompt_share: float = 0.5  # of max_length, that a prompt has at least where the response does not fit
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
