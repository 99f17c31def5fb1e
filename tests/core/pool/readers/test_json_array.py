"""Arrays cut into elements block by block give what a parser of the whole file gives."""

import json
import random
import tracemalloc

import pytest

from core.errors import PoolError
from core.pool.readers import bytestream, json_array
from core.pool.readers.bytestream import ByteStream
from core.pool.readers.json_array import read_array


def read_elements(path, data, monkeypatch, size):
    """Return the elements of an array that is read in blocks of `size` bytes."""
    monkeypatch.setattr(bytestream, "BLOCK", size)
    monkeypatch.setattr(json_array, "BLOCK_BYTES", size)
    path.write_bytes(data)
    with ByteStream(path) as stream:
        return [raw for block in read_array(stream) for _, raw in block.records]


def random_value(rng, depth=0):
    kinds = ["text"] * 3 + ["number", "null", "list", "object"] * (depth < 4)
    kind = rng.choice(kinds)
    text = "".join(rng.choices(['"', "\\", "[", "]", "{", "}", ",", "\n", "é", "a", " "], k=rng.randint(0, 9)))
    if kind == "list":
        return [random_value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    if kind == "object":
        return {f"{text}{k}": random_value(rng, depth + 1) for k in range(rng.randint(0, 3))}
    return {"text": text, "number": 1.5, "null": None}[kind]


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1 << 20])
@pytest.mark.parametrize("indent", [None, 1])
def test_elements_are_those_of_the_standard_parser(tmp_path, monkeypatch, size, indent):
    rng = random.Random(size)
    for _ in range(40):
        values = [random_value(rng) for _ in range(rng.randint(0, 6))]
        data = json.dumps(values, indent=indent, ensure_ascii=rng.random() < 0.5).encode()
        elements = read_elements(tmp_path / "p.json", data, monkeypatch, size)
        assert [json.loads(element) for element in elements] == values


@pytest.mark.parametrize("backslashes", range(9))
@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_quotes_after_backslashes_end_a_string_or_not(tmp_path, monkeypatch, backslashes, size):
    values = ["\\" * backslashes, "\\" * backslashes + '"', ",", "[" + "\\" * backslashes]
    elements = read_elements(tmp_path / "p.json", json.dumps(values).encode(), monkeypatch, size)
    assert [json.loads(element) for element in elements] == values


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"[1,\n2", "line 2: .*the array is not closed"),
        (b'[1,\n"a', "line 2: .*the array is not closed"),
        (b"[1,\n2}", "line 2: .*the array is not closed"),
        (b"[1,\n\n,2]", "line 3: .*Expecting value"),
        (b"[1,\n]", "line 2: .*Expecting value"),
        (b'[1,\n{"a": 1\n\n2}]', "line 2: .*Expecting ',' delimiter"),
        (b"[1,\n2\n3]", "line 3: .*a comma is missing between two elements"),
        (b"[1]\n\n[2]", "line 3: .*more text follows the end of the array"),
        (b"[1,\n{'a': 1}]", "line 2: .*Expecting property name"),
    ],
)
def test_invalid_json_is_refused_with_its_line(tmp_path, monkeypatch, data, sentence, size):
    with pytest.raises(PoolError, match=sentence):
        read_elements(tmp_path / "p.json", data, monkeypatch, size)


def test_an_element_over_the_limit_is_set_aside_and_never_held(tmp_path, monkeypatch):
    monkeypatch.setenv("WINNOW_MAX_ROW_MB", "0.5")
    data = b'[{"a": "' + b"x" * 600_000 + b'"}, 1, [' + b"[]," * 5_000_000 + b"[]]\n, 2]"
    (tmp_path / "p.json").write_bytes(data)
    tracemalloc.start()
    with ByteStream(tmp_path / "p.json") as stream:
        records = [record for block in read_array(stream) for record in block.records]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [number for number, _ in records] == [1, 2, 3, 4]
    assert (records[1][1], records[3][1]) == (b"1", b"2")
    assert records[0][1].reason == "0.6 MB in element 1; a row may have 0.5 MB (WINNOW_MAX_ROW_MB)"
    assert records[2][1].reason.startswith("15 MB in element 3;")
    assert len(records[0][1].text) <= 1600
    assert peak < 80_000_000  # the brackets of a block as numbers; the file has 15 MB
