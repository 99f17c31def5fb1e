"""A small OpenID Connect provider for tests: authorization code flow with PKCE, tokens signed with ES256.

Anyone signs in as whom they choose on its page; what it checks of the client, a real provider checks too.
"""

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT_ID, CLIENT_SECRET = "winnow", "the client's secret"
USERS = {"1001": "Ada", "1002": "Grace"}  # subject: name. An email is no identity: both have the same one


class Provider:
    """The provider's state and endpoints; `issuer` is its address."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)
        self.codes: dict[str, dict[str, str]] = {}  # each is good for one exchange

    async def about(self, request: Request) -> Response:
        endpoints = {"authorization": "authorize", "token": "token", "end_session": "logout"}
        return JSONResponse(
            {f"{name}_endpoint": f"{self.issuer}/{path}" for name, path in endpoints.items()}
            | {
                "issuer": self.issuer,
                "jwks_uri": f"{self.issuer}/jwks",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
                "code_challenge_methods_supported": ["S256"],
            }
        )

    async def jwks(self, request: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def authorize(self, request: Request) -> Response:
        """Ask who it is; then send the browser back with a code."""
        asked = dict(request.query_params)
        subject = asked.pop("subject", None)
        if asked["client_id"] != CLIENT_ID or "openid" not in asked["scope"].split():
            return HTMLResponse("This client is not known.", 400)
        if subject is None:
            links = (f"<a href='?{urlencode(asked | {'subject': key})}'>{name}</a>" for key, name in USERS.items())
            return HTMLResponse(f"<h1>Who are you?</h1>{' '.join(links)}")
        code = secrets.token_urlsafe()
        self.codes[code] = asked | {"subject": subject}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}", 302)

    async def token(self, request: Request) -> Response:
        """Exchange a code for an ID token, once, with the client's secret and the verifier of the challenge."""
        form = await request.form()
        asked = self.codes.pop(str(form["code"]), None)
        client = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        digest = hashlib.sha256(str(form.get("code_verifier", "")).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if (
            asked is None
            or request.headers.get("authorization") != f"Basic {client}"
            or (asked["redirect_uri"], asked["code_challenge"]) != (form["redirect_uri"], challenge)
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse(
            {"access_token": secrets.token_urlsafe(), "token_type": "Bearer", "id_token": self._id_token(asked)}
        )

    def _id_token(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {"iss": self.issuer, "aud": CLIENT_ID, "sub": asked["subject"], "iat": now}
        claims |= {"exp": now + 600, "nonce": asked["nonce"], "name": USERS[asked["subject"]], "email": "us@a.org"}
        return jwt.encode({"alg": "ES256", "kid": self.key.kid}, claims, self.key)

    async def logout(self, request: Request) -> Response:
        return RedirectResponse(request.query_params["post_logout_redirect_uri"], 302)

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/openid-configuration", self.about),
            Route("/jwks", self.jwks),
            Route("/authorize", self.authorize),
            Route("/token", self.token, methods=["POST"]),
            Route("/logout", self.logout),
        ]


@contextmanager
def serve_provider(port: int) -> Iterator[str]:
    """Serve the provider on this computer; yield its address."""
    address = f"http://127.0.0.1:{port}"
    app = Starlette(routes=Provider(address).routes())
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the provider did not start"
        time.sleep(0.05)
    try:
        yield address
    finally:
        server.should_exit = True
        thread.join(30)
