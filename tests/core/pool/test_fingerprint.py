"""The fingerprint depends on the content of the rows, not on how or where they were written."""

import codecs
import gzip
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.pool.pools import load_pool, read_rows

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(lambda t: t.strip())
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8).filter(lambda t: t.isprintable()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(
    st.builds(
        lambda more, prompt, answer: {f"x{k}": v for k, v in more.items()} | {"prompt": prompt, "completion": answer},
        st.dictionaries(WORDS, VALUES, max_size=3),
        WORDS,
        WORDS,
    ),
    min_size=1,
    max_size=6,
)


def pool_of(data: bytes, name: str = "pool.jsonl"):
    """Return the pool in these bytes. Its files are deleted; what is open stays readable."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        return load_pool(str(path), workspace=Path(folder) / "workspace")


def lines(rows, **options) -> bytes:
    return "".join(json.dumps(r, **options) + "\n" for r in rows).encode()


WRITTEN = {
    "packed": lambda rows: (gzip.compress(lines(rows)), "pool.jsonl.gz"),
    "packed without saying so": lambda rows: (gzip.compress(lines(rows)), "pool.jsonl"),
    "with a byte order mark": lambda rows: (codecs.BOM_UTF8 + lines(rows), "pool.jsonl"),
    "with Windows line ends": lambda rows: (lines(rows).replace(b"\n", b"\r\n"), "pool.jsonl"),
    "with blank lines": lambda rows: (b"\n" + lines(rows).replace(b"\n", b"\n\n"), "pool.jsonl"),
    "in another order of keys": lambda rows: (lines([dict(reversed(r.items())) for r in rows]), "pool.jsonl"),
    "without escapes": lambda rows: (lines(rows, ensure_ascii=False), "pool.jsonl"),
    "without spaces": lambda rows: (lines(rows, separators=(",", ":")), "pool.jsonl"),
    "as an array": lambda rows: (json.dumps(rows).encode(), "pool.json"),
    "as a pretty array": lambda rows: (json.dumps(rows, indent=3).encode(), "pool.json"),
    "under a key": lambda rows: (json.dumps({"data": rows}).encode(), "pool.json"),
    "under another name": lambda rows: (lines(rows), "other name.txt"),
    "with a bad line between": lambda rows: (lines(rows) + b"{bad\n", "pool.jsonl"),
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
@given(rows=ROWS)
@settings(max_examples=5, deadline=None)
def test_the_same_rows_make_the_same_pool(written, rows):
    plain, other = pool_of(lines(rows)), pool_of(*written(rows))
    assert other.fingerprint == plain.fingerprint
    assert other.rows["hash"].equals(plain.rows["hash"])
    assert other.rows["id"].equals(plain.rows["id"])


@given(rows=ROWS)
@settings(max_examples=25, deadline=None)
def test_any_objects_come_back_as_they_were_written(rows):
    pool = pool_of(lines(rows, ensure_ascii=False))
    actual = read_rows(pool, range(len(pool)))
    assert [r.original for r in actual] == [json.dumps(r, ensure_ascii=False) for r in rows]
    assert [(r.prompt, r.response) for r in actual] == [(r["prompt"], r["completion"]) for r in rows]


def test_a_table_with_the_same_columns_is_the_same_pool(tmp_path):
    rows = [{"prompt": 'a, "b"\nc', "completion": "é"}, {"prompt": "d", "completion": "fh"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pool.parquet")
    text = 'prompt,completion\n"a, ""b""\nc",é\nd,fh\n'
    plain = pool_of(lines(rows)).fingerprint
    assert pool_of((tmp_path / "pool.parquet").read_bytes(), "pool.parquet").fingerprint == plain
    assert pool_of(text.encode(), "pool.csv").fingerprint == plain
    windows = text.replace("h\n", "h\r\n").replace("é\n", "é\r\n")  # the line end inside a cell is the row's own
    assert pool_of(gzip.compress(windows.encode()), "pool.csv.gz").fingerprint == plain


BASE = [{"prompt": "a", "completion": "x", "n": 1}, {"prompt": "b", "completion": "y"}]
OTHER = {
    "another order of rows": BASE[::-1],
    "one row fewer": BASE[:1],
    "one row twice": [*BASE, BASE[1]],
    "another letter": [BASE[0], BASE[1] | {"completion": "z"}],
    "another value that nobody reads": [BASE[0] | {"n": 2}, BASE[1]],
    "a number as text": [BASE[0] | {"n": "1"}, BASE[1]],
    "a field that is null": [BASE[0], BASE[1] | {"n": None}],
    "a space more": [BASE[0], BASE[1] | {"completion": "y "}],
}


@pytest.mark.parametrize("rows", OTHER.values(), ids=OTHER)
def test_other_rows_make_another_pool(rows):
    assert pool_of(lines(rows)).fingerprint != pool_of(lines(BASE)).fingerprint


def test_hashes_and_fingerprint_are_what_they_were_when_measurements_were_stored():
    """Change these numbers only together with core.pool.fingerprint.FINGERPRINT_FORMAT."""
    pool = pool_of(lines(BASE))
    assert pool.rows["hash"].to_pylist() == ["870f691b7ac36e5f3d9d8dae9553154f", "e125e7e91073ef17a06b29dc21cbdc8f"]
    assert pool.fingerprint == "c02d70fd2bb0e5a885da3e1a201d2dd1"
