"""Saved selections: they load unchanged, in every tab, by a link, and after a restart."""

from dataclasses import asdict

import orjson
import psutil
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from core.errors import RecipeError
from core.selection.filters import Filter
from core.selection.selection import Pin
from pages.ui.data import cached
from pages.ui.shell import state
from pages.ui.shell.state import Settings
from tests.pages.conftest import ROOT


@pytest.fixture
def page(run, app):
    at = app("select")
    assert not at.exception
    return at


def rerun_with_list_open(at):
    """Run the page again with the list open: AppTest does not send back that a popover is."""
    at.session_state["saved.panel"] = True
    at.run()
    assert not at.exception
    return at


def press(at, key):
    at.session_state["saved.panel"] = True
    at.button(key=key).click().run()
    assert not at.exception
    return rerun_with_list_open(at)


def save(at, name):
    rerun_with_list_open(at)
    at.session_state["saved.panel"] = True
    at.text_input(key="saved.name").set_value(name)
    return press(at, "saved.save")


def budget(at, percent):
    at.number_input(key="select.exact.percent").set_value(percent).run()
    assert not at.exception
    return at


def title(at):
    return at.subheader[0].value


def texts(at):
    return "\n".join(str(one.value) for one in [*at.caption, *at.error, *at.warning]).replace("\\", "")


def test_a_saved_selection_loads_unchanged_as_one_step_of_undo(page, pool):
    page.text_input(key="select.contains").set_value("1").run()
    save(page, "a few")
    before = page.session_state[state.SETTINGS]
    budget(page, 50.0)
    page.text_input(key="select.contains").set_value("2").run()
    changed = page.session_state[state.SETTINGS]
    press(rerun_with_list_open(page), "saved.a few.load")
    assert page.session_state[state.SETTINGS] == before == state.saved_selections(pool)["a few"]
    page.button(key="select.undo").click().run()
    assert page.session_state[state.SETTINGS] == changed


def test_every_field_of_the_settings_survives_the_file(page, pool):
    full = Settings(
        method="longest",
        params={"entropy_shift": {"gamma": 0.2}},
        seed=3,
        budget="200ktok",
        threshold=1.5,
        filters=(
            Filter("nll", low=1, high=2, exclude=True),
            Filter("task", values=("a", None)),
            Filter("p", matches="x"),
        ),
        pins=(Pin("row-3", "out", "wrong"),),
        also=("random",),
    )
    page.session_state[state.SETTINGS] = full
    save(page, "full")
    assert asdict(state.saved_selections(pool)["full"]) == asdict(full)


def test_workers_are_no_part_of_a_selection(page, pool, monkeypatch):
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda _: [0, 1])
    save(page, "mine")
    page.switch_page("pages/measure.py").run()
    page.number_input(key="form.workers").set_value(2).run()
    assert page.query_params["saved"] == "mine"  # still the current settings
    page.switch_page("pages/select.py").run()
    budget(page, 50.0)
    press(rerun_with_list_open(page), "saved.mine.load")
    assert page.session_state[state.SETTINGS].workers == "2"
    assert state.saved_selections(pool)["mine"].workers == "local"


def test_another_tab_sees_it_at_once_even_after_a_restart(page, app):
    other = app("select")
    save(page, "mine")
    assert "saved.mine.load" in {b.key for b in rerun_with_list_open(other).button}
    assert "saved.mine.load" in {b.key for b in rerun_with_list_open(app("select")).button}


def test_a_line_shows_its_rows_and_how_many_are_selected_now(page):
    save(page, "small")
    assert "24 rows, the current selection" in texts(page)
    rerun_with_list_open(budget(page, 50.0))
    assert "24 rows, 24 of them in the current selection" in texts(page)


def test_a_link_opens_exactly_the_saved_selection(page, pool):
    budget(page, 35.0)
    save(page, "of 35 %")
    assert page.query_params["saved"] == "of 35 %"
    budget(page, 5.0)
    assert "saved" not in page.query_params  # the settings no longer match
    link = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    link.query_params["pool"] = pool.fingerprint[:12]
    link.query_params["saved"] = "of 35 %"
    link.run()
    link.switch_page("pages/select.py").run()
    assert title(link) == "84 of 240 rows are selected (35.0%)."


def test_a_link_to_a_deleted_selection_shows_a_notice(run, pool):
    link = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    link.query_params["saved"] = "gone"
    link.run()
    assert not link.exception
    assert "This pool has no saved selection named 'gone'" in texts(link)


def test_an_existing_name_is_replaced_only_by_saving(page, pool):
    save(page, "one")
    save(budget(page, 20.0), "two")
    with_two = state.saved_selections(pool)
    assert [one.budget for one in with_two.values()] == ["10%", "20%"]
    press(page, "saved.two.rename")
    page.session_state["saved.panel"] = True
    page.text_input(key="saved.two.other").set_value("one")
    page.session_state["saved.panel"] = True
    page.button(key="saved.two.renamed").click().run()
    assert "A saved selection named 'one' exists already" in texts(page)
    assert state.saved_selections(pool) == with_two
    save(page, "one")
    assert [one.budget for one in state.saved_selections(pool).values()] == ["20%", "20%"]


def test_renaming_keeps_the_settings_and_deleting_asks_first(page, pool):
    save(page, "old")
    stored = state.saved_selections(pool)["old"]
    press(page, "saved.old.rename")
    page.text_input(key="saved.old.other").set_value("new/../name")
    press(page, "saved.old.renamed")
    assert state.saved_selections(pool) == {"new/../name": stored}
    folder = cached.workspace().folder("selections", pool.fingerprint) / "saved"
    assert [file.parent for file in folder.rglob("*.json")] == [folder]
    press(page, "saved.new/../name.delete")
    assert state.saved_selections(pool)
    press(page, "saved.new/../name.deleted")
    assert state.saved_selections(pool) == {}
    assert title(page) == "24 of 240 rows are selected (10.0%)."


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\nb"])
def test_a_bad_name_shows_one_sentence(page, pool, monkeypatch, name):
    monkeypatch.setattr(st, "session_state", {state.POOL: pool.fingerprint, state.SETTINGS: Settings()})
    with pytest.raises(RecipeError, match="needs a name of 1 to 80 characters"):
        state.save_as(name)


def test_an_unreadable_file_is_put_aside_and_the_others_load(page, pool, workspace):
    save(page, "good")
    folder = workspace.folder("selections", pool.fingerprint) / "saved"
    (folder / "bad.json").write_text("{")
    (folder / "worse.json").write_bytes(orjson.dumps([1]))
    rerun_with_list_open(page)
    assert list(state.saved_selections(pool)) == ["good"]
    assert sorted(f.name for f in folder.glob("*.unreadable")) == ["bad.unreadable", "worse.unreadable"]
