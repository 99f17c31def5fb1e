"""The reader in a real browser: keys drive it, it keeps its place, and triage by the keyboard loses nothing."""

import json
import os
import re
import time
from dataclasses import asdict
from statistics import median

import pytest
from playwright.sync_api import Page, expect

from core.pool.pools import load_pool
from core.schema import Reading
from core.workspace.files import read_json, write_json
from tests.browser.idle import wait_until_idle
from tests.browser.test_journey import go_to, run_core

ROWS, ROW_HEIGHT = 240, 34
DECISIONS, MAX_SECONDS = 100, 0.7  # of triage, and for one decision: a pin and the next row
HEAD = ".st-key-reader-head"
CODE = "Here it is:\n```python\ndef answer():\n    return 42\n```\n![x](http://evil.example/x.png) <b>plain</b>"
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Measure a pool for a baseline, which needs no training. Its rows rank from the last to the first."""
    folder = tmp_path_factory.mktemp("reader")
    file, root = folder / "small.jsonl", folder / "workspace"
    rows = [{"id": f"row-{i}", "instruction": f"Question {i}?", "output": f"{'so ' * i}{CODE}"} for i in range(ROWS)]
    rows[10] = {**rows[20], "id": "row-10"}
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run_core("measure", str(file), "--method", "longest", "--workspace", str(root))
    return root, load_pool(str(file), workspace=root).fingerprint


@pytest.fixture
def workspace(measured):
    """Return the workspace with fresh settings."""
    root, fingerprint = measured
    current = {"format": 1, "method": "longest", "params": {}, "reading": asdict(Reading()), "seed": 0}
    current |= {"budget": "50%", "threshold": None, "filters": [], "pins": [], "also": []}
    write_json(root / "selections" / fingerprint / "current.json", current)
    return root


@pytest.fixture(scope="module")
def address(serve, measured):
    with serve(measured[0]) as (address, _):
        yield address


@pytest.fixture
def select(page, address, workspace):
    """Return a browser page at Select, with no row open."""
    page.goto(f"{address}/select")
    wait_until_idle(page)
    return page


def stored_pins(workspace) -> dict[str, str]:
    (file,) = workspace.glob("selections/*/current.json")
    return {pin["id"]: pin["side"] for pin in read_json(file)["pins"]}


def expect_pins(workspace, count: int, pins: dict[str, str] | None = None) -> None:
    """Wait until so many rows are pinned, and these if they are given."""
    for _ in range(100):
        stored = stored_pins(workspace)
        if len(stored) == count and pins in (None, stored):
            return
        time.sleep(0.3)
    assert stored_pins(workspace) == pins if pins is not None else len(stored_pins(workspace)) == count


def head(page: Page):
    return page.locator(HEAD)


def expect_open(page: Page, row: int) -> None:
    expect(head(page).get_by_test_id("stText").first).to_have_text(f"row-{row}", timeout=15_000)


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
    wait_until_idle(page)


def expect_badge(page: Page, words: str) -> None:
    expect(page.locator(".st-key-dock .stMarkdownBadge").filter(has_text=re.compile(words)).first).to_be_visible()


def click_line(page: Page, line: int, x: float) -> None:
    """Click on a line of the table that is in view, at a share of its width."""
    table = page.get_by_test_id("stDataFrame").first
    page.wait_for_timeout(1000)  # figures above it take their height
    table.click(position={"x": x * table.bounding_box()["width"], "y": ROW_HEIGHT * (line + 1.5)})
    wait_until_idle(page)


def test_triage_by_the_keyboard_alone_is_quick_and_loses_nothing(select, workspace):
    page = select
    press(page, "j")
    expect_open(page, ROWS - 1)
    seconds = []
    for k in range(DECISIONS):
        start = time.monotonic()
        page.keyboard.press("i" if k % 3 else "x")
        head(page).get_by_role("button", name="Remove pin").wait_for()
        page.keyboard.press("j")
        head(page).get_by_text(f"row-{ROWS - 2 - k}", exact=True).wait_for()
        seconds.append(time.monotonic() - start)
    waiting = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # processes for each processor
    assert median(seconds) < MAX_SECONDS * waiting, f"slowest {max(seconds):.2f} s"
    expected = {f"row-{ROWS - 1 - k}": "in" if k % 3 else "out" for k in range(DECISIONS)}
    expect_pins(workspace, len(expected), expected)
    page.reload()
    wait_until_idle(page)
    expect_open(page, ROWS - 1 - DECISIONS)
    expect(page.get_by_text(f"Pinned · {DECISIONS}", exact=True)).to_be_visible()
    press(page, "k")
    expect_open(page, ROWS - 1 - DECISIONS + 2)  # now in the ranking, which lacks the excluded row before it
    expect_badge(page, "Always included")
    expect_pins(workspace, len(expected), expected)


def test_keys_typed_faster_than_the_app_answers_are_all_handled_in_order(select, workspace):
    page = select
    press(page, "j")
    for _ in range(15):
        page.keyboard.press("i")
        page.keyboard.press("j")
    wait_until_idle(page)
    expect_open(page, ROWS - 16)
    expect_pins(workspace, 15, {f"row-{ROWS - 1 - k}": "in" for k in range(15)})
    press(page, *"uuu")
    expect_pins(workspace, 12)


def test_clicks_open_rows_and_pins_keep_the_place(select):
    page = select
    page.get_by_text(re.compile("^Top ranked")).click()
    for line, x in ((1, 0.05), (4, 0.5), (6, 0.95)):  # anywhere on a row
        click_line(page, line, x)
        expect_open(page, ROWS - 1 - line)
    for key in "jjjjkkkj":  # faster than the app answers: the clicked line does not come back
        page.keyboard.press(key)
    expect_open(page, ROWS - 9)
    click_line(page, 6, 0.5)
    press(page, "j")
    expect_open(page, ROWS - 8)
    press(page, "i")
    expect_open(page, ROWS - 8)
    expect_badge(page, "Always included")
    expect_badge(page, "selected, rank 1 of 240 eligible")
    press(page, "x")
    expect_open(page, ROWS - 8)
    expect_badge(page, "Always excluded")
    press(page, "j")
    expect_open(page, ROWS - 9)  # the list did not move with the pin
    press(page, "k", "u", "u")
    expect_open(page, ROWS - 8)
    expect(page.get_by_role("button", name="Remove pin")).to_have_count(0)


def test_the_page_shows_a_pin_when_no_key_is_pressed_for_a_while(select):
    page = select
    press(page, "j")
    press(page, "i")
    expect(page.get_by_text("Pinned · 1", exact=True)).to_be_visible()
    press(page, "j", "x")
    expect(page.get_by_text("Pinned · 2", exact=True)).to_be_visible()


def test_letters_typed_into_a_field_are_no_commands(select, workspace):
    page = select
    press(page, "j")
    press(page, "i")
    reason = page.locator(HEAD).get_by_placeholder("Reason")
    reason.press_sequentially("jixu wb?/")
    assert reason.input_value() == "jixu wb?/"
    reason.press("Enter")
    wait_until_idle(page)
    expect_open(page, ROWS - 1)
    (file,) = workspace.glob("selections/*/current.json")
    assert read_json(file)["pins"] == [{"id": f"row-{ROWS - 1}", "side": "in", "reason": "jixu wb?/"}]


def test_keys_search_close_reopen_widen_and_help(select):
    page = select
    press(page, "/")
    page.keyboard.type("Question 7?")
    press(page, "Enter")
    expect(page.get_by_text("1 row highlighted", exact=False)).to_be_visible()
    page.get_by_role("heading", name="Select", exact=True).click()  # out of the field
    press(page, "j")
    expect_open(page, 7)  # the list is the highlight
    page.get_by_role("button", name="Clear", exact=True).click()
    wait_until_idle(page)
    press(page, "Escape")
    expect(head(page)).to_have_count(0)
    assert "row=" not in page.url
    press(page, "j")
    expect_open(page, 7)
    narrow = page.locator(".st-key-dock").bounding_box()["width"]
    press(page, "w")
    assert page.locator(".st-key-dock").bounding_box()["width"] > 1.1 * narrow
    press(page, "?")
    expect(page.get_by_role("dialog")).to_contain_text("Open the next row")
    press(page, "i")  # not while a dialog is open
    press(page, "Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect_open(page, 7)
    expect(page.get_by_role("button", name="Remove pin")).to_have_count(0)


def test_the_row_stays_open_over_settings_pages_and_a_reload(select):
    page = select
    press(page, "j", "j", "j")
    expect_badge(page, "^selected, rank 3 of 240")
    budget = page.get_by_test_id("stNumberInputField").first
    budget.fill("1")
    budget.press("Enter")
    wait_until_idle(page)
    expect_badge(page, "unselected, rank 3 of 240")  # the reader follows the budget
    for name in ("Explore", "Compare", "Export", "Pool", "Measure", "Select"):
        go_to(page, name)
        expect_open(page, ROWS - 3)
        assert f"row=row-{ROWS - 3}" in page.url
    page.reload()
    wait_until_idle(page)
    expect_open(page, ROWS - 3)
    press(page, "k")
    expect_open(page, ROWS - 2)


def test_after_a_reload_the_keys_step_through_the_highlight(select):
    page = select
    page.get_by_placeholder("Search rows").fill("Question 1")
    page.get_by_placeholder("Search rows").press("Enter")
    wait_until_idle(page)
    page.get_by_role("heading", name="Select", exact=True).click()
    press(page, "j", "j")
    expect_open(page, 11)  # after row 1
    page.reload()
    wait_until_idle(page)
    expect_open(page, 11)
    press(page, "j")
    expect_open(page, 12)


def test_a_similar_row_opens_in_the_reader_and_back_returns(select):
    page = select
    page.goto(f"{page.url}&row=row-20")
    wait_until_idle(page)
    page.locator(".st-key-reader-part").get_by_text("Similar").click()
    wait_until_idle(page)
    table = page.locator(".st-key-dock").get_by_test_id("stDataFrame")
    table.click(position={"x": 60, "y": 35 * 1.5})
    wait_until_idle(page)
    expect_open(page, 10)
    press(page, "b")
    expect_open(page, 20)


def test_two_tabs_read_different_rows(select, workspace):
    page = select
    press(page, "j")
    other = page.context.new_page()
    other.goto(page.url)
    expect_open(other, ROWS - 1)
    wait_until_idle(other)  # the keys are listened to
    press(other, "j", "j", "i")
    expect_open(other, ROWS - 3)
    expect_open(page, ROWS - 1)
    press(page, "x", "j")
    expect_open(page, ROWS - 2)
    expect_pins(workspace, 2, {f"row-{ROWS - 3}": "in", f"row-{ROWS - 1}": "out"})


def test_prose_is_prose_and_code_is_code(select):
    page = select
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    press(page, "j")
    dock = page.locator(".st-key-dock")
    prose = dock.get_by_test_id("stText").filter(has_text="evil.example")
    code = dock.get_by_test_id("stCode").filter(has_text="def answer").first
    assert prose.inner_text() == "![x](http://evil.example/x.png) <b>plain</b>"
    assert code.locator("code").inner_text().strip() == "def answer():\n    return 42"
    font = "element => getComputedStyle(element.firstElementChild).fontFamily"
    assert "monospace" not in prose.evaluate(font)
    assert dock.locator("..").bounding_box()["width"] >= 0.45 * page.viewport_size["width"]
    assert not [url for url in requests if "evil.example" in url]


def test_rows_are_tagged_by_a_key_and_highlighted(select, workspace):
    page = select
    press(page, "j")
    expect_open(page, ROWS - 1)
    press(page, "t")  # no tag is chosen: the cursor is in the field
    expect(page.locator("[class*=st-key-reader-tag] [role=combobox]")).to_be_focused()
    page.keyboard.type("unclear")
    press(page, "Enter", "Tab")
    expect(page.get_by_role("button", name="Add tag")).to_be_enabled()
    for _ in range(5):
        page.keyboard.press("t")
        page.keyboard.press("j")
    wait_until_idle(page)
    press(page, "k")
    expect_badge(page, "unclear$")
    (file,) = workspace.glob("selections/*/current.json")
    assert read_json(file)["tags"] == {"unclear": [f"row-{k}" for k in range(ROWS - 5, ROWS)]}
    page.reload()
    wait_until_idle(page)
    expect_badge(page, "unclear$")
    page.get_by_role("button", name="Tags", exact=True).click()
    page.get_by_role("button", name="Highlight", exact=True).click()
    expect(page.get_by_text("5 rows highlighted")).to_be_visible()
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 1024, "height": 700})  # a bar of more than two lines
    wait_until_idle(page)
    page.get_by_test_id("stMain").evaluate("main => main.scrollTo(0, 400)")
    wait_until_idle(page)
    bar, dock = (page.locator(f"div:has(> .st-key-{name})").bounding_box() for name in ("bar", "dock"))
    assert bar["height"] > 140 and dock["y"] == pytest.approx(bar["y"] + bar["height"], abs=2)
