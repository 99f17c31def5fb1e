"""Scores that another tool stored in the rows."""

import json

import numpy as np
import pytest

from core.errors import MethodError
from core.measurement.imported import numeric_fields, read_numbers
from core.measurement.lookup import find_run, signals_of
from core.measurement.measure import measure
from core.measurement.run_data import load_measured
from core.methods import build_method
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Measured, Reading
from tests.core.pool.pools import make_pool

ROWS = [
    {"instruction": "a", "output": "x", "ifd_ppl": 0.5, "metadata": {"score": 3}, "odd.name": 1},
    {"instruction": "b", "output": "x", "ifd_ppl": "0.25", "metadata": {"score": "high"}, "flag": True},
    {"instruction": "c", "output": "x", "ifd_ppl": None, "metadata": None, "big": "1e999"},
    {"instruction": "d", "output": "x", "ifd_ppl": "nan", "metadata": {"score": -1}},
]


@pytest.fixture
def pool():
    return make_pool(ROWS)


def test_numbers_are_read_and_everything_else_is_missing(pool):
    np.testing.assert_array_equal(read_numbers(pool, "ifd_ppl"), [0.5, 0.25, np.nan, np.nan])


def test_a_dot_reaches_into_a_nested_field_unless_it_is_part_of_a_name(pool):
    np.testing.assert_array_equal(read_numbers(pool, "metadata.score"), [3, np.nan, np.nan, -1])
    np.testing.assert_array_equal(read_numbers(pool, "odd.name"), [1, np.nan, np.nan, np.nan])


@pytest.mark.parametrize("field", ["flag", "big", "instruction", "nowhere", "metadata.none"])
def test_without_numbers_the_error_lists_the_fields_that_have_some(pool, field):
    with pytest.raises(MethodError, match=rf"'{field}'.*ifd_ppl, metadata\.score"):
        read_numbers(pool, field)


def test_without_a_field_the_error_asks_for_one(pool):
    with pytest.raises(MethodError, match=r"Give the field.*ifd_ppl"):
        read_numbers(pool, "")
    with pytest.raises(MethodError, match="Its fields with numbers: none"):
        read_numbers(make_pool([{"instruction": "a", "output": "b"}]), "quality")


def test_fields_with_numbers_are_listed_with_their_counts(pool):
    assert numeric_fields(pool) == {"ifd_ppl": 2, "metadata.score": 2, "odd.name": 1}


@pytest.mark.parametrize(("end", "rows"), [("high", [2, 0, 1]), ("low", [1, 0, 2]), ("middle", [0, 1, 2])])
def test_either_end_or_the_middle_comes_first(end, rows):
    table = Measured("x", {"imported": np.array([0.5, 0.1, 0.9, np.nan]), "response_tokens": np.full(4, 5)})
    order = build_method("imported", {"field": "f", "end": end}).order(table, np.ones(4, bool), seed=0)
    assert order.rows.tolist() == rows
    assert order.excluded["not measured"].tolist() == [3]


def test_it_is_measured_without_a_model_pass_and_found_by_its_field(tmp_path, tiny_model_dir, workspace):
    file = tmp_path / "pool.jsonl"
    rows = [{"instruction": f"q {i}", "output": "a", "deita_score": i} for i in range(9)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool, reading = load_pool(str(file), workspace=workspace.root), Reading(str(tiny_model_dir), max_length=128)
    method = build_method("imported", {"field": "deita_score"})
    run = measure(pool, method, reading, workspace, report=SilentReporter())
    assert load_measured(run).columns["imported"].tolist() == list(range(9))
    assert signals_of(run) == ("tokens", "imported")
    assert "device" not in run.summary
    low = build_method("imported", {"field": "deita_score", "end": "low"})
    assert find_run(workspace, pool, low, reading, 0).id == run.id
    assert find_run(workspace, pool, build_method("imported", {"field": "output"}), reading, 0) is None
    with pytest.raises(MethodError, match="deita_score"):
        measure(pool, build_method("imported", {"field": "ifd"}), reading, workspace, report=SilentReporter())
