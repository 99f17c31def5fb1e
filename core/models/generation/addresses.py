"""Addresses of servers: which may be asked for answers, and which are sent the key."""

import ipaddress
from collections.abc import Iterable

from httpx2 import URL, InvalidURL

from core.errors import ModelError

KEY_VARIABLE = "WINNOW_API_KEY"
HOSTS_VARIABLE = "WINNOW_API_HOST"  # host[:port], separated by commas: who is sent the key
_PORTS = {"http": 80, "https": 443}


def check_url(url: str) -> str:
    """Return the address without a trailing slash, with /v1 if it has no path; ModelError if it is invalid."""
    try:
        parts = URL("" if any(c.isspace() for c in url.strip()) else url.strip())
    except InvalidURL:
        raise ModelError("The server's address is not a URL. Give one like http://127.0.0.1:8000/v1.") from None
    if parts.userinfo or parts.query or parts.fragment:
        raise ModelError(
            "The server's address contains a user name, password or query. Give only the address, like "
            f"http://127.0.0.1:8000/v1, and put the key in the environment variable {KEY_VARIABLE}."
        )
    if parts.scheme not in _PORTS or not parts.host:
        raise ModelError(f"{url!r} is not a server address. Give one like http://127.0.0.1:8000/v1.")
    return str(parts).rstrip("/") + ("" if parts.path.strip("/") else "/v1")


def host_and_port(url: str) -> str:
    """Return host:port of an address, as the user writes it to allow it."""
    parts = URL(url)
    host = f"[{parts.host}]" if ":" in parts.host else parts.host
    return f"{host}:{parts.port or _PORTS[parts.scheme]}"


def is_loopback(url: str) -> bool:
    """Return whether an address is on this computer, and on no other."""
    host = URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_named(url: str, named: Iterable[str], *, standard_port: bool = False) -> bool:
    """Return whether an address is one of those `named`, each host or host:port; ModelError for any other form.

    A host without a port stands for every port of it, or with `standard_port` for https at its standard port alone.
    """
    parts = URL(url)
    port = parts.port or _PORTS[parts.scheme]
    for entry in named:
        host, entry_port = _parse_entry(entry)
        any_port = parts.scheme == "https" and port == _PORTS["https"] if standard_port else True
        if host == parts.raw_host and (port == entry_port if entry_port else any_port):
            return True
    return False


def _parse_entry(entry: str) -> tuple[bytes, int | None]:
    try:
        parts = URL(f"server://{entry.strip()}")
    except InvalidURL:
        parts = URL("")
    if not parts.raw_host or parts.userinfo or parts.raw_path != b"/" or parts.fragment:
        raise ModelError(f"{entry!r} is not a server. Write its host, or host:port, such as 127.0.0.1:8000.")
    return parts.raw_host, parts.port
