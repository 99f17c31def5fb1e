"""Validation of rows: records in, columns out; unusable rows are skipped with the reason.

One `RowValidator` reads one source, a block at a time. After its block, only a row's hash, id and text digest
stay in memory.
"""

import json
import re
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from core.pool.fingerprint import Fingerprint, content_digest, hex_digits, text_digest
from core.pool.nested_fields import ABSENT, get_field, nested_among
from core.pool.readers.records import Record, UnreadableRow, from_json
from core.pool.row_view import REMARKS, RowReader
from core.pool.schema_detection import RIVAL_RESPONSES, late_fields, mapped_fields
from core.pool.turns import UnusableRow
from core.schema import FieldMap

MAX_SET_ASIDE_CHARS = 400  # stored of the text of a skipped row
MAX_REASONS = 1000  # counted apart; a reason may name its row, so their number has no bound

_TEXTS, _COUNTS = ("hash", "prompt", "response", "task", "turns", "original"), ("prompt_chars", "response_chars")
ROW_SCHEMA = pa.schema({"line": pa.int64(), **dict.fromkeys(_TEXTS, pa.string()), **dict.fromkeys(_COUNTS, pa.int32())})
_DIGEST = pa.binary(16)
_READ_SCHEMA = pa.schema(  # of a row as it is read
    {"line": pa.int64(), **dict.fromkeys(("prompt", "response", "turns", "task", "own", "original"), pa.string())}
    | {"hash": _DIGEST, "text": _DIGEST}
)
# Needed of all rows together, after the last one: hash, text digest, the user's own id.
KEY_SCHEMA = pa.schema([("hash", pa.string()), ("text", _DIGEST), ("own", pa.string())])
SET_ASIDE_SCHEMA = pa.schema([("line", pa.int64()), ("reason", pa.string()), ("text", pa.string())])

# UTF-8 read as Windows-1252 or Latin-1: é as Ã©, a curly quote as â€™
_MOJIBAKE = re.compile("Ã[\u0080-\u00bf]|â€[\u0080-\u00bf™œžšŸ“”˜’‘¦]|Â[\u00a0-\u00bf]")


class RowValidator:
    """Reader of one source under one field map."""

    def __init__(self, fields: FieldMap) -> None:
        self.fields = fields
        self.reader = RowReader(fields)
        self.field_names: dict[str, None] = {}  # every field seen, in order of appearance
        self._known: set[str] = set()  # the same, to compare with fast
        self._unseen = set(nested_among(mapped_fields(fields)))  # names of nested fields that no row had yet
        self.fingerprint = Fingerprint(fields)
        self._seed = secrets.randbits(64)  # so that no pool can be made whose texts collide
        self._keys: list[pa.RecordBatch] = []
        self._reasons: Counter[str] = Counter()  # of skipped rows; the first MAX_REASONS
        self._first_aside = 0  # line
        self.set_aside = 0  # rows
        self._garbled: list[int] = []  # lines

    def read_block(self, records: list[Record]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """Return the usable rows of a block (schema ROW_SCHEMA) and the skipped ones (schema SET_ASIDE_SCHEMA)."""
        usable: list[tuple[Any, ...]] = []
        aside: list[tuple[int, str, str]] = []
        for line, raw in records:
            try:
                usable.append(self._row(line, raw))
            except UnusableRow as reason:
                aside.append((line, str(reason), set_aside_text(raw)))
        self._count_aside(aside)
        self._garbled += [line for line, prompt, response, *_ in usable if _is_garbled(prompt, response)]
        return self._store(usable), rows_to_batch(aside, SET_ASIDE_SCHEMA)

    def _store(self, usable: list[tuple[Any, ...]]) -> pa.RecordBatch:
        """Return rows, as `_row` gives them, in columns (schema ROW_SCHEMA), and keep what is needed of all rows."""
        read = rows_to_batch(usable, _READ_SCHEMA)
        columns = dict(zip(read.schema.names, read.columns, strict=True))
        columns["hash"] = hex_digits(columns["hash"])
        for name in ("prompt", "response"):
            columns[f"{name}_chars"] = pc.fill_null(pc.utf8_length(columns[name]), 0)
        self.fingerprint.add(columns["hash"])
        self._keys.append(_select(columns, KEY_SCHEMA))
        return _select(columns, ROW_SCHEMA)

    def _count_aside(self, aside: list[tuple[int, str, str]]) -> None:
        self._first_aside = self._first_aside or (aside[0][0] if aside else 0)
        self.set_aside += len(aside)
        self._reasons.update(
            reason for _, reason, _ in aside if reason in self._reasons or len(self._reasons) < MAX_REASONS
        )

    def _row(self, line: int, raw: bytes | UnreadableRow) -> tuple[Any, ...]:
        """Return one row in the order of _READ_SCHEMA. Kept short, as a million rows go through it."""
        try:
            row, changed = orjson.loads(raw), False  # type: ignore[arg-type]
        except orjson.JSONDecodeError:
            row, changed = _read_laxly(raw)
        if type(row) is not dict:
            raise UnusableRow("not an object")
        if not self._known.issuperset(row):
            self.field_names |= dict.fromkeys(row)
            self._known.update(row)
        if self._unseen:
            self._see_nested(row)
        try:
            view = self.reader.read(row)
            digest = content_digest(row)
        except orjson.JSONEncodeError as error:
            raise UnusableRow("nested too deeply") from error
        if changed:
            self.reader.remarks["nan"] += 1
        original = orjson.dumps(row) if changed or b"\n" in raw else raw  # an array may spread a row over lines
        task = label_text(get_field(row, self.fields.task)) if self.fields.task else None
        own = label_text(get_field(row, self.fields.id)) if self.fields.id else None
        return (line, *view, task, own, original, digest, text_digest(view, self._seed))

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
                f"Possibly wrongly decoded text (such as Ã© for é) in {_count(len(self._garbled))}, first in line "
                f"{self._garbled[0]:,}. It is loaded unchanged."
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
            f"as mapped ({reason}: {count:,}; line {self._first_aside:,} is the first). Change the mapping on the "
            "Pool page."
        )


def set_aside_text(raw: bytes | UnreadableRow) -> str:
    """Return the stored text of a skipped row: its first MAX_SET_ASIDE_CHARS characters."""
    if isinstance(raw, UnreadableRow):
        return raw.text[:MAX_SET_ASIDE_CHARS]
    # a character has at most 4 bytes
    return raw[: 4 * MAX_SET_ASIDE_CHARS].decode("utf-8", "replace")[:MAX_SET_ASIDE_CHARS]


def rows_to_batch(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    """Return rows, each in the order of the schema, as Arrow columns."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _select(columns: Mapping[str, pa.Array], schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _is_garbled(prompt: str, response: str | None) -> bool:
    """Return whether text of a row seems to be wrongly decoded."""
    return any(text and not text.isascii() and _MOJIBAKE.search(text) for text in (prompt, response))


def _count(n: int) -> str:
    return "1 row" if n == 1 else f"{n:,} rows"


def label_text(value: Any) -> str | None:
    """Return a label or id as text; None for anything but text, numbers and true/false."""
    if type(value) is str:
        return value if value and not value.isspace() else None
    return orjson.dumps(value).decode() if isinstance(value, (int, float)) else None


def _read_laxly(raw: bytes | UnreadableRow) -> tuple[Any, bool]:
    """Return what `from_json` reads of a row that is not JSON. Raise UnusableRow with the reason if that is nothing."""
    if isinstance(raw, UnreadableRow):
        raise UnusableRow(raw.reason)
    try:
        return from_json(raw)
    except orjson.JSONDecodeError as error:
        raise UnusableRow(_why_not_json(raw, error)) from error


def _why_not_json(raw: bytes, error: orjson.JSONDecodeError) -> str:
    """Return a reason in few words, the same for all rows with the same fault."""
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError:
        return "not UTF-8"
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (json.JSONDecodeError, RecursionError):
        return f"not JSON: {error.msg}"
    return "more than one JSON value on the line" if text[end:] else f"not JSON: {error.msg}"
