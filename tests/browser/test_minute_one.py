"""Minute one in a real browser: the demo opens measured and leads to an exported file, without waiting for a model."""

import json
import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.idle import wait_until_idle
from tests.browser.test_journey import download_file

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
MAX_TABS = 60  # presses of Tab that reach any control of a page


@pytest.fixture
def address(serve, tmp_path):
    with serve(tmp_path / "workspace") as (address, _):
        yield address


def expect_figure(page: Page) -> None:
    """Wait until a figure is drawn, not only its frame."""
    expect(page.locator(".js-plotly-plot .plot-container").first).to_be_visible()
    wait_until_idle(page)


def on_page(page: Page, name: str) -> None:
    expect(page.get_by_test_id("stMain").get_by_role("heading", name=name, exact=True)).to_be_visible()
    wait_until_idle(page)


def go_to(page: Page, name: str, width: int) -> None:
    """Follow the navigation, which a phone folds away, and Streamlit leaves open there."""
    phone = width < 600
    if phone:
        page.get_by_test_id("stExpandSidebarButton").click()
    page.get_by_test_id("stSidebarNav").get_by_text(name, exact=True).click()
    if phone:
        page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
    on_page(page, name)


@pytest.mark.parametrize("width", [1280, 390])
def test_from_the_address_to_a_file_without_waiting_for_a_measurement(page, address, tmp_path, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(address)
    expect(page.get_by_text("Find the part of your instruction data")).to_be_visible()
    expect(page.locator(".st-key-road")).to_have_text(re.compile("2,400 rows.*5 methods.*240 rows.*not exported"))

    page.get_by_role("button", name="See the scores").click()  # one click: a distribution
    on_page(page, "Explore")
    expect_figure(page)
    page.get_by_test_id("stMain").get_by_text("Map", exact=True).click()  # one more: a map
    expect(page.locator(".map > .plot[data-ready]")).to_be_visible()
    expect(page.get_by_text("UMAP", exact=True).first).to_be_visible()
    go_to(page, "Compare", width)  # one more: a comparison of all methods
    expect(page.get_by_text(re.compile("overlaps most with"))).to_be_visible()
    expect_figure(page)
    go_to(page, "Export", width)
    page.get_by_role("button", name="Write 240 rows").click()
    file = download_file(page, "chosen.jsonl", tmp_path)
    assert len({json.loads(line)["id"] for line in file.read_text().splitlines()}) == 240
    page.go_back()
    assert page.get_by_test_id("stException").count() == 0


def tab_to(page: Page, control: Locator) -> None:
    """Press Tab until a control has the focus."""
    for _ in range(MAX_TABS):
        page.keyboard.press("Tab")
        if control.evaluate("element => element.contains(document.activeElement)"):
            return
    pytest.fail(f"Tab does not reach {control}")


def test_the_keyboard_alone_leads_from_the_address_to_a_file(page, address, tmp_path):
    page.goto(address)
    wait_until_idle(page)
    tab_to(page, page.get_by_role("button", name="See the scores"))
    page.keyboard.press("Enter")
    on_page(page, "Explore")
    expect_figure(page)
    for name in ("Compare", "Select", "Export"):
        tab_to(page, page.get_by_test_id("stSidebarNavLink").filter(has_text=name))
        page.keyboard.press("Enter")
        on_page(page, name)
    tab_to(page, page.get_by_role("button", name="Write 240 rows"))
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="chosen.jsonl")
    expect(link).to_be_visible()
    wait_until_idle(page)
    tab_to(page, link)
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    download.value.save_as(tmp_path / "chosen.jsonl")
    assert len((tmp_path / "chosen.jsonl").read_text().splitlines()) == 240
