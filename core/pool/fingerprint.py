"""Row ids, duplicates and the pool's fingerprint. They depend on content alone, never on file names."""

import hashlib
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from core.schema import FieldMap, IntArray

FINGERPRINT_FORMAT = 1  # of hashes and fingerprints; a change invalidates every stored measurement
DIGEST_BYTES = 16
ID_DIGITS = 16


def content_digest(row: dict[str, Any]) -> bytes:
    """Return 16 bytes of a row's content, independent of the order of its keys.

    Raise TypeError (orjson's JSONEncodeError) if it is nested more than 254 levels deep.
    """
    return hashlib.sha256(orjson.dumps(row, option=orjson.OPT_SORT_KEYS)).digest()[:DIGEST_BYTES]


def hex_digits(digests: pa.FixedSizeBinaryArray) -> pa.StringArray:
    """Return digests (n,) as text of 32 hex digits each."""
    digits = bytes(digests.buffers()[1])[: len(digests) * DIGEST_BYTES].hex().encode() if len(digests) else b""
    ends = np.arange(0, len(digits) + 1, 2 * DIGEST_BYTES, dtype=np.int32)
    return pa.StringArray.from_buffers(len(digests), pa.py_buffer(ends), pa.py_buffer(digits))


class Fingerprint:
    """Running hash of how rows are read and of every row's hash, in order: 32 hex digits."""

    def __init__(self, fields: FieldMap) -> None:
        about = {"format": FINGERPRINT_FORMAT, "fields": fields.content_fields()}
        self._sha = hashlib.sha256(orjson.dumps(about, option=orjson.OPT_SORT_KEYS))

    def add(self, hashes: pa.StringArray) -> None:
        """Add the hashes of further rows, as `hex_digits` returns them."""
        self._sha.update(hashes.buffers()[2])

    def __str__(self) -> str:
        return self._sha.hexdigest()[:32]


def text_digest(text: str, seed: int) -> bytes:
    """Return 16 bytes that are equal for equal text, under the same seed. They are not stored."""
    return xxhash.xxh3_128_digest(text.encode(), seed)


def find_duplicates(digests: pa.ChunkedArray) -> pa.Array:
    """Return the first row with the same digest (N,); null for rows that repeat none."""
    codes = _codes(digests)
    first = np.empty(codes.max(initial=-1) + 1, np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # the last write wins: the earliest row
    origin = first[codes]
    return pa.array(origin, mask=origin == np.arange(len(codes)))


def assign_ids(own: pa.ChunkedArray, hashes: pa.ChunkedArray, field: str | None) -> tuple[pa.ChunkedArray, str | None]:
    """Return the user's ids if they are complete and unique; else hashes, and a sentence on why."""
    if field is None:
        return _hash_ids(hashes), None
    if own.null_count:
        why = f"Field '{field}' is missing, or is neither number nor text, in {own.null_count:,} of {len(own):,} rows"
        return _hash_ids(hashes), f"{why}. The id of a row is a hash of its content."
    counts = pc.value_counts(own)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if not len(repeated):
        return own, None
    why = f"Field '{field}' is not unique ({len(repeated):,} values repeat, as {repeated[0]['values'].as_py()!r} does)"
    return _hash_ids(hashes), f"{why}. The id of a row is a hash of its content."


def _codes(values: pa.ChunkedArray) -> IntArray:
    """Return equal numbers for equal values (N,), 0 for the first."""
    return np.asarray(values.combine_chunks().dictionary_encode().indices, np.int64)


def _hash_ids(hashes: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the first digits of each hash; later rows with the same digits get "-2", "-3", …"""
    short = pc.utf8_slice_codeunits(hashes, 0, ID_DIGITS)
    codes = _codes(short)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    sizes = np.diff(np.append(starts, len(codes)))
    nth = np.empty(len(codes), np.int64)  # (N,) how many equal rows come before
    nth[order] = np.arange(len(codes)) - np.repeat(starts, sizes)
    repeats = np.flatnonzero(nth)
    if not len(repeats):
        return short
    ids = short.to_pylist()
    for row in repeats:
        ids[row] = f"{ids[row]}-{nth[row] + 1}"
    return pa.chunked_array([ids], pa.string())
