"""Nested fields: `a.b` wherever a field is named; a field of that very name comes first."""

import orjson
import pytest

from core.errors import PoolError
from core.pool.nested_fields import ABSENT, get_field, iter_fields, lift_fields
from core.pool.pools import field_names, load_pool
from core.pool.preference.target_sets import load_target_set
from core.schema import FieldMap

ROW = {"a": {"b": {"c": 1}, "b.d": 2, "none": None}, "a.b": {"c": 3}, "a.x": 4, "empty": {}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a", ROW["a"]),
        ("a.b", {"c": 3}),  # the field of that very name
        ("a.b.c", 1),
        ("a.b.d", 2),
        ("a.x", 4),
        ("a.none", None),
        ("empty", {}),
        ("a.b.e", ABSENT),
        ("a.x.y", ABSENT),
        ("a.", ABSENT),
        (".a", ABSENT),
        ("b", ABSENT),
        ("a" + 10_000 * ".a", ABSENT),
    ],
)
def test_a_name_finds_its_field_at_any_depth(name, value):
    assert get_field(ROW, name, ABSENT) is value or get_field(ROW, name, ABSENT) == value


def test_a_missing_field_has_the_default():
    assert get_field(ROW, "a.z") is None
    assert get_field({}, "a", 5) == 5


def test_every_field_is_listed_by_the_name_that_finds_it():
    row = {"a": {"b": {"c": 1}, "d": [{"e": 2}]}, "f": None, "g": {}}
    assert dict(iter_fields(row)) == {"a.b.c": 1, "a.d": [{"e": 2}], "f": None, "g": {}}
    assert all(get_field(row, name, ABSENT) == value for name, value in iter_fields(row))


def test_lifting_leaves_the_row_and_its_own_fields_alone():
    row = {"a": {"b": 1}, "a.c": 2}
    assert lift_fields(row, ("a.b", "a.c", "a.z")) == row | {"a.b": 1}
    assert row == {"a": {"b": 1}, "a.c": 2}


NESTED = FieldMap(
    "custom",
    prompt=("data.q", "data.more"),
    response="data.a",
    system="meta.system",
    task="meta.noise.kind",
    id="meta.id",
)


def write(path, rows):
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return str(path)


@pytest.fixture
def source(tmp_path):
    rows = [
        {
            "data": {"q": "Add.", "more": "1 + 1", "a": "2"},
            "meta": {"id": "x", "noise": {"kind": "sum"}, "system": "Be short."},
        },
        {"data": {"q": "Say no.", "a": "no"}, "meta": {"id": "y", "noise": None}},
        {"data": {"q": "No answer."}, "meta": {"id": "z"}},
    ]
    return write(tmp_path / "pool.jsonl", rows)


def test_every_part_of_a_mapping_may_be_nested(source, tmp_path):
    pool = load_pool(source, workspace=tmp_path, fields=NESTED)
    assert pool.rows.select(["id", "prompt", "response", "task"]).to_pylist() == [
        {"id": "x", "prompt": "Add.\n1 + 1", "response": "2", "task": "sum"},
        {"id": "y", "prompt": "Say no.", "response": "no", "task": None},
    ]
    assert orjson.loads(pool.rows["turns"][0].as_py())[0] == {"role": "system", "content": "Be short."}
    assert pool.set_aside["reason"].to_pylist() == ["empty response"]
    assert orjson.loads(pool.rows["original"][1].as_py()) == {
        "data": {"q": "Say no.", "a": "no"},
        "meta": {"id": "y", "noise": None},
    }


def test_turns_may_be_nested(tmp_path):
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    source = write(tmp_path / "pool.jsonl", [{"body": {"messages": turns}}])
    pool = load_pool(source, workspace=tmp_path, fields=FieldMap("custom", turns="body.messages"))
    assert pool.rows["response"].to_pylist() == ["Hello"]


def test_a_field_whose_name_holds_a_dot_still_works(tmp_path):
    source = write(tmp_path / "pool.jsonl", [{"q.1": "Hi", "a.1": "Hello", "meta": {"kind": "x"}, "meta.kind": "y"}])
    fields = FieldMap("custom", prompt=("q.1",), response="a.1", task="meta.kind")
    pool = load_pool(source, workspace=tmp_path, fields=fields)
    assert pool.rows.select(["prompt", "response", "task"]).to_pylist() == [
        {"prompt": "Hi", "response": "Hello", "task": "y"}
    ]


@pytest.mark.parametrize("part", ["prompt", "task"])
def test_a_nested_field_that_no_row_has_is_refused_by_name(source, tmp_path, part):
    fields = FieldMap("custom", **{"prompt": ("data.q",)} | {part: ("data.b",) if part == "prompt" else "data.b"})
    with pytest.raises(PoolError, match=r"No row has a field 'data\.b'\. The fields are .*data"):
        load_pool(source, workspace=tmp_path, fields=fields)


def test_a_mapping_can_name_the_nested_fields_of_the_first_rows(source, tmp_path):
    pool = load_pool(source, workspace=tmp_path, fields=FieldMap("custom", prompt=("data.q",), task="meta.noise.kind"))
    expected = {"data", "meta", "data.q", "data.more", "data.a", "meta.id", "meta.noise.kind", "meta.system"}
    assert expected <= set(field_names(pool))
    assert len(field_names(pool)) == len(set(field_names(pool)))


def test_a_row_that_is_long_to_parse_is_not_searched_for_nested_fields(tmp_path):
    rows = [{"q": "Hi", "long": {"text": 100_000 * "x"}}, {"q": "Hi", "short": {"text": "x"}}]
    pool = load_pool(write(tmp_path / "pool.jsonl", rows), workspace=tmp_path, fields=FieldMap("custom", prompt=("q",)))
    assert field_names(pool) == ["q", "long", "short", "short.text"]


def test_a_sub_task_may_be_nested(tmp_path):
    pair = {"prompt": "Q", "chosen": "good", "rejected": "bad"}
    rows = [pair | {"meta": {"kind": kind}} for kind in ("a", "b", "b")]
    targets = load_target_set(write(tmp_path / "pairs.jsonl", rows), subtask="meta.kind")
    assert targets.subtasks() == {"a": 1, "b": 2}
    with pytest.raises(PoolError, match=r"sub-task in 'meta\.sort'. Its fields are .*meta\.kind"):
        load_target_set(str(tmp_path / "pairs.jsonl"), subtask="meta.sort")
