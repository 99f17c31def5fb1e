"""The copied link opens the same view for another visitor, also where the browser has no clipboard of its own."""

import pytest
from playwright.sync_api import Browser, Page, expect

from core.pool.pools import load_pool
from core.workspace.folder import Workspace
from tests.browser.idle import new_context, wait_until_idle
from tests.pages.conftest import entropy_shift_run, write_rows

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', { value: undefined })"  # as without encryption


@pytest.fixture(scope="module")
def address(tmp_path_factory, serve):
    folder = tmp_path_factory.mktemp("linked")
    workspace = Workspace(folder / "workspace")
    pool = load_pool(str(write_rows(folder / "small.jsonl")), workspace=workspace.root)
    entropy_shift_run(workspace, pool)
    with serve(workspace.root) as (address, _):
        yield address


def show(page: Page, address: str) -> None:
    """Show another section than the first, and highlight the rows with a word."""
    page.goto(f"{address}/explore")
    wait_until_idle(page)
    page.get_by_role("radio", name="Entropy shift").click()
    expect(page.get_by_role("heading", name="of selected rows expand")).to_be_visible()
    search = page.get_by_placeholder("Search rows")
    search.fill("Question 7")
    search.press("Enter")
    wait_until_idle(page)


def copy(page: Page) -> str:
    """Press the button; return what is pasted then."""
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Link copied")).to_be_visible()
    search = page.get_by_placeholder("Search rows")
    search.fill("")
    search.press("Control+V")
    return search.input_value()


@pytest.mark.parametrize("script", ["", NO_CLIPBOARD], ids=["clipboard", "none"])
def test_another_visitor_sees_the_same_view(chromium: Browser, address, script):
    context = new_context(chromium)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.add_init_script(script)
    page = context.new_page()
    show(page, address)
    shown = page.get_by_role("heading", name="of selected rows expand").inner_text()
    link = copy(page)
    assert link == page.url and "section=Entropy+shift" in link
    context.close()

    other = new_context(chromium)  # without the cookie of the first
    page = other.new_page()
    page.goto(link)
    wait_until_idle(page)
    expect(page.get_by_role("heading", name="of selected rows expand")).to_have_text(shown)
    expect(page.get_by_text("Question 7").first).to_be_visible()
    other.close()
