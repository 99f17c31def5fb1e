"""Rows from tables: Parquet and other Arrow tables, and folders that `datasets` wrote or knows the splits of."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import PoolError
from core.pool.readers.bytestream import ByteStream
from core.pool.readers.file_list import SAVED, FileChoice, FileList, is_pattern, list_files, select_files, select_split
from core.pool.readers.records import BLOCK_ROWS, Block, Blocks, Record, Source, UnreadableRow, to_json

DAMAGED = (ValueError, LookupError, TypeError, AttributeError, RuntimeError)  # what `datasets` raises of odd folders
BATCH_BYTES = 32 << 20  # of a table read at a time
_CONFIGS = re.compile(rb"\A---\s*\n(.*\n)?configs:", re.DOTALL)  # in the front matter of a card


def read_parquet(stream: ByteStream, cache: Path) -> Source:
    """Read a Parquet file. A gzipped one cannot be read from the middle, so it is unpacked into `cache`."""
    try:
        file = pq.ParquetFile(_unpack(stream, cache) if stream.gzip else stream.path)
    except (pa.ArrowException, OSError) as error:
        raise PoolError(f"{stream.name} is damaged and cannot be read as Parquet ({error}).") from error
    tables = (pa.Table.from_batches([batch]) for batch in file.iter_batches(batch_size=_batch_rows(file.metadata)))
    return Source(stream.name, table_blocks(stream.name, tables, file.schema_arrow), file.metadata.num_rows)


def _unpack(stream: ByteStream, cache: Path) -> Path:
    cache.mkdir(exist_ok=True)
    path = cache / "unpacked.parquet"
    with path.open("wb") as file:
        while block := stream.read():
            file.write(block)
    return path


def _batch_rows(metadata: Any) -> int:
    """Return how many rows to read at a time, so that they take about BATCH_BYTES."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    widest = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=0)
    return int(min(BLOCK_ROWS, max(1, BATCH_BYTES / max(widest, 1))))


def table_blocks(name: str, tables: Iterable[pa.Table], schema: pa.Schema) -> Blocks:
    """Yield the rows of Arrow tables, one block per table.

    Raise PoolError for a column of bytes (images, audio), because JSON cannot hold them, and for two of one name.
    """
    repeated = [column for column, count in Counter(schema.names).items() if count > 1]
    if repeated:
        raise PoolError(f"{name}: two columns are named '{repeated[0]}'. Rename or drop one of them.")
    for column in schema:
        if _holds_bytes(column.type):
            raise PoolError(f"{name}: column '{column.name}' contains binary data. Save the pool without it.")
    done = 0
    try:
        for table in tables:
            records: list[Record] = list(enumerate(_json_rows(table), done + 1))
            done += len(records)
            yield Block(records, done)
    except (pa.ArrowException, OSError) as error:
        raise PoolError(f"{name} is damaged after row {done:,} ({error}).") from error


def _json_rows(table: pa.Table) -> list[bytes | UnreadableRow]:
    """Return the JSON text of each row. A value that Python does not have sets its row aside: dates after year 9999."""
    try:
        return [to_json(row) for row in table.to_pylist()]
    except pa.ArrowException:
        raise
    except (ValueError, OverflowError) as error:
        if table.num_rows == 1:
            return [UnreadableRow(f"a value cannot be read ({error})", "")]
        return [text for number in range(table.num_rows) for text in _json_rows(table.slice(number, 1))]


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return True
    return any(_holds_bytes(kind.field(i).type) for i in range(kind.num_fields))


def open_folder(path: Path, *, name: str | None, split: str | None, cache: Path) -> Source:
    """Open a `save_to_disk` folder, or another folder that only `datasets` reads."""
    import datasets  # imported here: it takes most of a second and is seldom needed

    if any((path / file).exists() for file in SAVED):
        data = _load(str(path), lambda: datasets.load_from_disk(str(path)))
    else:
        datasets.disable_progress_bars()
        data = _load(str(path), lambda: datasets.load_dataset(str(path), name=name, cache_dir=str(cache)))
    return _source(path.name, data, split)


def choose_files(source: str, split: str | None, name: str | None) -> FileChoice | None:
    """Return the data files that a folder or pattern names; None if `datasets` reads the folder."""
    files = list_files(source)
    configured = None if files is None or is_pattern(source) else read_card(files, name)
    return None if files is None or configured == {} else select_files(files, split, configured)


def read_card(files: FileList, name: str | None) -> dict[str, list[str]] | None:
    """Return those of the files that a configuration of a folder's card, README.md, names, by split.

    None if the card names no configurations, and none is asked for.
    """
    card = files.root / "README.md"
    if name is None and not (card.is_file() and _CONFIGS.match(card.read_bytes())):
        return None
    import datasets  # see open_folder

    builder = _load(files.name, lambda: datasets.load_dataset_builder(str(files.root.resolve()), name=name))
    listed: dict[str, list[str]] = {}
    for split, paths in (builder.config.data_files or {}).items():
        names = {os.path.relpath(path, files.root.resolve()) for path in paths}
        listed[str(split)] = [name for name in files.names if name in names]
    return {split: names for split, names in listed.items() if names}


def _load(source: str, load: Callable[[], Any]) -> Any:
    """Call `datasets` and turn whatever it cannot find, reach or read into one PoolError."""
    from datasets.exceptions import DatasetsError

    try:
        return load()
    except (DatasetsError, pa.ArrowException, OSError, *DAMAGED) as error:
        cause = error.__cause__ or error
        reason = " ".join((str(cause).strip() or type(cause).__name__).split("\n")[:2]).rstrip(".")
        raise PoolError(
            f"{source} cannot be opened as a dataset: {reason}. Check the folder, the configuration and the split."
        ) from error


def _source(name: str, data: Any, split: str | None) -> Source:
    """Return the rows of one split of a `datasets` object."""
    notices = []
    if isinstance(data, dict):
        selected = select_split(name, list(data), split)
        if split is None and len(data) > 1:
            notices.append(f"The split is '{selected}'. The dataset has {', '.join(data)}.")
        data = data[selected]
    elif split is not None and str(data.split) != split:
        raise PoolError(f"{name} has one split ({data.split or 'without a name'}), not '{split}'.")
    tables = data.with_format("arrow").iter(batch_size=BLOCK_ROWS)
    return Source(name, table_blocks(name, tables, data.features.arrow_schema), len(data), notices)
