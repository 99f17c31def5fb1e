"""The forward pass equals a direct computation, gives a row the same values in any batch, and saves memory."""

from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn.functional import log_softmax

from core.errors import ModelError
from core.models import forward_pass as module
from core.models.forward_pass import ForwardPass, reduce_logits, row_means
from core.models.loading import load_model
from tests.core.models.conftest import fail_above, rows
from tests.core.models.families import FAMILIES, every_family, network_of


@torch.inference_mode()
def naive(network, tokens, spans):
    """Compute one row directly from the definition, with all logits at once."""
    ids = torch.from_numpy(tokens.astype(np.int64))[None]
    logits = network(ids).logits[0].double()
    hidden = network(ids, output_hidden_states=True).hidden_states[-1][0].double()
    in_response = [any(a <= t < b for a, b in spans.reshape(-1, 2)) for t in range(len(tokens))]
    predicted = [t for t in range(1, len(tokens)) if in_response[t]]
    logp = log_softmax(logits, dim=-1)
    losses = [-logp[t - 1, ids[0, t]] for t in predicted]
    entropies = [-(logp[t - 1].exp() * logp[t - 1]).sum() for t in predicted]
    mask = torch.tensor(in_response)
    return {
        "nll": torch.stack(losses).mean() if losses else torch.tensor(torch.nan),
        "entropy": torch.stack(entropies).mean() if losses else torch.tensor(torch.nan),
        "prompt_embedding": hidden[~mask].mean(0),
        "response_embedding": hidden[mask].mean(0),
    }


def assert_same(actual, expected, tolerance=1e-5):
    """Compare relative to each value; embeddings relative to the length of the vector."""
    assert np.isnan(actual).tolist() == np.isnan(expected).tolist()
    scale = np.linalg.norm(expected, axis=-1, keepdims=True) if np.ndim(expected) > 1 else np.abs(expected)
    assert np.nanmax(np.abs(actual - expected) / scale) < tolerance


def one(batch, k):
    return {name: values[k : k + 1] for name, values in batch.items()}


@every_family
def test_it_equals_a_plain_loop_over_rows_with_all_logits(config, model, batch):
    network = network_of(config)
    actual = ForwardPass(replace(model, network=network, hidden=32), batch_tokens=150)(batch)
    with np.errstate(invalid="ignore"):
        expected = [naive(network, t, s) for t, s in zip(batch["tokens"], batch["spans"], strict=True)]
    for name in ("nll", "entropy", "prompt_embedding", "response_embedding"):
        assert_same(actual[name], np.array([e[name].numpy() for e in expected]))


@pytest.mark.parametrize("budget", [1, 64, 100_000])
def test_a_row_has_the_same_values_in_any_batch_and_under_any_padding(model, batch, budget):
    together = ForwardPass(model, batch_tokens=budget)(batch)
    alone = [ForwardPass(model)(one(batch, k)) for k in range(len(batch["tokens"]))]
    for name, values in together.items():
        assert_same(values, np.concatenate([a[name] for a in alone]))


def test_more_padding_changes_nothing(model):
    short = rows([9], [[(4, 9)]])
    expected = ForwardPass(model)(short)
    for length in (10, 64, 300):
        longer = rows([length], [[(1, length)]], seed=1)
        actual = ForwardPass(model, batch_tokens=10_000)._pass(  # in one batch, which `plan_batches` would not do
            np.array([0, 1]), longer["tokens"] + short["tokens"], longer["spans"] + short["spans"], None
        )
        for name in expected:
            assert_same(actual[name][1:], expected[name])


def test_the_same_call_gives_bit_identical_results(model, batch):
    first, second = ForwardPass(model)(batch), ForwardPass(model)(batch)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.usefixtures("two_threads")
def test_batches_at_once_give_what_one_after_the_other_gives(model, batch, monkeypatch):
    forward, counted = ForwardPass(model, batch_tokens=64), []
    real = module.run_at_once
    monkeypatch.setattr(module, "run_at_once", lambda *given: counted.append(1) or real(*given))
    results = {}
    for at_once in (True, False):
        monkeypatch.setattr(module, "can_run_at_once", lambda *_, at_once=at_once: at_once)
        torch.set_num_threads(2 if at_once else 1)  # one for each batch
        results[at_once] = forward(batch)
    assert counted == [1]
    for name, values in results[False].items():
        assert values.tobytes() == results[True][name].tobytes()


def test_results_come_in_the_order_of_the_rows(model, batch):
    order = np.random.default_rng(3).permutation(len(batch["tokens"]))
    plain = ForwardPass(model, batch_tokens=80)(batch)
    mixed = ForwardPass(model, batch_tokens=80)({name: [values[i] for i in order] for name, values in batch.items()})
    for name in plain:
        assert_same(mixed[name], plain[name][order])


def test_only_missing_values_are_nan(model, batch):
    actual = ForwardPass(model)(batch)
    assert np.flatnonzero(np.isnan(actual["nll"])).tolist() == [3]
    assert np.flatnonzero(np.isnan(actual["entropy"])).tolist() == [3]
    assert np.flatnonzero(np.isnan(actual["response_embedding"]).any(1)).tolist() == [3]
    assert np.flatnonzero(np.isnan(actual["prompt_embedding"]).any(1)).tolist() == [5]


def test_a_uniform_model_has_the_entropy_of_the_vocabulary(model, batch):
    network = network_of(FAMILIES["llama"])
    torch.nn.init.zeros_(network.lm_head.weight)
    actual = ForwardPass(replace(model, network=network))(batch)
    expected = np.where(np.arange(9) == 3, np.nan, np.log(300))
    np.testing.assert_allclose(actual["nll"], expected, rtol=1e-6)
    np.testing.assert_allclose(actual["entropy"], expected, rtol=1e-6)


def test_columns_are_as_declared(model, batch):
    probe = ForwardPass(model)
    for given in (batch, one(batch, 3), {"tokens": [], "spans": []}):
        actual = probe(given)
        assert actual.keys() == probe.columns.keys()
        for name, kind in probe.columns.items():
            width = () if kind == pa.float32() else (kind.list_size,)
            assert (actual[name].shape, actual[name].dtype) == ((len(given["tokens"]), *width), np.float32)


def test_bfloat16_stays_close_to_float32(model, tiny_model_dir, batch):
    lower = load_model(model.ref, dtype="bfloat16", device="cpu")
    actual, expected = ForwardPass(lower)(batch), ForwardPass(model)(batch)
    np.testing.assert_allclose(actual["nll"], expected["nll"], rtol=0.1)
    assert actual["nll"].dtype == np.float32


# --- reduction of logits


def test_loss_and_entropy_of_a_hand_worked_softmax():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [1e-30, 1.0, 1e-30]]))
    nll, entropy = reduce_logits(logits, torch.tensor([1, 1]), block=1)
    np.testing.assert_allclose(nll, [np.log(4), 0], atol=1e-6)
    np.testing.assert_allclose(entropy, [1.5 * np.log(2), 0], atol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 3e4, -3e4])
def test_logits_of_any_size_do_not_overflow(shift):
    logits = torch.tensor([[0.0, 1.0, 2.0]]) + shift
    nll, entropy = reduce_logits(logits, torch.tensor([2]), block=8)
    p = np.exp([0.0, 1.0, 2.0]) / np.exp([0.0, 1.0, 2.0]).sum()
    np.testing.assert_allclose(
        [nll[0], entropy[0]], [-np.log(p[2]), -(p * np.log(p)).sum()], rtol=1e-2 if shift else 1e-6
    )


def test_excluded_tokens_add_nothing_to_the_entropy():
    nll, entropy = reduce_logits(torch.tensor([[0.0, -torch.inf, 0.0]]), torch.tensor([0]), block=8)
    np.testing.assert_allclose([nll[0], entropy[0]], [np.log(2), np.log(2)], rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_block_size_changes_nothing(dtype):
    logits = torch.randn(37, 501, generator=torch.Generator().manual_seed(0)).to(dtype) * 5
    targets = torch.arange(37)
    whole, parts = (reduce_logits(logits.clone(), targets, block=block) for block in (64, 5))
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    expected = -log_softmax(logits.double(), -1)[torch.arange(37), targets]
    torch.testing.assert_close(whole[0].double(), expected, rtol=1e-5, atol=1e-5)


def test_means_are_of_each_row_and_nan_where_it_has_none():
    means = row_means(np.float32([1, 3, 10]), np.array([0, 0, 2]), 3)
    np.testing.assert_array_equal(means, np.float32([2, np.nan, 10]))


@pytest.mark.parametrize(("limits", "limit"), [("LOGIT_BYTES", 16 * 4 * 300), ("LOGIT_ROWS", 16)])
def test_the_head_runs_once_per_response_position_and_in_chunks(model, monkeypatch, limits, limit):
    """Memory does not grow with prompt length times vocabulary."""
    monkeypatch.setitem(getattr(module, limits), "cpu", limit)
    for prompt in (20, 400):
        shapes = []
        hook = model.network.lm_head.register_forward_hook(lambda _m, _i, out, s=shapes: s.append(tuple(out.shape)))
        probe = ForwardPass(model)
        shapes.clear()  # drop the constructor's check of the head
        probe(rows([prompt + 50, prompt + 3, prompt], [[(prompt, prompt + 50)], [(prompt, prompt + 3)], []]))
        hook.remove()
        assert sum(n for n, _ in shapes) == 53
        assert max(n for n, _ in shapes) <= 16


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_batch_that_does_not_fit_is_halved_until_it_does(model, error):
    batch = rows([20] * 7, [[(5, 20)]] * 7)
    probe = ForwardPass(model)
    expected = probe(batch)
    hook = fail_above(model.network, 1, error)
    try:
        actual = probe(batch)
    finally:
        hook.remove()
    for name in expected:
        assert_same(actual[name], expected[name])


def test_a_row_that_does_not_fit_even_alone_is_named_by_its_length(model):
    probe = ForwardPass(model)
    hook = fail_above(model.network, 0, torch.OutOfMemoryError("CUDA out of memory"))
    try:
        with pytest.raises(ModelError, match="A row of 20 tokens does not fit into the memory of cpu"):
            probe(rows([20], [[(5, 20)]]))
    finally:
        hook.remove()


def test_another_runtime_error_is_not_mistaken_for_out_of_memory(model):
    probe = ForwardPass(model)
    hook = fail_above(model.network, 0, RuntimeError("something else"))
    try:
        with pytest.raises(RuntimeError, match="something else"):
            probe(rows([20], [[(5, 20)]]))
    finally:
        hook.remove()


def test_a_row_longer_than_the_model_reads_is_refused(model):
    with pytest.raises(ModelError, match=r"A row has 513 tokens, and model .* reads at most 512"):
        ForwardPass(model)(rows([513], [[(5, 513)]]))


# --- observers


class FirstLayerPeak:
    """Largest output of the first layer over a row's response tokens: an observer that needs a hook and masks."""

    columns: ClassVar = {"peak": pa.float32(), "length": pa.int64()}
    every_token: ClassVar = True

    @contextmanager
    def watch(self, network, response, prompt):
        seen = []
        hook = network.base_model.layers[0].register_forward_hook(lambda _m, _i, out: seen.append(out))
        yield seen
        hook.remove()

    def read(self, seen, batch):
        (states,) = seen
        masked = states.amax(-1).masked_fill(~batch.response, -torch.inf)
        return {"peak": masked.amax(1).float().numpy(), "length": batch.lengths.numpy()}


def test_an_observer_sees_the_same_pass_and_its_columns_are_in_row_order(model, batch):
    probe = ForwardPass(model, observers=[FirstLayerPeak()], batch_tokens=100)
    actual = probe(batch)
    assert list(actual) == list(probe.columns) and list(probe.columns)[-2:] == ["peak", "length"]
    assert actual["length"].tolist() == [len(t) for t in batch["tokens"]]
    alone = [ForwardPass(model, observers=[FirstLayerPeak()])(one(batch, k))["peak"][0] for k in range(9)]
    np.testing.assert_allclose(actual["peak"], alone, rtol=1e-5)
    assert not model.network.base_model.layers[0]._forward_hooks


class TokensSeen:
    """Number of response tokens of each row that pass through the first layer while observed."""

    columns: ClassVar = {"seen": pa.int64(), "columns": pa.int64()}

    def __init__(self, every_token):
        self.every_token = every_token

    @contextmanager
    def watch(self, network, response, prompt):
        assert not (response & prompt).any()
        seen = []
        layer = network.base_model.layers[0]
        hook = layer.register_forward_hook(
            lambda _m, _i, out: seen.append((response[:, -out.shape[1] :].sum(1), out.shape[1]))
        )
        yield seen
        hook.remove()

    def read(self, seen, batch):
        ((tokens, width),) = seen
        return {"seen": tokens.numpy(), "columns": np.full(len(tokens), width)}


@pytest.mark.parametrize("every_token", [True, False])
@pytest.mark.parametrize("start", [40, 24, 10])  # the response begins after the shared prefix, and within it
def test_an_observer_sees_the_whole_response_and_the_whole_prompt_only_on_request(model, every_token, start):
    batch = rows([60] * 4, [[(start, 60)]] * 4)
    for row in batch["tokens"]:
        row[:32] = np.arange(4, 36)
    actual = ForwardPass(model, observers=[TokensSeen(every_token)])(batch)
    assert actual["seen"].tolist() == [60 - start] * 4
    spared = 32 if start >= 32 and not every_token else 0
    assert actual["columns"].tolist() == [60 - spared] * 4
