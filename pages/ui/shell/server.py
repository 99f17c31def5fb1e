"""Web server options: security headers, downloads, figures' data and warm-up. No page logic.

`streamlit run app.py` finds the `st.App` in app.py, which is built from `app_options`.
"""

import base64
import gc
import hashlib
import hmac
import os
import re
import secrets
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.runtime.pages_manager import PagesManager

from core.errors import NO_MEMORY, OutOfMemory, WinnowError, is_out_of_memory
from pages.ui.shell.access import Access, describe_access, find_token
from pages.ui.shell.visitor_cookie import VisitorCookie
from pages.ui.words import escape_markdown

ROUTE = "/download"
DATA_ROUTE = "/data"  # what a figure fetches by itself
MAX_SERVED = 24  # bodies in memory, for all visitors: about 3 MB each
MOVED = {"/pool": "/", "/score": "/measure"}  # the Pool page is the front page; the Measure page was called Score
_SECRET = secrets.token_bytes(32)  # new in every process, so old links are invalid
_OFFERED: dict[str, tuple[Path, str]] = {}
_SERVED: OrderedDict[str, bytes] = OrderedDict()  # last asked for at the end
_SERVING = Lock()


# Downloads


def download_url(path: Path, name: str | None = None) -> str:
    """Return a URL under which the file can be downloaded until the server stops; it cannot be guessed."""
    resolved = path.resolve()
    shown = name or resolved.name
    digest = hmac.new(_SECRET, f"{resolved}\0{shown}".encode(), hashlib.sha256).hexdigest()[:32]
    _OFFERED[digest] = (resolved, shown)
    return f"{_base()}{ROUTE}/{digest}"


def _base() -> str:
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}" if base else ""


async def send_file(request: Request) -> Response:
    """Send a file that was offered by `download_url`; status 404 for any other key."""
    path, name = _OFFERED.get(request.path_params["key"], (None, ""))
    if path is None or not path.is_file():
        return PlainTextResponse("This link is no longer valid. Make a new one on its page.", status_code=404)
    return FileResponse(path, filename=name, media_type="application/octet-stream")


async def redirect(request: Request) -> Response:
    """Redirect an address in MOVED, with its query. Streamlit itself would report that there is no such page."""
    target = MOVED[request.url.path.removeprefix(_base())]
    return RedirectResponse(f"{_base()}{target}" + (f"?{request.url.query}" if request.url.query else ""))


# Data of figures


def data_url(key: str, make: Callable[[], bytes]) -> str:
    """Return a URL under which a figure fetches JSON; it cannot be guessed. `key` identifies the content."""
    digest = hmac.new(_SECRET, key.encode(), hashlib.sha256).hexdigest()[:32]
    with _SERVING:
        if digest not in _SERVED:
            _SERVED[digest] = make()
        _SERVED.move_to_end(digest)
        while len(_SERVED) > MAX_SERVED:
            _SERVED.popitem(last=False)
    return f"{_base()}{DATA_ROUTE}/{digest}"


async def send_data(request: Request) -> Response:
    """Send JSON that was offered by `data_url`; status 404 for any other key. Browsers do not store it."""
    body = _SERVED.get(request.path_params["key"])
    if body is None:
        return PlainTextResponse("This figure is no longer there. Reload the page.", status_code=404)
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


# Headers


def content_security_policy() -> str:
    """Return the policy that lets a page load this server's own files only. Images in pool text are not fetched."""
    page = Path(st.__file__).parent / "static" / "index.html"
    scripts = re.findall(r"<script>(.*?)</script>", page.read_text("utf-8"), re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{script}'" for script in hashes)
    return (
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
        f"script-src 'self' 'wasm-unsafe-eval' blob: {allowed}; worker-src 'self' blob:; "
        "font-src 'self' data:; connect-src 'self' ws: wss:; frame-ancestors 'none'; "
        "object-src 'none'; base-uri 'self'; form-action 'self'"
    )


class SecurityHeaders:
    """ASGI middleware that adds the security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.headers = {
            "Content-Security-Policy": content_security_policy(),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request; add the headers when an HTTP response starts."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


# Startup


def disable_inheritance() -> None:
    """Prevent jobs from inheriting open files and sockets.

    The server's own socket is inheritable (uvicorn makes it so for its workers). A job that outlives the server would
    hold the port, and the server could not be started again until the job ends.
    """
    for name in os.listdir("/dev/fd"):  # noqa: PTH208  names of open files, not paths
        with suppress(OSError):  # the descriptor that listed them is closed by now
            if int(name) > 2:
                os.set_inheritable(int(name), False)


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """Warm the caches that every first visit needs, then exempt them from garbage collection.

    Streamlit collects fully after every run; over a large heap that takes longer than the work of a slider.
    """
    from pages.ui.shell import warmup  # imported after the runtime has started: its caches belong to it

    # Because of the folder pages/, Streamlit would open a direct link to a page without app.py until the
    # first visitor has run app.py. (If this attribute is ever removed, `need_pool` still leads through app.py.)
    PagesManager.uses_pages_directory = False
    disable_inheritance()
    warmup.load()
    gc.collect()
    gc.freeze()
    yield


def show_script_error(fault: Exception) -> bool:
    """Show an error that the user can fix; of any other only the type, as its message may contain data."""
    known = OutOfMemory(NO_MEMORY) if is_out_of_memory(fault) else fault
    if isinstance(known, WinnowError):
        st.error(escape_markdown(known), icon=":material/error:")
        return True
    st.error(
        f"Something in Winnow itself failed ({type(fault).__name__}). Nothing finished is lost; reload the page to go "
        "on. The details are in the terminal that Winnow was started in.",
        icon=":material/bug_report:",
    )
    return True


def app_options() -> dict[str, Any]:
    """Return the options of `st.App`: routes, middleware, lifespan and error hook.

    The token, if one is asked for, is printed: this is read once, by the process that serves.
    """
    token = find_token()
    if token:
        sys.stderr.write(f"{describe_access(token)}\n")
    return {
        "routes": [
            Route(f"{_base()}{ROUTE}/{{key}}", send_file, methods=["GET", "HEAD"]),
            Route(f"{_base()}{DATA_ROUTE}/{{key}}", send_data),
            *(Route(f"{_base()}{address}", redirect) for address in MOVED),
        ],
        "middleware": [Middleware(SecurityHeaders), Middleware(Access, token=token), Middleware(VisitorCookie)],
        "lifespan": lifespan,
        "on_script_error": show_script_error,
    }
