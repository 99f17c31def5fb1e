"""A block is read a step at a time; each of its rows comes out as it would by itself."""

import json

import pyarrow as pa
import pytest

from core.pool.readers.records import UnreadableRow
from core.pool.row_block import RowBlock
from core.pool.turns import UnusableRow
from core.pool.validation import ROWS_AT_ONCE, RowValidator
from core.schema import FieldMap

FIELDS = FieldMap("alpaca", ("instruction", "input"), "output", task="task", id="id")
DEEP = b'{"instruction": "a", "output": "b", "x": ' + b"[" * 300 + b"]" * 300 + b"}"
ODD = {  # text: reason, None for a row
    b'{"instruction": "a", "output": 7, "id": 1}': None,
    b'{"instruction": "a", "output": NaN}': "empty response",
    b'{"instruction": "a", "output": "b", "n": NaN}': None,
    b'{"instruction": "", "input": "a", "output": "b", "task": null}': None,
    b'{"instruction": "a", "output": " "}': "empty response",
    b'{"output": "b"}': "empty prompt",
    b"[]": "not an object",
    b"{bad": "not JSON: ",
    b'{"instruction": "\xff", "output": "b"}': "not UTF-8",
    b'{"instruction": "a", "output": "b"}{}': "more than one JSON value",
    DEEP: "nested too deeply",
    DEEP.replace(b'"b"', b'""'): "empty response",  # the first reason counts
    UnreadableRow("too long", "the beginning"): "too long",
}


def make_records():
    """Return odd rows among even ones: more than are read at once."""
    even = [json.dumps({"instruction": f"row {n}", "output": "x", "id": n, "task": "t"}).encode() for n in range(40)]
    texts = [text for odd in ODD for text in (*even, odd)]
    assert len(texts) > 3 * ROWS_AT_ONCE
    return [(2 * n + 1, text) for n, text in enumerate(texts)]


def read(blocks):
    """Return rows, skipped rows and remarks of a validator that reads these blocks."""
    validator = RowValidator(FIELDS)
    results = [validator.read_block(block) for block in blocks]
    rows, aside = (pa.Table.from_batches(batches).to_pylist() for batches in zip(*results, strict=True))
    return rows, aside, validator.notices(), list(validator.field_names), str(validator.fingerprint)


def test_a_row_is_read_alike_in_any_block():
    records = make_records()
    alone = read([[record] for record in records])
    assert read([records]) == alone
    assert read([records[:7], records[7:301], [], records[301:]]) == alone


def test_odd_rows_have_their_reason_and_place_and_leave_the_others_alone():
    records = make_records()
    rows, aside, *_ = read([records])
    expected = {line: ODD[text] for line, text in records if text in ODD}
    skipped = {row["line"]: row["reason"] for row in aside}
    assert [line for line, reason in expected.items() if reason] == [row["line"] for row in aside]
    assert all(skipped[line].startswith(reason) for line, reason in expected.items() if reason)
    assert [row["line"] for row in rows] == [line for line, _ in records if not expected.get(line)]
    even = [row for row in rows if row["line"] not in expected]
    assert [row["original"] for row in even] == [text.decode() for line, text in records if line not in expected]


def test_a_failing_step_skips_its_row_once():
    block = RowBlock([(5, b'{"n": 0}'), (6, b'{"n": 1}'), (9, b'{"n": 2}')])

    def refuse_odd(row):
        if row.get("n", 1) % 2:
            raise UnusableRow("odd" if row else "blank")
        return row["n"]

    assert block.read(refuse_odd, -1) == [0, -1, 2]
    assert block.read(refuse_odd, -1) == [0, -1, 2]  # the skipped row is {}
    assert block.skipped() == [(6, "odd", '{"n": 1}')]
    assert list(block.usable("abc")) == ["a", "c"]


def test_an_error_of_another_kind_is_not_taken_for_a_bad_row():
    with pytest.raises(ZeroDivisionError):
        RowBlock([(1, b"{}")]).read(lambda row: 1 / 0, None)
