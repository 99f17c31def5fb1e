"""Loading reads every weight from the files, and the separate head computes the model's own logits."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.errors import ModelError
from core.models.loading import (
    check_device,
    check_head,
    compute_logits,
    load_model,
    load_tokenizer,
    pick_device,
    pick_dtype,
)
from core.models.reference import resolve_model
from core.models.size_check import count_parameters
from tests.core.models.families import FAMILIES, every_family, network_of


@pytest.fixture
def folder(tiny_model_dir, tmp_path):
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))


@every_family
@torch.inference_mode()
def test_the_separate_head_computes_the_logits_of_the_whole_model(config):
    network = network_of(config)
    tokens = torch.randint(3, 300, (2, 40), generator=torch.Generator().manual_seed(1))
    hidden = network.base_model(input_ids=tokens, use_cache=False).last_hidden_state
    torch.testing.assert_close(compute_logits(network, hidden), network(tokens).logits, rtol=1e-5, atol=1e-5)
    check_head(network, "cpu")


def test_a_model_that_transforms_its_logits_in_an_unknown_way_is_refused():
    network = network_of(FAMILIES["llama"])
    forward = network.forward

    def shifted(*args, **kwargs):
        out = forward(*args, **kwargs)
        out.logits = out.logits * 1.01
        return out

    network.forward = shifted
    with pytest.raises(ModelError, match="LlamaForCausalLM transforms its logits"):
        check_head(network, "cpu")


def test_a_loaded_model_has_its_device_dtype_and_sizes(tiny_model_dir):
    ref = resolve_model(str(tiny_model_dir))
    model = load_model(ref)
    assert (model.device, model.dtype) == (pick_device(), "float32" if pick_device() == "cpu" else model.dtype)
    assert (model.hidden, model.vocabulary, model.max_length) == (32, 300, 512)
    assert model.parameters == count_parameters(tiny_model_dir) == sum(p.numel() for p in model.network.parameters())
    assert not model.network.training


def test_the_tokenizer_has_the_model_s_context_length(tiny_model_dir):
    assert load_tokenizer(resolve_model(str(tiny_model_dir))).model_max_length == 512


def test_a_cpu_runs_small_models_in_float32_and_large_ones_in_the_faster_dtype():
    able = torch.cpu.get_capabilities()
    fast = able.get("avx512_bf16", False) or able.get("amx_bf16", False)
    assert pick_dtype("cpu", 99_999_999) == "float32"
    assert pick_dtype("cpu", 100_000_000) == ("bfloat16" if fast else "float32")


def test_bfloat16_can_be_requested(tiny_model_dir):
    model = load_model(resolve_model(str(tiny_model_dir)), dtype="bfloat16", device="cpu")
    assert (model.dtype, model.network.dtype) == ("bfloat16", torch.bfloat16)


def test_an_unknown_dtype_or_device_is_named(tiny_model_dir):
    ref = resolve_model(str(tiny_model_dir))
    with pytest.raises(ModelError, match=r"dtype 'int3' is not known; choose auto, float32 or bfloat16"):
        load_model(ref, dtype="int3")
    with pytest.raises(ModelError, match="Device 'abacus' cannot be used here"):
        load_model(ref, device="abacus")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_missing_device_is_not_replaced_by_another():
    with pytest.raises(ModelError, match="Device 'cuda' cannot be used here"):
        check_device("cuda")


@pytest.mark.parametrize("what", ["missing", "of another shape"])
def test_a_weight_missing_from_the_files_is_not_initialised_at_random(folder, what):
    weights = load_file(folder / "model.safetensors")
    if what == "missing":
        del weights["lm_head.weight"]
    else:
        weights["lm_head.weight"] = weights["lm_head.weight"][:-1].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lm_head\.weight|cannot be loaded"):
        load_model(resolve_model(str(folder)))


def test_a_model_that_needs_its_own_code_is_refused_without_running_it(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    auto = {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "mine", "auto_map": auto}))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(resolve_model(str(folder)))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("size", [0, 5, 100, 100_000])
def test_truncated_weights_are_a_clear_error(folder, size):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:size])
    with pytest.raises(ModelError, match=r"not a complete safetensors file|cannot be loaded"):
        load_model(resolve_model(str(folder)))


def test_a_model_without_a_tokenizer_is_a_clear_error(folder):
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match="its tokenizer cannot be loaded"):
        load_tokenizer(resolve_model(str(folder)))


def test_a_state_of_another_model_is_refused(folder, tmp_path):
    (tmp_path / "state").mkdir()
    save_file({"x": torch.zeros(1)}, tmp_path / "state" / "model.safetensors")
    with pytest.raises(ModelError, match="belongs to another model"):
        load_model(resolve_model(str(folder)), state=tmp_path / "state")


def test_a_missing_state_is_a_clear_error(folder, tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(resolve_model(str(folder)), state=tmp_path / "nowhere")
