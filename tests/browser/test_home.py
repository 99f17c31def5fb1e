"""Home, hints and glossary in a real browser, on a pool with stored runs of two methods."""

import json
import re

import pytest
from playwright.sync_api import Page, expect

from core.pool.pools import load_pool
from tests.browser.idle import wait_until_idle
from tests.browser.test_journey import choose_pool
from tests.pages.conftest import activation_coverage_run, entropy_shift_run, write_rows

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
MAX_MOVE = 60  # pixels that a hint may move the page down
HINTED = {
    "explore": "stPlotlyChart",
    "compare": "stPlotlyChart",
    "export": "stCode",
}  # page -> what lies below its hint
WIDTHS = (1280, 390)


@pytest.fixture
def measured(workspace, tmp_path):
    """Return a workspace with a measured pool, small.jsonl, and another one beside it that was never opened."""
    pool = load_pool(str(write_rows(tmp_path / "small.jsonl")), workspace=workspace.root)
    entropy_shift_run(workspace, pool)
    activation_coverage_run(workspace, pool)
    rows = [json.dumps({"prompt": f"Question {i}?", "completion": "so"}) for i in range(20)]
    (tmp_path / "other.jsonl").write_text("\n".join(rows))
    return workspace


@pytest.fixture
def address(serve, measured, tmp_path):
    with serve(measured.root, WINNOW_DATA_ROOTS=str(tmp_path)) as (address, _):
        yield address


def visit(page: Page, url: str) -> None:
    page.goto(url)
    wait_until_idle(page)


def expect_pool(page: Page, name: str) -> None:
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    wait_until_idle(page)
    expect(page.get_by_role("combobox").first).to_have_value("")  # ready for the next one
    for overlay in ("stPopoverBody", "stDialog"):
        expect(page.get_by_test_id(overlay)).to_have_count(0)


def test_a_pool_opens_by_choice_by_path_and_by_drop_and_nothing_stays_over_it(page, address, tmp_path):
    visit(page, address)
    choose_pool(page, str(tmp_path / "other.jsonl"))
    expect_pool(page, "other.jsonl")
    choose_pool(page, "small.jsonl · 240 rows")
    expect_pool(page, "small.jsonl")
    dropped = {"name": "mine.jsonl", "mimeType": "", "buffer": b'{"prompt": "a", "completion": "b"}\n' * 3}
    page.locator("input[type=file]").set_input_files(dropped)
    expect_pool(page, "mine.jsonl")
    page.get_by_role("button", name="Options").click()
    expect(page.get_by_text("Paths must be in")).to_be_visible()
    page.get_by_role("button", name="Options").click()
    expect(page.get_by_text("Paths must be in")).to_be_hidden()
    expect(page.get_by_role("combobox").first).to_be_visible()


def test_the_road_leads_to_each_step(page, address):
    visit(page, address)
    road = page.locator(".st-key-road")
    expect(road).to_have_text(re.compile("Pool.*240 rows.*Measure.*2 methods.*Select.*24 rows.*Export.*not exported"))
    road.get_by_role("link", name="Select").click()
    expect(page.get_by_role("heading", name="Select", exact=True)).to_be_visible()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_hint_moves_the_page_by_less_than_60_pixels(page, address, width):
    page.set_viewport_size({"width": width, "height": 900})
    for name, below in HINTED.items():
        visit(page, f"{address}/{name}")
        element = page.get_by_test_id(below).first
        with_hint = element.bounding_box()["y"]
        page.get_by_role("button", name="Dismiss").click()
        wait_until_idle(page)
        moved = with_hint - element.bounding_box()["y"]
        assert 0 < moved <= MAX_MOVE, (name, moved)


def test_a_word_opens_its_entry_on_a_phone(page, address):
    page.set_viewport_size({"width": 390, "height": 844})
    visit(page, f"{address}/explore")
    page.get_by_role("link", name="quantiles").click()
    expect(page.get_by_role("dialog").get_by_text("The 50% quantile is the median.")).to_be_visible()


def test_a_word_opens_its_entry_by_mouse_and_keyboard_and_the_page_stays_as_it_is(page, address):
    visit(page, address)
    page.get_by_label("Search prompts and responses").fill("Question 17:")
    page.get_by_label("Search prompts and responses").press("Enter")
    wait_until_idle(page)
    page.get_by_role("button", name="Glossary").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Jaccard index")).to_be_visible()
    dialog.get_by_role("combobox").fill("ΔNLL band")
    dialog.get_by_role("combobox").press("Enter")
    wait_until_idle(page)
    expect(dialog.get_by_text("Jaccard index")).to_have_count(0)
    link = dialog.get_by_role("link", name="ΔNLL", exact=True)
    link.focus()
    link.press("Enter")
    wait_until_idle(page)
    expect(dialog.get_by_text("The change of NLL through warm-up training")).to_be_visible()
    assert "#" not in page.url
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_label("Search prompts and responses")).to_have_value("Question 17:")
    expect(page.get_by_text("Rows 1–1 of 1")).to_be_visible()
    page.get_by_role("button", name="Glossary").click()  # all entries again
    expect(dialog.get_by_text("Jaccard index")).to_be_visible()
