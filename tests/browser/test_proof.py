"""A real proof by clicks, on the demo workspace with the embedded model: plan, start, curves, verdict, rows."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.idle import wait_until_idle
from tests.browser.test_journey import go_to

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
FAST = {"Seeds": "3", "Steps": "2", "Epochs": "0", "Tokens per step": "256", "Held-out rows": "40"}
PATIENCE_MS = 240_000  # for training on a loaded machine


def fill(page: Page, label: str, value: str) -> None:
    box = page.get_by_label(label, exact=True).first
    box.fill(value)
    box.press("Enter")
    wait_until_idle(page)


def test_a_proof_from_its_plan_to_the_rows_that_differ_most(page, serve, tmp_path):
    with serve(tmp_path / "workspace") as (address, _):
        page.goto(address)
        wait_until_idle(page)
        go_to(page, "Proof")
        for name in ("Task confidence", "Preference influence", "Answer divergence", "Activation coverage"):
            page.get_by_test_id("stButtonGroup").get_by_text(name, exact=True).click()
            wait_until_idle(page)
        for label, value in FAST.items():
            fill(page, label, value)
        fill(page, "Learning rates", "1e-3")
        expect(page.get_by_text("9 training runs")).to_be_visible()

        page.get_by_role("button", name="Plan and cost").click()
        expect(page.get_by_role("button", name="Start the proof")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text("Estimated time")).to_be_visible()
        page.get_by_role("button", name="Start the proof").click()

        expect(page.get_by_role("button", name="Cancel")).to_be_visible()
        expect(page.get_by_text(re.compile(r"\d+ of 10 training runs finished"))).to_be_visible(timeout=PATIENCE_MS)
        page.reload()  # the job does not belong to the page
        verdict = page.get_by_role("heading", name=re.compile("^Indication from 3 seeds"))
        expect(verdict).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_role("heading", name="Rows where two arms differ most")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_role("figure", name="NLL of every arm, by task")).to_be_visible()
        expect(page.get_by_role("figure", name="Training loss by step and arm")).to_be_visible()
        check_rows(page)
        check_other_pages(page)


def check_rows(page: Page) -> None:
    """Open a row of the arm that is better on more rows: it is a held-out row of the pool, so the reader has it."""
    rows = page.get_by_text(re.compile("^[0-9]+ rows?, the largest difference first"))
    if int(rows.inner_text().split()[0]) < 2:
        page.get_by_test_id("stButtonGroup").get_by_text(re.compile("^Random is better$")).click()
        wait_until_idle(page)
    page.locator(".st-key-proof-rows .dvn-scroller").first.click(position={"x": 40, "y": 90})
    reader = page.locator(".st-key-dock")
    expect(reader).to_contain_text(re.compile(r"2 of \d+"))
    expect(reader).to_contain_text(re.compile(r"user · \d+ characters"))
    page.keyboard.press("Escape")
    expect(reader).to_have_count(0)
    wait_until_idle(page)


def check_other_pages(page: Page) -> None:
    """Find the verdict on the road and on Export, and go back to the proof."""
    go_to(page, "Pool")
    expect(page.locator(".st-key-road")).to_contain_text("indication: ")
    go_to(page, "Export")
    line = page.locator(".st-key-proof-line")
    expect(line).to_have_text(re.compile("Proof: indication: .* on held-out rows .*3 seeds"))
    line.get_by_role("button").click()
    expect(page.get_by_role("heading", name=re.compile("^Indication from 3 seeds"))).to_be_visible()
