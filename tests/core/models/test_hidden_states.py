"""Sums of upper hidden states equal a plain loop over texts, with any shared prefix, batching or skipped block."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    LlamaConfig,
    MambaConfig,
    RecurrentGemmaConfig,
)

from core.errors import ModelError
from core.models.hidden_states import HiddenStateSums, shared_prefix_lengths
from core.models.loading import load_model
from core.models.reference import resolve_model
from tests.core.models.families import FAMILIES, GROUPED, SIZE, network_of

DEEP = FAMILIES | {"gemma": GemmaConfig(**GROUPED), "gemma3 windowed": Gemma3TextConfig(**GROUPED, sliding_window=8)}
every_family = pytest.mark.parametrize("name", DEEP)


def layered(config, layers):
    """Return the same family with this many layers."""
    settings = {k: v for k, v in config.to_dict().items() if k not in ("layer_types", "n_layer")}
    return type(config)(**settings | {"num_hidden_layers": layers})


@pytest.fixture(scope="module")
def loaded(tiny_model_dir):
    return load_model(resolve_model(str(tiny_model_dir)), dtype="float32", device="cpu")


@pytest.fixture
def model(loaded):
    return replace(loaded, network=network_of(layered(FAMILIES["llama"], 5)))


@pytest.fixture(scope="module")
def texts():
    """Return tokens, weights and groups: prefixes of many lengths, a group of one text, a group without a prefix."""
    rng = np.random.default_rng(0)
    tokens, group = [], []
    for number, (start, ends) in enumerate(
        [(12, (5, 9, 1)), (20, (3, 30, 4, 4)), (7, (8,)), (15, (6, 2)), (0, (12, 9)), (17, (25, 1, 13))]
    ):
        begin = rng.integers(4, 300, start)
        tokens += [np.concatenate([begin, rng.integers(4, 300, end)]) for end in ends]
        group += [number] * len(ends)
    weight = rng.choice([0, 1, 1.3], 300).astype(np.float32)
    return tokens, [weight[t] for t in tokens], np.array(group)


@torch.inference_mode()
def loop(network, tokens, weights):
    """Sum text by text, from the hidden states of transformers."""
    sums = []
    for ids, weight in zip(tokens, weights, strict=True):
        states = network(torch.from_numpy(ids)[None], output_hidden_states=True).hidden_states
        mean = torch.stack(states[-4:-1]).mean(dim=0)[0]
        sums.append((torch.from_numpy(weight)[:, None] * mean).sum(dim=0).numpy())
    return np.array(sums)


def assert_same(actual, expected):
    scale = np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.max(np.abs(actual - expected) / scale) < 1e-5


@every_family
@pytest.mark.parametrize("layers", [2, 3, 5])
def test_sums_are_those_of_a_loop_over_texts(name, layers, loaded, texts):
    network = network_of(layered(DEEP[name], layers))
    measure = HiddenStateSums(replace(loaded, network=network))
    assert measure.shares_prefix
    assert_same(measure(*texts), loop(network, *texts[:2]))


@pytest.mark.parametrize("name", ["llama", "mistral windowed", "gpt2"])
def test_a_text_has_the_same_sum_in_any_batch(name, loaded, texts):
    tokens, weights, group = texts
    model = replace(loaded, network=network_of(layered(DEEP[name], 5)))
    expected = HiddenStateSums(model)(*texts)
    for budget in (1, 60, 200):
        assert_same(HiddenStateSums(model, batch_tokens=budget)(*texts), expected)
    alone = [HiddenStateSums(model)([t], [w], np.zeros(1, np.int64)) for t, w in zip(tokens, weights, strict=True)]
    assert_same(np.concatenate(alone), expected)
    order = np.arange(len(tokens))[::-1]
    turned = HiddenStateSums(model)([tokens[u] for u in order], [weights[u] for u in order], group.max() - group[order])
    assert_same(turned[order], expected)


def test_a_prefix_runs_once_and_the_last_block_and_the_head_never(model, texts):
    tokens, weights, group = texts
    shapes, above = [], []
    measure = HiddenStateSums(model)
    body = model.network.base_model
    hooks = [
        body.register_forward_pre_hook(lambda _m, _a, given: shapes.append(given["input_ids"].shape), with_kwargs=True),
        body.layers[-1].self_attn.register_forward_hook(lambda *_: above.append(1)),
        body.norm.register_forward_hook(lambda *_: above.append(1)),
        model.network.lm_head.register_forward_hook(lambda *_: above.append(1)),
    ]
    picked = np.flatnonzero(group == 1)
    try:
        measure([tokens[u] for u in picked], [weights[u] for u in picked], group[picked])
    finally:
        for hook in hooks:
            hook.remove()
    assert shapes[0] == (1, 20)
    assert sum(rows for rows, _ in shapes[1:]) == 4 and max(width for _, width in shapes[1:]) == 30
    assert above == []


def test_hooks_are_removed(model, texts):
    HiddenStateSums(model)(*texts)
    actual = model.network(torch.arange(5)[None], output_hidden_states=True)
    assert actual.logits.shape == (1, 5, 300) and len(actual.hidden_states) == 6


def test_a_prefix_is_shared_only_where_that_saves_enough():
    def rows(*texts):
        return [np.array(text) for text in texts]

    start = [9, 8, 7, 6]
    assert shared_prefix_lengths(rows([*start, 1], [*start, 2, 3]), np.zeros(2)).tolist() == [4, 4]
    assert shared_prefix_lengths(rows(start, [*start, 1]), np.zeros(2)).tolist() == [
        0,
        0,
    ]  # one is left over: 3 are too few
    assert shared_prefix_lengths(rows([5, *start, 1], [5, *start]), np.zeros(2)).tolist() == [4, 4]
    assert shared_prefix_lengths(rows([*start, 1], [*start, 2]), np.arange(2)).tolist() == [0, 0]  # two groups
    assert shared_prefix_lengths(rows([*start, *range(60)], [*start, 70]), np.zeros(2)).tolist() == [
        0,
        0,
    ]  # 4 of 69 saved
    assert shared_prefix_lengths([], np.zeros(0)).tolist() == []


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_batch_that_does_not_fit_is_halved_until_it_does(model, texts, error):
    def hook(_module, _args, kwargs):
        if len(kwargs["input_ids"]) > 1:
            raise error

    measure = HiddenStateSums(model)
    expected = measure(*texts)
    handle = model.network.base_model.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        assert_same(measure(*texts), expected)
    finally:
        handle.remove()


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), ModelError, "text of 8 tokens does not fit into the memory of"),
        (RuntimeError("something else"), RuntimeError, "something else"),
    ],
)
def test_a_text_that_does_not_fit_alone_is_named_by_its_length(model, error, kind, says):
    def hook(_module, _args, _kwargs):
        raise error

    measure = HiddenStateSums(model)
    handle = model.network.base_model.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        with pytest.raises(kind, match=says):
            measure([np.arange(8)], [np.ones(8, np.float32)], np.zeros(1, np.int64))
    finally:
        handle.remove()


def test_a_model_of_one_layer_is_refused(loaded):
    network = network_of(layered(FAMILIES["llama"], 1))
    with pytest.raises(ModelError, match="has only 1 layer"):
        HiddenStateSums(replace(loaded, network=network))


def test_a_model_with_other_hidden_state_indices_is_refused(loaded):
    """Mamba's hidden states lack the embeddings and repeat the last block, so −4 is another layer."""
    network = AutoModelForCausalLM.from_config(MambaConfig(vocab_size=300, hidden_size=32, num_hidden_layers=4)).eval()
    with pytest.raises(ModelError, match="architecture MambaForCausalLM is not supported for hidden states"):
        HiddenStateSums(replace(loaded, network=network))


def test_a_model_without_keys_and_values_runs_texts_whole(loaded, texts):
    config = RecurrentGemmaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=5, num_attention_heads=4, lru_width=32
    )
    network = AutoModelForCausalLM.from_config(config).eval()
    measure = HiddenStateSums(replace(loaded, network=network))
    assert not measure.shares_prefix
    assert_same(measure(*texts), loop(network, *texts[:2]))


def test_no_prefix_is_shared_if_position_ids_are_ignored(loaded, texts, monkeypatch):
    """A body that ignores position_ids would give other numbers, which the self-test detects."""
    network = network_of(LlamaConfig(**SIZE | {"num_hidden_layers": 4}))
    own = network.base_model.forward
    monkeypatch.setattr(network.base_model, "forward", lambda *args, position_ids=None, **kwargs: own(*args, **kwargs))
    measure = HiddenStateSums(replace(loaded, network=network))
    assert not measure.shares_prefix
    assert_same(measure(*texts), loop(network, *texts[:2]))
