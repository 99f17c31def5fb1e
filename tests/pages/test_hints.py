"""Hints: each beside what it explains, dismissed one by one, brought back by the sidebar."""

import pytest

from pages.ui.shell.hints import HINTS
from tests.pages.conftest import activation_coverage_run


@pytest.fixture
def measured(run, workspace, pool):
    activation_coverage_run(workspace, pool)  # two methods, so that there is something to compare


def has_hint(at) -> bool:
    return bool([block for block in at.caption if block.value.endswith(tuple(HINTS.values()))])


@pytest.mark.parametrize("page", HINTS)
def test_a_page_shows_its_hint_until_it_is_dismissed(measured, app, page):
    at = app(page)
    assert not at.exception
    assert [block.value for block in at.caption if block.value.endswith(HINTS[page])]
    at.button(key=f"hint.close.{page}").click().run()
    assert not has_hint(at)
    assert not has_hint(app(page))
    other = next(one for one in HINTS if one != page)
    assert has_hint(app(other))


@pytest.mark.parametrize("page", ["pool", "measure", "select"])
def test_other_pages_have_no_hint(measured, app, page):
    assert not has_hint(app(page))


def test_dismissed_hints_come_back_by_the_sidebar(measured, app):
    at = app("export")
    assert not [button for button in at.button if button.key == "hint.recall"]
    at.button(key="hint.close.export").click().run()
    at.button(key="hint.recall").click().run()
    assert has_hint(at)
    assert not [button for button in at.button if button.key == "hint.recall"]


@pytest.mark.parametrize("text", ["{broken", "7", "{}", '{"dismissed": ["no such page", {}]}'])
def test_a_damaged_list_of_dismissed_hints_shows_them(measured, app, workspace, text):
    (workspace.root / "hints.json").write_text(text)
    at = app("export")
    assert not at.exception
    assert has_hint(at)
