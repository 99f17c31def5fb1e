"""Damaged files: each opens with its bad rows set aside, or is refused in one sentence."""

import codecs
import gzip
import json

import pyarrow as pa
import pytest

from core.errors import PoolError
from core.pool.pools import load_pool, read_rows

GOOD = b'{"instruction": "Add", "output": "3"}'


@pytest.fixture
def load(tmp_path):
    def open_bytes(data, name="pool.jsonl", **options):
        (tmp_path / name).write_bytes(data)
        return load_pool(str(tmp_path / name), workspace=tmp_path / "workspace", **options)

    return open_bytes


SET_ASIDE = {
    "cut off": (b'{"instruction": "Add", "outp', "not JSON: unexpected end of data"),
    "single quotes": (b"{'instruction': 'Add'}", "not JSON: "),
    "a trailing comma": (b'{"instruction": "Add", "output": "3",}', "not JSON: "),
    "no JSON at all": (b"-- page 2 --", "not JSON: "),
    "half of a surrogate pair": (rb'{"instruction": "Add", "output": "\ud800"}', "not JSON: "),
    "two objects": (GOOD + GOOD, "more than one JSON value on the line"),
    "two objects with a space": (GOOD + b" " + GOOD, "more than one JSON value on the line"),
    "a list": (b'["Add", "3"]', "not an object"),
    "null": (b"null", "not an object"),
    "a text": (b'"Add"', "not an object"),
    "Latin-1": (b'{"instruction": "Caf\xe9", "output": "3"}', "not UTF-8"),
    "zero bytes": (b"\0\0\0\0", "not JSON: "),
    "an empty response": (b'{"instruction": "Add", "output": ""}', "empty response"),
    "white space for a response": (rb'{"instruction": "Add", "output": " \n\u3000"}', "empty response"),
    "no response": (b'{"instruction": "Add"}', "empty response"),
    "null for a response": (b'{"instruction": "Add", "output": null}', "empty response"),
    "an empty instruction": (b'{"instruction": " ", "output": "3"}', "empty prompt"),
    "other fields": (b'{"question": "1 + 2?", "answer": "3"}', "empty prompt"),
    "an object for a response": (b'{"instruction": "Add", "output": {"text": "3"}}', "'output' is an object, not text"),
    "400 levels": (
        b'{"instruction": "Add", "output": "3", "x": ' + b"[" * 400 + b"]" * 400 + b"}",
        "nested too deeply",
    ),
    "5000 levels": (b'{"instruction": "Add", "output": "3", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}", "not JSON: "),
}


@pytest.mark.parametrize(("line", "reason"), SET_ASIDE.values(), ids=SET_ASIDE)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_bad_line_is_set_aside_and_its_neighbours_stay(load, line, reason, place):
    lines = [GOOD, GOOD]
    lines.insert(place, line)
    pool = load(b"\n".join(lines) + b"\n")
    assert len(pool) == 2
    (aside,) = pool.set_aside.to_pylist()
    assert aside["line"] == place + 1
    assert aside["reason"].startswith(reason)
    assert aside["text"] == line.decode("utf-8", "replace")[:400]


def test_a_number_for_a_response_is_read_as_text_and_reported(load):
    pool = load(b'{"instruction": "Add", "output": 3}\n' + GOOD)
    assert pool.rows["response"].to_pylist() == ["3", "3"]
    assert pool.notices == ("A number or true/false in place of text in 1 row. It is read as its JSON text.",)


def test_nan_is_read_and_written_as_null_and_reported(load):
    line = b'{"instruction": "Add", "output": "3", "score": NaN, "range": [-Infinity, 1e999]}'
    pool = load(line + b"\n" + GOOD)
    assert json.loads(read_rows(pool, [0])[0].original) == json.loads(GOOD) | {"score": None, "range": [None, None]}
    assert pool.notices[0].startswith("NaN or Infinity, which JSON does not have, in 1 row.")


def test_a_pool_whose_every_row_holds_nan_opens(load):
    line = b'{"instruction": "Add NaN", "output": "3", "score": NaN}'
    assert len(load(b"\n".join([line] * 60))) == 60
    assert load(b"[" + line + b"]", "pool.json").set_aside.num_rows == 0


def test_blank_lines_are_no_rows(load):
    pool = load(b"\n \t\n" + GOOD + b"\n\r\n" + GOOD + b"\n\n")
    assert pool.rows["line"].to_pylist() == [3, 5]
    assert pool.set_aside.num_rows == 0


def test_the_last_line_needs_no_end(load):
    assert len(load(GOOD + b"\n" + GOOD)) == 2


def test_separators_of_other_alphabets_do_not_end_a_line(load):
    text = "a\u2028b\u2029c\u0085d\u000be\u000cf\u001cg"
    pool = load(json.dumps({"instruction": text, "output": "3"}, ensure_ascii=False).encode() + b"\n" + GOOD)
    assert len(pool) == 2
    assert read_rows(pool, [0])[0].prompt == text


def test_the_original_is_kept_to_the_byte(load):
    line = b'  {"output":"3" , "instruction" : "\\u0041dd", "n": 1e2, "big": 123456789012345678901234567890, "n": 2 }  '
    pool = load(line + b"\r\n" + GOOD)
    assert read_rows(pool, [0])[0].original.encode() == line


def test_a_row_of_350_000_characters_is_a_row(load):
    long = {"instruction": "Repeat é", "output": "é" * 350_000}
    pool = load("\n".join([json.dumps(long, ensure_ascii=False), GOOD.decode()]).encode())
    row = read_rows(pool, [0])[0]
    assert (len(row.response), pool.rows["response_chars"][0].as_py()) == (350_000, 350_000)
    assert json.loads(row.original) == long


def test_a_row_longer_than_a_block_is_a_row(load):
    pool = load(GOOD + b"\n" + b'{"instruction": "Repeat", "output": "' + b"a" * 9_000_000 + b'"}\n' + GOOD)
    assert pool.rows["response_chars"].to_pylist() == [1, 9_000_000, 1]


def test_mojibake_is_loaded_and_reported(load):
    wrong = "café, it’s".encode().decode("cp1252")
    pool = load(GOOD + b"\n" + json.dumps({"instruction": wrong, "output": "3"}).encode())
    assert read_rows(pool, [1])[0].prompt == wrong
    assert any("1 row, first in line 2" in n for n in pool.notices)


@pytest.mark.parametrize("text", ["café, it’s", "Ãrvore", "São Paulo", "Â", "10 €", "日本語"])
def test_text_that_is_right_is_not_called_mojibake(load, text):
    assert load(json.dumps({"instruction": text, "output": "3"}).encode()).notices == ()


ARRAYS = {
    "on one line": b"[" + GOOD + b"," + GOOD + b"]",
    "pretty": json.dumps([json.loads(GOOD)] * 2, indent=2).encode(),
    "with a mark and spaces": codecs.BOM_UTF8 + b" \r\n [" + GOOD + b" ,\r\n" + GOOD + b"\r\n]\r\n",
}


@pytest.mark.parametrize("name", ["pool.json", "pool.jsonl", "pool.txt"])
@pytest.mark.parametrize("data", ARRAYS.values(), ids=ARRAYS)
def test_an_array_is_an_array_whatever_its_name(load, data, name):
    pool = load(data, name)
    assert pool.rows["line"].to_pylist() == [1, 2]
    assert "\n" not in read_rows(pool, [0])[0].original


def test_bad_elements_of_an_array_are_set_aside(load):
    pool = load(b"[1, " + GOOD + b', {"instruction": "Caf\xe9", "output": "3"}, {"instruction": "Add", "output": NaN}]')
    assert pool.rows["line"].to_pylist() == [2]
    assert pool.set_aside["line"].to_pylist() == [1, 3, 4]
    assert [r.split(":")[0] for r in pool.set_aside["reason"].to_pylist()] == [
        "not an object",
        "not UTF-8",
        "empty response",
    ]


def test_an_array_longer_than_a_block_is_read_whole(load):
    rows = [{"instruction": f"Add {k} é", "output": "3" * 1500} for k in range(4000)]
    pool = load(json.dumps(rows, indent=1, ensure_ascii=False).encode())
    assert pool.rows["prompt"].num_chunks > 1
    assert pool.rows["line"].to_pylist() == list(range(1, 4001))
    assert pool.rows["prompt"].to_pylist() == [r["instruction"] for r in rows]


UNDER_A_KEY = {
    "data": (b'{"data": [%s, %s]}', "under 'data'"),
    "data with more beside it": (b'{"version": 1, "data": [%s, %s], "tags": ["x"]}', "under 'data'"),
    "a split": (b'{"test": [{"instruction": "a", "output": "b"}], "train": [%s, %s]}', "under 'train'"),
    "an id": (b'{"q1": %s, "q2": %s}', "Each row's key is in its field 'id'"),
    "pretty": (b'{\n  "data": [\n%s,\n%s\n]\n}\n', "under 'data'"),
}


@pytest.mark.parametrize("name", ["pool.json", "pool.jsonl"])
@pytest.mark.parametrize(("data", "notice"), UNDER_A_KEY.values(), ids=UNDER_A_KEY)
def test_rows_under_a_key_of_one_object_are_found(load, data, notice, name):
    pool = load(data % (GOOD, GOOD), name)
    assert len(pool) == 2
    assert any(notice in n for n in pool.notices)


def test_a_key_that_is_the_prompt_is_kept_as_the_prompt(load):
    data = {"Hi?": {"responses": ["a", "b"], "pairs": [[1, 0]]}, "Ho?": {"responses": ["c"], "pairs": []}}
    pool = load(json.dumps(data).encode())
    assert (pool.rows["prompt"].to_pylist(), pool.rows["response"].to_pylist()) == (["Hi?", "Ho?"], ["b", "c"])


def test_one_of_several_lists_can_be_named(load):
    data = b'{"dev": [%s], "test": [%s, %s]}' % (GOOD, GOOD, GOOD)
    assert len(load(data, split="test")) == 2
    with pytest.raises(PoolError, match=r"rows under dev, test. Give one of them as the split"):
        load(data)
    with pytest.raises(PoolError, match=r"has no split 'train'. It has dev, test"):
        load(data, split="train")


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]},
        {"instruction": "Add", "instances": [{"input": "", "output": "3"}]},
        {
            "prompt": {"role": "user", "content": "Hi"},
            "chosen": {"role": "assistant", "content": "Hello"},
            "rejected": {},
        },
        json.loads(GOOD),
    ],
    ids=lambda row: next(iter(row)),
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_single_row_is_a_pool_of_one(load, row, indent):
    pool = load(json.dumps(row, indent=indent).encode())
    assert json.loads(read_rows(pool, [0])[0].original) == row


def test_a_long_line_of_rubbish_at_the_start_does_not_hide_the_rows(load):
    assert len(load(b'{"broken": "' + b"x" * 2_000_000 + b"\n" + GOOD + b"\n" + GOOD)) == 2


REFUSED = {
    "empty": (b"", "pool.jsonl is empty."),
    "blank": (b" \n\r\n\t", "pool.jsonl is empty."),
    "only a byte order mark": (codecs.BOM_UTF8, "pool.jsonl is empty."),
    "prose": (b"Dear all,\nplease find attached", "has no readable rows: it begins with 'Dear all,'"),
    "HTML": (b"<!DOCTYPE html><html></html>", "it begins with '<!DOCTYPE html>"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is a binary file"),
    "UTF-16": ('{"instruction": "Add"}'.encode("utf-16"), "is UTF-16 text. Save it as UTF-8."),
    "zip": (b"PK\x03\x04\x14\0\0\0", "is a zip file"),
    "damaged Parquet": (b"PAR1\x15\x04\x15", "is damaged and cannot be read as Parquet"),
    "damaged gzip": (gzip.compress(GOOD * 1000)[:40], "is damaged or incomplete"),
    "gzip of nothing": (gzip.compress(b""), "is empty."),
    "an empty array": (b"[]", "it holds no rows"),
    "an array of numbers": (b"[1, 2]", "none of its first 2 lines or elements is a JSON object"),
    "an array that is cut off": (b"[" + GOOD + b",\n" + GOOD[:20], "line 2: not valid JSON from here on"),
    "an array that is not closed": (
        b"[" + GOOD + b",\n" + GOOD,
        "line 2: not valid JSON from here on (the array is not",
    ),
    "an array without a comma": (b"[" + GOOD + b"\n" + GOOD + b"]", "line 2: not valid JSON from here on (a comma"),
    "two arrays": (b"[" + GOOD + b"]\n[" + GOOD + b"]", "more text follows the end of the array"),
    "objects over several lines": (
        b'{\n"instruction": "Add"\n}\n{\n"a": 1\n}\n',
        "neither JSON Lines (one object on each line)",
    ),
    "an object cut off": (GOOD[:20], "neither JSON Lines (one object on each line)"),
    "a log": (b'{"time": 1, "level": "info"}\n', "its rows have an unknown format: found level, time"),
    "settings": (b'{"lr": 1, "model": {"layers": 2}}', "its rows have an unknown format: found lr, model"),
    "no usable row": (b'{"prompt": "", "completion": ""}\n' * 3, "unknown format: found completion, prompt"),
}


@pytest.mark.parametrize(("data", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_pool_is_refused_in_one_sentence_that_names_it(load, tmp_path, data, sentence):
    with pytest.raises(PoolError) as error:
        load(data)
    assert sentence in str(error.value)
    assert "pool.jsonl" in str(error.value)
    assert "\n" not in str(error.value)
    assert list((tmp_path / "workspace" / "pools").iterdir()) == []


SOURCES = ["no/such/pool.jsonl", "nowhere", "/no/such/folder", "~/nothing here", "~nobody/x", "a/b/c", "x" * 5000]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source[:20])
def test_a_path_that_leads_nowhere_is_refused(tmp_path, source):
    with pytest.raises(PoolError, match="There is no file or folder"):
        load_pool(source, workspace=tmp_path)


def test_no_path_at_all_is_refused(tmp_path):
    with pytest.raises(PoolError, match="No pool is given"):
        load_pool(" ", workspace=tmp_path)


@pytest.mark.parametrize("option", ["name", "revision"])
def test_options_of_the_hub_are_refused_for_a_file(tmp_path, option):
    (tmp_path / "pool.jsonl").write_bytes(GOOD)
    with pytest.raises(PoolError, match="is not a hub dataset"):
        load_pool(str(tmp_path / "pool.jsonl"), workspace=tmp_path / "workspace", **{option: "main"})


@pytest.mark.parametrize("data", [GOOD, GOOD + b"\n" + GOOD, b"[" + GOOD + b"]"])
def test_a_split_is_refused_where_there_is_none(load, data):
    with pytest.raises(PoolError, match=r"is one list of rows, without splits\. Remove the split 'test'"):
        load(data, split="test")


def test_calls_nested_too_deeply_set_their_row_aside(tmp_path):
    turns = '[{"role": "user", "content": "add"}, {"role": "assistant", "content": "3", "tool_calls": %s}]'
    deep = "[" * 300 + "]" * 300
    file = tmp_path / "talk.jsonl"
    file.write_text("".join('{"messages": ' + turns % calls + "}\n" for calls in ("[]", deep)))
    pool = load_pool(str(file), workspace=tmp_path)
    assert len(pool) == 1
    assert pool.set_aside.to_pylist()[0]["reason"] == "nested too deeply"


@pytest.mark.parametrize(
    "error", [MemoryError(), pa.ArrowMemoryError("malloc"), pa.ArrowCapacityError("too long\nat 0")]
)
def test_a_lack_of_memory_is_one_sentence_and_leaves_nothing_behind(load, tmp_path, error):
    def fail(done, total):
        raise error

    with pytest.raises(
        PoolError, match=r"pool\.jsonl: (there is too little memory|its rows cannot be stored)"
    ) as caught:
        load(GOOD, on_progress=fail)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "workspace" / "pools").iterdir()) == []
