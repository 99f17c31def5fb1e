"""The cookie of a visitor: only the server makes one, and it is set as browsers should keep it."""

import asyncio
import re
import stat

import pytest

from core.errors import WorkspaceError
from pages.ui.shell import access, visitor_cookie
from pages.ui.shell.visitor_cookie import cookie_name, new_cookie, read_cookie

SHARED = {"server.address": "127.0.0.1", "server.allowedHosts": ["winnow.example.org"]}


@pytest.fixture
def workspace(workspace, monkeypatch):
    monkeypatch.setenv("WINNOW_WORKSPACE", str(workspace.root))
    return workspace


@pytest.fixture
def options(monkeypatch):
    options = dict(SHARED)
    monkeypatch.setattr(access.st, "get_option", options.get)
    return options


def get(*, accept: str = "text/html,*/*;q=0.8", scheme: str = "http", **headers: str) -> list[str]:
    """Send a request through the middleware; return the cookies that the response sets."""
    started: list[dict] = []

    async def page(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 304, "headers": []})

    async def send(message: dict) -> None:
        started.append(message)

    headers |= {"accept": accept}
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": "/", "scheme": scheme, "headers": named, "query_string": b""}
    scope["server"] = ("winnow.example.org", 80)
    asyncio.run(visitor_cookie.VisitorCookie(page)(scope, None, send))
    return [value.decode() for name, value in started[0]["headers"] if name == b"set-cookie"]


def test_a_cookie_is_read_back(workspace):
    cookie = new_cookie()
    assert re.fullmatch(r"[0-9a-f]{32}\.[0-9a-f]{64}", cookie)
    assert read_cookie({cookie_name(): cookie}) == cookie[:32]
    assert new_cookie()[:32] != cookie[:32]


def test_no_changed_cookie_is_accepted(workspace):
    cookie, other = new_cookie(), new_cookie()
    forged = [cookie[:i] + ("1" if cookie[i] == "0" else "0") + cookie[i + 1 :] for i in range(len(cookie))]
    forged += [
        cookie[:32] + other[32:],
        cookie[:32],
        cookie[:33],
        "",
        ".",
        cookie + "0",
        cookie.upper(),
        "é" * 32 + ".",
    ]
    assert {read_cookie({cookie_name(): value}) for value in forged} == {None}


def test_the_signature_of_something_else_is_no_visitor(workspace):
    """The name of the cookie shows a part of a signature; no signature of a shorter text may serve as a cookie."""
    assert read_cookie({cookie_name(): f"name.{visitor_cookie._sign('name')}"}) is None


def test_the_secret_is_the_owners_alone_and_lasts(workspace):
    file = workspace.root / "visitors" / "secret"
    cookie = new_cookie()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["secret"]
    visitor_cookie._load_secret.cache_clear()  # the server starts again
    assert read_cookie({cookie_name(): cookie}) == cookie[:32]


def test_with_another_secret_no_old_cookie_is_accepted(workspace):
    name, cookie = cookie_name(), new_cookie()
    (workspace.root / "visitors" / "secret").unlink()
    visitor_cookie._load_secret.cache_clear()
    assert cookie_name() != name
    assert read_cookie({cookie_name(): cookie}) is None


@pytest.mark.parametrize(
    "damage", [lambda _: b"", lambda data: data[:32], lambda data: bytes([data[0] ^ 1]) + data[1:]]
)
def test_a_damaged_secret_signs_nothing(workspace, damage):
    file = workspace.root / "visitors" / "secret"
    new_cookie()
    file.write_bytes(damage(file.read_bytes()))
    visitor_cookie._load_secret.cache_clear()
    with pytest.raises(WorkspaceError, match="damaged"):
        new_cookie()


def test_a_page_sets_the_cookie_for_the_server_alone(workspace, options):
    (header,) = get()
    assert header.startswith(f"{cookie_name()}=")
    assert {"HttpOnly", "SameSite=lax", "Path=/", "Max-Age=31536000"} <= set(header.split("; "))
    assert "Secure" not in header


def test_over_tls_the_cookie_is_never_sent_in_the_clear(workspace, options):
    assert "Secure" in get(scheme="https")[0]
    assert "Secure" in get(x_forwarded_proto="https")[0]


def test_under_a_base_path_the_cookie_goes_there_only(workspace, options):
    options["server.baseUrlPath"] = "/tools/winnow/"
    assert "Path=/tools/winnow" in get()[0].split("; ")


def test_a_known_visitor_keeps_the_cookie_for_another_year(workspace, options):
    sent = get()[0].split(";")[0]
    (again,) = get(cookie=f"other=1; {sent}; a b=c")
    assert again.split(";")[0] == sent


def test_a_forged_cookie_is_replaced(workspace, options):
    sent = get()[0].split(";")[0]
    forged = sent[:-1] + ("1" if sent[-1] == "0" else "0")
    assert get(cookie=forged)[0].split(";")[0] not in (sent, forged)


def test_only_pages_set_it(workspace, options):
    assert get(accept="*/*") == []


def test_on_this_computer_alone_there_is_no_cookie(workspace, options):
    options["server.allowedHosts"] = ["localhost"]
    assert get() == []
    assert not (workspace.root / "visitors").exists()


def test_a_workspace_that_cannot_be_written_still_serves_the_page(workspace, options):
    (workspace.root / "visitors").write_text("in the way")
    assert get() == []
