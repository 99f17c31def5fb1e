"""Rows used already count in budgets and for duplicates, by hand, and are never selected again."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from core.columns import USUAL_NEAR_DUPLICATES
from core.errors import RecipeError
from core.schema import Measured
from core.selection.budget import Budget, Spent, allowed_amount
from core.selection.recipe import dump_recipe, load_recipe, make_selection, parse_recipe
from core.selection.selection import describe_shortfall
from core.selection.used_rows import REPEATS, USED, find_repeats
from tests.core.pool.pools import make_pool

LENGTHS = np.array([5, 50, 20, 40, 10, 30])  # of r0 to r5; longest first: 1 3 5 2 4 0
NEAR = USUAL_NEAR_DUPLICATES


@pytest.fixture
def pool():
    return make_pool([{"instruction": f"Question {i}?", "output": "word " * int(n)} for i, n in enumerate(LENGTHS)])


def measure(pool, near=(-1,) * 6) -> Measured:
    counts = {"prompt_tokens": np.full(6, 3), "response_tokens": LENGTHS}
    counts |= dict.fromkeys(("prompt_cut", "response_cut"), np.zeros(6, np.int64)) | {"truncated": np.zeros(6, bool)}
    return Measured(pool.fingerprint, counts, {"duplicates": {NEAR: np.array(near)}})


def recipe(given, **changes):
    base = {"pool": {"source": "p.jsonl"}, "method": {"name": "longest"}, "given": given}
    return parse_recipe(base | changes, "test")


def select(pool, given, near=(-1,) * 6, **changes):
    return make_selection(recipe(given, **changes), pool, measure(pool, near))


def test_a_budget_in_any_unit_counts_them(pool):
    assert select(pool, ["r1"], budget="3").rows.tolist() == [3, 5]
    assert select(pool, ["r1"], budget="50%").rows.tolist() == [3, 5]
    assert select(pool, ["r4"], budget="100tok").rows.tolist() == [1, 3]  # 10 + 50 + 40
    assert select(pool, ["r4"], budget="99tok").rows.tolist() == [1]


def test_what_is_spent_is_never_below_nothing():
    assert (
        allowed_amount(Budget.parse("3"), 10, Spent(5, 900)) == allowed_amount(Budget.parse("30%"), 10, Spent(5)) == 0
    )
    assert allowed_amount(Budget.parse("900tok"), 10, Spent(5, 300)) == 600


def test_they_are_excluded_for_that_reason_even_if_a_filter_excludes_them_too(pool):
    short = [{"column": "response_tokens", "high": 35}]
    selection = select(pool, ["r1", "r5"], budget="6", filters=short)
    assert selection.rows.tolist() == [2, 4, 0]
    assert {k: v.tolist() for k, v in selection.order.excluded.items()} == {USED: [1, 5], "filtered out": [3]}


def test_a_budget_that_they_fill_is_one_sentence(pool):
    selection = select(pool, ["r1", "r3"], budget="2")
    assert not len(selection.rows)
    words = describe_shortfall(selection, Budget.parse("2"), 6)
    assert words == "The 2 rows used already fill the budget of 2. Raise it to select more rows."
    assert describe_shortfall(select(pool, ["r1"], budget="2"), Budget.parse("2"), 6) is None


def test_a_pin_on_one_of_them_has_no_effect(pool):
    pins = [{"id": "r1", "side": "in"}, {"id": "r3", "side": "out"}, {"id": "r0", "side": "in"}]
    selection = select(pool, ["r1", "r3"], budget="4", pins=pins)
    assert (selection.rows.tolist(), selection.n_pinned) == ([0, 5], 1)
    assert selection.order.excluded[USED].tolist() == [1, 3]


def test_an_exact_repeat_is_never_eligible_and_a_near_one_only_where_a_filter_keeps_one_of_each():
    pool = make_pool([{"instruction": f"Question {i % 3}?", "output": "word"} for i in range(6)])
    first = pa.array([None, None, None, 0, 1, 2])
    pool = replace(pool, rows=pool.rows.set_column(pool.rows.column_names.index("duplicate_of"), "duplicate_of", first))
    assert select(pool, ["r3"], budget="100%").order.excluded[REPEATS].tolist() == [0]
    pool, near = (
        make_pool([{"instruction": f"Question {i}?", "output": "word"} for i in range(6)]),
        (-1, 0, 0, -1, 3, -1),
    )
    assert REPEATS not in select(pool, ["r2"], near, budget="100%").order.excluded
    once = [{"column": NEAR, "low": 0, "exclude": True}]
    selection = select(pool, ["r2"], near, budget="100%", filters=once)
    assert selection.order.excluded[REPEATS].tolist() == [0, 1]
    assert sorted(selection.rows.tolist()) == [3, 5]


def test_repeats_are_found_in_columns_with_missing_values():
    columns = [np.array([np.nan, 0, np.nan, 2, 0]), np.array([-1, -1, 1, -1, -1])]
    assert find_repeats(np.array([1]), columns, 5).tolist() == [0, 2, 4]
    assert find_repeats(np.array([0, 1]), columns[:1], 5).tolist() == [4]


def test_an_unknown_row_is_refused(pool):
    with pytest.raises(RecipeError, match=r"given has 1 id that hand.jsonl does not have, first 'x'"):
        select(pool, ["r0", "x"])


def test_a_recipe_keeps_them_and_one_without_them_has_no_such_field(tmp_path):
    dump_recipe(recipe(["r1", "r3"]), tmp_path / "r.yaml")
    assert load_recipe(tmp_path / "r.yaml").given == ["r1", "r3"]
    assert "given" not in json.dumps(recipe([]).as_data())
