"""Import of a source into the files of a pool, in one pass and in bounded memory.

    rows.arrow       content of each row (core.pool.validation.ROW_SCHEMA), written block by block
    ids.arrow        id and duplicate_of, which depend on all rows
    set_aside.arrow  unusable rows, with the reason
    pool.json        fingerprint, mapping, notices, counts, files

rows.arrow and ids.arrow have batches of the same sizes, so that they can be read side by side.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.errors import PoolError
from core.pool.fingerprint import assign_ids, find_duplicates
from core.pool.readers.records import Source, describe_no_objects, peek_objects
from core.pool.readers.shards import describe_place
from core.pool.schema_detection import check_fields, check_fields_exist, detect_schema
from core.pool.validation import FILE_FIELD, ROW_SCHEMA, SET_ASIDE_SCHEMA, RowValidator
from core.schema import FieldMap, Progress

ID_SCHEMA = pa.schema([("id", pa.string()), ("duplicate_of", pa.int64())])


def import_pool(source: Source, fields: FieldMap | None, folder: Path, on_progress: Progress) -> dict[str, Any]:
    """Read a source into `folder` and return the content of pool.json. Raise PoolError if no row is usable."""
    first, sample = peek_objects(source)
    if not sample:
        raise PoolError(f"{source.name}: {describe_no_objects(first)}.")
    fields = fields or _detect(source, sample)
    _check_first_rows(source, fields, sample)
    names = [file.name for file in source.files]
    validator = RowValidator(fields)
    sizes = []
    counts = [FileCounts() for _ in names or [source.name]]
    aside_schema = SET_ASIDE_SCHEMA.append(FILE_FIELD) if names else SET_ASIDE_SCHEMA
    with (
        _writer(folder / "rows.arrow", ROW_SCHEMA) as rows,
        _writer(folder / "set_aside.arrow", aside_schema) as aside,
        _without_cycle_search(),
    ):
        for block in chain(first, source.blocks):
            file = names[block.file] if names else ""
            usable, unusable = validator.read_block(block.records, file)
            if usable.num_rows:
                rows.write_batch(usable)
                sizes.append(usable.num_rows)
            if unusable.num_rows:
                column = [pa.repeat(file, unusable.num_rows)] if names else []
                aside.write_batch(pa.RecordBatch.from_arrays([*unusable.columns, *column], schema=aside_schema))
            counts[block.file].add(usable.num_rows, unusable.num_rows)
            on_progress(block.done, source.total)
    _check(source.name, validator)
    keys = validator.keys()
    ids, notice = assign_ids(keys["own"], keys["hash"], fields.id)
    _write(folder / "ids.arrow", pa.table([ids, find_duplicates(keys["text"])], schema=ID_SCHEMA), sizes)
    return {
        "fingerprint": str(validator.fingerprint),
        "name": source.name,
        "fields": asdict(fields),
        "found": list(validator.field_names),
        "rows": keys.num_rows,
        "set_aside": validator.set_aside,
        "files": [asdict(count) for count in counts],
        "notices": [*source.notices, *([notice] if notice else []), *validator.notices()],
    }


@dataclass
class FileCounts:
    """The rows of one file."""

    rows: int = 0  # usable
    skipped: int = 0

    def add(self, rows: int, skipped: int) -> None:
        """Count the rows of a further block."""
        self.rows += rows
        self.skipped += skipped


def _check_first_rows(source: Source, fields: FieldMap, sample: Sequence[dict[str, Any]]) -> None:
    """Raise PoolError if the mapping cannot apply to the source, or to one of its files."""
    try:
        check_fields(fields, sample)
    except PoolError as error:
        raise PoolError(f"{source.name}: {error}") from error
    for file in source.files:
        try:
            check_fields(fields, [file.merged])
        except PoolError as error:
            raise PoolError(f"{file.shown}: {error} {describe_place(source.name, len(source.files))}") from error


def _detect(source: Source, sample: Sequence[dict[str, Any]]) -> FieldMap:
    """Return the field map of a source; for fields without names, the one that the source proposes."""
    if source.fields is None:
        try:
            return detect_schema(sample)
        except PoolError as error:
            raise PoolError(f"{source.name}: {source.unknown or error}") from error
    response = ", column 2 as the response" if source.fields.response else ""
    source.notices.append(
        f"Without a header, column 1 is read as the prompt{response}. Map the fields if that is wrong."
    )
    return source.fields


def _check(name: str, validator: RowValidator) -> None:
    """Raise PoolError if, after all rows, none is usable or a mapped field never occurred."""
    try:
        check_fields_exist(validator.fields, list(validator.field_names))
    except PoolError as error:
        raise PoolError(f"{name}: {error}") from error
    if not validator.keys().num_rows:
        raise PoolError(f"{name}: {validator.empty_message()}")


@contextmanager
def _without_cycle_search() -> Iterator[None]:
    """Pause Python's search for reference cycles: rows are many objects, soon freed, and hold no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _writer(path: Path, schema: pa.Schema) -> Iterator[Any]:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        yield writer


def _write(path: Path, table: pa.Table, sizes: Sequence[int]) -> None:
    """Write an Arrow file in batches of these sizes, so that it aligns with rows.arrow row by row."""
    with _writer(path, table.schema) as writer:
        start = 0
        for size in sizes:
            for batch in table.slice(start, size).combine_chunks().to_batches():
                writer.write_batch(batch)
            start += size
