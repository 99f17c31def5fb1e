"""Who may talk to the server. Checked on every request, before Streamlit or a page sees it.

Host      is one of `server.allowedHosts`; otherwise status 400 (against DNS rebinding)
Origin    of a WebSocket, or of a request that changes something, is the Host it came to; otherwise 403. Streamlit
          itself lets in every port of this computer, and so a page of any notebook or development server on it.
metrics   of Streamlit are closed (404): they name caches, sizes and sessions
token     on a shared server: asked for once (401), then kept in a cookie of the browser
"""

import hashlib
import hmac
import ipaddress
import os
import secrets
from html import escape
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import streamlit as st
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.runtime.secrets import secrets_singleton
from streamlit.web.server.starlette.starlette_websocket import is_host_allowed

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
METRICS, HEALTH = "/_stcore/metrics", "/_stcore/health"
MIN_TOKEN_LENGTH = 16
COOKIE_SECONDS = 30 * 24 * 3600
_QUESTION = """<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Winnow</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
main {{ max-width: 26rem; margin: 20vh auto; padding: 0 1rem }}
input, button {{ font: inherit; padding: .45rem .7rem; border-radius: 6px; border: 1px solid GrayText }}
form {{ display: flex; gap: .5rem }} input {{ flex: 1 }} button {{ background: #2269a8; color: #fff }}
</style>
<main><h1>Winnow</h1><p>{sentence}</p>
<form>{fields}<input name="token" type="password" aria-label="Token" autofocus required><button>Open</button></form>
</main>"""


def is_this_computer(host: str) -> bool:
    """Return whether a host name or address refers to this computer, and to no other."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_shared() -> bool:
    """Return whether people at other computers can reach the server: by its address, or through a proxy's name."""
    hosts = [st.get_option("server.address") or "0.0.0.0", *(st.get_option("server.allowedHosts") or ())]
    return not all(map(is_this_computer, hosts))


def has_sign_in() -> bool:
    """Return whether people sign in with Streamlit's OIDC login (`[auth]` in secrets.toml)."""
    return bool(secrets_singleton.load_if_toml_exists() and secrets_singleton.get("auth"))


def find_token() -> str | None:
    """Return the token to ask for: WINNOW_TOKEN, or a new one on a shared server without sign-in.

    None where none is asked for: on this computer alone, with sign-in, or where WINNOW_TOKEN is empty, which leaves
    signing in to a proxy. Raises SystemExit for a token that could be guessed.
    """
    token = os.environ.get("WINNOW_TOKEN")
    if token is None:
        return secrets.token_hex(24) if is_shared() and not has_sign_in() else None
    if token and len(token) < MIN_TOKEN_LENGTH:
        raise SystemExit(f"WINNOW_TOKEN has {len(token)} characters; give it at least {MIN_TOKEN_LENGTH}.")
    return token or None


def describe_access(token: str) -> str:
    """Return the sentence that tells whoever starts the server how to open the app."""
    hosts = [host for host in st.get_option("server.allowedHosts") or () if "*" not in host] or ["localhost"]
    port, base = st.get_option("server.port"), (st.get_option("server.baseUrlPath") or "").strip("/")
    hosts = [f"[{host}]" if ":" in host else host for host in hosts]
    links = [f"  http://{host}:{port}/{f'{base}/' if base else ''}?token={quote(token)}" for host in hosts]
    return "\n".join(
        [
            "Other computers can reach this server, so the app asks for a token. Open it with one of:",
            *links,
            "WINNOW_TOKEN sets a token that stays the same; names that lead here are added with --server.allowedHosts.",
        ]
    )


class Access:
    """ASGI middleware that refuses whoever may not talk to the server. `token`: see `find_token`."""

    def __init__(self, app: ASGIApp, token: str | None = None) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request, or answer it with a refusal."""
        refusal = self.refuse(HTTPConnection(scope)) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "not allowed"})  # status 403
        else:
            await refusal(scope, receive, send)

    def refuse(self, request: HTTPConnection) -> Response | None:
        """Return the response to a request that may not go on; None for one that may."""
        host, origin = request.headers.get("host"), request.headers.get("origin")
        if not is_host_allowed(host):
            return PlainTextResponse("This name does not lead here (server.allowedHosts).", status_code=400)
        changes = request.scope["type"] == "websocket" or request.scope["method"] not in SAFE_METHODS
        if changes and origin is not None and urlsplit(origin).netloc.lower() != (host or "").lower():
            return PlainTextResponse("Another site's page may not do this.", status_code=403)
        path = request.url.path.rstrip("/")
        if path.endswith(METRICS):
            return PlainTextResponse("Not found", status_code=404)
        return None if self.token is None or path.endswith(HEALTH) else self.ask(request, self.token)

    def ask(self, request: HTTPConnection, token: str) -> Response | None:
        """Return None to a browser that knows the token, a redirect that stores it, or the question for it."""
        name, expected = f"winnow-token-{st.get_option('server.port')}", hashlib.sha256(token.encode()).hexdigest()
        if hmac.compare_digest(request.cookies.get(name, "").encode(), expected.encode()):
            return None
        query = parse_qsl(request.url.query, keep_blank_values=True)
        typed = [value for field, value in query if field == "token"]
        rest = [(field, value) for field, value in query if field != "token"]
        if typed and hmac.compare_digest(typed[-1].encode(), token.encode()):
            to = request.url.path + (f"?{urlencode(rest)}" if rest else "")
            response: Response = RedirectResponse("/" + to.lstrip("/"), status_code=303)  # never "//another.host"
            secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
            response.set_cookie(name, expected, COOKIE_SECONDS, httponly=True, samesite="lax", secure=secure)
            return response
        sentence = "That is not the token." if typed else "This server asks for a token."
        fields = "".join(f'<input type="hidden" name="{escape(f)}" value="{escape(v)}">' for f, v in rest)
        sentence += " It is printed in the terminal of the server, or set there in WINNOW_TOKEN."
        return HTMLResponse(_QUESTION.format(sentence=sentence, fields=fields), status_code=401)
