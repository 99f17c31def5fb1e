"""What a slider is answered is what the command line would write; and it comes from what was sorted before."""

import numpy as np
import pytest

from core.measurement.run_data import load_measured
from core.pool.pools import load_pool
from core.selection.recipe import make_selection, parse_recipe
from pages.ui.data import cached, live_selection

MOVES = {
    "as it is": {},
    "rows": {"budget": "17"},
    "tokens": {"budget": "300tok"},
    "everything": {"budget": "100%"},
    "nothing": {"budget": "0"},
    "wider band": {"method": {"name": "entropy_shift", "params": {"gamma": 0.02}}},
    "highest": {"method": {"name": "entropy_shift", "params": {"pick": "highest"}}},
    "middle": {"method": {"name": "entropy_shift", "params": {"pick": "middle"}}},
    "random": {"method": {"name": "random"}, "seed": 3},
    "longest": {"method": {"name": "longest"}},
    "threshold": {"budget": "100%", "threshold": -0.1},
    "one task": {"filters": [{"column": "task", "values": ["sums"]}], "budget": "50%"},
    "each once": {"filters": [{"column": "duplicate_of", "low": 0, "exclude": True}]},
    "pins": {"pins": [{"id": "row-7", "side": "in"}, {"id": "row-9", "side": "out"}]},
}


@pytest.fixture
def recipe(pool):
    plain = {"pool": {"source": pool.source}, "method": {"name": "entropy_shift"}}
    return lambda **more: parse_recipe(plain | more, "test")


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_a_move_gives_what_the_command_line_gives(pool, run, recipe, move):
    made = recipe(**move)
    planned = make_selection(made, pool, load_measured(run))
    answer = live_selection.evaluate(pool, run, made)
    np.testing.assert_array_equal(answer.selection.rows, planned.rows)
    assert answer.selection.tokens == planned.tokens == answer.subset.response_tokens
    assert answer.subset.rows == len(planned.rows)


def test_budget_threshold_and_pins_ask_the_same_order_again(pool, run, recipe):
    first = live_selection.order(pool, run, recipe(budget="5%"))
    for move in ("rows", "tokens", "threshold", "pins"):
        assert live_selection.order(pool, run, recipe(**MOVES[move])) is first
    for move in ("wider band", "one task", "random"):
        assert live_selection.order(pool, run, recipe(**MOVES[move])) is not first


def test_the_cut_is_the_score_of_the_last_row_that_the_method_took(pool, run, recipe):
    answer = live_selection.evaluate(pool, run, recipe(budget="30", pins=MOVES["pins"]["pins"]))
    shift = cached.columns(run, answer.method)["delta_entropy"]
    by_method = answer.selection.rows[1:]  # the first is pinned in
    assert answer.cutoff == shift[by_method[-1]] == shift[by_method].max()


def test_pinned_rows_alone_make_no_cut(pool, run, recipe):
    answer = live_selection.evaluate(pool, run, recipe(budget="1", pins=[{"id": "row-7", "side": "in"}]))
    assert answer.selection.rows.tolist() == [7]
    assert answer.cutoff is None


def test_chance_has_the_same_budget_and_the_same_rows_to_choose_from(pool, run, recipe):
    made = recipe(budget="20", filters=MOVES["one task"]["filters"])
    band = live_selection.chance_band(pool, run, made, live_selection.Budget.parse(made.budget))
    assert band.rows.tolist() == [20] * live_selection.RANDOM_SELECTIONS
    names, _ = cached.tasks(pool)
    assert (band.tasks[:, names.index("sums")] == 20).all()
    assert len({tuple(draw) for draw in band.lengths.tolist()}) > 1  # seeds differ


def test_the_pool_is_made_of_all_its_rows(pool, run):
    whole = live_selection.pool_composition(pool, run)
    assert whole.rows == len(pool) == whole.tasks.sum() == whole.lengths.sum()


def test_rows_are_found_by_their_ids(pool):
    assert live_selection.rows_with_ids(pool, {"row-3", "again", "never there"}).tolist() == [3, len(pool) - 1]
    assert not len(live_selection.rows_with_ids(pool, set()))


def test_planted_faults_are_followed_where_there_is_a_key(workspace):
    demo = load_pool("demo", workspace=workspace.root)
    kinds = live_selection.fault_masks(demo)
    key = cached.answer_key(demo)
    assert {kind: int(mask.sum()) for kind, mask in kinds.items()} == {
        kind: sum(entry["fault"] == kind for entry in key.values()) for kind in kinds
    }
    assert sum(int(mask.sum()) for mask in kinds.values()) == len(key) > 0


def test_a_pool_without_a_key_has_no_known_faults(pool):
    assert live_selection.fault_masks(pool) == {}
