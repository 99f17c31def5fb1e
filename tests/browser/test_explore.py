"""Explore in a real browser: clicks, ranges and lassos in its figures.

The runs are stored ones (tests.pages.conftest), so no model is needed.
"""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from core.pool.pools import load_pool
from core.workspace.folder import Workspace
from pages.ui.theme import HIGHLIGHT
from tests.browser.idle import wait_until_idle
from tests.pages.conftest import answer_divergence_run, entropy_shift_run, write_rows

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
LIT = "rgb({}, {}, {})".format(*(int(HIGHLIGHT[i : i + 2], 16) for i in (1, 3, 5)))
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
    """Open the page without a highlight, which is stored for all visitors of this server."""
    page.goto(f"{explored}/explore")
    wait_until_idle(page)
    expect(page.locator(".st-key-bar").get_by_text("Budget").first).to_be_visible()
    if clear_button(page).count():
        clear_button(page).click()
        expect(clear_button(page)).to_have_count(0)
        wait_until_idle(page)
    return page


def clear_button(page: Page) -> Locator:
    return page.locator(".st-key-bar").get_by_role("button", name="Clear", exact=True)


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
    """Click on the middle of one of the visible bars or dots of a figure; −1 is the last, drawn over the others."""
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


def count_highlighted(page: Page) -> int:
    """Return how many rows are highlighted, as the bar of the page tells."""
    told = page.locator(".st-key-bar").get_by_text(re.compile(r"^\D*[\d,]+ rows? highlighted"))
    expect(told).to_be_visible()
    return int(re.search(r"[\d,]+", told.inner_text())[0].replace(",", ""))


def lit_dots(figure: Locator) -> Locator:
    """Return the dots of a figure in the colour of the highlight."""
    return figure.locator(f".scatterlayer .point[style*='{LIT}']")


def test_a_clicked_bar_highlights_its_rows_and_another_click_those_of_another_bar(explore):
    found = set()
    for bar in (4, 12):
        click_mark(explore, first_figure(explore), ".bars .point path", bar)
        expect(explore.get_by_text(re.compile(r"^\d+ rows? highlighted, lowest ΔH first"))).to_be_visible()
        found.add(explore.locator(".st-key-highlight-term-0").inner_text())
    assert len(found) == 2 and all(" to " in words for words in found)


def test_bars_are_dragged_over_after_choosing_to(explore):
    drag(explore, choose_gesture(explore, "Range"), (0.3, 0.5), (0.6, 0.5))
    count = count_highlighted(explore)
    assert count > 10
    figure = choose_gesture(explore, "Click")
    assert figure.get_by_text("highlighted").count() == 1  # in its legend
    click_mark(explore, figure, ".bars .point path", -1)  # the last one that is lit
    assert 0 < count_highlighted(explore) < count


@pytest.mark.parametrize(("section", "dots"), [("Entropy shift", (5, 60)), ("Answers", (5,))])
def test_a_clicked_dot_opens_its_row_in_the_reader(explore, section, dots):
    figure = open_section(explore, section)
    opened = set()
    for dot in dots:
        click_mark(explore, figure, ".scatterlayer .point", dot)
        row = explore.locator(".st-key-dock").get_by_text(re.compile(r"^Question \d+: what is")).last
        expect(row).to_be_visible()
        opened.add(row.inner_text())
        figure = first_figure(explore)  # which the reader has made narrower
    assert len(opened) == len(dots)
    assert explore.get_by_text("rows highlighted").count() == 0
    widths = [chart.bounding_box()["width"] for chart in explore.get_by_test_id("stPlotlyChart").all()]
    assert min(widths) > 350 and max(widths) < 500  # below each other


def test_a_lasso_lights_its_rows_in_every_figure_and_section_and_after_a_reload(explore):
    open_section(explore, "Entropy shift")
    figure = choose_gesture(explore, "Lasso")
    drag(explore, figure, (0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8), (0.2, 0.25))
    count = count_highlighted(explore)
    plane, bars = (explore.get_by_test_id("stPlotlyChart").nth(k) for k in (0, 1))
    assert count > 10
    expect(lit_dots(plane)).to_have_count(count)
    expect(lit_dots(bars)).to_have_count(3)
    explore.reload()
    wait_until_idle(explore)
    open_section(explore, "Answers")
    assert count_highlighted(explore) == count
    expect(lit_dots(first_figure(explore))).not_to_have_count(0)


def test_a_bar_of_one_figure_lights_dots_of_the_other(explore):
    open_section(explore, "Entropy shift")
    plane, bars = (explore.get_by_test_id("stPlotlyChart").nth(k) for k in (0, 1))
    expect(lit_dots(plane)).to_have_count(0)
    click_mark(explore, bars, ".bars .point path", 1)
    count = count_highlighted(explore)
    assert count < 80
    expect(lit_dots(plane)).to_have_count(count)
    clear_button(explore).click()
    expect(lit_dots(plane)).to_have_count(0)
    expect(explore.get_by_text("rows highlighted")).to_have_count(0)


def test_the_first_histogram_needs_no_scrolling(explore):
    explore.set_viewport_size({"width": 1280, "height": 800})
    wait_until_idle(explore)
    box = explore.get_by_test_id("stPlotlyChart").first.bounding_box()
    assert box["y"] + box["height"] <= 800
