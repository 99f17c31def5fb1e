"""A prefix that rows share runs once, without changing any result."""

from dataclasses import replace

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, MambaConfig, RecurrentGemmaConfig

from core.models.forward_pass import ForwardPass
from core.models.shared_prefix import can_share_prefix, compute_hidden_states, find_common_prefix, run_prefix
from tests.core.models.families import every_family, network_of

START = np.arange(50, 90, dtype=np.uint32)  # 40 tokens that rows share


@pytest.fixture(scope="module")
def batch():
    """Return rows of many lengths with a shared prefix; one diverges early, one shares none, one is only the prefix."""
    rng = np.random.default_rng(0)
    tails = [rng.integers(4, 300, n).astype(np.uint32) for n in (30, 9, 28, 2, 60, 33, 31, 8)]
    tokens = [np.concatenate([START, tail]) for tail in tails]
    tokens += [np.concatenate([START[:20], tails[0]]), rng.integers(4, 300, 70).astype(np.uint32), START]
    spans = [
        [41, 70],
        [45, 49],
        [20, 68],
        [41, 42],
        [50, 60, 70, 100],
        [40, 73],
        [70, 71],
        [],
        [21, 50],
        [1, 70],
        [39, 40],
    ]
    return {"tokens": tokens, "spans": [np.array(s, np.int32) for s in spans]}


def alone(probe, batch):
    """Measure each row in a call of its own, so that no prefix is shared."""
    parts = [probe({name: values[k : k + 1] for name, values in batch.items()}) for k in range(len(batch["tokens"]))]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@every_family
@pytest.mark.parametrize("budget", [100, 10_000])
def test_a_shared_prefix_changes_no_value(config, model, batch, budget):
    network = network_of(config)
    assert can_share_prefix(network, "cpu")
    probe = ForwardPass(replace(model, network=network), batch_tokens=budget)
    actual, expected = probe(batch), alone(probe, batch)
    for name in expected:
        scale = np.abs(expected[name]) if expected[name].ndim == 1 else np.linalg.norm(expected[name], axis=1)[:, None]
        assert np.isnan(actual[name]).tolist() == np.isnan(expected[name]).tolist()
        assert np.nanmax(np.abs(actual[name] - expected[name]) / scale) < 1e-5


def test_no_layer_keeps_the_keys_of_the_rows(model):
    seen = []

    def look(_module, _args, kwargs, _output):
        seen.extend(layer.keys.shape[-2] for layer in kwargs["past_key_values"].layers)

    prefix = run_prefix(model.network, START.astype(np.int64), "cpu")
    hook = model.network.base_model.register_forward_hook(look, with_kwargs=True)
    compute_hidden_states(model.network, np.arange(50, 120)[None], prefix, "cpu")
    hook.remove()
    assert seen
    assert set(seen) == {len(START)}


def test_the_prefix_runs_once_and_the_rest_once_per_row(model, batch):
    shapes = []

    def seen(_module, _args, kwargs):
        shapes.append(tuple(kwargs["input_ids"].shape))

    probe = ForwardPass(model)
    hook = model.network.base_model.register_forward_pre_hook(seen, with_kwargs=True)
    try:
        probe({name: values[:8] for name, values in batch.items()})
    finally:
        hook.remove()
    assert shapes[0] == (1, 40)
    assert sum(rows for rows, _ in shapes[1:]) == 8
    assert max(width for _, width in shapes[1:]) == 60


def test_the_prefix_is_what_most_adjacent_rows_share():
    def rows(*lengths):
        return [np.concatenate([START[:n], np.full(9, 200 + n, np.uint32)]) for n in lengths]

    assert find_common_prefix(rows(40, 39, 38, 37)).tolist() == START[:38].tolist()
    assert find_common_prefix(rows(40, 39, 5, 38, 37, 36)).tolist() == START[:36].tolist()
    assert len(find_common_prefix(rows(10, 11, 12, 13))) == 0  # too short to help
    assert len(find_common_prefix(rows(40))) == len(find_common_prefix([])) == 0


@pytest.mark.parametrize(
    "config",
    [
        MambaConfig(vocab_size=300, hidden_size=32, num_hidden_layers=2),
        RecurrentGemmaConfig(
            vocab_size=300,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            lru_width=32,
        ),
    ],
    ids=["mamba", "recurrent gemma"],
)
def test_a_model_that_caches_something_else_than_keys_and_values_runs_rows_whole(config, model, batch):
    network = AutoModelForCausalLM.from_config(config).eval()
    assert not can_share_prefix(network, "cpu")
    probe = ForwardPass(replace(model, network=network))
    actual, expected = probe(batch), alone(probe, batch)
    np.testing.assert_allclose(actual["nll"], expected["nll"], rtol=1e-5)
