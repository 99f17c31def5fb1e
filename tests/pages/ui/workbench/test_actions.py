"""What is done with the highlighted rows, and that it is done to exactly these rows. The pool has 240 rows."""

from dataclasses import replace

import numpy as np
import pytest

from core.selection.filters import Filter, duplicates_filter
from core.selection.selection import Pin
from pages.ui.shell import state
from pages.ui.shell.open_row import OPEN
from pages.ui.shell.terms import Area, Match, Rows, Search
from pages.ui.workbench import actions
from tests.pages.conftest import activation_coverage_run

SUMS, EARLY = Match(Filter("task", values=("sums",))), Match(Filter("line", high=30))
NLL = Match(Filter("nll", high=1.5))
SQUARE = Area("nll", "entropy", ((1.0, 1.0), (2.0, 1.0), (2.0, 2.0), (1.0, 2.0)))
TERMS = [
    (SUMS,),
    (replace(SUMS, exclude=True),),
    (Match(replace(SUMS.filter, exclude=True), exclude=True),),
    (SUMS, EARLY),
    (replace(SUMS, exclude=True), EARLY),
    (NLL,),
    (Match(duplicates_filter("duplicate_of")),),
    (Search("is 7 "),),
    (SQUARE, SUMS),
    (Rows(("row-3", "row-4")),),
    (replace(Rows(("row-3", "row-4")), exclude=True),),
]


@pytest.fixture
def page(run, app):
    at = app("select")
    at.slider(key="select.entropy_shift.gamma").set_value(0.0).run()  # every row is eligible
    at.number_input(key="select.exact.percent").set_value(100.0).run()
    return at


def now(at):
    return at.session_state[state.SETTINGS]


def highlight(at, *terms):
    at.session_state[state.SETTINGS] = replace(now(at), highlight=terms)
    at.session_state["highlight.actions"] = True
    at.run()
    assert not at.exception
    return len(lit(at))


def lit(at):
    """Return the ids of the highlighted rows, as the table lists them."""
    at.get_by_key("select.view").set_value("Highlighted").run()
    return listed(at)


def listed(at):
    tables = [one.value["Id"].tolist() for one in at.dataframe if "Id" in one.value]
    return {row for rows in tables for row in rows}


def selected(at):
    """Return how many rows are selected: at 100% all that are eligible."""
    return int(at.subheader[0].value.split()[0])


def press(at, key):
    at.button(key=key).click().run()
    assert not at.exception


def badge(at):
    return next(one.value for one in at.markdown if "highlighted" in one.value)


@pytest.mark.parametrize("terms", TERMS, ids=str)
@pytest.mark.parametrize("exclude", [False, True], ids=["keep", "exclude"])
def test_a_filter_lets_pass_exactly_the_highlighted_rows_or_exactly_the_others(page, terms, exclude):
    highlight(page, *terms)
    count = int(badge(page).split("material/highlight:")[1].split()[0])
    assert 0 < count < 240
    press(page, f"highlight.filter.{exclude}")
    assert selected(page) == (240 - count if exclude else count)
    assert f"highlighted, {0 if exclude else count} selected" in badge(page)
    press(page, "select.undo")
    assert selected(page) == 240 and now(page).highlight == terms  # undo leaves the highlight alone


def test_definitions_become_filters_where_they_mean_the_same(page, workspace, pool):
    highlight(page, SUMS, EARLY)
    press(page, "highlight.filter.False")
    assert now(page).filters == (SUMS.filter, EARLY.filter)
    press(page, "select.undo")
    press(page, "highlight.filter.True")
    ((ids),) = now(page).filters
    assert ids.column == "id" and len(ids.values) == 10 and ids.exclude


def test_a_score_of_another_method_becomes_a_list_of_rows(page, workspace, pool):
    activation_coverage_run(workspace, pool)
    highlight(page, Match(Filter("coverage_gain", low=1)))
    press(page, "highlight.filter.False")
    (ids,) = now(page).filters
    assert ids.column == "id" and selected(page) == len(ids.values)


def test_the_gains_of_a_new_order_are_never_taken_for_the_measured_ones(run, coverage_run, app):
    at = app("select")
    at.selectbox(key="select.method").set_value("activation_coverage").run()
    at.pills(key="select.task").set_value(["sums"]).run()  # the gains are computed anew for these rows
    at.number_input(key="select.exact.percent").set_value(100.0).run()
    highlight(at, Match(Filter("coverage_gain", low=1)))
    count = int(badge(at).split("material/highlight:")[1].split()[0])
    press(at, "highlight.filter.False")
    assert now(at).filters[-1].column == "id" and len(now(at).filters[-1].values) == count


def test_rows_are_pinned_together_with_a_reason_and_undo_says_how_many(page):
    highlight(page, SUMS, EARLY)
    page.text_input(key="highlight.reason").set_value("read").run()
    press(page, "highlight.pin.out")
    assert now(page).pins == tuple(Pin(f"row-{i}", "out", "read") for i in range(0, 30, 3))
    assert selected(page) == 230
    assert page.button(key="select.undo").label == "Undo: always exclude 10 rows"
    press(page, "highlight.pin.in")
    assert {pin.side for pin in now(page).pins} == {"in"} and selected(page) == 240
    press(page, "select.undo")
    press(page, "select.undo")
    assert now(page).pins == ()


def test_too_many_rows_for_a_list_are_said_and_cannot_be_pinned(page, monkeypatch):
    monkeypatch.setattr(actions, "MAX_BY_HAND", 10)
    highlight(page, Search("so"))
    disabled = {one.key: one.disabled for one in page.button if (one.key or "").startswith("highlight.")}
    for name in ("filter.False", "filter.True", "pin.in", "pin.out"):
        assert disabled[f"highlight.{name}"]
    assert "At most 10 rows can be pinned or listed in a filter at once." in [one.value for one in page.caption]
    highlight(page, SUMS)  # a filter by its definition needs no list
    disabled = {one.key: one.disabled for one in page.button if (one.key or "").startswith("highlight.")}
    assert disabled["highlight.pin.in"] and not disabled["highlight.filter.False"]


def test_nothing_can_be_done_with_no_rows(page):
    highlight(page, Search("no row says this"))
    assert badge(page).endswith("0 rows highlighted, 0 selected]")
    assert all(one.disabled for one in page.button if one.key in ("highlight.read", "highlight.filter.False"))
    assert not [one for one in page.button if one.key == "highlight.write"]


def test_highlighted_rows_are_written_as_they_are_in_the_pool(page, pool, workspace):
    highlight(page, SUMS, EARLY)
    press(page, "highlight.write")
    (file,) = workspace.root.glob("exports/*/highlighted-*.jsonl")
    lines = file.read_text().splitlines()
    assert lines == [pool.rows["original"][i].as_py() for i in range(0, 30, 3)]
    links = [one.proto.label for one in page.get("link_button")]
    assert "Download 10 rows (JSONL)" in links and not [one for one in page.button if one.key == "highlight.write"]
    highlight(page, SUMS)  # other rows, another file
    assert [one for one in page.button if one.key == "highlight.write"]


def test_read_opens_the_first_highlighted_row(page):
    highlight(page, EARLY, SUMS)
    press(page, "highlight.read")
    opened = page.session_state[OPEN]
    assert opened.id == "row-0"
    assert np.array_equal(opened.rows, np.arange(0, 30, 3))


def test_an_emptied_search_is_a_highlight_no_more(page):
    page.text_input(key="highlight.search").set_value("is 7 ").run()
    assert now(page).highlight == (Search("is 7"),)
    page.text_input(key="highlight.search").set_value("").run()
    assert now(page).highlight == ()
