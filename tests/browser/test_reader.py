"""The reader in a real browser: a click anywhere on a row opens it, keys drive it, a pin keeps its place."""

import json
import re
from dataclasses import asdict

import pytest
from playwright.sync_api import Page, expect

from core.pool.pools import load_pool
from core.schema import Reading
from core.workspace.files import write_json
from tests.browser.test_journey import go_to, run_core, wait_until_idle

ROWS, ROW_HEIGHT = 60, 34
CODE = "Here it is:\n```python\ndef answer():\n    return 42\n```\n![x](http://evil.example/x.png) <b>plain</b>"
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Measure a pool for a baseline, which needs no training."""
    folder = tmp_path_factory.mktemp("reader")
    file, root = folder / "small.jsonl", folder / "workspace"
    rows = [{"id": f"row-{i}", "instruction": f"Question {i}?", "output": f"{'so ' * i}{CODE}"} for i in range(ROWS)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run_core("measure", str(file), "--method", "longest", "--workspace", str(root))
    pool = load_pool(str(file), workspace=root)
    current = {"format": 1, "method": "longest", "params": {}, "reading": asdict(Reading()), "seed": 0}
    current |= {"budget": "50%", "threshold": None, "filters": [], "pins": [], "also": []}
    write_json(root / "selections" / pool.fingerprint / "current.json", current)
    return root


def open_id(page: Page) -> str:
    wait_until_idle(page)
    return page.get_by_test_id("stText").filter(has_text=re.compile(r"^row-\d+$")).first.inner_text()


def press(page: Page, key: str) -> str:
    page.keyboard.press(key)
    page.wait_for_timeout(400)
    return open_id(page)


def click_line(page: Page, line: int, x: float) -> str:
    """Click on a line of the table that is in view, at a share of its width."""
    table = page.get_by_test_id("stDataFrame").first
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + ROW_HEIGHT * (line + 1.5))
    page.wait_for_timeout(400)
    return open_id(page)


def reader_top(page: Page) -> float:
    """Return where the table begins on the screen, in pixels."""
    return page.get_by_test_id("stDataFrame").first.bounding_box()["y"]


def expect_pin(page: Page, words: str) -> None:
    expect(page.locator(".stMarkdownBadge").filter(has_text=re.compile(f"{words}$"))).to_be_visible()


def test_rows_are_opened_pinned_and_undone_without_losing_the_place(page, serve, workspace):
    with serve(workspace) as (address, _):
        page.goto(address)
        wait_until_idle(page)
        go_to(page, "Select")
        page.get_by_text(re.compile("^Top ranked")).click()
        assert open_id(page) == "row-59"  # the longest

        for line, x in ((1, 0.05), (4, 0.5), (6, 0.95)):  # anywhere on a row
            assert click_line(page, line, x) == f"row-{59 - line}"
        assert press(page, "ArrowDown") == "row-52"
        assert press(page, "j") == "row-51"
        assert press(page, "k") == "row-52"

        before = reader_top(page)
        assert press(page, "i") == "row-52"
        expect_pin(page, "Always included")
        expect(page.get_by_text("rank 1 of 60 eligible")).to_be_visible()
        assert reader_top(page) == pytest.approx(before, abs=3)  # the page did not jump
        assert press(page, "x") == "row-52"
        expect_pin(page, "Always excluded")
        expect(page.get_by_text("The open row left the list.")).to_be_visible()
        assert press(page, "u") == "row-52"
        expect_pin(page, "Always included")
        assert press(page, "u") == "row-52"
        expect(page.get_by_role("button", name="Remove pin")).to_have_count(0)
        assert press(page, "j") == "row-51"

        field = page.get_by_placeholder("Reason")
        field.fill("")
        field.press_sequentially("jixu")  # letters typed into a field are no commands
        assert field.input_value() == "jixu" and open_id(page) == "row-51"


def test_prose_is_prose_and_code_is_code(page, serve, workspace):
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    with serve(workspace) as (address, _):
        page.goto(address)
        wait_until_idle(page)
        go_to(page, "Select")
        page.get_by_text(re.compile("^Top ranked")).click()
        wait_until_idle(page)
        prose = page.get_by_test_id("stText").filter(has_text="evil.example")
        code = page.get_by_test_id("stCode").filter(has_text="def answer").first
        assert prose.inner_text() == "![x](http://evil.example/x.png) <b>plain</b>"
        assert code.locator("code").inner_text().strip() == "def answer():\n    return 42"
        font = "element => getComputedStyle(element.firstElementChild).fontFamily"
        assert "monospace" not in prose.evaluate(font)
        width = prose.bounding_box()["width"]
        main = page.locator("[data-testid=stMainBlockContainer]").bounding_box()["width"]
        assert width > 0.33 * main
    assert not [url for url in requests if "evil.example" in url]
