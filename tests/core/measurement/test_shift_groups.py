"""Groups of rows by a label: which rows are in one, and what is refused before anything is measured."""

import json

import numpy as np
import pytest

from core.errors import MethodError
from core.measurement.shift_groups import find_groups, group_pool, shorten
from core.methods import build_method
from core.pool.pools import load_pool


@pytest.fixture
def open_rows(tmp_path):
    def load(rows, **options):
        file = tmp_path / "pool.jsonl"
        lines = [{"instruction": f"say {i}", "output": f"it is {i}"} | row for i, row in enumerate(rows)]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return load_pool(str(file), workspace=tmp_path, **options)

    return load


def find(pool, **params):
    return find_groups(pool, build_method("entropy_shift", {"per": "task"} | params))


def test_groups_are_the_labels_most_rows_first(open_rows):
    groups = group_pool(open_rows([{"task": task} for task in "abcbbc"]), "task")
    assert groups.names == ("b", "c", "a")
    assert groups.codes.tolist() == [2, 0, 1, 0, 0, 1]
    assert [rows.tolist() for rows in groups.rows] == [[1, 3, 4], [2, 5], [0]]


def test_any_field_makes_groups_nested_ones_too(open_rows):
    rows = [{"metadata": {"source": name}} for name in ("web", "book", "web")]
    pool = open_rows(rows)
    assert group_pool(pool, "metadata.source").names == ("web", "book")
    assert group_pool(pool, "metadata.source").codes.tolist() == [0, 1, 0]


def test_numbers_are_labels_and_what_is_no_label_is_in_no_group(open_rows):
    labels = [1, "1", True, 2.5, " ", None, ["a"], {"b": 1}]
    groups = group_pool(open_rows([{"kind": label} for label in labels]), "kind")
    assert groups.names == ("1", "true", "2.5")
    assert groups.codes.tolist() == [0, 0, 1, 2, -1, -1, -1, -1]


def test_a_field_without_labels_is_refused_with_the_fields_there_are(open_rows):
    pool = open_rows([{"origin": {"site": "x"}}] * 3)
    with pytest.raises(MethodError, match=r"per=source: no row has a label in the field 'source'.*origin\.site"):
        group_pool(pool, "source")
    with pytest.raises(MethodError, match="per=task: this pool has no task labels"):
        group_pool(pool, "task")


def test_a_group_too_small_for_a_warm_up_is_named_with_what_to_do(open_rows):
    pool = open_rows([{"task": "a" if i < 80 else "b"} for i in range(159)])  # 80 and 79
    with pytest.raises(MethodError, match=r"group 'b' \(79 responses\) is too small.*needs 80 responses.*min_group=80"):
        find(pool)
    groups, left_out = find(pool, alpha=0.2)
    assert (groups.names, left_out) == (("a", "b"), 0)
    groups, left_out = find(pool, min_group=80)
    assert (groups.names, left_out) == (("a",), 79)
    assert groups.codes.tolist() == [0] * 80 + [-1] * 79


def test_leaving_out_groups_keeps_the_numbers_of_the_others_in_order(open_rows):
    pool = open_rows([{"task": "abc"[(i > 0) + (i > 20)]} for i in range(60)])  # a 1, b 20, c 39
    groups, left_out = find(pool, alpha=1, min_group=10)
    assert (groups.names, left_out) == (("c", "b"), 1)
    assert np.bincount(groups.codes + 1).tolist() == [1, 39, 20]


def test_more_groups_than_one_would_train_are_refused_with_the_cost(open_rows):
    pool = open_rows([{"task": f"t{i // 8}"} for i in range(8 * 65)])
    with pytest.raises(MethodError, match="makes 65 groups: each needs a warm-up training and a stored model"):
        find(pool, alpha=1)


def test_no_group_is_left_to_calibrate(open_rows):
    with pytest.raises(MethodError, match="no group has min_group=50 responses"):
        find(open_rows([{"task": "a"}] * 9), min_group=50)


def test_a_long_label_is_cut_to_one_line():
    assert shorten("a\nb") == "a b"
    assert len(shorten("x" * 99)) == 40
