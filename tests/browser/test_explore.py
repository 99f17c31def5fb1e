"""Explore in a real browser: clicks, ranges and lassos in its figures.

The runs are stored ones (tests.pages.conftest), so no model is needed.
"""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from core.pool.pools import load_pool
from core.workspace.folder import Workspace
from tests.browser.test_journey import wait_until_idle
from tests.pages.conftest import answer_divergence_run, entropy_shift_run, write_rows

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
FRAME = """(node) => {
    const { x, y, width, height } = node.querySelector('.nsewdrag').getBoundingClientRect();
    return [x, y, width, height];
}"""


@pytest.fixture(scope="module")
def explored(tmp_path_factory, serve):
    """Serve a pool measured by entropy shift and answer divergence; yield its address."""
    folder = tmp_path_factory.mktemp("explored")
    workspace = Workspace(folder / "workspace")
    pool = load_pool(str(write_rows(folder / "small.jsonl")), workspace=workspace.root)
    entropy_shift_run(workspace, pool)
    answer_divergence_run(workspace, pool)
    with serve(workspace.root) as (address, _):
        yield address


@pytest.fixture
def explore(page: Page, explored: str) -> Page:
    page.goto(f"{explored}/explore")
    wait_until_idle(page)
    return page


def open_section(page: Page, name: str) -> Locator:
    """Open a section; return its first figure when it is drawn."""
    page.get_by_test_id("stButtonGroup").first.get_by_text(name, exact=True).click()
    wait_until_idle(page)
    return first_figure(page)


def first_figure(page: Page) -> Locator:
    figure = page.get_by_test_id("stPlotlyChart").first
    expect(figure.locator(".nsewdrag").first).to_be_attached()
    figure.scroll_into_view_if_needed()
    return figure


def choose_gesture(page: Page, name: str) -> Locator:
    page.get_by_test_id("stButtonGroup").get_by_text(name, exact=True).first.click()
    wait_until_idle(page)
    return first_figure(page)


def click_mark(page: Page, figure: Locator, marks: str, number: int) -> None:
    """Click on the middle of one of the visible bars or dots of a figure."""
    middles = """(node, marks) => [...node.querySelectorAll(marks)].map((mark) => mark.getBoundingClientRect())
        .filter((box) => box.height > 2).map((box) => [box.x + box.width / 2, box.y + box.height / 2])"""
    x, y = figure.evaluate(middles, marks)[number]
    page.mouse.move(x - 3, y - 3)
    page.mouse.move(x, y, steps=3)
    page.wait_for_timeout(200)  # Plotly looks for what is under the mouse ten times a second at most
    page.mouse.click(x, y)
    wait_until_idle(page)


def drag(page: Page, figure: Locator, *places: tuple[float, float]) -> None:
    """Drag through places in a figure, each as shares of its width and height."""
    left, top, width, height = figure.evaluate(FRAME)
    (x, y), *others = [(left + width * x, top + height * y) for x, y in places]
    page.mouse.move(x, y)
    page.mouse.down()
    for x, y in others:
        page.mouse.move(x, y, steps=6)
    page.mouse.up()
    wait_until_idle(page)


def test_a_clicked_bar_lists_its_rows_and_another_click_those_of_another_bar(explore):
    figure, found = first_figure(explore), set()
    for bar in (4, 12):
        click_mark(explore, figure, ".bars .point path", bar)
        note = explore.get_by_text(re.compile(r"^\d+ rows? · ΔH .*\d"))
        expect(note).to_be_visible()
        found.add(note.inner_text())
    assert len(found) == 2


def test_bars_are_dragged_over_after_choosing_to(explore):
    drag(explore, choose_gesture(explore, "Range"), (0.3, 0.5), (0.6, 0.5))
    expect(explore.get_by_role("button", name=re.compile("Keep only"))).to_be_visible()
    assert explore.get_by_text(re.compile(r"^\d+ rows · ΔH .* to ")).count() == 1


@pytest.mark.parametrize("section", ["Entropy shift", "Answers"])
def test_a_clicked_dot_opens_its_row(explore, section):
    figure = open_section(explore, section)
    for dot in (5, 60):
        click_mark(explore, figure, ".scatterlayer .point", dot)
        expect(explore.get_by_text("1 row · the clicked row")).to_be_visible()
        expect(explore.get_by_text(re.compile(r"^Question \d+: what is")).last).to_be_visible()


def test_dots_inside_a_lasso_are_listed(explore):
    open_section(explore, "Entropy shift")
    figure = choose_gesture(explore, "Lasso")
    drag(explore, figure, (0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8), (0.2, 0.25))
    expect(explore.get_by_text(re.compile(r"^\d+ rows · inside the lasso"))).to_be_visible()


def test_the_first_histogram_needs_no_scrolling(explore):
    explore.set_viewport_size({"width": 1280, "height": 800})
    wait_until_idle(explore)
    box = explore.get_by_test_id("stPlotlyChart").first.bounding_box()
    assert box["y"] + box["height"] <= 800
