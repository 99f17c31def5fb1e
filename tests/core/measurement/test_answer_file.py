"""Generated answers from a file, joined to a pool by id."""

import gzip
import json

import pyarrow as pa
import pytest

from core.errors import PoolError
from core.measurement.answer_file import read_answers
from core.models.generation.answers import ANSWER_COLUMNS, count_answers


def write(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), "utf-8")
    return path


def row(name, *answers, **more):
    return {"id": name, "generated_answers": list(answers), **more}


def test_answers_are_joined_by_id_in_the_order_of_the_pool(tmp_path):
    path = write(
        tmp_path / "answers.jsonl",
        row("c", "c1", "c2", "c3", instruction="kept elsewhere"),
        "",
        row("?", "x"),
        row("a", "a1"),
        row("d", "d1", None, "d\u2028\u00853", "d4"),
    )
    answers = read_answers(path, ["a", "b", "c", "d"], 3)
    assert answers.table["answers"].to_pylist() == [
        ["a1", None, None],
        [None, None, None],
        ["c1", "c2", "c3"],
        ["d1", None, "d\u2028\u00853"],
    ]
    assert {name: answers.table[name].type for name in answers.table.column_names} == dict(ANSWER_COLUMNS)
    assert answers.table["ended"].to_pylist() == answers.table["answer_tokens"].to_pylist() == [[None] * 3] * 4
    assert (answers.matched, answers.missing, answers.unknown, answers.short, answers.long) == (3, 1, 1, 2, 1)
    counts = count_answers(answers.table)
    assert (counts.rows, counts.missing, counts.truncated, counts.short_rows, counts.lone_rows) == (4, 6, 0, 3, 2)


def test_a_gzipped_file_of_many_blocks_is_read_the_same_and_reports_progress(tmp_path, monkeypatch):
    rows = [row(str(k), f"first {k}", f"second {k}") for k in range(500)]
    plain = write(tmp_path / "a.jsonl", *rows)
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    ids = [str(k) for k in range(499, -1, -1)]
    whole = read_answers(plain, ids, 2).table
    monkeypatch.setattr("core.measurement.answer_file.BLOCK_BYTES", 100)
    monkeypatch.setattr("core.measurement.answer_file.SLICE", 7)
    calls = []
    table = read_answers(packed, ids, 2, lambda done, total: calls.append((done, total))).table
    assert table.equals(whole) and table["answers"].num_chunks == 72
    assert table["answers"][0].as_py() == ["first 499", "second 499"]
    assert calls[-1] == (packed.stat().st_size,) * 2


def test_a_number_as_id_matches_its_digits(tmp_path):
    path = write(tmp_path / "a.jsonl", row(7, "seven", "7"))
    assert read_answers(path, ["7"], 2).table["answers"].to_pylist() == [["seven", "7"]]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"id": "b"', r"a\.jsonl, line 2: not valid JSON \(.*\)\. Correct or remove the line"),
        ("[1]", "line 2: no 'id' that is text or a whole number"),
        ({"generated_answers": ["x"]}, "line 2: no 'id'"),
        ({"id": True, "generated_answers": ["x"]}, "line 2: no 'id'"),
        ({"id": "b", "answers": ["x"]}, "line 2: 'generated_answers' is not a list of texts"),
        (row("b", 3), "line 2: 'generated_answers' is not a list of texts"),
        (row("a", "again"), "line 2: the id 'a' is already in line 1"),
    ],
)
def test_an_invalid_line_is_refused_with_its_number(tmp_path, line, words):
    path = write(tmp_path / "a.jsonl", row("a", "x"), line, row("c", "y"))
    with pytest.raises(PoolError, match=words):
        read_answers(path, ["a", "b", "c"], 2)


def test_a_file_of_another_pool_an_empty_or_a_missing_one_is_refused(tmp_path):
    path = write(tmp_path / "a.jsonl", row("x", "1"), row("y", "2"))
    with pytest.raises(PoolError, match="none of its 2 rows has an id of this pool"):
        read_answers(path, ["a"], 2)
    with pytest.raises(PoolError, match="none of its 0 rows"):
        read_answers(write(tmp_path / "none.jsonl"), ["a"], 2)
    with pytest.raises(PoolError, match="cannot be read"):
        read_answers(tmp_path / "nowhere.jsonl", ["a"], 2)


def test_the_table_has_the_stored_types(tmp_path):
    path = write(tmp_path / "a.jsonl", row("a", "x", "y"))
    assert read_answers(path, ["a"], 2).table.schema == pa.schema(dict(ANSWER_COLUMNS))


def test_a_line_over_the_limit_is_refused_with_its_place(tmp_path, monkeypatch):
    monkeypatch.setenv("WINNOW_MAX_ROW_MB", "0.1")
    path = write(tmp_path / "a.jsonl", row("a", "x"), row("b", "y" * 200_000))
    with pytest.raises(PoolError, match=r"a\.jsonl, line 2: 0\.2 MB in this line; a row may have 0\.1 MB"):
        read_answers(path, ["a", "b"], 1)
