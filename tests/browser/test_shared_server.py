"""A shared server in real browsers: each visitor by a signed cookie, or signed in with an OpenID Connect provider."""

import json
import re
import socket

import pytest
from playwright.sync_api import Browser, Page, expect
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

from core.pool.pools import load_pool
from tests.browser.idle import new_context, wait_until_idle
from tests.browser.oidc_provider import CLIENT_ID, CLIENT_SECRET, serve_provider
from tests.browser.test_journey import choose_pool, go_to
from tests.pages.conftest import entropy_shift_run

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
SHARED = ("--server.allowedHosts=127.0.0.1", "--server.allowedHosts=winnow.example.org")


@pytest.fixture
def workspace(workspace, tmp_path):
    """Return a workspace with a pool of an allowed folder, which is measured."""
    rows = [{"id": f"row-{i}", "prompt": f"Question {i}?", "completion": "so " * (i % 40 + 1)} for i in range(240)]
    file = tmp_path / "shared.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    entropy_shift_run(workspace, load_pool(str(file), workspace=workspace.root))
    return workspace


def new_visitor(chromium: Browser) -> Page:
    return new_context(chromium).new_page()


def open_app(page: Page, address: str) -> Page:
    page.goto(address)
    wait_until_idle(page)
    return page


def open_shared_pool(page: Page) -> None:
    choose_pool(page, "shared.jsonl")
    expect(page.get_by_role("heading", name="shared.jsonl")).to_be_visible()
    wait_until_idle(page)


def set_budget(page: Page, rows: int) -> None:
    go_to(page, "Select")
    slider = page.get_by_role("slider", name="Budget")
    slider.focus()
    slider.press("Home")
    wait_until_idle(page)
    for _ in range(rows):
        slider.press("ArrowRight")
    wait_until_idle(page)


def budget_of(page: Page) -> str:
    return re.search(r"budget=([^&]*)", page.url)[1]


def visitor_cookie(page: Page) -> dict:
    (cookie,) = (one for one in page.context.cookies() if one["name"].startswith("winnow_visitor_"))
    return cookie


def test_two_browsers_are_two_visitors_and_a_forged_cookie_is_a_third(chromium, serve, workspace):
    with serve(workspace.root, *SHARED, WINNOW_TOKEN="") as (address, _):
        a, b = (open_app(new_visitor(chromium), address) for _ in range(2))
        cookie = visitor_cookie(a)
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["secure"]) == (True, "Lax", False)
        assert visitor_cookie(b)["value"] != cookie["value"]
        assert cookie["value"] not in a.evaluate("document.cookie")
        for page, steps in ((a, 3), (b, 7)):
            expect(page.get_by_role("heading", name="Demo pool")).to_be_visible()
            open_shared_pool(page)
            set_budget(page, steps)
        assert budget_of(a) != budget_of(b)

        again = a.context.new_page()
        open_app(again, address)
        expect(again.get_by_role("heading", name="shared.jsonl")).to_be_visible()
        assert budget_of(again) == budget_of(a)

        again.context.clear_cookies()
        again.reload()  # the page is in the browser's cache
        wait_until_idle(again)
        expect(again.get_by_text("keeps no cookies")).to_have_count(0)
        assert visitor_cookie(again)["value"] != cookie["value"]

        forged = new_visitor(chromium)
        last = cookie["value"][-1]
        forged.context.add_cookies([cookie | {"value": cookie["value"][:-1] + ("1" if last == "0" else "0")}])
        open_app(forged, address)
        expect(forged.get_by_role("heading", name="Demo pool")).to_be_visible()
        assert visitor_cookie(forged)["value"].split(".")[0] != cookie["value"].split(".")[0]
        for page in (a, b, forged):
            page.context.close()


@pytest.fixture
def sign_in_options(tmp_path):
    """Run a provider; return the options of a server that signs people in with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with serve_provider(port) as issuer:
        secrets = {
            "redirect_uri": "http://127.0.0.1:{port}/oauth2callback",
            "cookie_secret": "a secret of the tests, long enough",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "server_metadata_url": f"{issuer}/.well-known/openid-configuration",
        }
        file = tmp_path / "secrets.toml"
        file.write_text("[auth]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in secrets.items()))
        yield [f"--secrets.files={file}"]


def sign_in(page: Page, address: str, name: str) -> Page:
    open_app(page, address)
    expect(page.locator("h1")).to_have_text("Sign in")
    expect(page.get_by_text("shared.jsonl")).to_have_count(0)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name=name).click()
    expect(page.get_by_test_id("stSidebar").get_by_text(name)).to_be_visible()
    wait_until_idle(page)
    return page


def test_people_who_sign_in_find_their_own_on_any_browser(chromium, serve, workspace, sign_in_options):
    with serve(workspace.root, *sign_in_options) as (address, _):
        ada, grace = (sign_in(new_visitor(chromium), address, name) for name in ("Ada", "Grace"))
        for page, steps in ((ada, 3), (grace, 7)):
            expect(page.get_by_role("heading", name="Demo pool")).to_be_visible()
            open_shared_pool(page)
            set_budget(page, steps)
        assert budget_of(ada) != budget_of(grace)
        assert not [one for one in ada.context.cookies() if one["name"].startswith("winnow_visitor_")]

        elsewhere = sign_in(new_visitor(chromium), address, "Ada")
        expect(elsewhere.get_by_role("heading", name="shared.jsonl")).to_be_visible()
        assert budget_of(elsewhere) == budget_of(ada)

        elsewhere.get_by_role("button", name="Sign out").click()
        expect(elsewhere.locator("h1")).to_have_text("Sign in")
        sign_in(elsewhere, address, "Grace")
        expect(elsewhere.get_by_role("heading", name="shared.jsonl")).to_be_visible()
        assert budget_of(elsewhere) == budget_of(grace)
        for page in (ada, grace, elsewhere):
            page.context.close()


def test_without_signing_in_no_page_shows_anything(page, serve, workspace, sign_in_options):
    with serve(workspace.root, *sign_in_options) as (address, _):
        page.context.add_cookies([{"name": USER_COOKIE_NAME, "value": forged_user(address), "url": address}])
        for name in ("", "measure", "explore", "compare", "select", "proof", "export", "?pool=x&budget=5"):
            open_app(page, f"{address}/{name}")
            expect(page.locator("h1")).to_have_text("Sign in")
            expect(page.get_by_test_id("stMain").get_by_text("row")).to_have_count(0)


def forged_user(address: str) -> str:
    """Return a cookie of Streamlit's login that another secret has signed."""
    claims = {"sub": "1001", "is_logged_in": True, "origin": address}
    return create_signed_value("another secret", USER_COOKIE_NAME, json.dumps(claims)).decode()
