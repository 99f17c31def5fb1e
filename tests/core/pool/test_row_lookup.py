"""Rows of a pool that a file lists are found by content or by id, in any schema; the others are named."""

import json

import numpy as np
import pytest

from core.errors import RecipeError
from core.output.writer import write_selection
from core.pool.pools import load_pool
from core.pool.row_lookup import ListedRow, find_file_rows, find_rows

ROWS = [
    {"id": "a", "instruction": "Add.", "input": "2, 2", "output": "4", "task": "sums"},
    {"id": "b", "instruction": "Say é.", "output": "é", "more": {"deep": [1, None]}},
    {"id": "c", "instruction": "Count.", "output": "1 2 3", "system": "Be brief."},
    {"id": "d", "instruction": "Greet.", "output": "Hello."},
    {"id": "e", "instruction": "Greet.", "output": "Hello."},
    {"id": "f", "instruction": "Go on.", "output": "Fine.", "history": [["Hi.", "Ho."]]},
]


@pytest.fixture
def pool(tmp_path):
    file = tmp_path / "pool.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return load_pool(str(file), workspace=tmp_path / "workspace")


@pytest.fixture
def find(pool, tmp_path):
    """Return a function that finds the rows of a file with this content, and what names those that are not there."""

    def found(text: str, name: str = "used.jsonl"):
        (tmp_path / name).write_text(text, "utf-8")
        result = find_file_rows(pool, tmp_path / name)
        return result.rows.tolist(), [row.name for row in result.unmatched]

    return found


@pytest.mark.parametrize("name", ["used.jsonl", "used.parquet"])
@pytest.mark.parametrize("schema", ["original", "alpaca", "messages", "sharegpt", "annotation"])
def test_an_export_in_any_format_lists_its_own_rows(pool, tmp_path, schema, name):
    rows = [0, 1, 2, 5]
    write_selection(pool, np_rows(rows), tmp_path / name, schema=schema, scores={"nll": np_rows(range(6)) / 2.0})
    found = find_file_rows(pool, tmp_path / name)
    assert (found.rows.tolist(), list(found.unmatched)) == (rows, [])


def np_rows(rows):
    return np.array(list(rows), np.int64)


def test_calls_and_tools_may_be_written_in_another_way(tmp_path):
    call = json.dumps({"name": "weather", "arguments": {"city": "Oslo"}})
    told = [("human", "Rain?"), ("function_call", call), ("observation", "sun"), ("gpt", "No.")]
    row = {"conversations": [{"from": one, "value": text} for one, text in told], "tools": '[{"name": "weather"}]'}
    other = row | {"conversations": [*row["conversations"][:-1], {"from": "gpt", "value": "Yes."}]}
    (tmp_path / "calls.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(other) + "\n")
    calls = load_pool(str(tmp_path / "calls.jsonl"), workspace=tmp_path / "workspace")
    write_selection(calls, np_rows([1]), tmp_path / "messages.jsonl", schema="messages")
    assert find_file_rows(calls, tmp_path / "messages.jsonl").rows.tolist() == [1]
    assert len(find_file_rows(calls, tmp_path / "messages.jsonl", same_responses=True).unmatched) == 1


def test_a_queue_that_people_have_answered_still_lists_its_rows(pool, tmp_path):
    write_selection(pool, np_rows([1, 3]), tmp_path / "queue.jsonl", schema="annotation")
    queue = (tmp_path / "queue.jsonl").read_text().splitlines()
    answered = [json.loads(line) | {"response": "By hand."} for line in queue]
    (tmp_path / "queue.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answered))
    assert find_file_rows(pool, tmp_path / "queue.jsonl").rows.tolist() == [1, 3]
    assert len(find_file_rows(pool, tmp_path / "queue.jsonl", same_responses=True).unmatched) == 2


def test_lists_of_ids_are_objects_an_array_a_table_or_lines(find):
    assert find('{"id": "b"}\n{"id": "nowhere"}\n') == ([1], ["'nowhere'"])
    assert find('["b", "a", "nowhere"]', "ids.json") == ([0, 1], ["'nowhere'"])
    assert find("id\nb\nd\n", "ids.csv") == ([1, 3], [])
    assert find("b\n\n d \nnowhere\n", "ids.txt") == ([1, 3], ["'nowhere'"])
    assert find('{"id": "b", "score": 0.5}\n{"id": "x", "score": 1}\n') == ([1], ["'x'"])


def test_an_id_does_not_make_another_row_the_same(find):
    other = {"id": "a", "instruction": "Another question.", "output": "4"}
    assert find(json.dumps(other)) == ([], ["'a'"])
    nameless = {"instruction": "Another question.", "output": "4"}
    assert find(json.dumps(ROWS[1]) + "\n" + json.dumps(nameless)) == ([1], ["line 2"])


def test_equal_rows_are_found_by_their_ids_or_once_for_each_time(find):
    assert find(json.dumps(ROWS[4])) == ([4], [])
    plain = json.dumps({"instruction": "Greet.", "output": "Hello."}) + "\n"
    assert find(plain) == ([3], [])
    assert find(2 * plain) == ([3, 4], [])
    assert find(3 * plain) == ([3, 4], [])


def test_keys_of_a_manifest_match_by_content_only(pool):
    hashes = pool.rows["hash"].to_pylist()
    keys = [ListedRow(1, "a", hashes[0], prompts=None), ListedRow(2, "moved", hashes[2], prompts=None)]
    changed = ListedRow(3, "b", "0" * 32, prompts=None)
    found = find_rows(pool, [*keys, changed])
    assert (found.rows.tolist(), list(found.unmatched)) == ([0, 2], [changed])


def test_of_rows_that_are_equal_throughout_the_one_with_the_same_id_is_meant(tmp_path):
    (tmp_path / "twice.jsonl").write_text(2 * '{"instruction": "Greet.", "output": "Hello."}\n')
    twice = load_pool(str(tmp_path / "twice.jsonl"), workspace=tmp_path / "workspace")
    names, hashes = (twice.rows[name].to_pylist() for name in ("id", "hash"))
    assert names[1] == f"{names[0]}-2" and hashes[0] == hashes[1]
    for k in (0, 1):
        assert find_rows(twice, [ListedRow(1, names[k], hashes[k], prompts=None)]).rows.tolist() == [k]


def test_a_file_without_rows_or_with_something_else_is_refused_in_a_sentence(find):
    with pytest.raises(RecipeError, match="holds no row"):
        find(" \n", "ids.txt")
    with pytest.raises(RecipeError, match=r"line 2: not an object\. Give one row"):
        find('{"id": "a"}\n[1, 2]\n')
