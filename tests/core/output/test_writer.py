"""What is written: bytes, order, scores, and behaviour when the disk fails."""

import hashlib
import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from core.errors import RecipeError, WorkspaceError
from core.output import row_files, writer
from core.output.formats import CONVERSIONS
from core.output.writer import preview_line, write_scores, write_selection
from core.pool.pools import load_pool, read_rows
from core.pool.row_view import read_turn_parts
from core.schema import FieldMap
from tests.core.pool.pools import make_pool

NAN = np.nan
TEXTS = [
    '{"id": "a", "instruction": "Add.", "input": "2, 2", "output": "4", "task": "sums"}',
    '{ "output":"é\\u00e9\u2028", "instruction": "Say é." , "id":"b", "n": 12345678901234567890, "x": 1.0 }',
    '{"id": "c", "instruction": "No answer", "output": null}',
    '{"id": "d", "instruction": "Count.", "output": "1 2 3", "extra": {"deep": [1, {"b": null}]}}',
]
SCORES = {"nll": np.float32([0.1, NAN, 2.5, 3.0]), "in_nll_band": np.array([True, False, True, True])}


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.fixture
def pool():
    return make_pool(TEXTS)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "chosen.jsonl"


def read_lines(path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def test_rows_are_written_byte_for_byte_in_the_order_of_the_pool(pool, out):
    written = write_selection(pool, ints(3, 0, 1), out)
    assert read_lines(out) == [TEXTS[0], TEXTS[1], TEXTS[3]]
    assert (written.path, written.rows, written.rejected_path) == (out, 3, None)
    assert written.sha256 == hashlib.sha256(out.read_bytes()).hexdigest()


def test_every_line_ends_with_a_newline_and_nothing_follows(pool, out):
    write_selection(pool, ints(2), out)
    assert out.read_bytes() == TEXTS[2].encode() + b"\n"


def test_a_pool_larger_than_a_batch_is_written_whole(out, monkeypatch):
    monkeypatch.setattr(writer, "BATCH", 7)
    texts = [json.dumps({"id": str(k), "instruction": f"q{k}", "output": f"a{k}"}) for k in range(100)]
    rows = np.random.default_rng(0).permutation(100)[:60]
    write_selection(make_pool(texts), rows, out, rejected=True)
    assert read_lines(out) == [texts[k] for k in sorted(rows)]
    assert read_lines(out.with_name("chosen.rejected.jsonl")) == [t for k, t in enumerate(texts) if k not in set(rows)]


def test_scores_add_one_field_and_leave_the_rest_of_the_text(pool, out):
    written = write_selection(pool, ints(0, 1), out, scores=SCORES)
    first, second = read_lines(out)
    assert first == TEXTS[0][:-1] + ', "winnow": {"nll":0.1,"in_nll_band":true}}'
    assert second == TEXTS[1][:-2] + ', "winnow": {"nll":null,"in_nll_band":false}}'
    assert written.with_scores


def test_ranks_are_whole_numbers_and_reasons_are_words(pool, out):
    scores = {
        "random.rank": np.array([2.0, NAN, 0.0, 1.0]),
        "random.excluded": np.array([None, "filtered out", None, None], object),
    }
    write_selection(pool, ints(0, 1), out, scores=scores)
    added = [json.loads(line)["winnow"] for line in read_lines(out)]
    assert added == [
        {"random.rank": 2, "random.excluded": None},
        {"random.rank": None, "random.excluded": "filtered out"},
    ]
    assert '"random.rank":2,' in read_lines(out)[0]


def test_a_users_own_field_is_never_overwritten(out):
    pool = make_pool([*TEXTS, '{"instruction": "q", "output": "a", "w\\u0069nnow": 1}'])
    write_selection(pool, ints(0, 4), out)  # without scores there is no conflict
    out.unlink()
    scores = {"nll": np.zeros(5, np.float32)}
    with pytest.raises(RecipeError, match="already have a field 'winnow'"):
        write_selection(pool, ints(0, 4), out, scores=scores)
    assert list(out.parent.iterdir()) == []


def test_a_nested_field_of_that_name_does_not_conflict(out):
    pool = make_pool(['{"instruction": "q", "output": "winnow", "meta": {"winnow": 1}}'])
    write_selection(pool, ints(0), out, scores={"nll": np.float32([1.5])})
    assert json.loads(out.read_text())["winnow"] == {"nll": 1.5}


def test_a_converted_row_follows_the_schema_and_its_fields_are_reported(pool, out):
    written = write_selection(pool, ints(1, 0), out, schema="alpaca", scores=SCORES)
    assert json.loads(read_lines(out)[0]) == {
        "instruction": "Add.",
        "input": "2, 2",
        "output": "4",
        "winnow": {"nll": pytest.approx(0.1), "in_nll_band": True},
    }
    assert written.fields == ("instruction", "input", "output", "winnow")
    assert written.schema == "alpaca"


def test_conversations_are_written_as_sharegpt(out):
    turns = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
    ]
    pool = make_pool([{"messages": turns}], fields=FieldMap("messages", turns="messages"))
    write_selection(pool, ints(0), out, schema="sharegpt")
    assert json.loads(out.read_text()) == {
        "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
        "system": "s",
    }


def test_a_row_that_cannot_be_converted_is_named_and_no_file_is_left(pool, out):
    with pytest.raises(RecipeError, match=r"Row 'c' \(line 3\) cannot be written as alpaca: it has no response"):
        write_selection(pool, ints(0, 2), out, schema="alpaca", rejected=True)
    assert list(out.parent.iterdir()) == []


def test_all_rows_that_cannot_be_converted_are_counted(out):
    pool = make_pool([{"instruction": f"q{k}", "output": None if k % 3 else "a"} for k in range(10)])
    with pytest.raises(RecipeError, match=r"Row 'r1' .* The same applies to 5 more of the 10 rows\."):
        write_selection(pool, np.arange(10), out, schema="sharegpt")


@pytest.mark.parametrize("schema", ["original", "messages", "sharegpt"])
def test_exported_conversations_open_again_unchanged(out, workspace, schema):
    rows = [
        {
            "system": "Be brief.",
            "conversations": [
                {"from": "human", "value": "2 + 2?"},
                {"from": "function_call", "value": '{"name": "add", "arguments": {}}'},
                {"from": "observation", "value": "4"},
                {"from": "gpt", "value": "It is 4."},
            ],
            "tools": '[{"name":"add"}]',
        },
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes?\n\u2028é"}]},
    ] * 5
    source = out.with_name("source.jsonl")
    source.write_text("".join(json.dumps(row | {"id": str(k)}) + "\n" for k, row in enumerate(rows)))
    pool = load_pool(str(source), workspace=workspace.root)
    write_selection(pool, np.arange(10), out, schema=schema)
    again = load_pool(str(out), workspace=workspace.root)
    assert again.fields.schema == ("sharegpt" if schema == "original" else schema)
    assert len(again.set_aside) == 0
    before, after = (read_rows(p, range(10)) for p in (pool, again))
    if schema == "messages":  # the text of a call, and of tools, is in OpenAI's wrapping
        parts = [[read_turn_parts(row, p.fields) for row in rows] for p, rows in ((pool, before), (again, after))]
        kept = [
            [[(t["role"], t.get("text", t["content"]), t.get("calls")) for t in row[-4:]] for row in rows]
            for rows in parts
        ]
        assert kept[0] == kept[1]
    else:
        assert [row.turns for row in after] == [row.turns for row in before]
    assert [row.response for row in after] == [row.response for row in before]
    assert (again.fingerprint == pool.fingerprint) == (schema == "original")


def test_exported_alpaca_opens_again_as_the_same_prompts(out, workspace):
    rows = [
        {"instruction": "Add.", "input": "2, 2", "output": "4"},
        {"instruction": "Hi", "input": "", "output": "Yes?", "system": "Be brief.", "history": [["a", "b"]]},
    ] * 5
    source = out.with_name("source.jsonl")
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = load_pool(str(source), workspace=workspace.root)
    write_selection(pool, np.arange(10), out, schema="alpaca")
    assert [json.loads(line) for line in read_lines(out)] == rows


def test_real_tool_conversations_survive_sharegpt_unchanged(shared_data, out, workspace):
    pool = load_pool(str(shared_data / "formats" / "glaive_toolcall_en_demo.json"), workspace=workspace.root)
    write_selection(pool, np.arange(len(pool)), out, schema="sharegpt")
    for row, line in zip(read_rows(pool, range(len(pool))), read_lines(out), strict=True):
        before, after = json.loads(row.original), json.loads(line)
        assert after["conversations"] == before["conversations"]
        assert after.get("tools", "[]") == before["tools"]


def test_a_prompt_alone_can_be_written_as_messages(pool, out):
    write_selection(pool, ints(2), out, schema="messages")
    assert json.loads(out.read_text()) == {"messages": [{"role": "user", "content": "No answer"}]}


PROMPTS = FieldMap("prompts_only", prompt=("prompt",), task="kind", id="id")
ASKED = [{"id": f"q{k}", "prompt": f"Question {k}?", "kind": "sums" if k % 2 else None} for k in range(6)]
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": "2 + 2?"},
]


def read_objects(path) -> list[dict]:
    return [json.loads(line) for line in read_lines(path)]


def answer_rows(path, count: int):
    """Return the same file with the first `count` rows answered."""
    rows = read_objects(path)
    for row in rows[:count]:
        row["response"] = f"The answer to {row['id']}."
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_queue_holds_the_prompts_in_the_order_of_the_pool(out):
    written = write_selection(make_pool(ASKED, fields=PROMPTS), ints(3, 0), out, schema="annotation", rejected=True)
    assert read_lines(out) == [
        '{"id":"q0","prompt":"Question 0?","task":null,"response":""}',
        '{"id":"q3","prompt":"Question 3?","task":"sums","response":""}',
    ]
    assert written.fields == ("id", "prompt", "task", "response")
    assert [row["id"] for row in read_objects(written.rejected_path)] == ["q1", "q2", "q4", "q5"]


def test_derived_tasks_replace_those_of_the_pool_and_are_marked(out):
    pool = make_pool(ASKED, fields=PROMPTS)
    tasks = ["derived 1", "derived 2", None, "derived 1", None, None]
    scores = {"nll": np.arange(6, dtype=np.float32)}
    write_selection(pool, ints(2, 1), out, schema="annotation", tasks=tasks, scores=scores)
    assert read_lines(out) == [
        '{"id":"q1","prompt":"Question 1?","task":"derived 2","task_derived":true,"response":"","winnow":{"nll":1.0}}',
        '{"id":"q2","prompt":"Question 2?","task":null,"task_derived":true,"response":"","winnow":{"nll":2.0}}',
    ]


@pytest.mark.parametrize("schema", ["original", "alpaca", "messages", "sharegpt"])
def test_other_schemas_have_no_field_for_derived_tasks(pool, out, schema):
    one = write_selection(pool, ints(0, 3), out, schema=schema, tasks=["derived 1"] * 4)
    assert one.sha256 == write_selection(pool, ints(0, 3), out, schema=schema).sha256


def test_tasks_are_one_per_row_of_the_pool(pool, out):
    with pytest.raises(RecipeError, match=r"There are 3 task names for 4 rows"):
        write_selection(pool, ints(2), out, schema="annotation", tasks=["a", "b", "c"])


def test_a_queue_of_answered_rows_holds_none_of_their_responses(out, workspace):
    answer = {"role": "assistant", "content": "It is 4."}
    rows = [{"id": "a", "messages": [*TALK, answer]}, {"id": "b", "messages": TALK[1:3]}]
    source = out.with_name("source.jsonl")
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = load_pool(str(source), workspace=workspace.root)
    assert pool.rows["response"].null_count == 0
    write_selection(pool, ints(0, 1), out, schema="annotation")
    assert [row["prompt_messages"] for row in read_objects(out)] == [TALK, TALK[1:2]]
    assert [row["response"] for row in read_objects(out)] == ["", ""]
    assert "It is 4." not in out.read_text()


def test_rows_that_ask_nothing_are_counted_and_leave_no_file(out, workspace):
    source = out.with_name("source.jsonl")
    source.write_text("".join(json.dumps({"messages": TALK[:3]}) + "\n" for _ in range(3)))
    pool = load_pool(str(source), workspace=workspace.root, fields=FieldMap("prompts_only", turns="messages"))
    with pytest.raises(RecipeError, match=r"there is no question\. .* The same applies to 2 more of the 3 rows\."):
        write_selection(pool, np.arange(3), out, schema="annotation")
    assert not list(out.parent.glob("*chosen*"))


def test_a_queue_opens_again_as_prompts_and_once_filled_in_with_responses(out, workspace):
    pool = make_pool(ASKED, fields=PROMPTS)
    write_selection(pool, np.arange(6), out, schema="annotation", tasks=["derived 1", "derived 2"] * 3)
    blank = load_pool(str(out), workspace=workspace.root)
    assert (blank.fields.schema, blank.fields.id, blank.fields.task) == ("prompts_only", "id", "task")
    assert [row.prompt for row in read_rows(blank, range(6))] == [row["prompt"] for row in ASKED]
    filled = load_pool(str(answer_rows(out, 4)), workspace=workspace.root)
    assert filled.fields == FieldMap("prompt_completion", prompt=("prompt",), response="response", task="task", id="id")
    assert [(row.id, row.response) for row in read_rows(filled, range(4))] == [
        (f"q{k}", f"The answer to q{k}.") for k in range(4)
    ]
    assert (len(filled), len(filled.set_aside)) == (4, 2)  # rows without an answer yet are set aside, not lost


def test_a_queue_of_conversations_loses_no_turn(out, workspace):
    source = out.with_name("source.jsonl")
    rows = [{"id": "a", "messages": TALK[1:2]}, {"id": "b", "messages": TALK}, {"id": "c", "messages": TALK[:2]}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    mapping = FieldMap("prompts_only", turns="messages", id="id")
    pool = load_pool(str(source), workspace=workspace.root, fields=mapping)
    write_selection(pool, np.arange(3), out, schema="annotation")
    assert [row["prompt_messages"] for row in read_objects(out)] == [row["messages"] for row in rows]
    assert [row["prompt"] for row in read_objects(out)] == ["Hi", "User: Hi\n\nAssistant: Yes?\n\nUser: 2 + 2?", "Hi"]
    filled = load_pool(str(answer_rows(out, 3)), workspace=workspace.root)
    assert filled.fields.schema == "prompt_completion"
    assert filled.fields.response == "response"  # a field named messages would be read instead of it
    mapping = FieldMap("prompt_completion", prompt=("prompt_messages",), response="response", id="id")
    exact = load_pool(str(out), workspace=workspace.root, fields=mapping)
    for before, after in zip(read_rows(pool, range(3)), read_rows(exact, range(3)), strict=True):
        answer = {"role": "assistant", "content": f"The answer to {before.id}."}
        assert (after.prompt, after.turns) == (before.prompt, (*before.turns, answer))


def test_rows_that_are_not_conversations_need_no_field_for_turns(out, workspace):
    source = out.with_name("source.jsonl")
    source.write_text("".join(json.dumps({"messages": turns}) + "\n" for turns in (TALK[:2], TALK[1:2], TALK[3:])))
    pool = load_pool(str(source), workspace=workspace.root)
    write_selection(pool, ints(1, 2), out, schema="annotation")
    assert [list(row) for row in read_objects(out)] == [["id", "prompt", "task", "response"]] * 2
    write_selection(pool, ints(0, 1), out, schema="annotation")
    assert [list(row) for row in read_objects(out)] == [["id", "prompt", "task", "prompt_messages", "response"]] * 2
    assert "prompt_messages" in preview_line(pool, ints(0, 1), "annotation")


@pytest.mark.parametrize("schema", ["original", *CONVERSIONS])
def test_the_first_line_is_known_before_anything_is_written(pool, out, schema):
    rows = ints(3, 1)
    if schema == "annotation":
        pool, rows = make_pool(ASKED, fields=PROMPTS), ints(5, 2)
    line = preview_line(pool, rows, schema)
    assert not out.exists()
    write_selection(pool, rows, out, schema=schema)
    assert read_lines(out)[0] == line


def test_real_prompts_are_written_in_the_schemas_that_allow_it(shared_data, out, workspace):
    mapping = FieldMap("prompts_only", prompt=("instruction",), task="motivation_app", id="id")
    source = str(shared_data / "selfinstruct_user_oriented_252.jsonl")
    pool = load_pool(source, workspace=workspace.root, fields=mapping)
    for schema in ("alpaca", "sharegpt"):
        with pytest.raises(RecipeError, match=r"it has no response\..*annotation.* 251 more of the 252 rows"):
            write_selection(pool, np.arange(252), out, schema=schema)
    for schema in ("original", "messages", "annotation"):
        assert write_selection(pool, np.arange(252), out, schema=schema).rows == 252
    again = load_pool(str(out), workspace=workspace.root)
    assert again.fields.schema == "prompts_only"
    for name in ("id", "prompt", "task"):
        assert again.rows[name].equals(pool.rows[name])


def test_rejected_rows_go_to_a_second_file_in_their_original_schema(pool, out):
    written = write_selection(pool, ints(1), out, schema="messages", rejected=True)
    assert written.rejected_path == out.with_name("chosen.rejected.jsonl")
    assert read_lines(written.rejected_path) == [TEXTS[0], TEXTS[2], TEXTS[3]]


def test_if_all_rows_are_selected_the_file_of_rejected_rows_is_empty(pool, out):
    written = write_selection(pool, ints(0, 1, 2, 3), out, rejected=True)
    assert written.rejected_path.read_bytes() == b""


def test_an_empty_selection_is_refused(pool, out):
    with pytest.raises(RecipeError, match="No row is selected"):
        write_selection(pool, ints(), out)
    assert not out.exists()


def test_an_unknown_schema_is_refused_before_anything_is_written(pool, out):
    with pytest.raises(RecipeError, match="no schema 'xml'"):
        write_selection(pool, ints(0), out, schema="xml")
    assert list(out.parent.iterdir()) == []


def test_the_same_rows_give_the_same_bytes_in_any_order(pool, out):
    one = write_selection(pool, ints(0, 3, 1), out, scores=SCORES)
    other = write_selection(pool, ints(1, 3, 0), out.with_name("again.jsonl"), scores=SCORES)
    assert one.sha256 == other.sha256


def test_an_older_export_stays_when_the_new_one_fails(pool, out):
    write_selection(pool, ints(0), out)
    with pytest.raises(RecipeError):
        write_selection(pool, ints(2), out, schema="alpaca")
    assert read_lines(out) == [TEXTS[0]]


def test_a_folder_where_the_file_should_be_is_one_sentence(pool, out):
    out.mkdir()
    with pytest.raises(WorkspaceError, match="it is a folder, and a file is needed"):
        write_selection(pool, ints(0), out)
    assert [p.name for p in out.parent.iterdir()] == ["chosen.jsonl"]


def test_a_file_where_the_folder_should_be_is_one_sentence(pool, out):
    out.write_text("")
    with pytest.raises(WorkspaceError, match=r"it is a file, and a folder is needed"):
        write_selection(pool, ints(0), out / "deeper.jsonl")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")  # noqa: PTH110
def test_a_full_disk_is_one_sentence_and_leaves_nothing(pool, out, monkeypatch):
    real = row_files.atomic_path

    def on_a_full_disk(path):
        return _Full(real(path))

    monkeypatch.setattr(row_files, "atomic_path", on_a_full_disk)
    with pytest.raises(WorkspaceError, match="the disk is full"):
        write_selection(pool, ints(0, 1), out)
    assert list(out.parent.iterdir()) == []


class _Full:
    """The real temporary file, replaced by a link to a device on which every write fails."""

    def __init__(self, inner):
        self.inner = inner

    def __enter__(self):
        path = self.inner.__enter__()
        path.unlink()
        path.symlink_to("/dev/full")
        return path

    def __exit__(self, *error):
        return self.inner.__exit__(*error)


def test_scores_of_every_row_as_parquet(pool, tmp_path):
    path = tmp_path / "scores.parquet"
    write_scores(path, pool, SCORES | {"longest.rank": np.array([1, NAN, 0, 2])})
    table = pq.read_table(path)
    assert table.column_names == ["id", "task", "nll", "in_nll_band", "longest.rank"]
    assert table["id"].to_pylist() == ["a", "b", "c", "d"]
    assert table["task"].to_pylist() == ["sums", None, None, None]
    assert table.schema.metadata is None
    assert table["nll"].to_pylist() == [pytest.approx(0.1), None, 2.5, 3.0]  # missing is null
    assert str(table.schema.field("longest.rank").type) == "int64"
    assert table["longest.rank"].to_pylist() == [1, None, 0, 2]


def test_scores_of_every_row_as_json_lines(pool, tmp_path):
    path = tmp_path / "scores.jsonl"
    write_scores(path, pool, SCORES)
    assert read_lines(path)[:2] == [
        '{"id":"a","task":"sums","nll":0.1,"in_nll_band":true}',
        '{"id":"b","task":null,"nll":null,"in_nll_band":false}',
    ]
    assert len(read_lines(path)) == 4


@pytest.mark.parametrize("ending", [".parquet", ".jsonl"])
def test_a_pool_without_labels_has_no_column_of_them(tmp_path, ending):
    path = tmp_path / f"scores{ending}"
    write_scores(
        path,
        make_pool([{"prompt": "q"}], fields=FieldMap("prompts_only", prompt=("prompt",))),
        {"nll": np.float32([1])},
    )
    assert "task" not in (pq.read_table(path).column_names if ending == ".parquet" else read_objects(path)[0])


def test_scores_have_two_endings(pool, tmp_path):
    with pytest.raises(RecipeError, match=r"as .parquet or .jsonl"):
        write_scores(tmp_path / "scores.csv", pool, SCORES)
