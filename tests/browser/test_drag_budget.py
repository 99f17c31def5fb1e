"""The budget dragged in a real browser: what it shows at each place is what the server selects there."""

import json
import re
from dataclasses import asdict

import pytest
from playwright.sync_api import Page, expect

from bench.drag import COUNT_UPDATES, hold_slider, move_to
from core.measurement.runs import Run
from core.methods import build_method
from core.pool.pools import load_pool
from core.schema import Pool, Reading
from core.selection.recipe import make_selection, parse_recipe
from core.selection.selection import Selection
from core.workspace.files import write_json
from pages.ui.charts.scales import format_number
from pages.ui.data import cached
from tests.browser.idle import wait_until_idle
from tests.pages.conftest import entropy_shift_run, write_rows

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
PINS = [{"id": "row-7", "side": "in", "reason": ""}, {"id": "row-8", "side": "out", "reason": ""}]
THRESHOLD = 0.15
ROWS = 1_500
SHOWN = """() => {
    const root = [...document.querySelectorAll("*")].find(e => e.shadowRoot?.querySelector("#budget")).shadowRoot;
    const panel = root.querySelector(".panel");
    return {
        amount: root.querySelector("output").textContent,
        facts: root.querySelector(".facts").textContent,
        open: !panel.hidden,
        tasks: [...panel.querySelectorAll(".lines > div")].map(line => line.lastChild.textContent),
        selected: panel.querySelector(".in").getAttribute("d"),
        cut: panel.querySelector(".plot > i").style.left,
    };
}"""


@pytest.fixture
def measured(workspace, tmp_path) -> tuple[Pool, Run]:
    """Return a measured pool with pins and a score limit, and its run."""
    pool = load_pool(str(write_rows(tmp_path / "small.jsonl", ROWS)), workspace=workspace.root)
    run = entropy_shift_run(workspace, pool)
    current = {"format": 1, "method": "entropy_shift", "params": {}, "reading": asdict(Reading()), "seed": 0}
    current |= {"budget": "10%", "threshold": THRESHOLD, "filters": [], "pins": PINS, "also": []}
    write_json(workspace.root / "selections" / pool.fingerprint / "current.json", current)
    return pool, run


def select(pool: Pool, run: Run, budget: str) -> Selection:
    recipe = {"pool": {"source": pool.source}, "method": {"name": "entropy_shift"}, "budget": budget}
    recipe |= {"pins": PINS, "threshold": THRESHOLD}
    return make_selection(parse_recipe(recipe, "test"), pool, cached.measurements(run))


def describe(run: Run, selection: Selection) -> str:
    """Return the line under the slider."""
    n, by_method = len(selection.rows), selection.rows[selection.n_pinned :]
    facts = f"{n:,} {'row' if n == 1 else 'rows'} · {selection.tokens:,} tokens"
    shifts = cached.scores(run, build_method("entropy_shift", {}))["delta_entropy"]
    return f"{facts} · cutoff {format_number(float(shifts[by_method[-1]]))}" if len(by_method) else facts


def shares(pool: Pool, selection: Selection) -> list[str]:
    codes = cached.tasks(pool)[1][selection.rows]
    values = [100 * (float((codes == task).sum()) / len(codes)) for task in range(3)]
    return [f"{value:.1f}%" if value else "0%" for value in values]


def verdict(page: Page) -> str:
    return page.locator("h3").first.inner_text()


def open_select(page: Page, address: str) -> None:
    page.goto(f"{address}/select")
    wait_until_idle(page)
    expect(page.get_by_role("slider", name="Budget")).to_have_attribute("aria-valuetext", re.compile("rows"))


def test_what_is_drawn_while_dragging_is_what_the_server_selects(page, serve, workspace, measured):
    pool, run = measured
    with serve(workspace.root) as (address, _):
        open_select(page, address)
        before = verdict(page)
        box = hold_slider(page)
        page.evaluate(COUNT_UPDATES)
        passed = set()
        for step in range(1, 41):
            move_to(page, box, step / 41)
            shown = page.evaluate(SHOWN)
            expected = select(pool, run, shown["amount"])
            passed.add(shown["amount"])
            assert shown["facts"] == describe(run, expected)
            assert shown["tasks"] == shares(pool, expected)
            assert shown["open"]
        assert verdict(page) == before  # the server was not asked
        assert len(passed) == 40
        assert page.evaluate("() => winnowUpdates.times.length") >= 40
        page.mouse.up()
        n = len(select(pool, run, shown["amount"]).rows)
        expect(page.locator("h3").first).to_have_text(re.compile(f"^{n:,} of 1,500 rows"))
        wait_until_idle(page)
        answered = page.evaluate(SHOWN)
        assert answered | {"open": True} == shown
        assert f"budget={shown['amount'].replace('%', '%25')}" in page.url
        expect(page.locator("[data-testid=stMetric]").filter(has_text="at the cutoff")).to_contain_text(
            shown["facts"].rpartition("cutoff ")[2]
        )
        expect(page.get_by_role("button", name=f"Undo: budget 10% → {shown['amount']}")).to_be_visible()


def test_keys_undo_and_another_unit_move_the_thumb(page, serve, workspace, measured):
    pool, run = measured
    with serve(workspace.root) as (address, _):
        open_select(page, address)
        slider = page.get_by_role("slider", name="Budget")
        slider.focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        assert page.evaluate(SHOWN)["amount"] == "10.3%"
        expect(page.locator("h3").first).to_have_text(re.compile("^154 of"))
        wait_until_idle(page)
        page.keyboard.press("ArrowRight")  # the slider still has the focus
        expect(page.locator("h3").first).to_have_text(re.compile("^156 of"))
        page.get_by_role("button", name="Undo: budget 10.3% → 10.4%").click()
        expect(page.get_by_role("button", name="Redo: budget 10.3% → 10.4%")).to_be_visible()
        wait_until_idle(page)  # the buttons are where they stay
        page.get_by_role("button", name="Undo: budget 10% → 10.3%").click()  # three keys were one step
        expect(slider).to_have_attribute("aria-valuetext", re.compile("^10%: 150 rows"))
        expect(slider).to_have_value("100")
        page.get_by_role("spinbutton", name="Exact budget").fill("33.33")
        page.keyboard.press("Enter")
        expect(slider).to_have_attribute("aria-valuetext", re.compile(r"^33\.33%: 499 rows"))
        page.get_by_role("combobox", name="Unit").click()
        page.get_by_role("option", name="Tokens").click()
        tokens = select(pool, run, "499").tokens
        expect(slider).to_have_attribute("aria-valuetext", re.compile(f"^{tokens:,}: 499 rows"))
        slider.focus()
        page.keyboard.press("End")
        assert page.evaluate(SHOWN)["open"]
        page.keyboard.press("Escape")
        assert not page.evaluate(SHOWN)["open"]
        everything = select(pool, run, "100%")
        expect(page.locator("h3").first).to_have_text(re.compile(f"^{len(everything.rows):,} of 1,500 rows"))
        expect(page).to_have_url(re.compile("budget=.*tok"))
        current = json.loads((workspace.root / "selections" / pool.fingerprint / "current.json").read_text())
        assert current["budget"].endswith("tok")


def test_a_click_without_a_move_and_a_move_back_change_nothing(page, serve, workspace, measured):
    with serve(workspace.root) as (address, _):
        open_select(page, address)
        before = verdict(page)
        hold_slider(page)
        page.mouse.up()
        wait_until_idle(page)
        box = hold_slider(page)
        move_to(page, box, 0.8)
        assert page.evaluate(SHOWN)["amount"] != "10%"
        move_to(page, box, 0.1)
        assert page.evaluate(SHOWN)["amount"] == "10%"
        page.mouse.up()
        wait_until_idle(page)
        assert verdict(page) == before
        assert page.get_by_role("button", name="Undo").count() == 0


def test_an_answer_during_the_next_drag_does_not_move_the_thumb(page, serve, workspace, measured):
    pool, run = measured
    with serve(workspace.root) as (address, _):
        open_select(page, address)
        box = hold_slider(page)
        move_to(page, box, 0.3)
        first = page.evaluate(SHOWN)["amount"]
        page.mouse.up()
        hold_slider(page)
        move_to(page, box, 0.2)
        second = page.evaluate(SHOWN)
        n = len(select(pool, run, first).rows)
        expect(page.locator("h3").first).to_have_text(re.compile(f"^{n:,} of 1,500 rows"))
        wait_until_idle(page)
        assert page.evaluate(SHOWN) == second
        page.mouse.up()
        n = len(select(pool, run, second["amount"]).rows)
        expect(page.locator("h3").first).to_have_text(re.compile(f"^{n:,} of 1,500 rows"))
        wait_until_idle(page)
        assert page.evaluate(SHOWN)["facts"] == second["facts"]
