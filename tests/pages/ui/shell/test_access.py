"""Who may talk to the server: hosts, origins, metrics and the token."""

import asyncio
from typing import Any

import pytest

from pages.ui.shell import access

HOST = "localhost:8501"
TOKEN = "a token of twenty-four chars"
OPTIONS = {"server.address": "127.0.0.1", "server.allowedHosts": ["localhost", "127.0.0.1", "::1"]}


def ask(
    path: str = "/",
    *,
    token: str | None = None,
    kind: str = "http",
    method: str = "GET",
    query: str = "",
    **headers: str,
) -> dict[str, Any]:
    """Send one request through the middleware; return status and headers of the response, or the WebSocket's close."""
    messages: list[dict] = []

    async def page(scope, receive, send) -> None:
        await send({"type": f"{kind}.accepted", "status": 200, "headers": []})

    async def receive() -> dict:
        return {"type": f"{kind}.request"}

    async def send(message: dict) -> None:
        messages.append(message)

    named = {"host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {"type": kind, "path": path, "query_string": query.encode(), "scheme": "http" if kind == "http" else "ws"}
    scope |= {"headers": [(name.encode(), value.encode()) for name, value in named.items()], "method": method}
    if kind == "websocket":
        del scope["method"]
    asyncio.run(access.Access(page, token)(scope, receive, send))
    about = {name.decode(): value.decode() for name, value in messages[0].get("headers", [])}
    body = b"".join(message.get("body", b"") for message in messages[1:]).decode()
    return {"status": messages[0].get("status", messages[0].get("code")), "body": body} | about


@pytest.fixture(autouse=True)
def options(monkeypatch):
    options = dict(OPTIONS)
    monkeypatch.setattr(access.st, "get_option", options.get)
    monkeypatch.setattr("streamlit.config.get_option", options.get)
    monkeypatch.delenv("WINNOW_TOKEN", raising=False)
    monkeypatch.setattr(access, "has_sign_in", lambda: False)
    return options


@pytest.mark.parametrize("host", ["localhost:8501", "127.0.0.1:8501", "[::1]:8501", "LOCALHOST"])
def test_a_host_that_leads_here_is_answered(host):
    assert ask(host=host)["status"] == 200


@pytest.mark.parametrize("path", ["/", "/pool", "/download/abc", "/_stcore/health", "/static/x.js"])
@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test", "evil.test:8501", "user@localhost", ""])
def test_any_other_host_is_refused_on_every_route(path, host):
    assert ask(path, host=host)["status"] == 400


@pytest.mark.parametrize("origin", ["http://localhost:8501", "https://localhost:8501", "http://LOCALHOST:8501"])
def test_a_page_of_this_server_may_open_a_websocket(origin):
    assert ask("/_stcore/stream", kind="websocket", origin=origin)["status"] == 200


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "http://127.0.0.1:8501", "http://localhost", "null", "http://evil.test", "x"]
)
def test_a_page_of_any_other_server_may_not(origin):
    assert ask("/_stcore/stream", kind="websocket", origin=origin)["status"] == 1008
    for method in ("POST", "PUT", "DELETE"):
        assert ask("/_stcore/upload_file/a/b", method=method, origin=origin)["status"] == 403
    assert ask("/", origin=origin)["status"] == 200  # a link from elsewhere opens the app


def test_a_program_without_an_origin_may():
    assert ask("/_stcore/stream", kind="websocket")["status"] == 200


@pytest.mark.parametrize("path", ["/_stcore/metrics", "/_stcore/metrics/", "/base/_stcore/metrics"])
def test_metrics_are_closed(path):
    assert ask(path)["status"] == 404


def test_without_the_token_everything_but_the_health_check_asks_for_it():
    for path in ("/", "/explore", "/download/abc", "/static/x.js"):
        answer = ask(path, token=TOKEN)
        assert (answer["status"], 'name="token"' in answer["body"]) == (401, True)
    assert ask("/_stcore/stream", kind="websocket", token=TOKEN, origin=f"http://{HOST}")["status"] == 1008
    assert ask("/_stcore/health", token=TOKEN)["status"] == 200


def test_the_token_is_kept_in_a_cookie_and_leaves_the_address():
    answer = ask("/explore", token=TOKEN, query="row=7&token=a+token+of+twenty-four+chars&task=a%26b")
    assert (answer["status"], answer["location"]) == (303, "/explore?row=7&task=a%26b")
    cookie = answer["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert TOKEN not in cookie
    known = cookie.split(";")[0]
    assert ask(token=TOKEN, cookie=known)["status"] == 200
    assert ask("/_stcore/stream", kind="websocket", token=TOKEN, cookie=known)["status"] == 200
    assert ask(token="another token, as long", cookie=known)["status"] == 401
    assert ask(token=TOKEN, cookie=known[:-1])["status"] == 401


def test_the_cookie_goes_over_tls_alone_where_the_page_came_so():
    query = "token=a+token+of+twenty-four+chars"
    assert "Secure" in ask(token=TOKEN, query=query, x_forwarded_proto="https")["set-cookie"]
    assert "Secure" not in ask(token=TOKEN, query=query)["set-cookie"]


def test_a_wrong_token_is_said_and_what_a_link_named_is_kept_as_text():
    answer = ask(token=TOKEN, query="token=wrong&task=%22%3E%3Cscript%3E")
    assert answer["status"] == 401
    assert "That is not the token." in answer["body"]
    assert "<script" not in answer["body"]
    assert "&quot;&gt;&lt;script&gt;" in answer["body"]


@pytest.mark.parametrize("path", ["//evil.test/x", "///evil.test"])
def test_the_redirect_never_leaves_this_server(path):
    location = ask(path, token=TOKEN, query="token=a+token+of+twenty-four+chars")["location"]
    assert location.startswith("/")
    assert not location.startswith("//")


def test_a_server_of_this_computer_alone_asks_for_nothing():
    assert not access.is_shared()
    assert access.find_token() is None


@pytest.mark.parametrize(
    "change", [{"server.address": "0.0.0.0"}, {"server.address": None}, {"server.allowedHosts": ["winnow.example.org"]}]
)
def test_a_shared_server_asks_for_a_token_by_default(options, change, monkeypatch):
    options.update(change)
    token = access.find_token()
    assert token is not None
    assert len(token) >= 32
    assert access.find_token() != token  # a new one in every process
    assert f"?token={token}" in access.describe_access(token)
    monkeypatch.setattr(access, "has_sign_in", lambda: True)
    assert access.find_token() is None


def test_the_token_can_be_given_or_left_to_a_proxy(options, monkeypatch):
    options["server.address"] = "0.0.0.0"
    monkeypatch.setenv("WINNOW_TOKEN", TOKEN)
    assert access.find_token() == TOKEN
    monkeypatch.setenv("WINNOW_TOKEN", "")
    assert access.find_token() is None
    monkeypatch.setenv("WINNOW_TOKEN", "short")
    with pytest.raises(SystemExit, match="at least 16"):
        access.find_token()


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.8.8"])
def test_this_computer_is_local(address):
    assert access.is_this_computer(address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5", "example.org", "", "*"])
def test_anything_else_is_not(address):
    assert not access.is_this_computer(address)
