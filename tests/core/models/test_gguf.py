"""GGUF files: dequantised once, loaded like any other model. With a real model where it is installed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import ModelError
from core.models import loading, reference
from core.models.generation.greedy import GreedyLogProbs, generate
from core.models.loading import load_model
from core.models.reference import describe_weights, find_gguf, is_installed, resolve_model

REAL = pytest.mark.skipif(not is_installed("smollm2"), reason="SmolLM2 is not installed here (make smollm)")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("models")


@REAL
@pytest.mark.slow
@pytest.mark.soak
def test_a_real_model_answers_sensibly(models):
    model = load_model(resolve_model("smollm2", models=models), dtype="float32")
    assert (model.parameters, model.vocabulary, model.max_length) == (134_515_008, 49_152, 8192)
    question = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
    prompt = model.tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=False)
    tokens, _ = generate(model.network, [np.array(prompt)], GreedyLogProbs(), 12, "cpu")
    assert "Paris" in model.tokenizer.decode(tokens[0])


@REAL
@pytest.mark.slow
def test_it_is_dequantised_once_and_its_revision_is_that_of_the_file(models, monkeypatch):
    ref = resolve_model("smollm2", models=models)
    folder = loading.fetch_model(ref)
    monkeypatch.setattr(loading, "dequantise", lambda *_: pytest.fail("dequantised again"))
    assert loading.fetch_model(resolve_model(str(find_gguf("smollm2")), models=models)) == folder
    assert len(ref.revision) == 32
    assert resolve_model("smollm2", ref.revision, models=models) == ref
    with pytest.raises(ModelError, match="have changed"):
        resolve_model("smollm2", "0" * 32, models=models)
    weights = loading.load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert "quantization_config" not in (folder / "config.json").read_text()


def test_a_model_that_is_not_installed_says_how_to_fetch_it(monkeypatch):
    monkeypatch.setattr(reference, "find_spec", lambda _name: None)
    assert not is_installed("smollm2")
    with pytest.raises(ModelError, match="make smollm"):
        resolve_model("smollm2")


def test_a_file_that_is_not_there_and_one_without_a_workspace_are_refused(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        resolve_model(str(tmp_path / "missing.gguf"), models=tmp_path)
    (tmp_path / "model.GGUF").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="workspace"):
        resolve_model(str(tmp_path / "model.GGUF"))


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + bytes(200), b"not a model at all"])
def test_a_file_that_is_no_model_is_one_sentence_and_leaves_nothing(tmp_path, content):
    (tmp_path / "model.gguf").write_bytes(content)
    ref = resolve_model(str(tmp_path / "model.gguf"), models=tmp_path / "models")
    with pytest.raises(ModelError, match=r"model\.gguf"):
        loading.fetch_model(ref)
    assert not list(tmp_path.glob("models/*"))


def test_dequantised_weights_are_named_as_such():
    assert "4-bit" in str(describe_weights("smollm2"))
    assert "GGUF" in str(describe_weights("/models/x.gguf"))
    assert describe_weights("embedded") is describe_weights("Qwen/Qwen2.5-0.5B") is None


@pytest.mark.parametrize(
    ("blocks", "width", "sentence"),
    [(10**6, 32, "has llama.block_count 1,000,000"), (2, 2**30, "but its files hold 9,600")],
)
def test_a_file_that_describes_a_far_larger_model_is_refused_before_it_is_built(tmp_path, blocks, width, sentence):
    writer = pytest.importorskip("gguf").GGUFWriter(str(tmp_path / "model.gguf"), "llama")
    writer.add_block_count(blocks)
    writer.add_embedding_length(width)
    for add, value in (
        (writer.add_context_length, 64),
        (writer.add_feed_forward_length, 64),
        (writer.add_head_count, 4),
    ):
        add(value)
    writer.add_tensor("token_embd.weight", np.zeros((300, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    ref = resolve_model(str(tmp_path / "model.gguf"), models=tmp_path / "models")
    with pytest.raises(ModelError, match=sentence):
        loading.fetch_model(ref)
