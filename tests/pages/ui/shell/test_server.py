"""The web server: headers and downloads."""

import asyncio
import os
import socket

import pytest
import streamlit as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from core.errors import NO_MEMORY, PoolError
from pages.ui.shell import server


def fetch(path: str, query: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Send a GET request to the server's own routes and middleware; return status, headers and body."""
    around = server.app_options()
    app = Starlette(
        routes=[*around["routes"], Route("/", lambda _request: PlainTextResponse("page"))],
        middleware=around["middleware"],
    )
    messages: list[dict] = []

    requests = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict:
        for message in requests:
            return message
        return await asyncio.Future()  # the browser stays connected

    async def send(message: dict) -> None:
        messages.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"host", b"localhost")], "query_string": query}
    asyncio.run(app(scope, receive, send))
    headers = {name.decode().lower(): value.decode() for name, value in messages[0]["headers"]}
    return messages[0]["status"], headers, b"".join(part.get("body", b"") for part in messages[1:])


def test_an_offered_file_is_sent_whole_under_its_name(tmp_path):
    file = tmp_path / "chosen.jsonl"
    file.write_bytes(b'{"a": 1}\n' * 100_000)
    status, headers, body = fetch(server.download_url(file, "gewählt.jsonl"))
    assert (status, body) == (200, file.read_bytes())
    assert headers["content-disposition"].startswith("attachment")
    assert "gew%C3%A4hlt.jsonl" in headers["content-disposition"]


def test_the_same_file_keeps_its_link_and_another_gets_another(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    assert server.download_url(tmp_path / "a") == server.download_url(tmp_path / "a")
    assert server.download_url(tmp_path / "a") != server.download_url(tmp_path / "b")


def test_a_file_that_was_not_offered_cannot_be_named(tmp_path):
    (tmp_path / "secret").write_text("x")
    for guess in ("0" * 32, "../secret", f"..%2f{tmp_path}/secret"):
        status, _, body = fetch(f"/download/{guess}")
        assert status == 404
        assert body != b"x"


def test_an_offered_file_that_was_deleted_is_reported(tmp_path):
    file = tmp_path / "a"
    file.write_text("x")
    link = server.download_url(file)
    file.unlink()
    assert fetch(link)[0] == 404


@pytest.mark.parametrize(("old", "new"), [("/pool", "/"), ("/score", "/measure")])
def test_another_address_of_a_page_redirects_to_it_with_its_query(old, new):
    status, headers, _ = fetch(old, b"method=a%20b&row=%3Cb%3E")
    assert (status, headers["location"]) == (307, f"{new}?method=a%20b&row=%3Cb%3E")
    assert fetch(old)[1]["location"] == new


def test_every_response_forbids_loading_from_elsewhere():
    _, headers, _ = fetch("/")
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "img-src 'self' data: blob:" in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_the_policy_allows_the_inline_script_of_the_installed_streamlit():
    assert server.content_security_policy().count("'sha256-") >= 1


def test_a_job_does_not_inherit_the_port_of_the_server():
    with socket.socket() as port:
        port.set_inheritable(True)  # as uvicorn creates it
        server.disable_inheritance()
        assert not port.get_inheritable()
        assert os.get_inheritable(1)  # jobs can still write to them


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (PoolError("x.jsonl holds no rows."), "x.jsonl holds no rows."),
        (MemoryError("secret text of a row"), NO_MEMORY),
        (OSError(12, "Cannot allocate memory"), NO_MEMORY),
        (ValueError("secret text of a row"), "Something in Winnow itself failed (ValueError)"),
    ],
)
def test_an_error_that_ends_a_page_is_a_sentence_and_shows_no_data(monkeypatch, fault, sentence):
    shown = []
    monkeypatch.setattr(st, "error", lambda text, icon: shown.append(text))
    assert server.show_script_error(fault)
    assert [sentence in text.replace("\\", "") and "secret" not in text for text in shown] == [True]
