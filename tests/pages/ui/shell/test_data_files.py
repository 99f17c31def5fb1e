"""Files of the allowed folders that are offered: what may be a pool, and nothing hidden or of others."""

import os

import pytest

from pages.ui.shell import data_files


@pytest.fixture
def folder(workspace, tmp_path):
    """Return an allowed folder; listings are made anew."""
    data_files._find_files.clear()
    return tmp_path


def put(path, age: float = 0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def test_newest_files_come_first_and_json_last(folder):
    wanted = [put(folder / name, age) for age, name in enumerate(("new.jsonl", "a/b/old.csv.gz", "pool.parquet"))]
    wanted.append(put(folder / "newest.json", -5))
    put(folder / "notes.txt")
    put(folder / "archive.gz")
    assert data_files.find_files() == wanted


@pytest.mark.parametrize("name", [".hidden.jsonl", ".secret/x.jsonl", "node_modules/x.jsonl", "a/b/c/d/deep.jsonl"])
def test_hidden_foreign_and_deep_files_are_not_listed(folder, name):
    put(folder / name)
    assert data_files.find_files() == []


def test_the_workspace_is_not_listed(folder, workspace):
    put(workspace.root / "uploads" / "x" / "mine.jsonl")
    assert data_files.find_files() == []


def test_the_app_itself_is_not_listed(folder, monkeypatch):
    monkeypatch.setenv("WINNOW_DATA_ROOTS", str(data_files.ROOT))
    assert (data_files.ROOT / "core" / "demo" / "model" / "tokenizer.json").exists()
    assert not [file for file in data_files.find_files() if file.is_relative_to(data_files.ROOT / "core")]


def test_links_lead_nowhere(folder, tmp_path_factory):
    outside = put(tmp_path_factory.mktemp("outside") / "secret.jsonl")
    (folder / "link.jsonl").symlink_to(outside)
    (folder / "folder").symlink_to(outside.parent)
    assert data_files.find_files() == []


def test_a_listing_ends(folder, monkeypatch):
    monkeypatch.setattr(data_files, "MAX_FILES", 3)
    for k in range(5):
        put(folder / f"{k}.jsonl", k)
    assert [file.name for file in data_files.find_files()] == ["0.jsonl", "1.jsonl", "2.jsonl"]
