"""Tags in a real browser: typed once, given with a key, kept over a reload, and highlighted."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_journey import wait_until_idle
from tests.browser.test_reader import workspace  # noqa: F401  a fixture

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]


def tagged(page: Page) -> None:
    expect(page.locator(".stMarkdownBadge").filter(has_text=re.compile("unclear$"))).to_be_visible()


def test_rows_are_tagged_with_a_key_and_highlighted(page, serve, workspace):  # noqa: F811
    with serve(workspace) as (address, _process):
        page.goto(f"{address}/select?row=row-3")
        wait_until_idle(page)
        page.keyboard.press("t")  # no tag is chosen: the cursor is in the field
        page.keyboard.type("unclear")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Add tag")).to_be_enabled()
        page.keyboard.press("Tab")
        page.keyboard.press("t")
        tagged(page)
        page.keyboard.press("j")
        page.keyboard.press("t")
        page.keyboard.press("k")
        page.keyboard.press("j")
        tagged(page)
        wait_until_idle(page)
        page.reload()
        wait_until_idle(page)
        tagged(page)
        page.get_by_role("button", name="Tags", exact=True).click()
        expect(page.get_by_text("2 rows", exact=True)).to_be_visible()
        page.get_by_role("button", name="Highlight", exact=True).click()
        expect(page.get_by_text("2 rows highlighted")).to_be_visible()
