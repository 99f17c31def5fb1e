"""The cookie that recognizes a visitor who does not sign in: a random id, signed by this server.

    <id>.<signature>      id: 32 hex digits; signature: HMAC-SHA256 of the id with the secret of the workspace

Only the server can make one: what does not carry its signature counts as no cookie. Scripts cannot read it (HttpOnly),
other sites' requests do not carry it (SameSite=Lax), and under https it is never sent in the clear (Secure).
"""

import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import WinnowError, WorkspaceError
from core.workspace.files import disk_errors, make_folder, sync
from pages.ui.data import cached
from pages.ui.shell.access import has_sign_in, is_shared

MAX_AGE_S = 365 * 24 * 3600  # counted from the last visit
ID_LENGTH = 32  # hex digits
SECRET_BYTES = 32


# The secret


def load_secret() -> bytes:
    """Return the secret of the workspace that signs cookies; the first call makes it, readable by its owner only.

    Raise WorkspaceError if it cannot be written, or is damaged.
    """
    return _load_secret(cached.workspace().root / "visitors" / "secret")


@cache
def _load_secret(file: Path) -> bytes:
    if not file.exists():
        _make_secret(file)
    with disk_errors(file):
        stored = file.read_bytes()
    secret = stored[:SECRET_BYTES]
    if len(secret) < SECRET_BYTES or stored != _with_checksum(secret):
        raise WorkspaceError(
            f"{file}: damaged. Put its backup back, or remove it: visitors who do not sign in then begin anew."
        )
    return secret


def _make_secret(file: Path) -> None:
    """Write a new secret, unless another server has just done so; whole or absent, with mode 600."""
    with cached.workspace().hold("visitors"), disk_errors(file):
        if file.exists():
            return
        make_folder(file.parent)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(handle, "wb") as temporary:
            temporary.write(_with_checksum(secrets.token_bytes(SECRET_BYTES)))
        sync(Path(name))
        Path(name).replace(file)
        sync(file.parent)


def _with_checksum(secret: bytes) -> bytes:
    return secret + hashlib.sha256(secret).digest()


# The cookie


def cookie_name() -> str:
    """Return the name of the cookie. It differs between workspaces: browsers do not tell ports apart."""
    return f"winnow_visitor_{_sign('name')[:8]}"


def new_cookie() -> str:
    """Return a cookie with a new id."""
    visitor_id = secrets.token_hex(ID_LENGTH // 2)
    return f"{visitor_id}.{_sign(visitor_id)}"


def read_cookie(cookies: Mapping[str, str]) -> str | None:
    """Return the id in the cookie; None if there is none, or one that this server has not signed."""
    visitor_id, _, signature = cookies.get(cookie_name(), "").partition(".")
    genuine = hmac.compare_digest(signature.encode(), _sign(visitor_id).encode())
    return visitor_id if genuine and len(visitor_id) == ID_LENGTH else None


def _sign(text: str) -> str:
    return hmac.new(load_secret(), text.encode(), hashlib.sha256).hexdigest()


# On the wire


class VisitorCookie:
    """ASGI middleware that gives every visitor of a shared server without sign-in the cookie, with each page."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request; set the cookie where a browser asks for a page, also for one that it has kept (304)."""

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                with suppress(WinnowError):  # the page itself shows why
                    MutableHeaders(scope=message).append("Set-Cookie", _set_cookie(HTTPConnection(scope)))
            await send(message)

        for_page = scope["type"] == "http" and "text/html" in Headers(scope=scope).get("accept", "")
        await self.app(scope, receive, with_cookie if for_page and is_shared() and not has_sign_in() else send)


def _set_cookie(request: HTTPConnection) -> str:
    """Return the header that keeps the cookie of a request for another year, or sets a new one."""
    name = cookie_name()
    value = request.cookies[name] if read_cookie(request.cookies) else new_cookie()
    secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
    path = "/" + (st.get_option("server.baseUrlPath") or "").strip("/")
    response = Response()
    response.set_cookie(name, value, MAX_AGE_S, path=path, httponly=True, samesite="lax", secure=secure)
    return response.headers["set-cookie"]
