"""Signing in: whoever has not is asked to, and a login that cannot work stops the start."""

import pytest
import streamlit as st
from streamlit.runtime.secrets import secrets_singleton
from streamlit.testing.v1 import AppTest

from pages.ui.shell import sign_in, visitors
from tests.pages.conftest import ROOT, opened

KEYS = {"client_id": "a", "client_secret": "b", "server_metadata_url": "https://id.example.org/.well-known/x"}
AUTH = {"redirect_uri": "https://winnow.example.org/oauth2callback", "cookie_secret": "c" * 16}


@pytest.fixture
def configure(tmp_path, monkeypatch):
    """Return a function that writes secrets.toml and lets Streamlit read it."""
    file = tmp_path / "secrets.toml"
    get_option = st.get_option
    monkeypatch.setattr(st, "get_option", lambda name: [str(file)] if name == "secrets.files" else get_option(name))
    monkeypatch.setattr("streamlit.config.get_option", st.get_option)

    def write(text: str) -> None:
        file.write_text(text)
        secrets_singleton._reset()

    yield write
    secrets_singleton._reset()


def toml(section: str, keys: dict[str, str]) -> str:
    return f"[{section}]\n" + "".join(f'{key} = "{value}"\n' for key, value in keys.items())


def visit(user: dict) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.user = user
    at.run()
    assert not at.exception
    return at


def test_without_a_login_nobody_is_asked(pool, configure):
    configure("")
    assert opened(visit({})) == r"small\.jsonl"
    sign_in.check()


def test_a_visitor_who_has_not_signed_in_sees_the_question_only(pool, configure):
    configure(toml("auth", AUTH | KEYS))
    at = visit({"is_logged_in": False, "sub": "1"})
    assert [title.value for title in at.title] == ["Sign in"]
    assert [button.label for button in at.main.button] == ["Sign in"]
    assert "small" not in " ".join(text.value for text in at.text)


def test_every_provider_has_its_button(pool, configure):
    configure(toml("auth", AUTH) + toml("auth.here", KEYS) + toml("auth.there", KEYS))
    sign_in.check()
    labels = [button.label for button in visit({"is_logged_in": False}).main.button]
    assert labels == ["Sign in with here", "Sign in with there"]


def test_who_is_signed_in_is_shown_with_a_way_out(pool, configure):
    configure(toml("auth", AUTH | KEYS))
    at = visit({"is_logged_in": True, "iss": "https://id.example.org", "sub": "1", "name": "Ada *x*"})
    assert "Ada *x*" in [text.value for text in at.sidebar.text]
    assert "Sign out" in [button.label for button in at.sidebar.button]


def test_the_subject_at_its_issuer_is_the_person_and_not_the_email(workspace, configure):
    configure(toml("auth", AUTH | KEYS))
    keys = [
        visit({"is_logged_in": True, "iss": iss, "sub": sub, "email": email}).session_state[visitors.VISITOR]
        for iss, sub, email in (("i", "1", "a@x"), ("i", "1", "b@x"), ("j", "1", "a@x"), ("i", "2", "a@x"))
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        (toml("auth", KEYS), "redirect_uri, cookie_secret"),
        (toml("auth", AUTH), "client_id, client_secret, server_metadata_url"),
        (toml("auth", AUTH | {"client_id": "a"}), "client_secret, server_metadata_url"),
        (toml("auth", AUTH) + toml("auth.here", {"client_id": "a"}), r"here\.client_secret, here\.server_metadata_url"),
    ],
)
def test_a_login_that_cannot_work_stops_the_start(configure, text, lacks):
    configure(text)
    with pytest.raises(SystemExit, match=rf"lacks {lacks}: nobody could sign in"):
        sign_in.check()


def test_a_secret_that_can_be_guessed_stops_the_start(configure):
    configure(toml("auth", AUTH | KEYS | {"cookie_secret": "short"}))
    with pytest.raises(SystemExit, match="at least 16"):
        sign_in.check()


@pytest.mark.parametrize("text", ["[auth", "\0"])
def test_secrets_that_cannot_be_read_stop_the_start(configure, text):
    configure(text)
    with pytest.raises(SystemExit, match=r"secrets\.toml cannot be read"):
        sign_in.check()
