"""The main journey in a real browser: open a file, measure, explore, move the budget, pin, export, reproduce."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.demo.pool import demo_rows, json_lines
from tests.browser.idle import wait_until_idle

ROOT = Path(__file__).parents[2]
PAGES = ("measure", "explore", "select", "proof", "export")
MORE_PAGES = ("measure", "proof", "export")  # each on a server of its own, which takes a while
expect.set_options(timeout=30_000)
MEASURE_TIMEOUT_MS = 600_000  # milliseconds; measuring 1,000 rows on a slow machine

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]


def go_to(page: Page, name: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_text(name, exact=True).click()
    wait_until_idle(page)


def choose_pool(page: Page, source: str) -> None:
    """Choose a pool by its label, or type a path or hub id, and open it."""
    box = page.get_by_role("combobox", name="Or choose a pool, or type a path or a hub id")
    box.click()
    box.fill(source)
    page.get_by_role("option").filter(has_text=source).last.click()
    wait_until_idle(page)
    page.locator(".st-key-open-open button").click()


def headline_rows(page: Page) -> int:
    """Return the number of rows that the Select page's verdict begins with."""
    verdict = page.locator("h3").first
    expect(verdict).to_have_text(re.compile(r"^[\d,]+ of [\d,]+ rows are selected"))
    return int(verdict.inner_text().split()[0].replace(",", ""))


def download_file(page: Page, label: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("link", name=label).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def run_core(*arguments: str) -> dict:
    command = [sys.executable, "-m", "core", *arguments, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_from_a_file_to_a_selection_that_the_command_line_writes_too(page, serve, tmp_path):
    workspace, mine = tmp_path / "workspace", tmp_path / "mine.jsonl"
    mine.write_bytes(json_lines(demo_rows()[0][:1000]))
    with serve(workspace, WINNOW_DATA_ROOTS=str(tmp_path)) as (address, _):
        page.goto(address)
        expect(page.get_by_text("Demo pool").first).to_be_visible()
        wait_until_idle(page)
        choose_pool(page, str(mine))
        expect(page.get_by_role("heading", name="mine.jsonl")).to_be_visible()

        page.get_by_role("button", name="Measure this pool").click()
        page.get_by_role("button", name="Measure 1 method").click()
        expect(page.get_by_role("button", name="Cancel")).to_be_visible()
        page.reload()  # the job does not belong to the page
        expect(page.get_by_role("button", name="Cancel")).to_be_visible()
        expect(page.locator(".st-key-to\\.explore, .st-key-to-explore")).to_be_visible(timeout=MEASURE_TIMEOUT_MS)

        go_to(page, "Explore")
        expect(page.get_by_test_id("stPlotlyChart").first).to_be_visible()

        go_to(page, "Select")
        assert headline_rows(page) == 100  # 10% of 1,000
        slider = page.get_by_role("slider", name="Budget")
        slider.focus()
        for rows in range(101, 111):
            slider.press("ArrowRight")  # 0.1% each
            expect(page.locator("h3").first).to_have_text(re.compile(f"^{rows} of 1,000 rows"))
        wait_until_idle(page)

        page.get_by_text(re.compile("^Top ranked")).click()
        wait_until_idle(page)
        page.get_by_test_id("stDataFrame").first.click(position={"x": 200, "y": 51})
        reader = page.locator(".st-key-dock")
        expect(reader).to_contain_text("1 of 110")
        page.keyboard.press("x")
        reader.get_by_placeholder("Reason").fill("read by hand")
        reader.get_by_placeholder("Reason").press("Enter")
        expect(page.get_by_text("0 always included, 1 always excluded")).to_be_visible()
        wait_until_idle(page)
        assert headline_rows(page) == 110  # the next row of the order replaced it

        page.reload()
        wait_until_idle(page)
        expect(page.get_by_text("0 always included, 1 always excluded")).to_be_visible()
        assert headline_rows(page) == 110

        go_to(page, "Export")
        page.get_by_role("button", name=re.compile("Write 110 rows")).click()
        chosen = download_file(page, "chosen.jsonl", tmp_path)
        recipe = download_file(page, "chosen.recipe.yaml", tmp_path)
        manifest = download_file(page, "chosen.manifest.json", tmp_path)

    lines = chosen.read_text().splitlines()
    pins = json.loads(manifest.read_text())["recipe"]["pins"]
    assert len(lines) == 110
    assert [(pin["side"], pin["reason"]) for pin in pins] == [("out", "read by hand")]
    assert pins[0]["id"] not in {json.loads(line)["id"] for line in lines}

    headless = run_core("run", str(recipe), "--out", str(tmp_path / "headless.jsonl"), "--workspace", str(workspace))
    assert headless["rows"] == 110
    assert (tmp_path / "headless.jsonl").read_bytes() == chosen.read_bytes()
    again = tmp_path / "again.jsonl"
    run_core("replay", str(manifest), "--out", str(again), "--workspace", str(workspace))
    assert again.read_bytes() == chosen.read_bytes()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.soak] if name in MORE_PAGES else []) for name in PAGES]
)
def test_a_link_straight_to_a_page_on_a_fresh_server_leads_somewhere(page, serve, tmp_path, name):
    with serve(tmp_path / "workspace") as (address, _):
        page.goto(f"{address}/{name}")
        wait_until_idle(page)
        expect(page.get_by_test_id("stSidebarNav").get_by_text("Export", exact=True)).to_be_visible()
        expect(page.get_by_test_id("stMain")).to_have_text(re.compile(r"\w"))


def test_pool_text_is_shown_and_never_run_or_fetched(page, serve, tmp_path):
    hostile = "![x](http://127.0.0.1:9/beacon.png) <img src=http://127.0.0.1:9/b.png onerror=alert(1)> $x^2$ :red[hi]"
    rows = [{"instruction": hostile, "output": hostile, "category": hostile} for _ in range(3)]
    file = tmp_path / "hostile.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail(f"a script in the pool ran: {dialog.message}"))
    run_core("inspect", str(file), "--task", "category", "--workspace", str(tmp_path / "workspace"))
    with serve(tmp_path / "workspace", WINNOW_DATA_ROOTS=str(tmp_path)) as (address, _):
        page.goto(address)
        wait_until_idle(page)
        expect(page.get_by_text("hostile.jsonl").first).to_be_visible()
        expect(page.get_by_text("onerror=alert(1)").locator("visible=true").first).to_be_visible()
        for name in ("Measure", "Pool"):
            go_to(page, name)
    assert {url.split("/")[2] for url in requested if url.startswith("http")} == {address.removeprefix("http://")}
