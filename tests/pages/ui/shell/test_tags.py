"""Tags of rows: each change is a step of undo; links and saved selections carry the tags that a filter names."""

from dataclasses import replace

import pytest
import streamlit

from core.errors import RecipeError
from core.selection.filters import Filter, tag_filter
from core.workspace.files import read_json
from pages.ui.shell import changes, links, saved, settings, state, tags, visitors
from pages.ui.shell.settings import Settings
from pages.ui.shell.terms import Match, Search, describe

LONG = Filter("response_tokens", low=3)
KEEP = tag_filter("keep")


@pytest.fixture(autouse=True)
def session(pool, monkeypatch):
    """Give functions a session of the only visitor with the pool open, outside of a page."""
    initial = {visitors.VISITOR: "", settings.POOL: pool.fingerprint, settings.SETTINGS: Settings()}
    initial |= {settings.FILE_STAMP: 0, settings.VIEW: False, changes.PAST: (), changes.FUTURE: ()}
    monkeypatch.setattr(streamlit, "session_state", initial)
    monkeypatch.setattr(streamlit, "query_params", {})


def test_rows_are_tagged_and_untagged_as_steps_of_undo():
    state.add_tag(["row-3", "row-1"], " unclear ")
    state.add_tag(["row-1", "row-2"], "unclear")
    assert state.settings().tags == {"unclear": ("row-1", "row-2", "row-3")}
    assert state.undo_words() == "tag 'unclear' on 1 row"
    state.remove_tag(["row-1", "never there"], "unclear")
    state.add_tag(["row-2"], "a")
    assert state.tags_of(["row-3", "row-2", "row-1"]) == {"row-2": ["a", "unclear"], "row-3": ["unclear"]}
    state.undo()
    state.undo()
    state.undo()
    assert state.settings().tags == {"unclear": ("row-1", "row-3")}
    state.remove_tag(["row-1", "row-3"], "unclear")
    assert state.settings().tags == {"unclear": ()}


def test_the_last_change_of_the_selection_is_before_a_tag_that_no_filter_names():
    state.change(budget="20%")
    state.add_tag(["row-1"], "keep")
    assert state.previous_settings().budget == "10%"
    state.change(filters=(KEEP,))
    state.add_tag(["row-2"], "keep")
    assert state.previous_settings().tags == {"keep": ("row-1",)}
    assert state.previous_settings().filters == (KEEP,)


def test_a_tag_that_is_given_again_is_no_step():
    state.add_tag(["row-1"], "keep")
    state.add_tag(["row-1"], "keep")
    state.remove_tag(["row-1"], "never given")
    state.undo()
    assert state.settings() == Settings() and state.undo_words() == ""


def test_tags_are_stored_and_read_again(pool):
    state.add_tag(["row-1"], "keep")
    stored = read_json(settings.settings_file())
    assert stored["tags"] == {"keep": ["row-1"]}
    assert settings.settings_from_json(stored).tags == {"keep": ("row-1",)}
    del stored["tags"]  # of an earlier version
    assert settings.settings_from_json({"format": settings.FORMAT, **stored}).tags == {}


def test_another_tab_s_tags_are_not_lost(monkeypatch):
    state.add_tag(["row-1"], "keep")
    mine = dict(streamlit.session_state)
    monkeypatch.setattr(streamlit, "session_state", {**mine, settings.FILE_STAMP: 0})
    state.add_tag(["row-2"], "keep")
    monkeypatch.setattr(streamlit, "session_state", mine)
    state.add_tag(["row-3"], "keep")
    assert state.settings().tags == {"keep": ("row-1", "row-2", "row-3")}


def test_a_renamed_tag_keeps_its_rows_and_filters():
    state.add_tag(["row-1"], "keep")
    state.change(filters=(LONG, KEEP))
    state.change(highlight=(Search("sum"), Match(KEEP)))
    state.rename_tag("keep", "good")
    assert state.settings().highlight == (Search("sum"), Match(tag_filter("good")))
    assert state.settings().tags == {"good": ("row-1",)}
    assert state.settings().filters == (LONG, tag_filter("good"))
    assert state.undo_words() == "tag 'keep' → 'good' and 1 more"
    state.add_tag(["row-2"], "other")
    for name, new, words in (("good", "other", "exists already"), ("gone", "x", "no tag 'gone'"), ("good", "", "name")):
        with pytest.raises(RecipeError, match=words):
            state.rename_tag(name, new)


def test_a_deleted_tag_takes_its_filters_along():
    state.add_tag(["row-1"], "keep")
    state.change(filters=(LONG, KEEP))
    state.change(highlight=(Search("sum"), Match(KEEP)))
    state.delete_tag("keep")
    assert state.settings().highlight == (Search("sum"),)
    assert (state.settings().tags, state.settings().filters) == ({}, (LONG,))
    state.undo()
    assert state.settings().filters == (LONG, KEEP)


def test_a_tag_has_a_limit_of_rows(monkeypatch):
    monkeypatch.setattr(tags, "MAX_TAGGED", 3)
    state.add_tag(["a", "b"], "keep")
    with pytest.raises(RecipeError, match=r"A tag may have 3 rows, .*; 'keep' would have 4"):
        state.add_tag(["b", "c", "d"], "keep")
    with pytest.raises(RecipeError, match="1 to 64 characters"):
        state.add_tag(["a"], " ")
    assert state.settings().tags == {"keep": ("a", "b")}


# Links and saved selections


def test_a_link_carries_only_tags_that_a_filter_names(pool):
    plain = links.address_of(pool.fingerprint, Settings())
    tagged = replace(Settings(), tags={"keep": ("row-1",), "other": ("row-2",)})
    assert links.address_of(pool.fingerprint, tagged) == plain
    filtered = replace(tagged, filters=(KEEP,))
    address = links.address_of(pool.fingerprint, filtered)
    links.store_settings_of_link(pool.fingerprint, filtered)
    own = Settings(tags={"keep": ("row-9",), "mine": ("row-9",)})
    opened = links.read_link(pool.fingerprint, address, own)
    assert opened.filters == (KEEP,)
    assert opened.tags == {"keep": ("row-1",), "mine": ("row-9",)}
    assert links.address_of(pool.fingerprint, opened) == address


def test_a_link_carries_a_tag_that_is_highlighted(pool):
    shown = Settings(tags={"keep": ("row-1",)}, highlight=(Match(KEEP),))
    links.store_settings_of_link(pool.fingerprint, shown)
    assert links.read_link(pool.fingerprint, links.address_of(pool.fingerprint, shown), Settings()) == shown
    assert describe(Match(KEEP)) == "tagged 'keep'"


def test_a_saved_selection_keeps_the_rows_of_its_tags():
    state.add_tag(["row-1"], "keep")
    state.add_tag(["row-2"], "other")
    state.change(filters=(KEEP,))
    saved.save_as("first")
    assert state.saved_name() == "first"
    state.add_tag(["row-3"], "other")
    assert state.saved_name() == "first"  # no part of the selection
    state.add_tag(["row-4"], "keep")
    assert state.saved_name() is None
    state.load_saved("first")
    assert state.settings().tags == {"keep": ("row-1",), "other": ("row-2", "row-3")}


def test_the_recipe_has_the_tags_that_its_filters_name(pool):
    state.add_tag(["row-1"], "keep")
    assert state.recipe(pool).tags == {}
    state.change(filters=(KEEP,))
    assert state.recipe(pool).tags == {"keep": ["row-1"]}
