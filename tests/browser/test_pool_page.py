"""The Pool page in a real browser: bars, search and ticks make one highlight, and a row opens where it is clicked."""

import re

import pytest
from playwright.sync_api import Page, expect

from core.pool.pools import load_pool
from tests.browser.idle import wait_until_idle
from tests.browser.test_journey import go_to
from tests.pages.conftest import entropy_shift_run, write_rows

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
ROW_HEIGHT = 34  # pixels of a line


@pytest.fixture
def address(serve, workspace, tmp_path):
    pool = load_pool(str(write_rows(tmp_path / "small.jsonl")), workspace=workspace.root)
    entropy_shift_run(workspace, pool)
    with serve(workspace.root) as (address, _):
        yield address


def badge(page: Page):
    return page.locator(".stMarkdownBadge").filter(has_text="highlighted")


def click_line(page: Page, line: int, x: float) -> float:
    """Click on a line of the table, `x` pixels from its left. Return where the table begins on the screen."""
    table = page.get_by_test_id("stDataFrame").last
    table.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    box = table.bounding_box()
    page.mouse.click(box["x"] + x, box["y"] + ROW_HEIGHT * (line + 1.5))
    return box["y"]


def test_bars_ticks_and_search_make_one_highlight_that_other_pages_show(page, address):
    page.goto(address)
    wait_until_idle(page)
    words = page.locator("[data-pick]").filter(has_text="words")
    words.focus()
    words.press("Enter")  # as a click does
    expect(badge(page)).to_have_text(re.compile("80 rows highlighted"))
    expect(page.get_by_text("Rows 1–80 of 80")).to_be_visible()
    assert page.evaluate("document.activeElement.shadowRoot.activeElement.innerText").startswith("words")

    for line, count in ((0, "1 row"), (2, "2 rows")):  # ticks narrow the highlight, not the table
        click_line(page, line, 15)
        expect(badge(page)).to_have_text(re.compile(f"{count} highlighted"))
    expect(page.get_by_text("Rows 1–80 of 80")).to_be_visible()

    before = click_line(page, 1, 300)
    page.wait_for_url(re.compile("row=row-4"))
    wait_until_idle(page)
    table = page.get_by_test_id("stDataFrame").last
    assert table.bounding_box()["y"] == pytest.approx(before, abs=3)  # the page grew above it, and followed
    expect(page.locator(".st-key-dock")).to_contain_text("Question 4")

    go_to(page, "Select")
    expect(badge(page)).to_have_text(re.compile("2 rows highlighted"))
    expect(page.get_by_text("Highlighted · 2")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    page.locator("[data-pick]").filter(has_text="sums").click()
    expect(badge(page)).to_have_text(re.compile("81 rows highlighted"))
    expect(page.get_by_text("Highlighted · 81")).to_be_visible()


def test_on_a_phone_the_reader_comes_into_view(page, address):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(address)
    wait_until_idle(page)
    click_line(page, 1, 150)
    page.wait_for_url(re.compile("row=row-1"))
    wait_until_idle(page)
    expect(page.locator(".st-key-dock")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
