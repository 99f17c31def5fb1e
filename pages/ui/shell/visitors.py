"""Visitors of a shared server, each with settings, uploads and recent pools in workspace/visitors/<key>/.

Who it is: the user who signed in; or the one whom a trusted proxy names in a header (server.trustedUserHeaders); or
the browser, by a signed cookie. On a server for this computer alone there is one visitor, whose files are in the
workspace itself, as they always were.
"""

import hashlib
import json
import re
import secrets
from pathlib import Path
from typing import TypeVar

import streamlit as st

from core.errors import PoolError
from pages.ui.data import cached
from pages.ui.shell.access import has_sign_in, is_shared
from pages.ui.shell.visitor_cookie import read_cookie

VISITOR = "winnow.visitor"  # key of the visitor; "" on a server for this computer alone
BY_TAB = "tab-"  # begins the key of a visitor whose browser keeps no cookie: it lasts as long as the tab

UPLOAD = re.compile(r"(?:/visitors/([0-9a-f]{32}|tab-[0-9a-f]{28}))?/uploads/[0-9a-f]{16}/[^/]+")
P = TypeVar("P", str, Path)


def are_apart() -> bool:
    """Return whether visitors are kept apart: whether the server is more than one person's own."""
    return is_shared() or has_sign_in()


def identify() -> str:
    """Return the key of the visitor of this session: a hash, which opens nothing to those who learn it."""
    if not are_apart():
        return ""
    user = _find_user()
    identity = ("user", *user) if user else ("cookie", read_cookie(st.context.cookies))
    if identity[-1] is not None:
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]
    known: str = st.session_state.get(VISITOR, "")
    return known if known.startswith(BY_TAB) else BY_TAB + secrets.token_hex(14)


def _find_user() -> tuple[str, str] | None:
    """Return who vouches for the user, and under which name; None for a visitor who is not signed in."""
    trusted = st.user.get("is_logged_in") if has_sign_in() else st.get_option("server.trustedUserHeaders")
    name = st.user.get("sub") or st.user.get("email")
    return (str(st.user.get("iss") or ""), str(name)) if trusted and name else None


def current() -> str:
    """Return the key of the visitor, as identified at the start of the visit."""
    key: str | None = st.session_state.get(VISITOR)
    return identify() if key is None else key


def is_known() -> bool:
    """Return whether the visitor will be recognized in another tab and at the next visit."""
    return not current().startswith(BY_TAB)


def home() -> Path:
    """Return the folder of the visitor's own files."""
    root = cached.workspace().root
    return root / "visitors" / current() if current() else root


def may_open(source: str) -> bool:
    """Return whether the visitor may open a stored pool, by its source: any but the upload of another.

    The path tells, not the folder that it is in: a workspace that was moved keeps the paths of before.
    """
    return all(current() in ("", upload[1]) for upload in UPLOAD.finditer(source))


def check_path(path: P) -> P:
    """Return the path. Raise PoolError if it is among the files of another visitor."""
    resolved, root = Path(path).resolve(), cached.workspace().root.resolve()
    private = any(resolved.is_relative_to(root / name) for name in ("visitors", "uploads"))
    if private and not resolved.is_relative_to(home().resolve()):
        raise PoolError(f"{resolved.name} is among the files of another visitor. Upload your own copy of it.")
    return path
