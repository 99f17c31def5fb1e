"""Active neurons are inputs of the down projections with the highest means, the same for a row in any batch."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn
from transformers import (
    ApertusConfig,
    BloomConfig,
    DeepseekV3Config,
    FalconConfig,
    GemmaConfig,
    GPTJConfig,
    MambaConfig,
    MixtralConfig,
    MptConfig,
    OPTConfig,
    Phi3Config,
    Qwen2MoeConfig,
)

from core.algorithms.active_neurons import ABSENT, ActiveNeurons
from core.errors import ModelError
from core.models import activations as module
from core.models.activations import ActivationObserver, find_down_projections, token_means, top_k_mask
from core.models.forward_pass import ForwardPass
from tests.core.models.conftest import rows
from tests.core.models.families import FAMILIES, GROUPED, SIZE, network_of
from tests.core.models.test_forward_pass import one

OPT = OPTConfig(
    vocab_size=300,
    hidden_size=32,
    ffn_dim=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=256,
    word_embed_proj_dim=32,
)
MORE = {
    "gemma": GemmaConfig(**GROUPED),
    "phi3: gate and up in one": Phi3Config(**GROUPED | {"pad_token_id": 0}),
    "opt: no module of its own": OPT,
    "apertus: an activation that learns": ApertusConfig(**GROUPED),
    "bloom": BloomConfig(vocab_size=300, hidden_size=32, n_layer=2, n_head=4),
    "falcon": FalconConfig(vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=4),
    "gpt-j": GPTJConfig(vocab_size=300, n_embd=32, n_layer=2, n_head=4, rotary_dim=4),
    "mpt": MptConfig(vocab_size=300, d_model=32, n_layers=2, n_heads=4),
}
DENSE = FAMILIES | MORE
every_dense = pytest.mark.parametrize("config", DENSE.values(), ids=DENSE)
REFUSED = {
    "mixtral": MixtralConfig(**GROUPED),
    "qwen2-moe with a shared expert": Qwen2MoeConfig(**GROUPED),
    "deepseek: dense, then experts": DeepseekV3Config(**SIZE | {"num_hidden_layers": 4}, n_routed_experts=8, n_group=1),
    "mamba": MambaConfig(vocab_size=300, hidden_size=32, num_hidden_layers=2),
    "as wide as the model": FAMILIES["llama"].__class__(**GROUPED | {"intermediate_size": 32}),
}


def active(model, batch, share=0.1, tokens="response", **options):
    rider = ActivationObserver(model, share=share, tokens=tokens)
    return ForwardPass(model, observers=[rider], **options)(batch)["active_neurons"]


@torch.inference_mode()
def plain_loop(network, batch, share, tokens):
    """Compute row by row the output of the feed-forward blocks' own modules; the k highest means, sorted."""
    states = []
    for ids, spans in zip(batch["tokens"], batch["spans"], strict=True):
        seen = []
        hooks = [
            layer.mlp.register_forward_pre_hook(lambda _m, given, s=seen: s.append(given[0][0]))
            for layer in network.base_model.layers
        ]
        network(torch.from_numpy(ids.astype(np.int64))[None])
        for hook in hooks:
            hook.remove()
        read = [any(a <= t < b for a, b in spans.reshape(-1, 2)) or tokens == "all" for t in range(len(ids))]
        on = []
        for number, (layer, given) in enumerate(zip(network.base_model.layers, seen, strict=True)):
            block = layer.mlp
            values = (block.act_fn(block.gate_proj(given)) * block.up_proj(given))[torch.tensor(read)].double().mean(0)
            width = len(values)
            best = sorted(range(width), key=lambda f, v=values: (-v[f], f))[: max(1, round(share * width))]
            on += [number * width + f for f in sorted(best)]
        states.append(on if any(read) else [int(ABSENT)] * len(on))
    return states


# --- active neurons


@pytest.mark.parametrize("tokens", ["response", "all"])
@pytest.mark.parametrize("share", [0.01, 0.1, 1.0])
def test_active_neurons_equal_a_plain_loop_over_rows(model, batch, tokens, share):
    assert active(model, batch, share, tokens).tolist() == plain_loop(model.network, batch, share, tokens)


def test_a_constructed_block_has_the_intended_active_neurons(model):
    """Neuron f of each layer gives f times the same positive number, so the last ones are active."""
    network = network_of(FAMILIES["gpt-neox"])
    for layer in network.base_model.layers:
        nn.init.zeros_(layer.mlp.dense_h_to_4h.weight)
        layer.mlp.dense_h_to_4h.bias.data = torch.arange(64.0)
    actual = active(replace(model, network=network), rows([9, 5], [[(4, 9)], [(2, 5)]]), share=0.05)
    assert actual.tolist() == [[61, 62, 63, 125, 126, 127]] * 2


@every_dense
def test_every_family_has_the_requested_number_of_active_neurons_per_layer(config, model, batch):
    network = network_of(config)
    some = replace(model, network=network, hidden=32)
    widths = find_down_projections(network)
    assert set(widths.values()) in ({64}, {128})
    k, width = round(0.05 * max(widths.values())), max(widths.values())
    actual = active(some, one(batch, 0), share=0.05)
    assert (np.diff(actual.astype(np.int64)) > 0).all()
    assert np.bincount(actual[0] // width).tolist() == [k, k]


@every_dense
def test_a_down_projection_maps_activations_to_the_hidden_states(config):
    """Set to zero, they remove all feed-forward blocks: the output no longer depends on them."""
    network = network_of(config)
    ids = torch.arange(9)[None]
    for name in find_down_projections(network):
        nn.init.zeros_(network.base_model.get_submodule(name).weight)
    once = network.base_model(ids).last_hidden_state
    ups = [p for n, p in network.base_model.named_parameters() if p.ndim == 2 and any(up in n for up in UPS)]
    assert len(ups) >= 2
    for weight in ups:
        nn.init.normal_(weight)
    torch.testing.assert_close(network.base_model(ids).last_hidden_state, once)


UPS = ("up_proj", "gate_proj", "fc1", "c_fc", "fc_in", "dense_h_to_4h")


# --- independence of the batch


@every_dense
def test_a_row_has_the_same_active_neurons_in_any_batch_and_under_any_padding(config, model, batch):
    some = replace(model, network=network_of(config), hidden=32)
    alone = [active(some, one(batch, k))[0].tolist() for k in range(len(batch["tokens"]))]
    for budget in (1, 64, 100_000):
        assert active(some, batch, batch_tokens=budget).tolist() == alone


def test_more_padding_changes_nothing(model):
    short = rows([9], [[(4, 9)]])
    expected = active(model, short)
    for length in (10, 64, 300):
        longer = rows([length], [[(1, length)]], seed=1)
        probe = ForwardPass(model, observers=[ActivationObserver(model, share=0.1)], batch_tokens=10_000)
        actual = probe._pass(  # in one batch, which `plan_batches` would not do
            np.array([0, 1]), longer["tokens"] + short["tokens"], longer["spans"] + short["spans"], None
        )
        assert actual["active_neurons"][1:].tolist() == expected.tolist()


@pytest.mark.parametrize("start", [40, 24])  # the response begins after the shared prefix, and within it
def test_a_shared_prefix_changes_nothing(model, start):
    batch = rows([60, 50, 48, 57], [[(start, n)] for n in (60, 50, 48, 57)])
    for row in batch["tokens"]:
        row[:32] = np.arange(4, 36)
    alone = [active(model, one(batch, k))[0].tolist() for k in range(4)]
    assert active(model, batch).tolist() == alone
    assert active(model, batch, tokens="all").tolist() == plain_loop(model.network, batch, 0.1, "all")


def test_observing_neurons_does_not_change_the_other_columns(model, batch):
    plain, ridden = ForwardPass(model)(batch), ForwardPass(model, observers=[ActivationObserver(model)])(batch)
    for name in plain:
        np.testing.assert_array_equal(ridden[name], plain[name])


def test_hooks_are_removed_after_a_pass_even_if_it_fails(model, batch):
    probe = ForwardPass(model, observers=[ActivationObserver(model)])
    probe(batch)

    def fail(*_):
        raise KeyError("in the middle")

    hook = model.network.base_model.layers[1].register_forward_pre_hook(fail)
    with pytest.raises(KeyError, match="in the middle"):
        probe(batch)
    hook.remove()
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.network.modules())


# --- the column


def test_the_column_is_a_fixed_length_list_that_active_neurons_are_built_from(model, batch):
    rider = ActivationObserver(model, share=0.1)
    probe = ForwardPass(model, observers=[rider])
    assert probe.columns["active_neurons"] == pa.list_(pa.uint32(), 12)
    actual = probe(batch)["active_neurons"]
    assert (actual.shape, actual.dtype) == ((9, 12), np.uint32)
    assert probe({"tokens": [], "spans": []})["active_neurons"].shape == (0, 12)
    states = ActiveNeurons.from_table(actual, rider.neurons)
    assert np.diff(states.indptr).tolist() == [0 if k == 3 else 12 for k in range(9)]
    assert states.row(4).tolist() == actual[4].tolist()


def test_at_least_one_neuron_per_layer_is_active(model, batch):
    assert active(model, batch, share=0.0001).shape == (9, 2)


def test_a_row_with_a_value_that_is_not_finite_is_absent(model, batch):
    network = network_of(FAMILIES["llama"])
    word = int(batch["tokens"][0][30])
    network.base_model.embed_tokens.weight.data[word] = torch.nan
    actual = active(replace(model, network=network), batch)
    spoilt = [word in row.tolist() or k == 3 for k, row in enumerate(batch["tokens"])]
    assert sum(spoilt) < 9
    assert (actual == ABSENT).all(axis=1).tolist() == spoilt
    assert (actual == ABSENT).any(axis=1).tolist() == spoilt


# --- models without such neurons


@pytest.mark.parametrize("config", REFUSED.values(), ids=REFUSED)
def test_a_model_without_one_dense_block_in_each_layer_is_refused(config, model):
    with pytest.raises(ModelError, match=r"has not exactly one feed-forward block in each of its [24] layers .*Choose"):
        ActivationObserver(replace(model, network=network_of(config)))


def test_a_layer_that_runs_twice_is_refused(model, batch):
    network = network_of(FAMILIES["llama"])
    down = network.base_model.layers[1].mlp.down_proj
    network.base_model.layers[1].mlp.register_forward_hook(lambda _m, _i, out: down(torch.zeros(1, 1, 64)) * 0 + out)
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.down_proj of this model runs more than once"):
        active(replace(model, network=network), batch)


# --- arithmetic


def test_the_highest_are_marked_and_ties_go_to_the_first():
    values = torch.tensor([[0.0, 3.0, 1.0, 1.0, 2.0, 1.0], [0.0] * 6, [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]])
    expected = [[0, 1, 1, 0, 1, 0], [1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0]]
    assert top_k_mask(values, 3).int().tolist() == expected
    assert top_k_mask(values, 6).all()


@pytest.mark.parametrize("floats", [1, 30, 1 << 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_means_are_over_marked_tokens_for_any_chunk_size(monkeypatch, floats, dtype):
    monkeypatch.setattr(module, "FLOAT32_CHUNK", floats)
    values = torch.randn(5, 8, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    weights = torch.zeros(5, 10)
    weights[0, 2:6], weights[1, 9], weights[2, [3, 7]] = 0.25, 1.0, 0.5
    actual = token_means(values, weights)
    expected = torch.stack([values[0, 0:4].double().mean(0), values[1, 7].double(), values[2, [1, 5]].double().mean(0)])
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual[:3].double(), expected, rtol=1e-6, atol=1e-6)
    assert not actual[3:].any()
    torch.testing.assert_close(token_means(values.reshape(40, 3), weights), actual)
