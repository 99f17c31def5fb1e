"""Rows from tables: CSV, Parquet and other Arrow tables, and `datasets` from folders and the hub."""

import csv
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import PoolError
from core.pool.readers.bytestream import BLOCK, ByteStream
from core.pool.readers.records import BLOCK_ROWS, Blocks, Record, Source, UnreadableRow, to_json

SAVED = ("state.json", "dataset_dict.json")  # files that `save_to_disk` writes


def read_csv(stream: ByteStream) -> Blocks:
    """Yield the rows of a CSV file, every cell as text; the separator is the most frequent candidate in the header."""
    csv.field_size_limit(2**31 - 1)  # the default refuses a cell of over 131,072 characters
    lines = _text_lines(stream)
    head = next(lines)
    reader = csv.reader(chain([head], lines), delimiter=max(",;\t", key=head.count))
    try:
        header = next(reader)
        if len(set(header)) < len(header):
            raise PoolError(f"{stream.name}: the header names a column twice ({', '.join(header)}).")
        yield from _csv_blocks(stream, reader, header)
    except csv.Error as error:
        raise PoolError(f"{stream.name}, line {reader.line_num}: not valid CSV ({error}).") from error


def _csv_blocks(stream: ByteStream, reader: Any, header: list[str]) -> Blocks:
    records: list[Record] = []
    start = reader.line_num + 1
    long = False
    for cells in reader:
        if cells:
            records.append((start, _csv_row(header, cells)))
            long = reader.line_num > start
        start = reader.line_num + 1
        if len(records) >= BLOCK_ROWS:
            yield records, stream.done()
            records = []
    if records and long and isinstance(records[-1][1], UnreadableRow):  # it took the rest of the file as one cell
        raise PoolError(f"{stream.name}, line {records[-1][0]}: a quote is opened in this row and never closed.")
    yield records, stream.total


def _csv_row(header: list[str], cells: list[str]) -> bytes | UnreadableRow:
    reason = "not UTF-8"
    if len(cells) != len(header):
        reason = f"{'more' if len(cells) > len(header) else 'fewer'} cells than the header"
    else:
        with suppress(orjson.JSONEncodeError):  # a surrogate: bytes that were not UTF-8
            return orjson.dumps(dict(zip(header, cells, strict=True)))
    return UnreadableRow(reason, ", ".join(cells).encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def _text_lines(stream: ByteStream) -> Iterator[str]:
    """Yield lines with their ends, split on \\n alone. Undecodable bytes survive as surrogates."""
    rest = b""
    while block := stream.read(BLOCK):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield (line + b"\n").decode("utf-8", "surrogateescape")
    if rest:
        yield rest.decode("utf-8", "surrogateescape")


def read_parquet(stream: ByteStream) -> Source:
    """Read a Parquet file."""
    # A gzipped one cannot be read from the middle, so it is unpacked in memory.
    data = pa.BufferReader(stream.read(-1)) if stream.gzip else stream.path
    try:
        file = pq.ParquetFile(data)
    except (pa.ArrowException, OSError) as error:
        raise PoolError(f"{stream.name} is damaged and cannot be read as Parquet ({error}).") from error
    tables = (pa.Table.from_batches([batch]) for batch in file.iter_batches(batch_size=BLOCK_ROWS))
    return Source(stream.name, table_blocks(stream.name, tables, file.schema_arrow), file.metadata.num_rows)


def table_blocks(name: str, tables: Iterable[pa.Table], schema: pa.Schema) -> Blocks:
    """Yield the rows of Arrow tables, one block per table.

    Raise PoolError for a column of bytes (images, audio), because JSON cannot hold them.
    """
    for column in schema:
        if _holds_bytes(column.type):
            raise PoolError(f"{name}: column '{column.name}' holds binary data. Save the pool without it.")
    done = 0
    try:
        for table in tables:
            records: list[Record] = [(n, to_json(row)) for n, row in enumerate(table.to_pylist(), done + 1)]
            done += len(records)
            yield records, done
    except (pa.ArrowException, OSError) as error:
        raise PoolError(f"{name} is damaged after row {done:,} ({error}).") from error


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return True
    return any(_holds_bytes(kind.field(i).type) for i in range(kind.num_fields))


def open_folder(path: Path, *, name: str | None, split: str | None, cache: Path) -> Source:
    """Open a `save_to_disk` folder, or a folder of data files that form one dataset."""
    import datasets  # imported here: it takes most of a second and is seldom needed

    if any((path / file).exists() for file in SAVED):
        data = _load(str(path), lambda: datasets.load_from_disk(str(path)))
    else:
        datasets.disable_progress_bars()
        data = _load(str(path), lambda: datasets.load_dataset(str(path), name=name, cache_dir=str(cache)))
    return _source(path.name, data, split)


def open_hub(source: str, *, name: str | None, split: str | None, revision: str | None) -> Source:
    """Open a dataset of the hub, or of its local cache if the hub cannot be reached."""
    import datasets  # see open_folder

    data = _load(source, lambda: datasets.load_dataset(source, name=name, split=split, revision=revision))
    return _source(source, data, None)


def _load(source: str, load: Callable[[], Any]) -> Any:
    """Call `datasets` and turn whatever it cannot find, reach or read into one PoolError."""
    from datasets.exceptions import DatasetsError

    try:
        return load()
    except (DatasetsError, OSError, ValueError, pa.ArrowException) as error:
        cause = error.__cause__ or error
        reason = (str(cause).strip() or type(cause).__name__).split("\n")[0].rstrip(".")
        raise PoolError(
            f"{source} cannot be opened as a dataset: {reason}. "
            "Check the name, split and revision, and for a hub id the way to the hub."
        ) from error


def _source(name: str, data: Any, split: str | None) -> Source:
    """Return the rows of one split of a `datasets` object."""
    notices = []
    if isinstance(data, dict):
        selected = _select_split(name, list(data), split)
        if split is None and len(data) > 1:
            notices.append(f"Split '{selected}' is open; there are {', '.join(data)}.")
        data = data[selected]
    elif split is not None and str(data.split) != split:
        raise PoolError(f"{name} holds one split ({data.split or 'without a name'}), and no '{split}'.")
    tables = data.with_format("arrow").iter(batch_size=BLOCK_ROWS)
    return Source(name, table_blocks(name, tables, data.features.arrow_schema), len(data), notices)


def _select_split(name: str, splits: list[str], split: str | None) -> str:
    if split in splits:
        return str(split)
    if split is None and (len(splits) == 1 or "train" in splits):
        return "train" if "train" in splits else splits[0]
    problem = f"holds no split '{split}'" if split else "holds several splits"
    raise PoolError(f"{name} {problem}. Name one of {', '.join(splits)}.")
