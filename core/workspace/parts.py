"""Tables in parts, each a file that is complete or absent, and the plans that assign rows to parts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

from core.errors import WorkspaceError
from core.schema import IntArray
from core.workspace import checksums
from core.workspace.files import (
    LOG,
    is_whole,
    reading,
    remove_damaged,
    remove_stored,
    stored_path,
    sync,
    write_json,
    write_stored,
)

MAX_PART_ROWS = 16384
PLANNED_ROWS = 1 << 20  # rows that are sorted by work together
PLAN = "plan.parquet"
MADE_BY = b"made_by"  # in the metadata of a part


@dataclass(frozen=True, eq=False)
class Parts:
    """A table in parts, one per group of pool rows; a part is complete or absent.

    `plan` is written before the first part and never changes. Part k holds the rows plan[k] in that order, so a
    resumed worker computes exactly what the first one would have.
    """

    folder: Path
    plan: tuple[IntArray, ...]
    mapped: bool = False  # True: Arrow files, memory-mapped on reading; False: compressed Parquet
    gathered: str = ""  # a file in the folder that stands for all parts once it exists

    @classmethod
    def open(
        cls,
        folder: Path,
        spec: Mapping[str, Any],
        plan: Sequence[IntArray],
        *,
        mapped: bool = False,
        gathered: str = "",
    ) -> "Parts":
        """Open the table in `folder`; the first call stores `plan`, later calls use the stored plan.

        For workers, under a lock: damaged parts are removed. If the plan is damaged, `plan` takes its place, and parts
        are kept only if it is the same.
        """
        if not is_whole(folder / PLAN):
            _write_plan(folder, spec, plan)
        parts = replace(cls.stored(folder, mapped=mapped), gathered=gathered)
        remove_damaged(map(parts.path, range(len(parts.plan))))
        return parts

    @classmethod
    def stored(cls, folder: Path, *, mapped: bool = False) -> "Parts":
        """Open a table that is only read; DamagedFile if its plan is missing or damaged."""
        with reading(folder / PLAN):
            plan = pq.read_table(folder / PLAN)["rows"]
        return cls(folder, tuple(np.asarray(p.values, np.int64) for p in plan), mapped)

    def path(self, part: int) -> Path:
        """Return the file of one part."""
        return self.folder / f"part-{part:05d}.{'arrow' if self.mapped else 'parquet'}"

    def has(self, part: int) -> bool:
        """Return whether a part is stored, by itself or gathered."""
        return self.path(part).exists() or (bool(self.gathered) and (self.folder / self.gathered).exists())

    def missing(self) -> list[int]:
        """Return the numbers of the parts that are not stored yet, ascending."""
        return [k for k in range(len(self.plan)) if not self.has(k)]

    def write(self, part: int, table: pa.Table, made_by: Mapping[str, Any] | None = None) -> None:
        """Store one part; WorkspaceError when its number of rows is not the planned one or the disk refuses.

        `made_by`: facts about its worker, kept in the file's metadata.
        """
        if made_by:
            known = table.schema.metadata or {}
            table = table.replace_schema_metadata(known | {MADE_BY: orjson.dumps(dict(made_by))})
        if table.num_rows != len(self.plan[part]):
            planned = len(self.plan[part])
            raise WorkspaceError(f"{self.path(part)}: {table.num_rows} rows were measured, {planned} were planned.")
        with stored_path(self.path(part)) as temporary:
            if self.mapped:
                feather.write_feather(table, str(temporary), compression="uncompressed")
            else:
                pq.write_table(table, temporary, compression="zstd")

    def read(self, part: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Return one part; its row k is pool row plan[part][k]."""
        wanted = list(columns) if columns else None
        with reading(self.path(part)):
            if self.mapped:
                return feather.read_table(str(self.path(part)), columns=wanted, memory_map=True)
            return pq.read_table(self.path(part), columns=wanted)

    def made_by(self, part: int) -> dict[str, Any]:
        """Return the facts about the worker of a stored part in Parquet; {} if it has none."""
        with reading(self.path(part)):
            found = (pq.read_schema(self.path(part)).metadata or {}).get(MADE_BY)
        return dict(orjson.loads(found)) if found else {}

    def remove(self) -> None:
        """Remove all parts; the plan stays."""
        for part in range(len(self.plan)):
            remove_stored(self.path(part))

    @property
    def columns(self) -> list[str]:
        """The names of the columns, as the first part has them; of parts in Parquet."""
        with reading(self.path(0)):
            return list(pq.read_schema(self.path(0)).names)

    def values(self, part: int, name: str) -> Any:
        """Return one numeric column of one part as an (n,) or (n, d) array."""
        return _to_numpy(self.read(part, [name])[name])

    def blocks(self, name: str) -> Iterator[tuple[IntArray, Any]]:
        """Yield the rows of each part, (n,), and one numeric column of them, (n,) or (n, d)."""
        for part, rows in enumerate(self.plan):
            yield rows, self.values(part, name)

    def column(self, name: str, n: int) -> Any:
        """Return one numeric column of all parts as an (n,) or (n, d) array in pool order.

        Rows in no part are NaN (floats), -1 (integers), 0 (unsigned) or False.
        """
        out = None
        for rows, values in self.blocks(name):
            if out is None:
                out = np.full((n, *values.shape[1:]), _blank(values.dtype), values.dtype)
            out[rows] = values
        return out


def _write_plan(folder: Path, spec: Mapping[str, Any], plan: Sequence[IntArray]) -> None:
    """Store a plan. Parts that were cut by another one are removed before: their rows are not known any more."""
    ends = np.cumsum([0, *map(len, plan)])
    rows = pa.array(np.concatenate([*plan, np.empty(0, np.int64)]), pa.int64())
    table = pa.table({"rows": pa.ListArray.from_arrays(pa.array(ends, pa.int32()), rows)})
    data = pa.BufferOutputStream()
    pq.write_table(table, data)
    content = data.getvalue().to_pybytes()
    if checksums.read_checksum(folder / PLAN) != checksums.hash_bytes(content):
        stale = [file for file in folder.glob("part-*") if file.suffix != checksums.SUFFIX]
        for file in stale:
            remove_stored(file)
        if stale:
            sync(folder)
            LOG.warning("%s: its plan is damaged, so all its %d parts are computed again.", folder, len(stale))
    write_json(folder / "spec.json", spec)
    write_stored(folder / PLAN, content)


def _to_numpy(column: pa.ChunkedArray) -> Any:
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # a mapped chunk is not copied
    if pa.types.is_fixed_size_list(array.type):
        return np.asarray(array.flatten()).reshape(len(array), array.type.list_size)
    return array.to_numpy(zero_copy_only=False)


def _blank(dtype: np.dtype[Any]) -> Any:
    return {"f": np.nan, "i": -1, "u": 0, "b": False}[dtype.kind]


def plan_blocks(n: int, rows: int) -> list[IntArray]:
    """Return the rows 0 to n - 1 in order, `rows` in each part."""
    return [np.arange(start, min(start + rows, n)) for start in range(0, n, rows)]


def plan_by_work(work: IntArray, part_work: int) -> list[IntArray]:
    """Return the rows by `work` (N,), most first, cut so that each part holds about `part_work` of it.

    Ties go to the earlier row. Most first, so that a pool with a row that does not fit fails at once. Each block of
    PLANNED_ROWS rows is planned by itself, after the one before it.
    """
    starts = range(0, len(work), PLANNED_ROWS)
    return [start + rows for start in starts for rows in _plan_block(work[start : start + PLANNED_ROWS], part_work)]


def _plan_block(work: IntArray, part_work: int) -> list[IntArray]:
    order = np.argsort(-work, kind="stable")
    filled = np.cumsum(work[order])
    parts: list[IntArray] = []
    start = 0
    while start < len(order):
        base = int(filled[start - 1]) if start else 0
        stop = int(np.searchsorted(filled, base + part_work, side="right"))
        stop = min(max(stop, start + 1), start + MAX_PART_ROWS)
        parts.append(order[start:stop])
        start = stop
    return parts
