"""Paths, models and servers typed into a browser: which are allowed."""

from pathlib import Path

import pytest

from core.errors import PoolError
from pages.ui.shell import roots


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an allowed folder with a pool, next to a folder that is not allowed."""
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "pool.jsonl").write_text("{}")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.jsonl").write_text("{}")
    monkeypatch.setenv("WINNOW_DATA_ROOTS", str(tmp_path / "allowed"))
    return tmp_path


def test_a_file_inside_is_resolved(data):
    assert roots.check_source(f" '{data}/allowed/../allowed/pool.jsonl' ") == str(data / "allowed" / "pool.jsonl")


def test_a_file_outside_is_refused_with_what_to_do(data):
    with pytest.raises(PoolError, match=r"outside the folders.*WINNOW_DATA_ROOTS"):
        roots.check_source(str(data / "elsewhere" / "secret.jsonl"))


def test_an_error_does_not_reveal_whether_a_file_outside_exists(data):
    messages = []
    for name in ("secret.jsonl", "nothing.jsonl"):
        with pytest.raises(PoolError) as refused:
            roots.check_source(str(data / "elsewhere" / name))
        messages.append(str(refused.value).replace(name, ""))
    assert messages[0] == messages[1]


def test_dots_cannot_leave_the_folder(data):
    with pytest.raises(PoolError, match="outside"):
        roots.check_source(f"{data}/allowed/../elsewhere/secret.jsonl")


def test_a_symlink_cannot_leave_the_folder(data):
    (data / "allowed" / "link.jsonl").symlink_to(data / "elsewhere" / "secret.jsonl")
    with pytest.raises(PoolError, match="outside"):
        roots.check_source(str(data / "allowed" / "link.jsonl"))


def test_hidden_folders_stay_closed(data):
    (data / "allowed" / ".ssh").mkdir()
    (data / "allowed" / ".ssh" / "key.json").write_text("{}")
    with pytest.raises(PoolError, match="hidden"):
        roots.check_source(str(data / "allowed" / ".ssh" / "key.json"))


def test_a_missing_file_inside_is_reported(data):
    with pytest.raises(PoolError, match="is not there"):
        roots.check_source(str(data / "allowed" / "other.jsonl"))


@pytest.mark.parametrize(
    "typed", ["", "  ", "a\0b", "a" * 5_000, "~nobody-here/x", r"\\server\share\x.jsonl", "//server/share/x.jsonl"]
)
def test_invalid_paths_are_refused(data, typed):
    with pytest.raises(PoolError):
        roots.check_source(typed)


@pytest.mark.parametrize("typed", ["databricks/databricks-dolly-15k", "gsm8k", "demo", "hf://datasets/o/n@v1/data"])
def test_a_hub_id_is_unchanged(data, typed):
    assert roots.check_source(typed) == typed


def test_from_other_computers_the_home_folder_is_not_open(monkeypatch, tmp_path):
    monkeypatch.delenv("WINNOW_DATA_ROOTS", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(roots, "is_shared", lambda: False)
    assert Path.home().resolve() in roots.allowed_folders()
    monkeypatch.setattr(roots, "is_shared", lambda: True)
    assert roots.allowed_folders() == (tmp_path.resolve(),)


@pytest.mark.parametrize("typed", ["a\0b", "a" * 5_000, "/" + "a" * 5_000])
def test_invalid_models_are_refused(data, typed):
    with pytest.raises(PoolError):
        roots.check_model(typed)


def test_a_circle_of_links_is_refused(data):
    (data / "allowed" / "circle.jsonl").symlink_to(data / "allowed" / "circle.jsonl")
    with pytest.raises(PoolError):
        roots.check_source(str(data / "allowed" / "circle.jsonl"))


def test_a_model_folder_is_checked_as_a_pool(data):
    with pytest.raises(PoolError, match="outside"):
        roots.check_model(str(data / "elsewhere"))
    assert roots.check_model("Qwen/Qwen2.5-0.5B") == "Qwen/Qwen2.5-0.5B"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1", "http://localhost:8000/v1", "http://[::1]:8000/v1"])
def test_servers_of_this_computer_are_allowed(url):
    assert roots.check_server(f" {url} ") == url


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/v1", "https://api.example.com/v1", "http://127.0.0.1.evil.com"]
)
def test_other_servers_are_allowed_only_if_named(url, monkeypatch):
    with pytest.raises(PoolError, match="WINNOW_SERVERS"):
        roots.check_server(url)
    monkeypatch.setenv("WINNOW_SERVERS", "api.example.com, 169.254.169.254,127.0.0.1.evil.com")
    assert roots.check_server(url) == url


INVALID_URLS = [
    *("file:///etc/passwd", "127.0.0.1:8000", "http://user:key@127.0.0.1/v1", "http:///v1"),
    *("http://[127.0.0.1]", "http://[::1", "http://127.0.0.1:99999", "http://127.0.0.1:x"),
]


@pytest.mark.parametrize("url", INVALID_URLS)
def test_invalid_addresses_are_refused(url):
    with pytest.raises(PoolError, match="no address"):
        roots.check_server(url)


class TestClusters:
    """A cluster runs code of its own in the process that connects to it, so it must be an allowed one."""

    def test_one_of_this_computer_is_allowed(self):
        assert roots.check_cluster(" localhost:6379 ") == "localhost:6379"

    def test_others_are_allowed_only_if_named(self, monkeypatch):
        with pytest.raises(PoolError, match="WINNOW_SERVERS"):
            roots.check_cluster("10.0.0.1:6379")
        monkeypatch.setenv("WINNOW_SERVERS", "10.0.0.1")
        assert roots.check_cluster("10.0.0.1:6379") == "10.0.0.1:6379"

    @pytest.mark.parametrize("typed", ["", "localhost", "ray://localhost:6379", "me@localhost:6379", "localhost:1 x:2"])
    def test_what_is_no_address_is_refused(self, typed):
        with pytest.raises(PoolError, match="no address of a Ray cluster"):
            roots.check_cluster(typed)


class TestFoldersAndPatterns:
    def test_those_inside_are_resolved(self, data):
        assert roots.check_source(f"{data}/allowed/") == str(data / "allowed")
        assert roots.check_source(f"{data}/allowed/../allowed/*.jsonl") == f"{data}/allowed/*.jsonl"

    def test_a_pattern_outside_is_refused_and_does_not_reveal_what_it_matches(self, data):
        messages = []
        for pattern in ("s*.jsonl", "x*.jsonl"):
            with pytest.raises(PoolError, match=r"outside the folders") as refused:
                roots.check_source(f"{data}/elsewhere/{pattern}")
            messages.append(str(refused.value))
        assert messages[0] == messages[1]

    @pytest.mark.parametrize("pattern", ["*/../../elsewhere/*.jsonl", "**/../*/*.jsonl"])
    def test_dots_after_a_wildcard_are_refused(self, data, pattern):
        with pytest.raises(PoolError, match=r"has '\.\.' after a wildcard"):
            roots.check_source(f"{data}/allowed/{pattern}")

    def test_no_pattern_searches_all_folders(self, data):
        with pytest.raises(PoolError, match=r"has '\*\*'\. Give the folder alone"):
            roots.check_source(f"{data}/allowed/**/*.jsonl")

    def test_the_home_of_nobody_is_refused(self, data):
        with pytest.raises(PoolError, match="cannot be opened"):
            roots.check_source("~nobody-here/*.jsonl")

    @pytest.mark.parametrize("source", ["", "/*.jsonl", "/l*/*.jsonl"])
    def test_a_link_in_it_cannot_leave_the_folder(self, data, source):
        if source.startswith("/l"):
            (data / "allowed" / "linked").symlink_to(data / "elsewhere")
        else:
            (data / "allowed" / "link.jsonl").symlink_to(data / "elsewhere" / "secret.jsonl")
        with pytest.raises(PoolError, match="outside"):
            roots.check_source(f"{data}/allowed{source}")

    def test_hidden_folders_stay_closed(self, data):
        (data / "allowed" / ".ssh").mkdir()
        (data / "allowed" / ".ssh" / "key.json").write_text("{}")
        assert roots.check_source(f"{data}/allowed") == str(data / "allowed")  # its data files are not hidden ones
        for pattern in (".ssh/*.json", ".s*/*.json"):
            with pytest.raises(PoolError, match=r"hidden|no data file"):
                roots.check_source(f"{data}/allowed/{pattern}")
