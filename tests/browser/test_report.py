"""A saved report in a real browser: text of a pool stays text, and nothing is run or fetched.

The pool's texts try all that they can: tags, handlers, styles, markdown images, marks that turn the direction of text.
"""

import pytest
from playwright.sync_api import Browser, expect

from core.output.report.write import write_report
from core.pool.pools import load_pool
from core.selection.recipe import parse_recipe
from core.workspace.folder import Workspace
from tests.browser.test_map import store_map
from tests.core.output.report.test_write import HOSTILE, write_pool
from tests.pages.conftest import entropy_shift_run

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Write the report of a hostile pool with a map."""
    folder = tmp_path_factory.mktemp("report")
    texts = {"prompt": HOSTILE, "response": HOSTILE, "task": HOSTILE}
    rows = [{"id": f"\u202e{k}{HOSTILE}"} | texts for k in range(40)]
    rows += [{"id": f"b{k}", "prompt": f"b{k}", "response": "c", "task": "plain"} for k in range(40)]
    source = write_pool(folder / "rows<img src=x onerror=alert(1)>.jsonl", rows)
    workspace = Workspace(folder / "workspace")
    pool = load_pool(str(source), workspace=workspace.root)
    run = entropy_shift_run(workspace, pool, dtype="float32")
    store_map(workspace, pool, run)
    filters = [{"column": "prompt", "contains": "</pre><script>", "exclude": True}]
    part = {"source": pool.source, "fingerprint": pool.fingerprint}
    recipe = parse_recipe({"pool": part, "method": {"name": "longest"}, "filters": filters}, "test")
    write_report(recipe, pool, run, folder / "report.html")
    return folder / "report.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_run_or_fetched_and_the_page_fits(chromium: Browser, report, scheme, width):
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, requests, noise = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: noise.append(message.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("dialog", lambda dialog: noise.append(dialog.message) or dialog.dismiss())
    page.goto(report.as_uri())
    page.wait_for_load_state("networkidle")
    page.mouse.wheel(0, 50_000)
    page.wait_for_timeout(300)
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert noise == []
    assert page.title().startswith("8 of 80 rows selected from rows<img")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("[...document.images].map((image) => image.naturalWidth > 0)") == [True]
    expect(page.locator("article pre").first).to_contain_text('<script>document.title="ran"</script>')
    context.close()


def test_a_mark_that_turns_text_turns_no_other(chromium: Browser, report):
    page = chromium.new_page()
    page.goto(report.as_uri())
    first = page.locator("article header bdi").first
    assert "\u202e" in first.inner_text()
    assert first.evaluate("(node) => getComputedStyle(node).unicodeBidi") == "isolate"
    page.close()
