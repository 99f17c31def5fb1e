"""Addresses: who is this computer, and which entry of a list names whom."""

import pytest

from core.errors import ModelError
from core.models.generation.addresses import check_url, host_and_port, is_loopback, is_named


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.3.2.1", True),
        ("https://LOCALHOST/v1", True),
        ("http://[::1]:9/v1", True),
        ("http://0.0.0.0:8000", False),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost.example.com", False),
        ("http://127.1", False),
        ("http://2130706433", False),
        ("http://169.254.169.254", False),
        ("http://[fe80::1]", False),
    ],
)
def test_only_loopback_addresses_are_this_computer(url, local):
    assert is_loopback(check_url(url)) is local


@pytest.mark.parametrize(
    ("url", "entry", "asked", "keyed"),
    [
        ("https://api.example/v1", "api.example", True, True),
        ("https://api.example/v1", " API.example ", True, True),
        ("https://api.example:443/v1", "api.example:443", True, True),
        ("http://api.example/v1", "api.example", True, False),  # in the clear: the key needs the port to be named
        ("http://api.example/v1", "api.example:80", True, True),
        ("https://api.example:8443/v1", "api.example", True, False),
        ("http://api.example:8000/v1", "api.example:8000", True, True),
        ("http://api.example:8000/v1", "api.example:8001", False, False),
        ("https://api.example.evil/v1", "api.example", False, False),
        ("https://sub.api.example/v1", "api.example", False, False),
        ("http://127.0.0.1:8000/v1", "127.0.0.1", True, False),
        ("http://127.0.0.2:8000/v1", "127.0.0.1:8000", False, False),
        ("http://[::1]:8000/v1", "[::1]:8000", True, True),
    ],
)
def test_an_entry_names_a_host_with_one_port_or_all_and_the_key_needs_the_port_unless_it_is_that_of_https(
    url, entry, asked, keyed
):
    assert is_named(url, ["other.example", entry]) is asked
    assert is_named(url, ["other.example", entry], standard_port=True) is keyed


@pytest.mark.parametrize("entry", ["", "http://api.example", "api.example/v1", "me@api.example", "h:x", "::1"])
def test_an_entry_of_another_form_is_refused(entry):
    with pytest.raises(ModelError, match="is not a server"):
        is_named("https://api.example/v1", [entry])


def test_host_and_port_are_written_as_they_are_allowed():
    for url, written in {"https://api.example/v1": "api.example:443", "http://[::1]:8000/v1": "[::1]:8000"}.items():
        assert host_and_port(url) == written and is_named(url, [written])
