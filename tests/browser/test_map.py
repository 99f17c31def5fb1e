"""The map in a real browser: scale, lasso, clicks, hover, names of clusters, and more rows after a zoom."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Locator, Page, expect

from core.analysis import maps
from core.measurement.runs import Run
from core.pool.pools import load_pool
from core.schema import Pool, Reading
from core.workspace.folder import Workspace
from core.workspace.parts import Parts
from tests.browser.idle import wait_until, wait_until_idle
from tests.pages.conftest import entropy_shift_run, write_rows

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
CORNERS = np.float32([[0, 0], [30, 0], [0, 10], [30, 10]])  # of the map: three times as wide as it is high
HOSTILE = "<img src=x onerror=alert(1)> & <b>bold</b>"
LARGE = 50_600  # rows: more than dots are sent at once
# frame of the pixels that are nearly opaque, which only dots of selected or highlighted rows are
DOTS = """(canvas) => {
    const { width, height, clientWidth } = canvas, at = width / clientWidth;
    const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
    let [left, right, top, bottom] = [width, 0, height, 0];
    for (let k = 3; k < data.length; k += 4)
        if (data[k] > 200) {
            const pixel = (k - 3) / 4, x = pixel % width, y = Math.floor(pixel / width);
            [left, right] = [Math.min(left, x), Math.max(right, x)];
            [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
        }
    return [left, right + 1, top, bottom + 1].map((value) => value / at);
}"""
MARKED = """(canvas) => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
    .filter((value, k) => k % 4 === 3 && value > 0).length"""


def write_pool(file: Path, rows: int) -> Path:
    """Write rows; the first has a prompt with markup."""
    write_rows(file, rows)
    first, rest = file.read_text().split("\n", 1)
    file.write_text(json.dumps(json.loads(first) | {"instruction": HOSTILE}) + "\n" + rest)
    return file


def store_map(workspace: Workspace, pool: Pool, run: Run) -> None:
    """Store a map on which row k lies at corner k mod 4, give or take a little."""
    random, corner = np.random.default_rng(0), np.arange(len(pool)) % 4
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(random.normal(size=4 * len(pool)).astype(np.float16)), 4)
    parts = Parts.open(run.stage_folder("base"), {}, [np.arange(len(pool))])
    parts.write(0, pa.table(dict.fromkeys(maps.COLUMNS.values(), vectors)))
    source = maps.need_source(workspace, pool, Reading(**run.reading), "prompt")
    layout = CORNERS[corner] + random.uniform(-0.05, 0.05, (len(pool), 2))
    np.save(maps.make_map(workspace, source, "pca", 0) / "umap.npy", layout.astype(np.float32))


@pytest.fixture(scope="module")
def address(tmp_path_factory, serve):
    """Serve a small pool with a map."""
    folder = tmp_path_factory.mktemp("mapped")
    workspace = Workspace(folder / "workspace")
    pool = load_pool(str(write_pool(folder / "small.jsonl", 240)), workspace=workspace.root)
    store_map(workspace, pool, entropy_shift_run(workspace, pool, dtype="float32"))
    with serve(workspace.root) as (at, _):
        yield at


def open_map(page: Page, address: str, width: int = 1280, **query: str) -> Locator:
    """Open the map without a highlight; return its plot when the dots are drawn."""
    page.set_viewport_size({"width": width, "height": 1100})
    page.goto(f"{address}/explore?" + "&".join(f"{name}={value}" for name, value in query.items()))
    wait_until_idle(page)
    page.get_by_test_id("stButtonGroup").get_by_text("Map", exact=True).first.click()
    plot = page.locator(".map > .plot[data-ready]")
    plot.wait_for()
    wait_until_idle(page)
    if page.get_by_role("button", name="Clear", exact=True).count():
        act(page, plot, lambda: page.get_by_role("button", name="Clear", exact=True).click())
    plot.scroll_into_view_if_needed()
    wait_until(page, lambda: frame(plot)[0] < frame(plot)[1])
    page.wait_for_timeout(300)
    return plot


def act(page: Page, plot: Locator, do) -> None:
    """Do something that the server answers with another figure, and wait until it is drawn."""
    before = plot.get_attribute("data-ready")
    do()
    expect(plot).not_to_have_attribute("data-ready", str(before))
    wait_until_idle(page)


def frame(plot: Locator) -> list[float]:
    return plot.locator(".dots").evaluate(DOTS)


def corner_at(plot: Locator, number: int) -> tuple[float, float]:
    """Return where a corner of the map is on the page."""
    box, (left, right, top, bottom) = plot.bounding_box(), frame(plot)
    x, y = CORNERS[number] > 0
    return box["x"] + (right - 3 if x else left + 3), box["y"] + (top + 3 if y else bottom - 3)


def lasso(page: Page, x: float, y: float, reach: float = 30) -> None:
    page.mouse.move(x - reach, y - reach)
    page.mouse.down()
    for dx, dy in ((1, -1), (1, 1), (-1, 1), (-1, -0.9)):
        page.mouse.move(x + dx * reach, y + dy * reach, steps=5)
    page.mouse.up()


@pytest.mark.parametrize(("width", "query"), [(390, {}), (1280, {}), (1920, {}), (1280, {"row": "row-3"})])
def test_the_map_is_true_to_scale(page, address, width, query):
    plot = open_map(page, address, width, **query)
    left, right, top, bottom = frame(plot)
    dot = 2 * 2.3  # width of one dot, at both ends together
    assert (right - left - dot) / (bottom - top - dot) == pytest.approx(30.1 / 10.1, rel=0.03)
    box = plot.bounding_box()
    assert right - left > 0.85 * box["width"] and box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if query:
        assert box["width"] < 0.55 * width  # half of the page is the reader


def test_a_lasso_highlights_the_rows_inside_it_and_lists_them(page, address):
    plot = open_map(page, address)
    x, y = corner_at(plot, 1)
    act(page, plot, lambda: lasso(page, x, y))
    expect(page.get_by_text(re.compile("^60 rows highlighted"))).to_be_visible()
    expect(page.locator(".map .heading")).to_have_text("60 highlighted")
    assert page.locator(".map .list button").count() == 60
    assert all(
        int(re.findall(r"\d+", text)[0]) % 4 == 1 for text in page.locator(".map .list").inner_text().split("\n")
    )
    page.reload()
    plot.wait_for()
    expect(page.get_by_text(re.compile("^60 rows highlighted"))).to_be_visible()


def test_a_dot_shows_its_words_as_text_and_opens_its_row(page, address):
    plot = open_map(page, address)
    page.on("dialog", lambda dialog: pytest.fail(f"text of the pool ran: {dialog.message}"))
    x, y = corner_at(plot, 2)
    page.mouse.move(x, y, steps=3)
    expect(page.locator(".map .tip")).to_have_text(re.compile(r"^Question \d+: what is"))
    shown = page.locator(".map .tip").inner_text().split("\n")[0]
    act(page, plot, lambda: page.mouse.click(x, y))
    expect(page).to_have_url(re.compile(r"row=row-\d*"))
    number = re.findall(r"\d+", shown)[0]
    expect(page.locator(".st-key-dock").get_by_text(f"Question {number}: what is").first).to_be_visible()
    assert plot.locator(".marks").evaluate(MARKED) > 50  # the ring around the open row


def test_markup_in_a_prompt_is_text_on_the_map(page, address):
    plot = open_map(page, address)
    box = page.get_by_placeholder("Search rows")
    box.fill("onerror")
    act(page, plot, lambda: box.press("Enter"))
    expect(page.locator(".map .list button")).to_have_text(HOSTILE)
    assert page.locator(".map img").count() == 0 and page.locator(".map b").count() == 0


def test_list_and_dots_are_linked_by_the_mouse(page, address):
    plot = open_map(page, address)
    x, y = corner_at(plot, 3)
    act(page, plot, lambda: lasso(page, x, y))
    plot.locator(".marks").evaluate("canvas => canvas.getContext('2d').clearRect(0, 0, 9999, 9999)")
    page.locator(".map .list button").nth(5).hover()
    assert plot.locator(".marks").evaluate(MARKED) > 50  # a ring around its dot, and the lasso
    page.mouse.move(*corner_at(plot, 3), steps=3)  # the list has taken some of the width
    row = page.locator(".map .list button.on")
    expect(row).to_have_count(1)
    assert row.inner_text() == page.locator(".map .tip").inner_text().split("\n")[0]


def test_the_ring_follows_the_reader(page, address):
    plot = open_map(page, address)
    act(page, plot, lambda: lasso(page, *corner_at(plot, 1)))
    act(page, plot, lambda: page.locator(".map .list button").first.click())
    first = page.url
    act(page, plot, lambda: page.keyboard.press("j"))
    assert page.url != first
    act(page, plot, lambda: page.keyboard.press("k"))
    assert page.url == first


def test_the_name_of_a_cluster_highlights_its_rows(page, address):
    plot = open_map(page, address)
    names = plot.locator(".labels button:visible")
    assert 1 <= names.count() <= 4
    boxes = [name.bounding_box() for name in names.all()]
    for k, one in enumerate(boxes):
        for other in boxes[:k]:
            apart_x = abs(one["x"] - other["x"]) >= min(one["width"], other["width"]) - 1
            assert apart_x or abs(one["y"] - other["y"]) >= one["height"] - 1
    words = names.first.inner_text()
    act(page, plot, lambda: names.first.click())
    expect(page.get_by_role("button", name=f"cluster: {words}")).to_be_visible()
    expect(page.get_by_text(re.compile("^[56]. rows highlighted"))).to_be_visible()


def test_the_keyboard_and_the_buttons_zoom(page, address):
    plot = open_map(page, address)
    whole = frame(plot)
    plot.get_by_role("button", name="Zoom in").click()
    wait_until(page, lambda: frame(plot) != whole)
    plot.get_by_role("button", name="Whole map").click()
    wait_until(page, lambda: frame(plot) == whole)
    plot.locator(".dots").focus()
    page.keyboard.press("+")
    wait_until(page, lambda: frame(plot) != whole)
    page.keyboard.press("0")
    wait_until(page, lambda: frame(plot) == whole)


def test_a_zoom_into_a_large_pool_shows_all_rows_in_view(page, tmp_path, serve):
    workspace = Workspace(tmp_path / "workspace")
    pool = load_pool(str(write_rows(tmp_path / "large.jsonl", LARGE)), workspace=workspace.root)
    store_map(workspace, pool, entropy_shift_run(workspace, pool, dtype="float32"))
    with serve(workspace.root) as (address, _):
        plot = open_map(page, address)
        expect(page.get_by_text(f"50,000 of {LARGE:,} rows shown over the density")).to_be_visible()
        x, y = corner_at(plot, 0)
        page.mouse.move(x, y)
        act(page, plot, lambda: [page.mouse.wheel(0, -400) for _ in range(3)])
        expect(page.get_by_text("all rows in view")).to_be_visible()
        box = plot.bounding_box()
        page.mouse.move(box["x"] + 5, box["y"] + 60)
        act(page, plot, lambda: plot.get_by_role("button", name="Whole map").click())
        expect(page.get_by_text(f"50,000 of {LARGE:,} rows shown over the density")).to_be_visible()
