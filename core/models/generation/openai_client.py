"""Client of one OpenAI-compatible server: JSON requests with retries.

The key comes from the environment, as do the hosts that it is for. It is sent to no other host, this computer included,
and redirects are not followed. It appears in no message, log, repr or manifest. Neither does any part of a request or
of an error body, because servers repeat prompts in them.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import random
from threading import Event
from typing import Any, Literal

from httpx2 import Client, HTTPError, Limits, ReadTimeout, Response, Timeout

from core.errors import ModelError
from core.models.generation.addresses import (
    HOSTS_VARIABLE,
    KEY_VARIABLE,
    check_url,
    host_and_port,
    is_loopback,
    is_named,
)
from core.models.generation.request_limit import RequestLimit

BUSY_STATUSES = frozenset({408, 429, 503, 504, 529})  # more requests than the server can answer
RETRY_STATUSES = BUSY_STATUSES | {409, 425, 500, 502}  # transient: worth another attempt
BACK_OFF = 1.0  # seconds before the second attempt; doubled each time, minus up to half of it at random
MAX_BACK_OFF = 60.0  # seconds between attempts, at most
MAX_RETRY_AFTER = 600.0  # seconds to wait if the server asks for it, at most
MAX_NAMED_MODELS = 5  # models listed in an error


@dataclass(frozen=True)
class ServedModel:
    """A model behind a server."""

    url: str  # http(s)://host[:port][/v1]
    model: str  # the server's name for it
    form: Literal["chat", "completions"] = "chat"
    concurrency: int = 64  # concurrent requests, at most
    timeout: float = 300.0  # seconds to wait for an answer
    tries: int = 6  # attempts per request

    @property
    def key_fields(self) -> dict[str, Any]:
        """The fields that affect the answers, for content keys."""
        return {"url": self.url, "model": self.model, "form": self.form}


class RequestRefusedError(ModelError):
    """The server rejected the request as invalid: status 400 or 422."""


class Endpoint:
    """A client of one server, safe to share between threads. A context manager; otherwise close it."""

    def __init__(self, served: ServedModel, *, back_off: float = BACK_OFF) -> None:
        self.url = check_url(served.url)
        self.stop = Event()  # once set, no thread waits for another attempt
        self.limit = RequestLimit(served.concurrency)
        self._served, self._back_off = served, back_off
        key, host = _find_key(self.url), host_and_port(self.url).rpartition(":")[0]
        self._sends_key = bool(key)
        self._client = Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            follow_redirects=False,
            mounts={f"all://{host}": None} if is_loopback(self.url) else {},  # never by a proxy from the environment
            timeout=Timeout(served.timeout, connect=min(served.timeout, 15.0)),
            limits=Limits(max_connections=served.concurrency, max_keepalive_connections=served.concurrency),
        )

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def models(self) -> list[str]:
        """Return the names of the server's models; none if it does not list them."""
        try:
            return [str(entry["id"]) for entry in self._client.get(f"{self.url}/models").json()["data"]]
        except (HTTPError, ValueError, KeyError, TypeError):
            return []

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send this body and return the server's reply; ModelError if all attempts fail."""
        failure = ""  # no retry library: tenacity sends one more request after `stop`, stamina logs the prompt
        changes = self.limit.changes  # a request that is rejected again was not sent at a lower limit
        for attempt in range(self._served.tries):
            wait = self._back_off * 2**attempt * (1 - random() / 2)
            busy = False
            try:
                response = self._client.post(f"{self.url}{path}", json=body)
            except ReadTimeout:
                busy = True
                failure = f"gives no answer within {self._served.timeout:g} seconds"
            except HTTPError as error:
                failure = f"cannot be reached ({type(error).__name__})"
            else:
                if response.status_code not in RETRY_STATUSES:
                    return self._check_response(response, body)
                busy = response.status_code in BUSY_STATUSES
                failure = f"answers with status {response.status_code}"
                wait = max(min(wait, MAX_BACK_OFF), self._retry_after(response))
            if busy:
                self.limit.rejected(changes)
            if attempt + 1 < self._served.tries and self.stop.wait(min(wait, MAX_RETRY_AFTER)):
                break
        raise ModelError(
            f"Server {self.url} {failure}, {attempt + 1} times in a row. Check that it runs, and its log; then run "
            "the same command again. Finished parts are kept."
        )

    def _retry_after(self, response: Response) -> float:
        """Return the seconds in the Retry-After header; 0 if there is none."""
        seconds = _seconds(response.headers.get("Retry-After", ""))
        if seconds > MAX_RETRY_AFTER:
            raise ModelError(
                f"Server {self.url} asks for a pause of {seconds:.0f} seconds (status {response.status_code}). Run "
                "the same command again after that. Finished parts are kept."
            )
        return seconds

    def _check_response(self, response: Response, body: dict[str, Any]) -> dict[str, Any]:
        status = response.status_code
        if status in (401, 403):
            host = host_and_port(self.url)
            raise ModelError(
                f"Server {self.url} does not accept the key (status {status}). Check {KEY_VARIABLE}."
                if self._sends_key
                else f"Server {self.url} requires a key (status {status}), and none was sent. Put the key in the "
                f"environment variable {KEY_VARIABLE}, and {host} in {HOSTS_VARIABLE}: only these hosts "
                "receive it."
            )
        reply = _json(response)
        if status == 404 or _error_code(reply) == "model_not_found":
            offered = ", ".join(self.models()[:MAX_NAMED_MODELS])
            raise ModelError(
                (
                    f"Server {self.url} has no model {body.get('model')!r}, or serves nothing at this address "
                    f"(status {status}). "
                )
                + (
                    (f"Its models: {offered}.")
                    if offered
                    else "Check that the address ends as its manual says, often in /v1."
                )
            )
        if status in (400, 422):
            raise RequestRefusedError(
                f"Server {self.url} refuses the request (status {status}). Check whether model "
                f"{body.get('model')!r} takes messages or plain prompts, and prompts this long; and check the "
                "server's log."
            )
        if not response.is_success or not isinstance(reply, dict):
            raise ModelError(
                f"Server {self.url} answers with status {status} and no JSON object. Check that it is an "
                "OpenAI-compatible server and that the address ends as its manual says, often in /v1."
            )
        return reply


def _find_key(url: str) -> str:
    """Return the key for this address; "" if there is none, or if it is not for this host."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ModelError(
            f"The environment variable {KEY_VARIABLE} is not a valid key: a key has plain characters only."
        )
    hosts = [host for host in os.environ.get(HOSTS_VARIABLE, "").split(",") if host.strip()]
    return key if key and is_named(url, hosts, standard_port=True) else ""


def _seconds(value: str) -> float:
    """Convert Retry-After, a number or a date, to seconds from now."""
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _json(response: Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _error_code(reply: Any) -> Any:
    error = reply.get("error") if isinstance(reply, dict) else None
    return error.get("code") if isinstance(error, dict) else None
