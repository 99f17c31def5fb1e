"""Model names resolve to files and a revision, without torch and without a hub."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import ModelError
from core.models.reference import resolve_model


@pytest.fixture
def folder(tiny_model_dir, tmp_path):
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))


def test_a_folder_s_revision_depends_on_its_content_not_its_path(folder, tiny_model_dir):
    here, there = resolve_model(str(folder)), resolve_model(str(tiny_model_dir))
    assert here.revision == there.revision and len(here.revision) == 32
    assert here.path == str(folder)
    assert here.size_bytes == (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_changing_a_file_that_affects_results_changes_the_revision(folder, name):
    before = resolve_model(str(folder)).revision
    data = bytearray((folder / name).read_bytes())
    data[-2] = ord(" ") if data[-2] != ord(" ") else ord("\n")
    (folder / name).write_bytes(data)
    assert resolve_model(str(folder)).revision != before


def test_a_readme_does_not_change_the_revision(folder):
    before = resolve_model(str(folder)).revision
    (folder / "README.md").write_text("a card")
    assert resolve_model(str(folder)).revision == before


def test_asking_for_another_revision_of_a_folder_is_refused(folder):
    actual = resolve_model(str(folder)).revision
    assert resolve_model(str(folder), actual).revision == actual
    with pytest.raises(ModelError, match=f"revision {actual}, not the requested {'0' * 32}"):
        resolve_model(str(folder), "0" * 32)


def test_a_folder_without_safetensors_is_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no \*.safetensors"):
        resolve_model(str(folder))


def test_a_missing_shard_is_named(folder):
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").rename(folder / "model-1-of-2.safetensors")
    with pytest.raises(ModelError, match=r"model-2-of-2\.safetensors is missing"):
        resolve_model(str(folder))


def test_a_folder_that_is_not_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"has no config\.json"):
        resolve_model(str(tmp_path))


def test_a_missing_path_is_not_mistaken_for_a_hub_id(tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        resolve_model(str(tmp_path / "nowhere"))


def test_an_uncached_hub_id_offline_is_a_clear_error():
    with pytest.raises(ModelError, match="not in the local cache, and the hub cannot be reached"):
        resolve_model("nobody/no-such-model")


def test_a_cached_hub_model_resolves_to_its_commit_without_asking_the_hub(folder, tmp_path, monkeypatch):
    commit = "c" * 40
    repo = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(folder, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    ref = resolve_model("someone/tiny")
    assert (ref.revision, ref.path) == (commit, str(repo / "snapshots" / commit))
    assert resolve_model("someone/tiny", commit) == ref
    (repo / "snapshots" / commit / "model.safetensors").unlink()  # an incomplete download is not used
    with pytest.raises(ModelError, match="hub cannot be reached"):
        resolve_model("someone/tiny")


def test_resolving_a_model_imports_neither_torch_nor_transformers():
    script = "import sys, core.models.reference; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
