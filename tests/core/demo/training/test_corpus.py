import gzip
import json

import pytest

from core.demo.pool import demo_rows, prompt_of
from core.demo.training.corpus import (
    HELD_OUT_SHARE,
    PASSAGE_WORDS,
    SOURCES,
    TEMPLATE_ROWS,
    Document,
    demo_documents,
    drop_leaks,
    is_held_out,
    read_documents,
    read_rows,
    split_documents,
)

SOURCE = {source.name: source for source in SOURCES}
PASSAGE = " ".join(f"w{i}" for i in range(PASSAGE_WORDS))


def doc(text, source="pool"):
    return Document(source, text, "yes")


def pairs(name, row):
    return list(SOURCE[name].pairs(row))


def test_only_permissive_licences_are_read():
    assert {source.licence for source in SOURCES} == {"MIT", "Apache-2.0", "CC BY 4.0"}


def test_a_document_is_prompt_blank_line_response():
    assert Document("pool", "What is 2 + 2?", "4").text == "What is 2 + 2?\n\n4"


def test_rows_are_split_at_newlines_only(tmp_path):
    path = tmp_path / "pool.jsonl.gz"
    path.write_bytes(gzip.compress('{"a": "one\u2028two"}\n\n{"a": "three\u0085"}\n'.encode()))
    assert [row["a"] for row in read_rows(path)] == ["one\u2028two", "three\u0085"]


def test_an_array_is_read_as_lines(tmp_path):
    path = tmp_path / "pool.json"
    path.write_text(json.dumps([{"a": 1}, {"a": 2}]))
    assert list(read_rows(path)) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("gsm8k", {"question": "Q", "answer": "A"}, [("Q", "A")]),
        ("roleplay", {"instruction": "I", "input": "", "output": "O"}, [("I", "O")]),
        ("roleplay", {"instruction": "I", "input": "J", "output": "O"}, [("I\nJ", "O")]),
        ("flan_cot", {"question": "Q\\nR", "rationale": "So.", "answer": "yes"}, [("Q\nR", "So.\nyes")]),
        ("t0", {"prompt": "P", "completion": "C<|endoftext|>"}, [("P", "C")]),
        ("mmlu", {"question": "Q", "A": "1", "B": "2", "C": "3", "D": "4", "answer": "C"},
         [("Q\nA. 1\nB. 2\nC. 3\nD. 4", "C. 3")]),
        ("induction", {"x": 1, "y": 2}, []),
        ("kto_demo", {"messages": [{"content": "Q"}, {"content": "A"}], "label": True}, [("Q", "A")]),
        ("kto_demo", {"messages": [{"content": "Q"}, {"content": "A"}], "label": False}, []),
        ("dpo_demo", {"conversations": [{"value": "Q"}], "chosen": {"value": "A"}}, [("Q", "A")]),
        ("glaive_demo", {"conversations": [{"value": "Q"}, {"value": "A"}, {"value": "B"}]}, [("Q", "A\n\nB")]),
    ],
)  # fmt: skip
def test_each_schema_reads_as_prompt_and_response(name, row, expected):
    assert pairs(name, row) == expected


def test_repeats_and_empty_rows_of_a_source_are_read_once_and_never(tmp_path):
    rows = [{"question": "Q", "answer": "A"}] * 2 + [{"question": "Q", "answer": " "}]
    path = tmp_path / SOURCE["gsm8k"].file
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    assert read_documents(SOURCE["gsm8k"], tmp_path) == [Document("gsm8k", "Q", "A")]


def test_the_side_of_a_row_depends_on_the_words_of_its_prompt_alone():
    prompts = [f"question {i}" for i in range(300)]
    docs = [Document("one", p, "a") for p in prompts] + [Document("two", f" {p}\n", "b") for p in prompts]
    _, held_out = split_documents(docs)
    names = {source: [d.prompt.strip() for d in held_out if d.source == source] for source in ("one", "two")}
    assert names["one"] == names["two"] != []


def test_about_the_stated_share_is_held_out_and_another_seed_holds_out_others():
    prompts = [f"question {i}" for i in range(20_000)]
    sides = [[is_held_out(prompt, seed) for prompt in prompts] for seed in (0, 1)]
    for side in sides:
        assert sum(side) / len(side) == pytest.approx(HELD_OUT_SHARE, abs=0.006)
    assert sides[0] != sides[1]


def test_a_training_row_with_a_held_out_passage_is_dropped():
    held_out = [doc(f"before {PASSAGE} after")]
    leak, near = doc(f"other {PASSAGE} words"), doc(" ".join(PASSAGE.split()[:-1]))
    assert drop_leaks([leak, near], held_out) == [near]


def test_wording_that_many_training_rows_share_is_a_template_and_stays():
    train = [doc(f"{PASSAGE} row {i}") for i in range(TEMPLATE_ROWS + 1)]
    held_out = [doc(f"{PASSAGE} held out")]
    assert drop_leaks(train, held_out) == train
    assert drop_leaks(train[1:], held_out) == []


def test_hardly_any_demo_text_is_a_row_of_the_shipped_pool():
    shipped = {(prompt_of(row), row["output"]) for row in demo_rows(0)[0]}
    learnt = [(d.prompt, d.response) for d in demo_documents()]
    again = [pair for pair in learnt if pair in shipped]
    assert len(again) < 0.03 * len(learnt), f"{len(again)} of {len(learnt)}"


def test_no_held_out_question_is_learnt_under_another_pools_name(shared_data):
    train, held_out = split_documents(
        d for name in ("gsm8k", "flan_cot") for d in read_documents(SOURCE[name], shared_data)
    )
    questions = {" ".join(d.prompt.split()) for d in held_out if d.source == "gsm8k"}
    assert len(questions) > 300
    assert not questions & {" ".join(d.prompt.split()) for d in train}
