"""Budgets, thresholds and pins on orders small enough to see."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import RecipeError
from core.schema import Order
from core.selection.budget import Budget, cumulative_tokens, prefix_length, threshold_length
from core.selection.selection import Pin, apply_pins, describe_shortfall, select_prefix

NONE = np.empty(0, np.int64)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("500", 500, "rows"),
        (" 1,500 ", 1500, "rows"),
        ("1_000_000 rows", 1_000_000, "rows"),
        ("0", 0, "rows"),
        ("10%", 10, "percent"),
        ("12.5 %", 12.5, "percent"),
        ("100%", 100, "percent"),
        ("200ktok", 200_000, "tokens"),
        ("1.5Mtok", 1_500_000, "tokens"),
        ("2000 tok", 2_000, "tokens"),
        ("214.567ktok", 214_567, "tokens"),
        ("3MTOK", 3_000_000, "tokens"),
    ],
)
def test_a_budget_is_parsed_as_written(text, amount, unit):
    assert Budget.parse(text) == Budget(amount, unit)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not valid"),
        ("ten", "is not valid"),
        ("-5", "is not valid"),
        ("10 %%", "is not valid"),
        ("1,5", "is not valid"),  # a comma groups thousands; 1,5 could mean 1.5
        ("5 GB", "is not valid"),
        ("nan", "is not valid"),
        ("0.5", "not a whole number.*write a percentage"),
        ("0.5tok", "not a whole number"),
        ("101%", "more than the whole pool"),
    ],
)
def test_an_impossible_budget_is_refused(text, reason):
    with pytest.raises(RecipeError, match=reason):
        Budget.parse(text)


def test_a_budget_made_by_code_is_checked_as_well():
    for amount, unit in [(-1, "rows"), (float("inf"), "tokens"), (float("nan"), "percent"), (3, "bytes")]:
        with pytest.raises(RecipeError):
            Budget(amount, unit)


@pytest.mark.parametrize(
    ("budget", "text"),
    [
        (Budget(500, "rows"), "500"),
        (Budget(10, "percent"), "10%"),
        (Budget(0.5, "percent"), "0.5%"),
        (Budget(200_000, "tokens"), "200ktok"),
        (Budget(1_500_000, "tokens"), "1.5Mtok"),
        (Budget(2_500, "tokens"), "2.5ktok"),
        (Budget(999, "tokens"), "999tok"),
        (Budget(1_234_567, "tokens"), "1234567tok"),
    ],
)
def test_a_budget_is_written_as_people_write_it(budget, text):
    assert str(budget) == text


@given(
    st.one_of(
        st.integers(0, 10**12).map(lambda n: Budget(n, "rows")),
        st.integers(0, 10**15).map(lambda n: Budget(n, "tokens")),
        st.floats(0, 100).map(lambda p: Budget(p, "percent")),
    )
)
def test_every_budget_survives_being_written_and_read(budget):
    assert Budget.parse(str(budget)) == budget


ORDER = ints(3, 0, 4, 1)  # row 2 is not eligible
TOKENS = ints(10, 40, 99, 30, 0)  # along the order: 30, 10, 0, 40


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("0", 0),
        ("3", 3),
        ("99", 4),
        ("0%", 0),
        ("39%", 1),  # 1.95 of five rows
        ("40%", 2),
        ("100%", 4),  # of five, four are eligible
        ("0tok", 0),
        ("29tok", 0),
        ("30tok", 1),
        ("39tok", 1),
        ("40tok", 3),  # 30 + 10 + 0: a row without tokens costs nothing
        ("79tok", 3),
        ("80tok", 4),
        ("1Mtok", 4),
    ],
)
def test_the_budget_allows_so_many_leading_rows(text, length):
    budget = Budget.parse(text)
    assert prefix_length(ORDER, budget, TOKENS, 5) == length
    assert prefix_length(ORDER, budget, TOKENS, 5, cumulative=cumulative_tokens(ORDER, TOKENS)) == length


def test_a_percentage_is_exact_despite_floating_point():
    assert 1000 * 32.3 / 100 < 323  # 322.99999999999994
    assert prefix_length(np.arange(1000), Budget.parse("32.3%"), np.ones(1000, int), 1000) == 323


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(0, 600), st.integers(0, 200))
def test_a_token_budget_is_never_exceeded_nor_left_unused(tokens, budget, more):
    response_tokens = np.array(tokens, np.int64)
    order = np.arange(len(tokens))[::-1]
    length = prefix_length(order, Budget(budget, "tokens"), response_tokens, len(tokens))
    assert response_tokens[order[:length]].sum() <= budget
    assert length == len(tokens) or response_tokens[order[: length + 1]].sum() > budget
    assert prefix_length(order, Budget(budget + more, "tokens"), response_tokens, len(tokens)) >= length


def test_a_threshold_cuts_where_the_score_stops_being_good_enough():
    values = np.float32([0.9, 0.1, np.nan, 0.5, 0.3])
    falling, rising = ints(0, 3, 4, 1), ints(1, 4, 3, 0)
    assert [threshold_length(falling, values, "high", t) for t in (1.0, 0.5, 0.4, -1)] == [0, 2, 2, 4]
    assert [threshold_length(rising, values, "low", t) for t in (0.0, 0.3, 0.45, 2)] == [0, 2, 2, 4]
    assert threshold_length(NONE, values, "low", 0.5) == 0


def test_an_order_around_the_median_has_no_threshold():
    with pytest.raises(RecipeError, match="Use a budget instead"):
        threshold_length(ORDER, np.zeros(5), "middle", 0.5)


def an_order() -> Order:
    return Order(ints(3, 0, 4, 1, 6), {"filtered out": ints(2), "no response": ints(5, 7)})


def test_pinned_rows_lead_the_order_as_listed_or_leave_it():
    pinned = apply_pins(an_order(), ints(4, 1), ints(0))
    assert pinned.rows.tolist() == [4, 1, 3, 6]
    assert {reason: rows.tolist() for reason, rows in pinned.excluded.items()} == {
        "filtered out": [2],
        "no response": [5, 7],
        "always excluded": [0],
    }


def test_a_pin_includes_a_row_that_the_method_excluded():
    pinned = apply_pins(an_order(), ints(2, 7), NONE)
    assert pinned.rows.tolist() == [2, 7, 3, 0, 4, 1, 6]
    assert {reason: rows.tolist() for reason, rows in pinned.excluded.items()} == {"no response": [5]}


def test_an_excluded_row_that_is_pinned_out_counts_as_pinned_out():
    pinned = apply_pins(an_order(), NONE, ints(5))
    assert pinned.rows.tolist() == an_order().rows.tolist()
    assert pinned.excluded["no response"].tolist() == [7]
    assert pinned.excluded["always excluded"].tolist() == [5]


def test_no_pins_change_nothing():
    pinned = apply_pins(an_order(), NONE, NONE)
    assert pinned.rows.tolist() == an_order().rows.tolist()
    assert set(pinned.excluded) == {"filtered out", "no response"}


def test_a_row_pinned_twice_is_selected_once():
    assert apply_pins(an_order(), ints(1, 4, 1), NONE).rows.tolist() == [1, 4, 3, 0, 6]


def test_a_row_cannot_be_pinned_both_ways():
    with pytest.raises(RecipeError, match="row number 4 is pinned in and out"):
        apply_pins(an_order(), ints(1, 4), ints(4))


def test_a_pin_is_in_or_out():
    assert Pin("a", "in").reason == ""
    with pytest.raises(RecipeError, match="row 'a' must be pinned in or out, not 'up'"):
        Pin("a", "up")


def test_pins_count_against_the_budget():
    order = apply_pins(Order(ints(3, 0, 4, 1)), ints(1), NONE)
    selection = select_prefix(order, Budget(2, "rows"), response_tokens=TOKENS, pool_id="p", n_pinned=1)
    assert selection.rows.tolist() == [1, 3]
    assert (selection.tokens, selection.n_pinned, selection.pool_id) == (70, 1, "p")


def test_pinned_rows_stay_even_beyond_the_budget_or_the_threshold():
    order = apply_pins(Order(ints(3, 0, 4, 1)), ints(1, 2), NONE)
    for budget, limit in [("1", None), ("50tok", None), ("0", None), ("4", 0)]:
        selection = select_prefix(
            order, Budget.parse(budget), response_tokens=TOKENS, pool_id="p", n_pinned=2, limit=limit
        )
        assert selection.rows.tolist() == [1, 2]


def test_the_threshold_and_the_budget_both_hold():
    order = Order(ORDER)
    lengths = [
        len(select_prefix(order, Budget(rows, "rows"), response_tokens=TOKENS, pool_id="p", limit=limit).rows)
        for rows, limit in [(3, 2), (2, 3), (3, None)]
    ]
    assert lengths == [2, 2, 3]


@given(st.permutations(range(12)), st.integers(0, 12), st.integers(0, 12), st.sets(st.integers(0, 11), max_size=4))
def test_selections_nest_as_the_budget_grows(rows, small, large, pinned):
    order = apply_pins(Order(np.array(rows)), np.array(sorted(pinned), np.int64), NONE)
    tokens = np.arange(12)
    one, other = (
        select_prefix(order, Budget(b, "rows"), response_tokens=tokens, pool_id="p", n_pinned=len(pinned)).rows.tolist()
        for b in sorted((small, large))
    )
    assert other[: len(one)] == one


NO_TOKENS = "has a response, so a budget in response tokens \\(200ktok\\) cannot be used. Give rows"


@pytest.mark.parametrize("order", [Order(ORDER), Order(NONE), apply_pins(Order(ORDER), ints(1), NONE)])
def test_a_budget_in_tokens_is_refused_for_a_pool_of_prompts(order):
    nothing = np.zeros(5, np.int64)
    with pytest.raises(RecipeError, match="^No row of this pool " + NO_TOKENS):
        select_prefix(order, Budget.parse("200ktok"), response_tokens=nothing, pool_id="p")
    with pytest.raises(RecipeError, match="No row of this pool"):  # even zero tokens would allow all of it
        select_prefix(
            order, Budget.parse("0tok"), response_tokens=nothing, pool_id="p", cumulative=nothing[: len(order.rows)]
        )
    for text in ("2", "40%"):
        selection = select_prefix(order, Budget.parse(text), response_tokens=nothing, pool_id="p")
        assert (len(selection.rows), selection.tokens) == (min(2, len(order.rows)), 0)


def test_a_budget_in_tokens_is_refused_if_a_filter_leaves_only_prompts():
    tokens = ints(0, 0, 99, 0, 0)
    with pytest.raises(RecipeError, match="^No eligible row " + NO_TOKENS):
        select_prefix(Order(ORDER), Budget.parse("200ktok"), response_tokens=tokens, pool_id="p")
    assert not len(select_prefix(Order(NONE), Budget.parse("200ktok"), response_tokens=tokens, pool_id="p").rows)
    one_answered = Order(ints(0, 2, 1))
    assert len(select_prefix(one_answered, Budget.parse("98tok"), response_tokens=tokens, pool_id="p").rows) == 1


def shortfall(order: Order, budget: str, **more) -> str | None:
    selection = select_prefix(order, Budget.parse(budget), response_tokens=TOKENS, pool_id="p", **more)
    return describe_shortfall(selection, Budget.parse(budget), len(TOKENS))


@pytest.mark.parametrize("budget", ["4", "80%", "0", "80tok", "75tok", "0tok"])
def test_a_budget_that_is_filled_needs_no_sentence(budget):
    assert shortfall(Order(ints(3, 0, 4, 1), {"filtered out": ints(2)}), budget) is None


@pytest.mark.parametrize(
    ("order", "budget", "sentence"),
    [
        (
            Order(ints(3, 0), {"filtered out": ints(1, 2, 4)}),
            "5",
            "2 of 5 rows: only 2 rows are eligible (3 filtered out).",
        ),
        (Order(ints(3), {"no response": ints(1)}), "60%", "1 of 3 rows: only 1 row is eligible (1 no response)."),
        (Order(NONE), "2", "0 of 2 rows: only 0 rows are eligible."),
    ],
)
def test_a_budget_that_cannot_be_filled_says_how_many_rows_are_eligible(order, budget, sentence):
    assert shortfall(order, budget) == sentence


def test_a_budget_in_tokens_is_not_filled_only_if_no_row_is_left():
    order = Order(ints(3, 0))
    tokens = int(TOKENS[[3, 0]].sum())
    assert (
        shortfall(order, f"{tokens + 500}tok")
        == f"{tokens} of {tokens + 500} response tokens: only 2 rows are eligible."
    )
    assert shortfall(order, f"{tokens - 1}tok") is None  # the next row is too long


def test_a_threshold_is_named_as_the_reason():
    assert shortfall(Order(ORDER), "4", limit=2) == "2 of 4 rows: only 2 rows are within the score limit."
    assert shortfall(Order(ORDER), "2", limit=2) is None
