"""A live selection equals that of the command line, and reuses the sorted order."""

import numpy as np
import pytest

from core.analysis.composition import RANDOM_SELECTIONS
from core.measurement.run_data import load_measured
from core.pool.pools import load_pool
from core.selection.recipe import make_selection, parse_recipe
from pages.ui.data import cached, live_selection

TAGGED = [{"column": "tag.keep", "values": ["1"]}]
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
    "tagged": {"filters": TAGGED, "tags": {"keep": ["row-3", "row-5", "row-8"]}, "budget": "2"},
    "pins": {"pins": [{"id": "row-7", "side": "in"}, {"id": "row-9", "side": "out"}]},
}


@pytest.fixture
def recipe(pool):
    plain = {"pool": {"source": pool.source}, "method": {"name": "entropy_shift"}}
    return lambda **more: parse_recipe(plain | more, "test")


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_a_change_gives_the_rows_of_the_command_line(pool, run, recipe, move):
    composition = recipe(**move)
    planned = make_selection(composition, pool, load_measured(run))
    live = live_selection.evaluate(pool, run, composition)
    np.testing.assert_array_equal(live.selection.rows, planned.rows)
    assert live.selection.tokens == planned.tokens == live.subset.response_tokens
    assert live.subset.rows == len(planned.rows)


def test_budget_threshold_and_pins_reuse_the_order(pool, run, recipe):
    first = live_selection.order(pool, run, recipe(budget="5%"))
    for move in ("rows", "tokens", "threshold", "pins"):
        assert live_selection.order(pool, run, recipe(**MOVES[move])) is first
    for move in ("wider band", "one task", "random"):
        assert live_selection.order(pool, run, recipe(**MOVES[move])) is not first


def test_other_rows_of_a_tag_are_another_order(pool, run, recipe):
    tagged = [
        live_selection.order(pool, run, recipe(filters=TAGGED, tags={"keep": ids})) for ids in (["row-3"], ["row-5"])
    ]
    assert [pool.rows["id"].take(order.rows).to_pylist() for order in tagged] == [["row-3"], ["row-5"]]
    keys = [live_selection.order_key(run, recipe(filters=TAGGED, tags={"keep": [id_], "b": []})) for id_ in "ab"]
    assert keys[0] != keys[1]
    first = live_selection.order(pool, run, recipe())
    assert live_selection.order(pool, run, recipe(tags={"keep": ["row-3"]})) is first  # no filter is by it


def test_the_cutoff_is_the_score_of_the_last_row_that_the_method_selected(pool, run, recipe):
    live = live_selection.evaluate(pool, run, recipe(budget="30", pins=MOVES["pins"]["pins"]))
    shift = cached.columns(run, live.method)["delta_entropy"]
    by_method = live.selection.rows[1:]  # the first is pinned in
    assert live.cutoff == shift[by_method[-1]] == shift[by_method].max()


def test_pinned_rows_alone_have_no_cutoff(pool, run, recipe):
    live = live_selection.evaluate(pool, run, recipe(budget="1", pins=[{"id": "row-7", "side": "in"}]))
    assert live.selection.rows.tolist() == [7]
    assert live.cutoff is None


def test_random_selections_have_the_same_size_and_eligible_rows(pool, run, recipe):
    filtered = live_selection.evaluate(pool, run, recipe(budget="20", filters=MOVES["one task"]["filters"]))
    band = live_selection.chance_band(pool, run, filtered.selection)
    assert band.rows.tolist() == [20] * RANDOM_SELECTIONS
    names, _ = cached.tasks(pool)
    assert (band.tasks[:, names.index("sums")] == 20).all()
    assert len({tuple(draw) for draw in band.lengths.tolist()}) > 1  # seeds differ


@pytest.mark.parametrize("budget", ["100%", "9ktok"])
def test_random_selections_obey_the_nll_band_and_the_pins(pool, run, recipe, budget):
    selection = live_selection.evaluate(pool, run, recipe(budget=budget, pins=MOVES["pins"]["pins"])).selection
    assert len(selection.order.rows) < 200  # 240, less 24 at each end of the band
    for rows in live_selection.random_orders(run, selection.order):
        assert sorted(rows.tolist()) == sorted(selection.order.rows.tolist())
    assert set(live_selection.chance_band(pool, run, selection).rows.tolist()) == {len(selection.rows)}


def test_the_composition_of_the_pool_counts_all_its_rows(pool, run):
    composition = live_selection.pool_composition(pool, run)
    assert composition.rows == len(pool) == composition.tasks.sum() == composition.lengths.sum()


def test_rows_are_found_by_their_ids(pool):
    assert live_selection.rows_with_ids(pool, {"row-3", "again", "never there"}).tolist() == [3, len(pool) - 1]
    assert not len(live_selection.rows_with_ids(pool, set()))


def test_planted_faults_are_masked_if_there_is_an_answer_key(workspace):
    demo = load_pool("demo", workspace=workspace.root)
    kinds = live_selection.fault_masks(demo)
    key = cached.answer_key(demo)
    assert {kind: int(mask.sum()) for kind, mask in kinds.items()} == {
        kind: sum(entry["fault"] == kind for entry in key.values()) for kind in kinds
    }
    assert sum(int(mask.sum()) for mask in kinds.values()) == len(key) > 0


def test_a_pool_without_an_answer_key_has_no_faults(pool):
    assert live_selection.fault_masks(pool) == {}
