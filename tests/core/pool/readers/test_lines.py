"""Long lines, packed files and white space cost no more memory than the limit."""

import gzip
import json
import tracemalloc

import pytest

from core.errors import PoolError
from core.pool.pools import load_pool
from core.pool.readers.bytestream import ByteStream
from core.pool.readers.limits import max_row_bytes, max_unpacked_bytes
from core.pool.readers.lines import LongRow, iter_lines

GOOD = b'{"instruction": "Add", "output": "3"}'
MB = 10**6


@pytest.fixture
def load(tmp_path):
    def open_bytes(data, name="pool.jsonl", **options):
        (tmp_path / name).write_bytes(data)
        return load_pool(str(tmp_path / name), workspace=tmp_path / "workspace", **options)

    return open_bytes


@pytest.fixture
def one_megabyte(monkeypatch):
    monkeypatch.setenv("WINNOW_MAX_ROW_MB", "1")


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize("data", [b"", b"\n", b"a", b"a\n", b"\n\na\r\nbc\n\nd", b"ab\ncd\n"])
def test_lines_are_those_of_the_text(tmp_path, data, size):
    (tmp_path / "file").write_bytes(data)
    with ByteStream(tmp_path / "file") as stream:
        lines = [line for block in iter_lines(stream, size) for line in block]
    expected = data.split(b"\n")
    assert lines == (expected if expected[-1] else expected[:-1])


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_long_line_is_counted_and_its_beginning_kept(tmp_path, one_megabyte, size):
    long = b'"b' * 500_001
    (tmp_path / "file").write_bytes(b"a\n" + long + b"\nc")
    with ByteStream(tmp_path / "file") as stream:
        first, second, third = [line for block in iter_lines(stream, size * 1000) for line in block]
    assert (first, third) == (b"a", b"c")
    assert second == LongRow(1_000_002, 500_001, '"b' * 800)


SHAPES = {
    "a line": (b'{"instruction": "Add", "output": "%s"}', "line"),
    "the only line": (b'{"instruction": "Add", "output": "%s"}', None),
    "an element": (b'[%s,{"instruction": "Add", "output": "%%s"},%s]' % (GOOD, GOOD), "element"),
    "a cell": (b'instruction,output\nAdd,3\nSub,"%s"\nAdd,3\n', "line"),
}


def pack_giant(path, shape, size=300):
    """Write a gzip file with one row of `size` MB."""
    text, _ = SHAPES[shape]
    before, after = text.split(b"%s")
    if shape == "a line":
        before, after = GOOD + b"\n" + before, after + b"\n" + GOOD
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(before)
        for _ in range(size):
            file.write(b"x" * MB)
        file.write(after)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_a_giant_row_is_set_aside_in_little_memory(tmp_path, one_megabyte, shape):
    path = tmp_path / ("giant.csv.gz" if shape == "a cell" else "giant.json.gz")
    pack_giant(path, shape)
    tracemalloc.start()
    try:
        if shape == "the only line":
            with pytest.raises(PoolError, match=r"its first row cannot be read \(300 MB in line 1;"):
                load_pool(str(path), workspace=tmp_path / "workspace")
        else:
            pool = load_pool(str(path), workspace=tmp_path / "workspace")
            assert len(pool) == 2
            (aside,) = pool.set_aside.to_pylist()
            place = f"{SHAPES[shape][1]} {aside['line']}"
            assert aside["reason"] == f"300 MB in {place}; a row may have 1 MB (WINNOW_MAX_ROW_MB)"
        assert tracemalloc.get_traced_memory()[1] < 40 * MB
    finally:
        tracemalloc.stop()


def test_the_limit_is_part_of_what_a_pool_is(load, monkeypatch):
    rows = b"\n".join([GOOD, GOOD.replace(b"3", b"3" * 600_000)])
    assert len(load(rows)) == 2
    monkeypatch.setenv("WINNOW_MAX_ROW_MB", "0.5")
    assert len(load(rows)) == 1


@pytest.mark.parametrize("blank", [b"\n", b" ", b" \t\r\n"])
@pytest.mark.parametrize("rows", [GOOD + b"\n" + GOOD, b"[" + GOOD + b",\n" + GOOD + b"]"])
def test_megabytes_of_blank_lines_before_the_rows_are_skipped_and_counted(load, blank, rows):
    white = blank * (2_500_000 // len(blank))
    pool = load(white + rows)
    assert len(pool) == 2
    if not rows.startswith(b"["):
        assert pool.rows["line"].to_pylist() == [1 + white.count(b"\n"), 2 + white.count(b"\n")]


def test_the_line_of_an_error_counts_blank_lines_before_the_array(load):
    with pytest.raises(PoolError, match=r"line 2,000,003: not valid JSON"):
        load(b"\n" * 2_000_000 + b"\n [\n1 2]")


def test_megabytes_of_nothing_else_are_empty(load):
    with pytest.raises(PoolError, match=r"pool\.jsonl\.gz is empty"):
        load(gzip.compress(b" \n" * 2_000_000), "pool.jsonl.gz")


def test_a_pack_that_unpacks_to_more_than_allowed_is_refused(load, monkeypatch):
    packed = gzip.compress(GOOD + b"\n" + b" " * 5_000_000)
    assert len(load(packed)) == 1
    monkeypatch.setenv("WINNOW_MAX_UNPACKED_GB", "0.004")
    with pytest.raises(PoolError, match=r"pool\.jsonl, of .* MB, unpacks to over 0\.004 GB. .*WINNOW_MAX_UNPACKED_GB"):
        load(packed + b"\n")


def test_a_pack_may_unpack_to_two_hundred_times_its_size_or_two_gigabytes():
    assert max_unpacked_bytes(1000) == 2 * 10**9
    assert max_unpacked_bytes(10**8) == 2 * 10**10


def test_a_pack_that_unpacks_to_more_than_the_disk_has_free_is_refused(tmp_path):
    (tmp_path / "pool.gz").write_bytes(gzip.compress(b" " * 5_000_000))
    with ByteStream(tmp_path / "pool.gz", room=4_000_000) as stream, pytest.raises(PoolError, match="has no more free"):
        stream.skip_blank()


@pytest.mark.parametrize("text", ["much", "-1", "0", "inf", "nan"])
def test_a_limit_that_is_no_number_is_refused(monkeypatch, text):
    monkeypatch.setenv("WINNOW_MAX_ROW_MB", text)
    with pytest.raises(PoolError, match=f"WINNOW_MAX_ROW_MB={text}: write a number above 0, such as 64"):
        max_row_bytes()


def test_one_value_over_the_limit_that_is_no_line_of_json_is_refused(load, one_megabyte):
    rows = json.dumps({"data": [json.loads(GOOD)] * 30_000}, indent=1).encode()
    with pytest.raises(PoolError, match=r"nor one JSON value of at most 1 MB. Save its rows as JSON Lines"):
        load(rows, "pool.json")


def test_rubbish_is_searched_for_rows_only_so_far(load, monkeypatch):
    monkeypatch.setattr("core.pool.readers.records.MAX_PEEKED_BYTES", 1 << 20)
    with pytest.raises(PoolError, match=r"none of its first [\d,]+ lines or elements is a JSON object") as error:
        load(b"[" + b"1," * 3_000_000 + GOOD + b"]", "pool.json")
    assert "3,000,000" not in str(error.value)


def test_a_zip_of_stored_json_lines_is_a_zip(load):
    with pytest.raises(PoolError, match=r"is a zip file\. Unpack it first"):
        load(b"PK\x03\x04\x14\0pool.jsonl" + GOOD + b"\n" + GOOD + b"\n" + GOOD)
