"""Select and Compare in a real browser: what a click shows is seen where it is clicked, and no control is clipped."""

import re

import pytest
from playwright.sync_api import Page, expect

from core.pool.pools import load_pool
from tests.browser.idle import new_context, wait_until_idle
from tests.pages.conftest import activation_coverage_run, entropy_shift_run, write_rows

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
CLIPPED = """() => [...document.querySelectorAll('[data-testid=stMain] :is(button, label, p)')]
    .filter(e => e.offsetParent && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline')
    .map(e => e.innerText)"""


@pytest.fixture
def workspace(workspace, tmp_path):
    """Return a workspace with a pool that is measured for two methods."""
    pool = load_pool(str(write_rows(tmp_path / "small.jsonl")), workspace=workspace.root)
    entropy_shift_run(workspace, pool)
    activation_coverage_run(workspace, pool)
    return workspace


def open_page(page: Page, address: str) -> None:
    page.goto(address)
    wait_until_idle(page)
    expect(page.locator("h3").first).to_be_visible()


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()
    wait_until_idle(page)


def test_a_click_on_a_set_highlights_its_rows_in_every_tab_and_a_row_opens_in_the_one_reader(page, serve, workspace):
    with serve(workspace.root) as (address, _):
        open_page(page, f"{address}/compare")
        figure = page.get_by_test_id("stPlotlyChart").filter(has_text="Rows").last
        figure.scroll_into_view_if_needed()
        bar = figure.locator(".bars .point path").first
        rows = figure.locator(".bars .point text").first.text_content()
        box = bar.bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] - 4)
        chip = page.get_by_text(f"{rows} rows highlighted")
        expect(chip).to_be_in_viewport()  # the figure is far below the bar, which stays in view
        expect(page.get_by_role("button", name=re.compile("^only .*, of 4 methods"))).to_be_visible()
        expect(page.get_by_text(f"Highlighted, of {rows}", exact=True)).to_have_count(1)

        open_tab(page, "Make-up")
        expect(page.get_by_role("tabpanel").filter(visible=True)).to_contain_text("Highlighted rows")
        open_tab(page, "Rows")
        expect(page.get_by_role("combobox", name="Rows", exact=True)).to_have_value(f"Highlighted · {rows} rows")
        table = page.get_by_test_id("stDataFrame").filter(visible=True).first
        table.scroll_into_view_if_needed()
        table.click(position={"x": 420, "y": 60})
        expect(page.locator(".st-key-dock").get_by_text(f"1 of {rows}")).to_be_visible()
        assert page.locator(".st-key-dock").count() == 1

        open_page(page, page.url)  # another visitor, or a reload
        expect(page.get_by_text(f"{rows} rows highlighted")).to_be_visible()
        expect(page.get_by_role("tab", name="Rows")).to_have_attribute("aria-selected", "true")
        assert page.locator(".st-key-dock").count() == 1


def test_a_cell_of_the_matrix_and_a_line_of_the_groups_highlight_their_rows(page, serve, workspace):
    with serve(workspace.root) as (address, _):
        open_page(page, f"{address}/compare")
        page.get_by_title("Entropy shift and Longest response: overlap").first.click()
        expect(page.get_by_role("button", name="selected by Entropy shift and Longest response")).to_be_visible()
        for name in ("Entropy shift", "Longest response"):  # both select all of them
            counts = page.get_by_title(re.compile(rf"^{name}: selects (\d+) of \1 highlighted rows$"))
            expect(counts).to_have_count(1)

        open_tab(page, "Make-up")
        page.get_by_role("button", name=re.compile("^words: .* pool ")).press("Enter")
        expect(page.get_by_text("80 rows highlighted")).to_be_visible()
        for kind, line in (("Lengths", "8–15"), ("Clusters", "Cluster 1")):
            page.get_by_test_id("stButtonGroup").get_by_text(kind, exact=True).click()
            wait_until_idle(page)
            page.get_by_role("button", name=re.compile(f"^{line}: .* pool ")).click()
            wait_until_idle(page)
            share = page.get_by_role("button", name=re.compile(f"^{line}: .*Highlighted rows 100.0%"))
            expect(share).to_have_count(1)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_control_of_select_is_clipped_at_1280(chromium, serve, workspace, theme):
    page = new_context(chromium, color_scheme=theme).new_page()
    with serve(workspace.root) as (address, _):
        open_page(page, f"{address}/select")
        assert page.evaluate(CLIPPED) == []
        page.get_by_role("spinbutton", name="Exact budget").fill("29.8")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Undo: budget 10% → 29.8%")).to_be_visible()
        wait_until_idle(page)
        assert page.evaluate(CLIPPED) == []
    page.context.close()
