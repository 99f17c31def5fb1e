"""Validation of rows: records in, columns out; unusable rows are skipped with the reason.

One `RowValidator` reads one source, a block at a time. After its block, only a row's hash, id and text digest
stay in memory.
"""

import re
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from core.pool.fingerprint import DIGEST_BYTES, Fingerprint, content_digest, hex_digits, text_digest
from core.pool.nested_fields import ABSENT, get_field, nested_among
from core.pool.readers.records import Record
from core.pool.row_block import RowBlock
from core.pool.row_view import REMARKS, RowReader, RowView
from core.pool.schema_detection import RIVAL_RESPONSES, late_fields, mapped_fields
from core.schema import FieldMap, format_place

ROWS_AT_ONCE = 128  # read by one step after the other, so that what one of them touched is still in the cache
MAX_REASONS = 1000  # counted apart; a reason may name its row, so their number has no bound

_TEXTS, _COUNTS = ("hash", "prompt", "response", "task", "turns", "original"), ("prompt_chars", "response_chars")
ROW_SCHEMA = pa.schema({"line": pa.int64(), **dict.fromkeys(_TEXTS, pa.string()), **dict.fromkeys(_COUNTS, pa.int32())})
_DIGEST = pa.binary(DIGEST_BYTES)
_READ_SCHEMA = pa.schema(  # of a row as it is read
    {"line": pa.int64(), **dict.fromkeys(("prompt", "response", "turns", "task", "own"), pa.string())}
    | {"original": pa.binary(), "hash": _DIGEST, "text": _DIGEST}
)
# Needed of all rows together, after the last one: hash, text digest, the user's own id.
KEY_SCHEMA = pa.schema([("hash", pa.string()), ("text", _DIGEST), ("own", pa.string())])
SET_ASIDE_SCHEMA = pa.schema([("line", pa.int64()), ("reason", pa.string()), ("text", pa.string())])
FILE_FIELD = pa.field("file", pa.string())  # added to it where the source has several files

_NO_VIEW: RowView = ("", None, None)  # of a skipped row

# UTF-8 read as Windows-1252 or Latin-1: é as Ã©, a curly quote as â€™
_MOJIBAKE = re.compile("Ã[\u0080-\u00bf]|â€[\u0080-\u00bf™œžšŸ“”˜’‘¦]|Â[\u00a0-\u00bf]")


class RowValidator:
    """Reader of one source under one field map."""

    def __init__(self, fields: FieldMap) -> None:
        self.fields = fields
        self.reader = RowReader(fields)
        self.field_names: dict[str, None] = {}  # every field seen, in order of appearance
        self._unseen = set(nested_among(mapped_fields(fields)))  # names of nested fields that no row had yet
        self.fingerprint = Fingerprint(fields)
        self._seed = secrets.randbits(64)  # so that no pool can be made whose texts collide
        self._keys: list[pa.RecordBatch] = []
        self._reasons: Counter[str] = Counter()  # of skipped rows; the first MAX_REASONS
        self._file = ""
        self._first_aside = ""  # place
        self.set_aside = 0  # rows
        self._garbled, self._first_garbled = 0, ""  # rows, and the place of the first

    def read_block(self, records: list[Record], file: str = "") -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """Return the usable rows of a block (schema ROW_SCHEMA) and the skipped ones (schema SET_ASIDE_SCHEMA).

        `file`: the name of their file, where the source has several.
        """
        self._file = file
        columns: dict[str, list[Any]] = {name: [] for name in _READ_SCHEMA.names}
        aside: list[tuple[int, str, str]] = []
        for start in range(0, len(records), ROWS_AT_ONCE):
            block = RowBlock(records[start : start + ROWS_AT_ONCE])
            for name, values in self._read(block).items():
                columns[name] += block.usable(values)
            aside += block.skipped()
        self._count_aside(aside)
        return self._store(columns), rows_to_batch(aside, SET_ASIDE_SCHEMA)

    def _read(self, block: RowBlock) -> dict[str, Iterable[Any]]:
        """Return the columns of _READ_SCHEMA of a block."""
        self._see_fields(block.rows)
        views = block.read(self.reader.read, _NO_VIEW)
        digests = block.read(content_digest, b"")
        texts = ["\0".join((prompt, response or "", turns or "")) for prompt, response, turns in views]
        garbled = [n for n, text in enumerate(texts) if not text.isascii() and _MOJIBAKE.search(text)]
        garbled = [n for n in garbled if n not in block.reasons]
        if garbled:
            self._first_garbled = self._first_garbled or format_place(self._file, block.lines[garbled[0]])
            self._garbled += len(garbled)
        self.reader.remarks["nan"] += len(block.changed - block.reasons.keys())
        prompts, responses, turns = zip(*views, strict=True)
        return {
            "line": block.lines,
            "prompt": prompts,
            "response": responses,
            "turns": turns,
            "task": _labels(block.rows, self.fields.task),
            "own": _labels(block.rows, self.fields.id),
            "original": block.texts,
            "hash": digests,
            "text": [text_digest(text, self._seed) for text in texts],
        }

    def _store(self, columns: Mapping[str, Sequence[Any]]) -> pa.RecordBatch:
        """Return rows, in columns of _READ_SCHEMA, in ROW_SCHEMA, and keep what is needed of all rows."""
        arrays = {field.name: pa.array(columns[field.name], field.type) for field in _READ_SCHEMA}
        arrays["hash"] = hex_digits(arrays["hash"])
        arrays["original"] = arrays["original"].view(pa.string())  # UTF-8, as JSON that was parsed is
        for name in ("prompt", "response"):
            arrays[f"{name}_chars"] = pc.fill_null(pc.utf8_length(arrays[name]), 0)
        self.fingerprint.add(arrays["hash"])
        self._keys.append(_select(arrays, KEY_SCHEMA))
        return _select(arrays, ROW_SCHEMA)

    def _count_aside(self, aside: list[tuple[int, str, str]]) -> None:
        if aside:
            self._first_aside = self._first_aside or format_place(self._file, aside[0][0])
        self.set_aside += len(aside)
        self._reasons.update(
            reason for _, reason, _ in aside if reason in self._reasons or len(self._reasons) < MAX_REASONS
        )

    def _see_fields(self, rows: list[dict[str, Any]]) -> None:
        """Record the fields that occur in these rows."""
        if not self._unseen and self.field_names.keys() >= set().union(*rows):
            return
        for row in rows:
            self.field_names |= dict.fromkeys(row)
            if self._unseen:
                self._see_nested(row)

    def _see_nested(self, row: dict[str, Any]) -> None:
        """Record the nested fields of the mapping that occur in the row."""
        seen = {name for name in self._unseen if get_field(row, name, ABSENT) is not ABSENT}
        self.field_names |= dict.fromkeys(sorted(seen))
        self._unseen -= seen

    def keys(self) -> pa.Table:
        """Return one entry for each usable row (schema KEY_SCHEMA)."""
        return pa.Table.from_batches(self._keys, KEY_SCHEMA)

    def notices(self) -> list[str]:
        """Return sentences on how the rows were read, for display."""
        counts = self.reader.remarks
        sentences = [remark.format(n=_count(counts[key])) for key, remark in REMARKS.items() if counts[key]]
        if self._garbled:
            sentences.append(
                f"Possibly wrongly decoded text (such as Ã© for é) in {_count(self._garbled)}, first in "
                f"{self._first_garbled}. It is loaded unchanged."
            )
        late = late_fields(self.fields, list(self.field_names))
        if late:
            sentences.append(
                f"Fields that the first rows do not have are not read: {', '.join(late)}. Map them if you need them."
            )
        if self.fields.schema == "preference" and self.fields.response in RIVAL_RESPONSES:
            sentences.append(f"Each row compares two answers. '{self.fields.response}' is the response.")
        return sentences

    def empty_message(self) -> str:
        """Return the error message for a source without one usable row."""
        [(reason, count)] = self._reasons.most_common(1)
        return (
            f"none of the {self.set_aside:,} rows can be used with {', '.join(sorted(mapped_fields(self.fields)))} "
            f"as mapped ({reason}: {count:,}; {self._first_aside} is the first). Change the mapping on the "
            "Pool page."
        )


def rows_to_batch(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    """Return rows, each in the order of the schema, as Arrow columns."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _select(columns: Mapping[str, pa.Array], schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _count(n: int) -> str:
    return "1 row" if n == 1 else f"{n:,} rows"


def _labels(rows: list[dict[str, Any]], name: str | None) -> Iterable[str | None]:
    """Return the label that each row has in a field."""
    if name is None:
        return repeat(None, len(rows))
    read = get_field if "." in name else dict.get
    return map(label_text, map(read, rows, repeat(name)))


def label_text(value: Any) -> str | None:
    """Return a label or id as text; None for anything but text, numbers and true/false."""
    if type(value) is str:
        return value if value and not value.isspace() else None
    return orjson.dumps(value).decode() if isinstance(value, (int, float)) else None
