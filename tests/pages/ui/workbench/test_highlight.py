"""The highlighted rows: each term against rows found by hand, and all terms together."""

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.selection.filters import Filter
from pages.ui.shell.contender import Contender
from pages.ui.shell.terms import Area, MapArea, Match, Rows, Search, Sets
from tests.pages.conftest import activation_coverage_run


def page(terms):
    import streamlit as st  # AppTest runs this function as a script of its own

    from pages.ui.data import live_selection
    from pages.ui.shell import state, visit
    from pages.ui.workbench import highlight

    visit.init()
    pool, run = state.need_pool(), state.need_run()
    live = live_selection.evaluate(pool, run, state.recipe(pool))
    st.session_state["result"] = highlight.evaluate(pool, run, live, terms)


@pytest.fixture
def evaluate(run):
    def run_page(*terms):
        at = AppTest.from_function(page, args=(terms,), default_timeout=60).run()
        assert not at.exception
        mask, failures = at.session_state["result"]
        return (None if mask is None else np.flatnonzero(mask).tolist()), failures

    return run_page


def test_nothing_is_highlighted_without_a_term(evaluate):
    assert evaluate() == (None, [])


def test_a_range_holds_the_rows_with_these_scores(evaluate, run):
    columns = run.load_columns(("entropy", "entropy_cal"))
    shift = columns["entropy"] - columns["entropy_cal"]
    expected = np.flatnonzero((shift >= -0.1) & (shift <= 0.2)).tolist()
    assert 0 < len(expected) < 240
    assert evaluate(Match(Filter("delta_entropy", low=-0.1, high=0.2))) == (expected, [])


def test_terms_are_anded_and_an_inverted_term_is_its_complement(evaluate):
    task, early = Match(Filter("task", values=("sums",))), Match(Filter("line", high=30))
    rows, _ = evaluate(task, early)
    assert rows == list(range(0, 30, 3))
    inverted, _ = evaluate(Match(task.filter, exclude=True), early)
    assert inverted == [row for row in range(30) if row % 3]


def test_a_search_looks_at_prompts_and_responses(evaluate):
    rows, _ = evaluate(Search("WHAT IS 7 "))
    assert rows == [7]
    rows, _ = evaluate(Search(" 14."))  # the response of row 7, and no prompt
    assert rows == [7]


def test_an_area_holds_the_rows_inside_its_outline(evaluate, run):
    columns = run.load_columns(("nll", "entropy"))
    nll, entropy = columns["nll"], columns["entropy"]
    square = ((1.0, 1.0), (2.0, 1.0), (2.0, 2.0), (1.0, 2.0))
    expected = np.flatnonzero((nll > 1) & (nll < 2) & (entropy > 1) & (entropy < 2)).tolist()
    assert expected
    assert evaluate(Area("nll", "entropy", square)) == (expected, [])


def test_rows_by_id(evaluate):
    assert evaluate(Rows(("row-3", "again", "no such row")))[0] == [3, 239]


def test_sets_hold_what_some_contenders_select_and_others_do_not(evaluate, run):
    random, own = Contender("random"), Contender("entropy_shift")
    both, only, neither = (evaluate(term)[0] for term in (Sets((random, own)), Sets((own,), (random,)), Sets((own,))))
    assert len(neither) == 24  # 10%
    assert sorted(both + only) == neither and not set(both) & set(only)


def test_a_column_of_another_method_is_found_in_its_run(evaluate, workspace, pool):
    run = activation_coverage_run(workspace, pool)
    cluster = run.load_columns(("activation_cluster",))["activation_cluster"]
    rows, failures = evaluate(Match(Filter("activation_cluster", low=1, high=1)))
    assert rows == np.flatnonzero(cluster == 1).tolist() and failures == []


def test_a_term_that_cannot_be_applied_is_reported_and_the_others_stay(evaluate):
    rows, failures = evaluate(Match(Filter("no_such_column", low=1)), Rows(("row-3",)))
    assert rows == [3] and len(failures) == 1 and "no such column ≥ 1" in failures[0]
    rows, failures = evaluate(MapArea("nowhere umap", ((0, 0), (1, 0), (0, 1))))
    assert rows is None and "not stored" in failures[0]
