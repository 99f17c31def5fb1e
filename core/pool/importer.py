"""Import of a source into the files of a pool, in one pass and in bounded memory.

    rows.arrow       content of each row (core.pool.validation.ROW_SCHEMA), written block by block
    ids.arrow        id and duplicate_of, which depend on all rows
    set_aside.arrow  unusable rows, with the reason
    pool.json        fingerprint, mapping, notices, counts

rows.arrow and ids.arrow have batches of the same sizes, so that they can be read side by side.
"""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.errors import PoolError
from core.pool.fingerprint import assign_ids, find_duplicates
from core.pool.readers.records import Source, peek_objects
from core.pool.schema_detection import check_fields, check_fields_exist, detect_schema
from core.pool.validation import ROW_SCHEMA, RowValidator
from core.schema import FieldMap, Progress

ID_SCHEMA = pa.schema([("id", pa.string()), ("duplicate_of", pa.int64())])


def import_pool(source: Source, fields: FieldMap | None, folder: Path, on_progress: Progress) -> dict[str, Any]:
    """Read a source into `folder` and return the content of pool.json. Raise PoolError if no row is usable."""
    first, sample = peek_objects(source)
    if not sample:
        number = sum(len(records) for records, _ in first)
        what = f"none of its {number:,} lines or elements is a JSON object" if number else "it holds no rows"
        raise PoolError(f"{source.name}: {what}.")
    try:
        fields = fields or detect_schema(sample)
        check_fields(fields, sample)
    except PoolError as error:
        raise PoolError(f"{source.name}: {error}") from error
    validator = RowValidator(fields)
    sizes = []
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as file, pa.ipc.new_file(file, ROW_SCHEMA) as writer:
        for records, done in chain(first, source.blocks):
            batch = validator.read_block(records)
            if batch.num_rows:
                writer.write_batch(batch)
                sizes.append(batch.num_rows)
            on_progress(done, source.total)
    _check(source.name, validator)
    keys, set_aside = validator.keys(), validator.set_aside()
    ids, notice = assign_ids(keys["own"], keys["hash"], fields.id)
    _write(folder / "ids.arrow", pa.table([ids, find_duplicates(keys["text"])], schema=ID_SCHEMA), sizes)
    _write(folder / "set_aside.arrow", set_aside, [set_aside.num_rows])
    return {
        "fingerprint": str(validator.fingerprint),
        "name": source.name,
        "fields": asdict(fields),
        "found": list(validator.field_names),
        "rows": keys.num_rows,
        "set_aside": set_aside.num_rows,
        "notices": [*source.notices, *([notice] if notice else []), *validator.notices()],
    }


def _check(name: str, validator: RowValidator) -> None:
    """Raise PoolError if, after all rows, none is usable or a mapped field never occurred."""
    try:
        check_fields_exist(validator.fields, list(validator.field_names))
    except PoolError as error:
        raise PoolError(f"{name}: {error}") from error
    if not validator.keys().num_rows:
        raise PoolError(f"{name}: {validator.empty_message()}")


def _write(path: Path, table: pa.Table, sizes: Sequence[int]) -> None:
    """Write an Arrow file in batches of these sizes, so that it aligns with rows.arrow row by row."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        start = 0
        for size in sizes:
            for batch in table.slice(start, size).combine_chunks().to_batches():
                writer.write_batch(batch)
            start += size
