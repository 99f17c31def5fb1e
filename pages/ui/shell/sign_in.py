"""Signing in with Streamlit's OIDC login, where the section [auth] of secrets.toml configures it."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.auth_util import get_secrets_auth_section

from pages.ui.shell import show
from pages.ui.shell.access import MIN_TOKEN_LENGTH, has_sign_in
from pages.ui.words import escape_markdown

DEFAULT = "default"  # the provider whose keys stand in [auth] itself
AUTH_KEYS = ("redirect_uri", "cookie_secret")
PROVIDER_KEYS = ("client_id", "client_secret", "server_metadata_url")


def require() -> None:
    """Show the buttons to sign in, and stop the page, where sign-in is configured and the visitor has not done it."""
    if not has_sign_in() or st.user.get("is_logged_in"):
        return
    st.title("Sign in", anchor=False)
    st.caption("This server keeps settings and uploads separate for each person.")
    if st.query_params:
        st.caption("Open your link again after you have signed in.")
    for name in find_providers():
        label = "Sign in" if name == DEFAULT else f"Sign in with {escape_markdown(name)}"
        show.action(label, "login", f"sign-in.{name}", st.login, name, type="primary")
    st.stop()


def find_name() -> str | None:
    """Return the name of the visitor who is signed in; None for one who is not."""
    signed_in = has_sign_in() and st.user.get("is_logged_in")
    names = (st.user.get(claim) for claim in ("name", "email", "sub"))
    return str(next(filter(None, names), "")) if signed_in else None


def sign_out_button() -> None:
    """Draw the button to sign out."""
    show.action("Sign out", "logout", "sign-out", st.logout, type="tertiary")


def find_providers() -> dict[str, Mapping[str, Any]]:
    """Return the keys of each provider by its name: those of [auth] itself, and of tables such as [auth.google]."""
    section = dict(get_secrets_auth_section())
    named = {name: value for name, value in section.items() if isinstance(value, Mapping) and name != "client_kwargs"}
    return named if named and "client_id" not in section else {DEFAULT: section} | named


def check() -> None:
    """Raise SystemExit if a sign-in is configured that cannot work, or whose cookies could be forged."""
    for file in map(Path, st.get_option("secrets.files")):
        try:
            tomllib.loads(file.read_text("utf-8") if file.is_file() else "")
        except (OSError, ValueError) as error:
            raise SystemExit(f"{file} cannot be read ({error}), so it is unknown who may sign in.") from error
    if not has_sign_in():
        return
    missing = [key for key in AUTH_KEYS if key not in get_secrets_auth_section()]
    for name, keys in find_providers().items():
        prefix = "" if name == DEFAULT else f"{name}."
        missing += [prefix + key for key in PROVIDER_KEYS if key not in keys]
    if missing:
        raise SystemExit(f"The section [auth] of secrets.toml lacks {', '.join(missing)}: nobody could sign in.")
    length = len(str(get_secrets_auth_section()["cookie_secret"]))
    if length < MIN_TOKEN_LENGTH:
        raise SystemExit(f"cookie_secret in secrets.toml has {length} characters; give it at least {MIN_TOKEN_LENGTH}.")
