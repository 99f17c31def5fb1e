"""Every page of the app in a real browser, on a small pool that is measured for all methods."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from core.demo.pool import clean_rows
from core.pool.pools import load_pool
from core.schema import Reading
from core.workspace.files import write_json
from tests.browser.contrast import faint_texts
from tests.browser.idle import new_context, wait_until_idle
from tests.browser.test_journey import download_file, go_to, run_core

ROWS = 120
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
QUICK_PARAMS: dict[str, dict[str, Any]] = {  # cheap settings for each measurement
    "entropy_shift": {"epochs": 1},
    "task_confidence": {"prompts_per_task": 4, "new_tokens": 4},
    "answer_divergence": {"answers": 2, "max_new_tokens": 6},
    "preference_influence": {"epochs": 1, "warmup": 0.2, "pairs": 4, "subtask": "fault"},
}
SECTIONS = ("Score", "Entropy shift", "Coverage", "Tasks", "Influence", "Answers", "Map")


@pytest.fixture(scope="module")
def measured_workspace(tmp_path_factory) -> tuple[Path, str]:
    """Measure every 19th clean row of the demo for every method; return the workspace and the pool's fingerprint."""
    folder = tmp_path_factory.mktemp("every")
    file, workspace = folder / "small.jsonl", folder / "workspace"
    rows = clean_rows(0)[::19][:ROWS]
    file.write_text("".join(json.dumps({"id": f"row-{i}"} | row) + "\n" for i, row in enumerate(rows)))
    settings = [f"{method}.{name}={value}" for method, params in QUICK_PARAMS.items() for name, value in params.items()]
    settings = [setting.removeprefix("entropy_shift.") for setting in settings]
    options = [part for setting in settings for part in ("--set", setting)]
    run_core("measure", str(file), "--also", "all", *options, "--workspace", str(workspace))
    run_core("duplicates", str(file), "--workspace", str(workspace))
    pool = load_pool(str(file), workspace=workspace)
    current = {"format": 1, "method": "entropy_shift", "params": QUICK_PARAMS, "reading": asdict(Reading())}
    current |= {"seed": 0, "budget": "25%", "threshold": None, "filters": [], "pins": [], "also": []}
    write_json(workspace / "selections" / pool.fingerprint / "current.json", current)
    return workspace, pool.fingerprint


def press(page: Page, name: str | re.Pattern[str]) -> None:
    page.get_by_role("button", name=name).first.click()
    wait_until_idle(page)


def choose(page: Page, name: str | re.Pattern[str]) -> None:
    page.get_by_test_id("stButtonGroup").get_by_text(name).first.click()
    wait_until_idle(page)


def open_first_row(page: Page) -> None:
    page.keyboard.press("j")
    expect(page.locator(".st-key-dock")).to_be_visible()
    wait_until_idle(page)


def expect_chart(page: Page) -> None:
    expect(page.locator("[data-testid=stPlotlyChart], .map > .plot[data-ready]").first).to_be_visible()


@pytest.mark.soak  # a minute and a half; other browser tests open every page with the methods of the demo
def test_every_method_on_every_page(page, serve, measured_workspace, tmp_path):
    workspace, _ = measured_workspace
    with serve(workspace) as (address, _process):
        page.goto(address)
        expect(page.get_by_role("heading", name="small.jsonl")).to_be_visible()
        expect(page.get_by_role("img", name="Lengths in characters")).to_be_visible()

        go_to(page, "Measure")
        expect(page.get_by_role("button", name="See the scores")).to_be_visible()

        go_to(page, "Explore")
        verdicts = set()
        for section in SECTIONS:
            page.get_by_test_id("stButtonGroup").first.get_by_text(section, exact=True).click()
            wait_until_idle(page)
            expect_chart(page)
            verdicts.add(page.get_by_test_id("stMain").locator("h3").first.inner_text())
        assert len(verdicts) == len(SECTIONS)  # every section has a verdict of its own

        check_map_lasso(page)
        check_compare(page)
        check_select(page)
        check_export(page, workspace, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_text_of_every_page_is_legible(chromium, serve, measured_workspace, theme):
    workspace, _ = measured_workspace
    viewport = {"width": 1280, "height": 4000}  # no part is scrolled
    page = new_context(chromium, viewport=viewport, color_scheme=theme).new_page()
    found = {}

    def look(name: str) -> None:
        page.mouse.move(2, 2)  # nothing is hovered over
        wait_until_idle(page)
        page.wait_for_timeout(1000)  # charts fade in
        found[name] = faint_texts(page)

    with serve(workspace) as (address, _process):
        page.goto(address)
        look("Pool")
        assert page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).colorScheme") == theme
        for name in ("Measure", "Compare", "Proof", "Export", "Select"):
            go_to(page, name)
            look(name)
        choose(page, re.compile("^Top ranked"))
        open_first_row(page)
        for part in ("Scores", "Tokens", "Ranks", "Similar", "Answers"):
            choose(page, re.compile(f"^{part}$"))
            look(f"Select, {part}")
        go_to(page, "Explore")
        for section in SECTIONS:
            page.get_by_test_id("stButtonGroup").first.get_by_text(section, exact=True).click()
            look(f"Explore, {section}")
    page.context.close()
    assert {name: texts for name, texts in found.items() if texts} == {}


def check_map_lasso(page: Page) -> None:
    """Draw a box around the middle of the map and compare the rows inside it."""
    box = page.locator(".map > .plot").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 140, y - 140)
    page.mouse.down()
    for x_to, y_to in ((x + 140, y - 140), (x + 140, y + 140), (x - 140, y + 140), (x - 140, y - 130)):
        page.mouse.move(x_to, y_to, steps=6)
    page.mouse.up()
    wait_until_idle(page)
    expect(page.get_by_text(re.compile(r"rows? highlighted, ")).first).to_be_visible()
    page.get_by_text("Compare the highlighted rows with the others").click()
    wait_until_idle(page)
    expect(page.get_by_text("with the largest difference").first).to_be_visible()
    press(page, re.compile("Clear$"))


def check_compare(page: Page) -> None:
    """Open every tab; combine two methods."""
    go_to(page, "Compare")
    expect(page.locator("h3").first).to_have_text(re.compile("^At 25%"))
    expect_chart(page)
    for tab, shown in (
        ("Make-up", "Composition"),
        ("Rows", "Disagreements of Entropy shift"),
        ("Agreement", "Rank correlation"),
    ):
        page.get_by_role("tab", name=tab).click()
        wait_until_idle(page)
        expect(page.get_by_role("tabpanel").filter(visible=True)).to_contain_text(shown)
    press(page, "Combine methods on Select")
    expect(page.get_by_role("heading", name="Select", exact=True)).to_be_visible()
    for method in ("Entropy shift", "Activation coverage"):
        choose(page, method)
    expect(page.get_by_test_id("stSidebar").get_by_text("Combination")).to_be_visible()


def check_select(page: Page) -> None:
    """Open a row, and save the selection under a name."""
    go_to(page, "Select")
    expect(page.locator("h3").first).to_have_text(re.compile("^30 of 120 rows"))
    choose(page, re.compile("^Top ranked"))
    open_first_row(page)
    for part in ("Ranks", "Scores"):
        choose(page, re.compile(f"^{part}$"))
        expect(page.get_by_text("Task confidence").last).to_be_visible()
    press(page, "Saved selections")
    page.get_by_role("textbox", name="Save the current selection as").fill("a mixture")
    page.get_by_role("textbox", name="Save the current selection as").press("Enter")
    press(page, re.compile("Save$"))
    page.wait_for_url(re.compile("saved=a"))
    page.keyboard.press("Escape")


def check_export(page: Page, workspace: Path, folder: Path) -> None:
    """Export with a validation split; reproduce the files on the command line and from the manifest."""
    go_to(page, "Export")
    slider = page.get_by_role("slider", name="Validation split")
    for _ in range(10):
        slider.press("ArrowRight")
    wait_until_idle(page)
    press(page, re.compile(r"Write \d+ rows"))
    chosen, held_out = download_file(page, "chosen.jsonl", folder), download_file(page, "chosen.heldout.jsonl", folder)
    recipe, manifest = (download_file(page, f"chosen.{kind}", folder) for kind in ("recipe.yaml", "manifest.json"))
    train, test = ([json.loads(line)["id"] for line in file.read_text().splitlines()] for file in (chosen, held_out))
    assert (len(train), len(test), len({*train, *test})) == (27, 3, 30)
    run_core("run", str(recipe), "--out", str(folder / "headless.jsonl"), "--workspace", str(workspace))
    run_core("replay", str(manifest), "--out", str(folder / "again.jsonl"), "--workspace", str(workspace))
    for name in ("headless", "again"):
        assert (folder / f"{name}.jsonl").read_bytes() == chosen.read_bytes()
        assert (folder / f"{name}.heldout.jsonl").read_bytes() == held_out.read_bytes()
