"""Prefixes counted for many budgets at once: as each budget by itself selects them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.analysis.prefix_counts import count_prefixes, prefix_lengths
from core.schema import Measured
from core.selection.budget import Budget
from core.selection.recipe import find_limit, make_selection, parse_recipe
from tests.core.pool.pools import make_pool

ORDER = np.array([4, 0, 2, 5])  # rows 1 and 3 are not eligible
TOKENS = np.array([10, 99, 20, 99, 5, 40])
TASKS = np.array([0, 0, 1, 1, -1, 1])
N = 23


def test_a_length_for_each_budget():
    percent = [Budget(share, "percent") for share in (0, 16.6, 16.7, 50, 100)]
    assert prefix_lengths(ORDER, percent, TOKENS).tolist() == [0, 0, 1, 3, 4]
    tokens = [Budget(amount, "tokens") for amount in (4, 5, 14, 15, 35, 75)]
    assert prefix_lengths(ORDER, tokens, TOKENS).tolist() == [0, 1, 1, 2, 3, 4]


def test_pinned_rows_stay_and_a_limit_ends_the_order():
    rows = [Budget(amount, "rows") for amount in range(6)]
    assert prefix_lengths(ORDER, rows, TOKENS, n_pinned=2, limit=3).tolist() == [2, 2, 2, 3, 3, 3]


def test_rows_tokens_groups_and_the_last_row_of_each_prefix():
    counted = count_prefixes(ORDER, np.array([0, 1, 3, 3, 4]), TOKENS, {"task": (TASKS, 2)}, n_pinned=1)
    assert counted.rows.tolist() == [0, 1, 3, 3, 4]
    assert counted.tokens.tolist() == [0, 5, 35, 35, 75]
    assert counted.last.tolist() == [-1, -1, 2, 2, 5]
    assert counted.groups["task"].tolist() == [[0, 0], [0, 0], [1, 1], [1, 1], [1, 2]]


def test_an_order_without_rows_has_empty_prefixes():
    none = np.empty(0, np.int64)
    lengths = prefix_lengths(none, [Budget(0, "percent"), Budget(100, "percent")], TOKENS)
    counted = count_prefixes(none, lengths, TOKENS, {"task": (TASKS, 2)})
    assert (counted.rows.tolist(), counted.last.tolist()) == ([0, 0], [-1, -1])
    assert counted.groups["task"].tolist() == [[0, 0], [0, 0]]


@pytest.fixture(scope="module")
def pool():
    words = np.random.default_rng(1).integers(1, 9, N)
    return make_pool(
        [{"instruction": f"Question {i}?", "output": "word " * int(words[i]), "task": "abc"[i % 3]} for i in range(N)]
    )


@pytest.fixture(scope="module")
def measured(pool):
    tokens = np.random.default_rng(2).integers(1, 30, N)
    counts = dict.fromkeys(("prompt_tokens", "prompt_cut", "response_cut"), np.zeros(N, np.int64))
    return Measured(pool.fingerprint, counts | {"response_tokens": tokens, "truncated": np.zeros(N, bool)})


units = st.sampled_from(["percent", "rows", "tokens"])
pins = st.dictionaries(st.integers(0, N - 1), st.sampled_from(["in", "out"]), max_size=6)
thresholds = st.none() | st.integers(0, 31)


@settings(max_examples=40, deadline=None)
@given(units, st.sampled_from(["longest", "random"]), pins, thresholds, st.booleans(), st.integers(0, 3))
def test_each_prefix_is_the_selection_of_its_budget(pool, measured, unit, method, pinned, threshold, filtered, seed):
    ids, tokens, codes = pool.rows["id"].to_pylist(), measured.need("response_tokens"), np.arange(N) % 3
    recipe = parse_recipe(
        {
            "pool": {"source": "p.jsonl"},
            "method": {"name": method},
            "seed": seed,
            "pins": [{"id": ids[i], "side": side} for i, side in pinned.items()],
            "filters": [{"column": "task", "values": ["a", "b"]}] if filtered else [],
            "threshold": threshold if method == "longest" else None,
        },
        "test",
    )
    amounts = {"percent": range(0, 101, 3), "rows": range(N + 1), "tokens": range(0, 400, 7)}[unit]
    budgets = [Budget(amount, unit) for amount in amounts]
    selections = [make_selection(recipe.model_copy(update={"budget": str(one)}), pool, measured) for one in budgets]
    first = selections[0]
    limit = find_limit(recipe, measured, recipe.method.build(), first.order, first.n_pinned)
    lengths = prefix_lengths(first.order.rows, budgets, tokens, n_pinned=first.n_pinned, limit=limit)
    counted = count_prefixes(first.order.rows, lengths, tokens, {"task": (codes, 3)}, n_pinned=first.n_pinned)
    for i, selection in enumerate(selections):
        by_method = selection.rows[selection.n_pinned :]
        assert counted.rows[i] == len(selection.rows)
        assert counted.tokens[i] == selection.tokens
        assert counted.last[i] == (by_method[-1] if len(by_method) else -1)
        assert counted.groups["task"][i].tolist() == np.bincount(codes[selection.rows], minlength=3).tolist()
