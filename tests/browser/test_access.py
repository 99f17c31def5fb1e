"""Who may talk to the app's own server, asked over real connections; and no link in what pools say."""

import http.client
import json
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from core.pool.pools import load_pool
from tests.browser.idle import wait_until_idle

TOKEN = "a-token-of-twenty-four-chars"
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


def status(address: str, path: str = "/", **headers: str) -> int:
    """Send one GET request with exactly these headers; return the status (101: a WebSocket was opened)."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.putrequest("GET", path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def websocket(address: str, origin: str, **headers: str) -> int:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    key = {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec_WebSocket_Protocol": "streamlit"}
    return status(address, "/_stcore/stream", Origin=origin, **upgrade, **key, **headers)


def test_only_this_servers_own_pages_drive_it(serve, tmp_path):
    with serve(tmp_path) as (address, _process):
        assert websocket(address, address) == 101
        for origin in ("http://127.0.0.1:9999", "http://localhost:3000", address.replace("127.0.0.1", "localhost")):
            assert websocket(address, origin) == 403
        for path in ("/", "/explore", "/_stcore/health", "/_stcore/host-config", "/static/x.js", "/download/x"):
            assert status(address, path, Host="evil.test") == 400
        assert status(address, "/_stcore/metrics") == 404
        assert status(address, "/_stcore/health") == 200


def test_a_token_opens_the_app_and_is_remembered(page: Page, serve, tmp_path):
    with serve(tmp_path, WINNOW_TOKEN=TOKEN) as (address, _process):
        assert websocket(address, address) == 403
        page.goto(f"{address}/select?method=longest")
        expect(page.get_by_text("This server asks for a token.")).to_be_visible()
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_text("That is not the token.")).to_be_visible()
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.get_by_text("Demo pool").first).to_be_visible()
        assert TOKEN not in page.url
        page.reload()
        expect(page.get_by_text("Demo pool").first).to_be_visible()


def test_a_shared_server_asks_by_default(page: Page, serve, tmp_path):
    with serve(tmp_path, STREAMLIT_SERVER_ADDRESS="0.0.0.0") as (address, _process):
        page.goto(address)
        expect(page.get_by_label("Token")).to_be_visible()


def test_an_address_in_a_pool_is_no_link(page: Page, serve, tmp_path):
    tasks = [
        "http://evil.example/a",
        "www.evil.example",
        "mail me@evil.example",
        "HTTPS://EVIL.example",
        "mailto:a@evil.example",
    ]
    rows = [
        {"instruction": f"{i}: see {task}", "output": task * (i + 1), "task": task} for i, task in enumerate(tasks * 6)
    ]
    file = tmp_path / "links.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    fingerprint = load_pool(str(file), workspace=tmp_path).fingerprint
    shown = set()
    with serve(tmp_path) as (address, _process):
        for name in ("", "explore", "compare", "select", "proof", "export"):
            page.goto(f"{address}/{name}?pool={fingerprint}&method=longest&budget=50%25")
            wait_until_idle(page)
            assert page.locator("a[href*='evil' i]").count() == 0, name
            shown |= {
                task for task in tasks if page.get_by_text(task.split(":")[0]).count()
            }  # in elements of ours, too
    assert len(shown) == len(tasks)
