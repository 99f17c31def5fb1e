"""Row gradients equal autograd one row at a time, and Adam updates equal torch's AdamW; unsupported models are
rejected.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from opacus.grad_sample import GradSampleModule
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from torch.nn.functional import cross_entropy, logsigmoid
from transformers import LlamaConfig

from core.errors import ModelError
from core.models.forward_pass import LOGIT_BYTES, ForwardPass
from core.models.loading import Model
from core.models.lora import adapter_matrices, disable_adapter, strip_peft_prefix
from core.models.training.adam_update import AdamMoments
from core.models.training.checkpoints import MOMENT_NAMES
from core.models.training.row_gradients import RowGradients, predicted_token_counts
from core.models.training.target_directions import (
    dpo_margins,
    log_likelihoods,
    pair_accuracy,
    preference_directions,
    sft_directions,
)
from core.schema import ModelRef
from tests.core.models.families import FAMILIES, GROUPED, every_family, network_of

checkpointing_too = pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "checkpointed"])
RANK = 3
CALM = LlamaConfig(**GROUPED | {"initializer_range": 0.1})  # little rounding: for comparisons to 1e-6


def model_of(config, **lora):
    """Return a family with a random adapter, B included; dropout is set, so results agree only if it is off."""
    network = network_of(config)
    settings = {"r": RANK, "lora_alpha": 4 * RANK, "lora_dropout": 0.3, "target_modules": "all-linear"} | lora
    settings["fan_in_fan_out"] = config.model_type == "gpt2"
    tuned = get_peft_model(network, LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return wrapped(tuned.get_base_model())


def wrapped(network):
    head = network.get_output_embeddings().weight
    ref = ModelRef(name="tiny", path="nowhere", revision="0", size_bytes=0)
    return Model(ref, network, None, "cpu", "float32", 0, head.shape[1], head.shape[0], 256)


def rows_of(seed=0, n=7):
    """Return ragged rows; the third has no response, the fourth begins with its response, the fifth has two."""
    rng = np.random.default_rng(seed)
    tokens = [rng.integers(0, 300, size).astype(np.uint32) for size in rng.integers(6, 30, n)]
    spans = [np.array([len(t) // 2, len(t)], np.int32) for t in tokens]
    spans[2] = np.array([], np.int32)
    spans[3] = np.array([0, 4], np.int32)
    spans[4] = np.array([1, 3, 4, len(tokens[4])], np.int32)
    return {"tokens": tokens, "spans": spans}


def some(batch, rows):
    return {name: [values[i] for i in rows] for name, values in batch.items()}


def trained(network):
    """Return the adapter's parameters by name, ready for autograd."""
    actual = {name: p for name, p in network.named_parameters() if "lora_" in name}
    for parameter in actual.values():
        parameter.requires_grad_(True)
    return actual


def nll_of(network, tokens, spans):
    """Return the NLL of each predicted response token of one row, by the whole model."""
    ids = torch.from_numpy(tokens.astype(np.int64))[None]
    places = [k for a, b in spans.reshape(-1, 2) for k in range(max(a, 1), b)]
    logits = network(input_ids=ids, use_cache=False).logits[0]
    return cross_entropy(logits[[k - 1 for k in places]], ids[0, places], reduction="none")


def autograd_gradient(network, loss):
    """Return {name: gradient} of one loss, by autograd."""
    parameters = trained(network)
    actual = torch.autograd.grad(loss, list(parameters.values()))
    return dict(zip(parameters, actual, strict=True))


def loop_over_rows(network, batch):
    """Return the gradient by row number, one row at a time."""
    trained(network)
    return {
        k: autograd_gradient(network, nll_of(network, t, s).mean())
        for k, (t, s) in enumerate(zip(batch["tokens"], batch["spans"], strict=True))
        if len(s)
    }


def gradients_by_row(actual):
    return {int(row): {k: g[i] for k, g in stacked.items()} for rows, stacked in actual for i, row in enumerate(rows)}


def flat(gradient, names):
    return torch.cat([gradient[name].flatten() for name in names]).double()


def assert_agree(ours, theirs, tolerance=1e-5):
    """Compare matrix by matrix; one that is negligible next to the others only has to agree to rounding."""
    assert ours.keys() == theirs.keys()
    for row, gradient in theirs.items():
        assert gradient.keys() == ours[row].keys()
        whole = flat(gradient, gradient).norm()
        for name, expected in gradient.items():
            assert expected.norm() > 0
            assert (ours[row][name] - expected).norm() <= tolerance * max(expected.norm(), 1e-2 * whole), name


def random_directions(gradients, n=2, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return [{k: torch.randn(shape, generator=generator) for k, shape in gradients.shapes.items()} for _ in range(n)]


def random_moments(gradients, **settings):
    first, second = random_directions(gradients, seed=9)
    return AdamMoments(first, {k: 0.01 * v.square() for k, v in second.items()}, 4, **settings)


@pytest.fixture(scope="module")
def model():
    return model_of(CALM)


@pytest.fixture(scope="module")
def gradients(model):
    return RowGradients(model)


# --- gradients


@checkpointing_too
@every_family
def test_row_gradients_equal_a_loop_over_rows(config, checkpointing):
    model = model_of(config)
    ours = gradients_by_row(RowGradients(model, checkpointing=checkpointing).iterate_rows(rows_of()))
    assert_agree(ours, loop_over_rows(model.network, rows_of()), 1e-4)


def test_row_gradients_agree_to_a_millionth_on_a_grouped_query_model(model, gradients):
    theirs = loop_over_rows(model.network, rows_of())
    names = list(gradients.shapes)
    for row, gradient in gradients_by_row(gradients.iterate_rows(rows_of())).items():
        expected = flat(theirs[row], names)
        assert (flat(gradient, names) - expected).norm() < 1e-6 * expected.norm()


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
def test_row_gradients_equal_those_of_opacus(model, gradients):
    batch = some(rows_of(), [0, 1, 5])
    length = min(len(t) for t in batch["tokens"])
    batch = {"tokens": [t[:length] for t in batch["tokens"]], "spans": [np.array([2, length])] * 3}
    copied = model_of(CALM, lora_dropout=0.0).network.train()  # opacus computes gradients in training mode only
    for parameter in copied.parameters():
        parameter.requires_grad_(False)
    parameters = trained(copied)
    sampled = GradSampleModule(copied, loss_reduction="sum", strict=False)
    ids = torch.from_numpy(np.stack(batch["tokens"]).astype(np.int64))
    logits = sampled(input_ids=ids, use_cache=False).logits[:, 1:-1]
    (cross_entropy(logits.transpose(1, 2), ids[:, 2:], reduction="sum") / (length - 2)).backward()
    theirs = {k: {name: p.grad_sample[k] for name, p in parameters.items()} for k in range(3)}
    assert_agree(gradients_by_row(gradients.iterate_rows(batch)), theirs)


def test_the_nll_of_a_row_is_that_of_the_forward_pass(model, gradients):
    ours = gradients.scores(rows_of(), random_directions(gradients)).nll
    np.testing.assert_allclose(ours, ForwardPass(model)(rows_of())["nll"], rtol=1e-5)


def test_the_chunk_size_of_logits_changes_nothing(model, gradients, monkeypatch):
    plain = gradients_by_row(gradients.iterate_rows(rows_of()))
    monkeypatch.setitem(LOGIT_BYTES, "cpu", 7 * 4 * 300)
    assert_agree(gradients_by_row(RowGradients(model).iterate_rows(rows_of())), plain)


def test_full_gradients_are_yielded_a_few_at_a_time(model, monkeypatch):
    import core.models.training.row_gradients as module

    whole = gradients_by_row(RowGradients(model).iterate_rows(rows_of()))
    monkeypatch.setitem(module.GRADIENT_BYTES, "cpu", 1)
    sizes = [len(rows) for rows, _ in RowGradients(model).iterate_rows(rows_of())]
    assert sizes == [1] * 6
    assert_agree(gradients_by_row(RowGradients(model).iterate_rows(rows_of())), whole)


@checkpointing_too
def test_the_network_is_left_unchanged(checkpointing):
    model = model_of(FAMILIES["llama"])
    trained(model.network)
    before = [(p.requires_grad, p.grad) for p in model.network.parameters()]
    list(RowGradients(model, checkpointing=checkpointing).iterate_rows(rows_of()))
    assert [(p.requires_grad, p.grad) for p in model.network.parameters()] == before
    assert not any(module.training or module._forward_hooks for module in model.network.modules())
    assert not any("forward" in vars(module) for module in model.network.modules())


def test_checkpointing_recomputes_layers(model):
    runs = []
    (*_, last) = adapter_matrices(model.network).values()
    handle = last.register_forward_hook(lambda *_: runs.append(1))
    for checkpointing, expected in ((False, 1), (True, 2)):
        runs.clear()
        gradients = RowGradients(model, checkpointing=checkpointing)
        runs.clear()
        list(gradients.iterate_rows(rows_of()))
        assert len(runs) == expected
    handle.remove()


def test_a_half_precision_model_has_float32_gradients_near_the_full_ones():
    model = model_of(CALM)
    exact = gradients_by_row(RowGradients(model).iterate_rows(rows_of()))
    settings = LoraConfig(r=RANK, lora_alpha=4 * RANK, target_modules="all-linear")
    tuned = get_peft_model(network_of(CALM).to(torch.bfloat16), settings)
    own = dict(model.network.named_parameters())
    with torch.no_grad():
        for name, parameter in tuned.get_base_model().named_parameters():
            parameter.copy_(own[name])
    half = replace(wrapped(tuned.get_base_model().eval()), dtype="bfloat16")
    rough = gradients_by_row(RowGradients(half).iterate_rows(rows_of()))
    names = list(rough[0])
    for row, gradient in rough.items():
        assert {g.dtype for g in gradient.values()} == {torch.float32}
        assert torch.cosine_similarity(flat(gradient, names), flat(exact[row], names), dim=0) > 0.9


# --- Adam


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_the_adam_update_is_the_step_of_torch_s_adamw(steps):
    torch.manual_seed(2)
    parameters = {"a": nn.Parameter(torch.randn(3, 3)), "b": nn.Parameter(torch.randn(2, 5))}
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-2, weight_decay=0.0)
    for _ in range(steps):
        for p in parameters.values():
            p.grad = torch.randn_like(p)
        optimizer.step()
    zero = {k: torch.zeros_like(p) for k, p in parameters.items()}
    first, second = (
        {k: optimizer.state[p][moment].clone() for k, p in parameters.items()} if steps else zero
        for moment in ("exp_avg", "exp_avg_sq")
    )
    rule = AdamMoments(first, second, steps).build_update({k: p.shape for k, p in parameters.items()}, "cpu")
    before = {k: p.detach().double() for k, p in parameters.items()}
    for p in parameters.values():
        p.grad = torch.randn_like(p)
    steps_made = {k: rule(k, p.grad.clone()[None])[0] for k, p in parameters.items()}
    optimizer.step()
    for k, p in parameters.items():
        torch.testing.assert_close(steps_made[k].double(), (before[k] - p.detach()) / 1e-2, rtol=1e-4, atol=3e-5)


def test_the_update_of_a_row_is_the_step_that_adamw_takes_on_it():
    model = model_of(CALM)
    parameters, batch = trained(model.network), rows_of()
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-2, weight_decay=0.0)

    def learn(row):
        optimizer.zero_grad()
        nll_of(model.network, batch["tokens"][row], batch["spans"][row]).mean().backward()
        optimizer.step()

    learn(0)
    learn(1)
    moments = {f"{k}.{m}": optimizer.state[p][m].clone() for k, p in parameters.items() for m in MOMENT_NAMES}
    gradients = RowGradients(model)
    rule = AdamMoments.from_tensors(moments, steps=2).build_update(gradients.shapes, "cpu")
    row = gradients_by_row(gradients.iterate_rows(some(batch, [5])))[0]
    ours = {k: rule(k, g[None])[0] for k, g in row.items()}
    before = {k: p.detach().clone() for k, p in parameters.items()}
    learn(5)
    assert_agree({5: ours}, {5: {k: (before[k] - p.detach()) / 1e-2 for k, p in parameters.items()}}, 1e-4)


def expected_update(form, momentum):
    """Compute the update for m = 1, v = 4, t = 1, g = 2, β = (0.5, 0.75), ε = 1, by hand: v' = 4."""
    above = 1.5 if momentum else 2.0  # m' = 0.5·1 + 0.5·2
    if form == "release":
        return above / (4 + 1) ** 0.5
    above = above / 0.75 if momentum else above  # 1 − 0.5²
    return above / ((4 / 0.4375) ** 0.5 + 1)  # 1 − 0.75²


@pytest.mark.parametrize("form", ["adam", "release"])
@pytest.mark.parametrize("momentum", [True, False], ids=["momentum", "none"])
def test_both_forms_with_and_without_momentum_worked_by_hand(form, momentum):
    one = torch.ones(1, 1)
    moments = AdamMoments({"a": one}, {"a": 4 * one}, 1, form, momentum, betas=(0.5, 0.75), epsilon=1.0)
    actual = moments.build_update({"a": (1, 1)}, "cpu")("a", torch.full((1, 1, 1), 2.0))
    assert actual.item() == pytest.approx(expected_update(form, momentum), rel=1e-6)


def test_moments_are_matched_by_name_in_any_order():
    model = model_of({**FAMILIES}["gpt2"], target_modules=["c_proj"], r=32)  # A and B are 32 x 32
    gradients = RowGradients(model)
    assert (32, 32) in gradients.shapes.values()
    moments, directions = random_moments(gradients), random_directions(gradients)
    backwards = [dict(reversed(list(d.items()))) for d in (moments.first, moments.second)]
    ours = gradients.scores(rows_of(), directions, moments).cosines
    swapped = gradients.scores(rows_of(), directions, replace(moments, first=backwards[0], second=backwards[1]))
    np.testing.assert_array_equal(ours, swapped.cosines)


def test_moments_of_a_checkpoint_lose_peft_s_name_prefix(gradients):
    moments = random_moments(gradients)
    file = {f"base_model.model.{k}.exp_avg": v for k, v in moments.first.items()}
    file |= {f"base_model.model.{k}.exp_avg_sq": v for k, v in moments.second.items()}
    directions = random_directions(gradients)
    ours = gradients.scores(rows_of(), directions, AdamMoments.from_tensors(file, 4)).cosines
    np.testing.assert_array_equal(ours, gradients.scores(rows_of(), directions, moments).cosines)
    assert strip_peft_prefix("base_model.model.a.b") == "a.b"


def test_moments_of_other_parameters_are_a_clear_error(gradients):
    moments = random_moments(gradients)
    name = next(iter(gradients.shapes))
    for first in ({}, moments.first | {name: torch.zeros(1, 1)}):
        with pytest.raises(ModelError, match=r"moments hold nothing of the shape .* same checkpoint"):
            gradients.scores(rows_of(), random_directions(gradients), replace(moments, first=first))


# --- scores


@pytest.mark.parametrize("form", [None, "adam", "release"])
def test_scores_are_the_cosines_of_full_gradients(model, gradients, form):
    moments = random_moments(gradients, form=form) if form else None
    directions = random_directions(gradients)
    actual = gradients.scores(rows_of(), directions, moments)
    names = list(gradients.shapes)
    rule = moments.build_update(gradients.shapes, "cpu") if moments else lambda name, g: g
    for row, gradient in loop_over_rows(model.network, rows_of()).items():
        step = flat({k: rule(k, g.clone()[None])[0] for k, g in gradient.items()}, names)
        expected = [(step @ flat(d, names) / step.norm()).item() for d in directions]
        np.testing.assert_allclose(actual.cosines[row], expected, rtol=1e-4, atol=1e-5)
    assert actual.cosines.shape == (7, 2) and actual.cosines.dtype == np.float32


def test_a_row_s_own_gradient_has_cosine_one(gradients):
    own = gradients_by_row(gradients.iterate_rows(rows_of()))[5]
    length = flat(own, list(own)).norm()
    actual = gradients.scores(rows_of(), [{k: (g / length).float() for k, g in own.items()}])
    assert actual.cosines[5, 0] == pytest.approx(1, abs=1e-6)


@checkpointing_too
def test_batch_size_and_order_change_nothing(model, gradients, checkpointing):
    directions, moments = random_directions(gradients), random_moments(gradients)
    whole = gradients.scores(rows_of(), directions, moments).cosines
    order = [4, 0, 6, 2, 1, 5, 3]
    for tokens in (1, 60, 9999):
        other = RowGradients(model, batch_tokens=tokens, checkpointing=checkpointing)
        shuffled = other.scores(some(rows_of(), order), directions, moments).cosines
        np.testing.assert_allclose(shuffled, whole[order], rtol=1e-4, atol=1e-5)


def test_rows_without_a_response_token_are_nan_and_counted(gradients):
    batch = rows_of()
    batch["spans"][0] = np.array([0, 1], np.int32)  # only a first token, which nothing predicts
    actual = gradients.scores(batch, random_directions(gradients), random_moments(gradients))
    assert np.flatnonzero(np.isnan(actual.cosines).all(axis=1)).tolist() == [0, 2]
    assert np.isfinite(np.delete(actual.cosines, [0, 2], axis=0)).all()
    np.testing.assert_array_equal(predicted_token_counts(batch["spans"])[[0, 2, 3]], [0, 0, 3])
    none = gradients.scores(some(batch, [0, 2]), random_directions(gradients))
    assert np.isnan(none.cosines).all()


def test_a_gradient_of_length_zero_has_no_cosine(gradients):
    model = model_of(FAMILIES["llama"])
    with torch.no_grad():
        for module in adapter_matrices(model.network).values():
            module.weight.zero_()  # A = B = 0: both gradients are 0
    actual = RowGradients(model).scores(rows_of(), random_directions(gradients))
    assert np.isnan(actual.cosines).all()


def test_directions_of_another_adapter_are_a_clear_error(gradients):
    with pytest.raises(ModelError, match="A direction belongs to another adapter"):
        gradients.scores(rows_of(), [{"x": torch.zeros(2, 2)}])


def test_an_overlong_row_is_a_clear_error(gradients):
    batch = {"tokens": [np.zeros(300, np.uint32)], "spans": [np.array([5, 300])]}
    with pytest.raises(ModelError, match=r"A row has 300 tokens, .* reads at most 256\. Set max_length"):
        gradients.scores(batch, random_directions(gradients))


def test_a_batch_that_does_not_fit_is_halved(model, gradients, monkeypatch):
    import core.models.training.backward_pass as module

    def measured(tokens, spans):
        if len(tokens) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return layout(tokens, spans)

    layout, directions = module.pad_rows, random_directions(gradients)
    whole = gradients.scores(rows_of(), directions).cosines
    monkeypatch.setattr(module, "pad_rows", measured)
    np.testing.assert_allclose(gradients.scores(rows_of(), directions).cosines, whole, rtol=1e-4, atol=1e-5)


# --- pairs


def pairs_of():
    """Return five pairs of two sub-tasks: the third lacks a response, the fourth has two equal ones."""
    rng = np.random.default_rng(3)
    sides = []
    for extra in (0, 3):
        tokens = [np.concatenate([np.arange(k, k + 5), rng.integers(0, 300, 4 + k + extra)]) for k in range(5)]
        sides.append({"tokens": tokens, "spans": [np.array([5, len(t)], np.int32) for t in tokens]})
    sides[1]["spans"][2] = np.array([], np.int32)
    sides[1]["tokens"][3], sides[1]["spans"][3] = sides[0]["tokens"][3], sides[0]["spans"][3]
    return *sides, ["a", "b", "b", "a", "a"]


def loop_over_pairs(model, beta):
    """Return unit gradients of the DPO loss, pair by pair, by autograd including the reference; and z."""
    chosen, rejected, _ = pairs_of()
    network, units, zs = model.network, {}, {}
    trained(network)
    for j in (0, 1, 4):
        log_pi = {}
        for side, batch in (("+", chosen), ("-", rejected)):
            row = batch["tokens"][j], batch["spans"][j]
            log_pi[side] = -nll_of(network, *row).sum()
            with torch.no_grad(), disable_adapter(network):
                log_pi["ref" + side] = -nll_of(network, *row).sum()
        z = beta * (log_pi["+"] - log_pi["ref+"] - log_pi["-"] + log_pi["ref-"])
        loss = -logsigmoid(z.double())
        zs[j] = z.item()
        gradient = autograd_gradient(network, loss)
        length = flat(gradient, list(gradient)).norm()
        units[j] = {k: g / length for k, g in gradient.items()}
    return units, zs


@pytest.fixture(scope="module")
def near_base_model():
    """Return a model near its base, so that no z is large enough to round 1 − σ(z) to 0."""
    model = model_of(CALM)
    with torch.no_grad():
        for module in adapter_matrices(model.network).values():
            module.weight.mul_(0.3)
    return model


def test_pair_gradients_equal_a_loop_over_pairs(near_base_model):
    gradients = RowGradients(near_base_model)
    chosen, rejected, _ = pairs_of()
    theirs, _ = loop_over_pairs(near_base_model, 0.1)
    actual = dict(
        (int(pair), {k: g[i] for k, g in stacked.items()})
        for pairs, stacked in gradients.iterate_pairs(chosen, rejected)
        for i, pair in enumerate(pairs)
    )
    assert actual.keys() == {0, 1, 4}
    units = {
        j: {k: (g / flat(actual[j], list(actual[j])).norm()).float() for k, g in actual[j].items()} for j in theirs
    }
    assert_agree(units, {j: {k: g.float() for k, g in unit.items()} for j, unit in theirs.items()}, 1e-4)


def test_directions_are_means_of_unit_gradients_independent_of_beta_and_reference(near_base_model):
    gradients = RowGradients(near_base_model)
    actual = preference_directions(gradients, *pairs_of())
    assert actual.subtasks == ["a", "b"] and actual.used.tolist() == [2, 1] and actual.skipped == 2
    ours = gradients.scores(rows_of(), actual.vectors, random_moments(gradients)).cosines
    for beta in (0.1, 5.0):
        units, _ = loop_over_pairs(near_base_model, beta)
        means = [{k: ((units[0][k] + units[4][k]) / 2).float() for k in gradients.shapes}, units[1]]
        theirs = gradients.scores(rows_of(), means, random_moments(gradients)).cosines
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_directions_do_not_depend_on_the_batch(near_base_model):
    whole = preference_directions(RowGradients(near_base_model), *pairs_of())
    single = preference_directions(RowGradients(near_base_model, batch_tokens=1), *pairs_of())
    assert_agree(dict(enumerate(single.vectors)), dict(enumerate(whole.vectors)), 1e-4)


def test_less_is_the_mean_of_unit_gradients_of_the_chosen(near_base_model):
    chosen, _, subtasks = pairs_of()
    actual = sft_directions(RowGradients(near_base_model), chosen, subtasks)
    loop = loop_over_rows(near_base_model.network, chosen)
    names = list(loop[0])
    expected = sum(flat(loop[j], names) / flat(loop[j], names).norm() for j in (0, 3, 4)) / 3
    torch.testing.assert_close(flat(actual.vectors[0], names), expected, rtol=1e-4, atol=1e-7)
    assert actual.used.tolist() == [3, 2] and actual.skipped == 0


def test_a_sub_task_without_a_usable_pair_is_nan_and_so_are_its_scores(near_base_model):
    gradients = RowGradients(near_base_model)
    actual = preference_directions(gradients, *pairs_of()[:2], ["a", "a", "none", "none", "a"])
    assert actual.used.tolist() == [3, 0]
    scores = gradients.scores(some(rows_of(), [0, 1]), actual.vectors).cosines
    assert np.isfinite(scores[:, 0]).all() and np.isnan(scores[:, 1]).all()


def test_margins_are_those_of_the_loss_and_give_the_pair_accuracy(near_base_model):
    chosen, rejected, _ = pairs_of()
    policy, reference = (
        np.stack([log_likelihoods(near_base_model, side, reference=off) for side in (chosen, rejected)], axis=1)
        for off in (False, True)
    )
    z = dpo_margins(policy, reference, beta=0.1)
    for j, expected in loop_over_pairs(near_base_model, 0.1)[1].items():
        assert z[j] == pytest.approx(expected, abs=1e-4)
    assert np.isnan(z[2]) and z[3] == pytest.approx(0, abs=1e-5)
    assert pair_accuracy(np.array([1.0, -2.0, np.nan, 0.0])) == 0.5
    assert np.isnan(pair_accuracy(np.array([np.nan])))


# --- rejected models


def test_a_model_without_an_adapter_is_refused():
    with pytest.raises(ModelError, match="has no LoRA adapter in it"):
        RowGradients(wrapped(network_of(FAMILIES["llama"])))


@pytest.mark.parametrize(
    ("lora", "reason"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"lora_bias": True}, "adapter with a bias"),
        ({"target_modules": ["embed_tokens"]}, "quantised or unusual"),
    ],
)
def test_other_adapters_are_refused(lora, reason):
    with pytest.raises(ModelError, match=reason):
        RowGradients(model_of(FAMILIES["llama"], **lora))


def test_a_quantised_layer_is_refused():
    model = model_of(FAMILIES["llama"])
    base = model.network.get_submodule("model.layers.1.mlp.up_proj").base_layer
    base.weight = nn.Parameter(base.weight.detach().to(torch.int8), requires_grad=False)
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.up_proj of this model is a quantised .*int8"):
        adapter_matrices(model.network)


def test_a_tied_layer_is_refused():
    model = model_of(FAMILIES["llama"])
    mlps = [layer.mlp for layer in model.network.model.layers]
    mlps[1].up_proj.base_layer.weight = mlps[0].up_proj.base_layer.weight
    with pytest.raises(ModelError, match="is tied to another layer"):
        adapter_matrices(model.network)


def test_two_adapters_at_once_are_refused():
    tuned = PeftModel(network_of(FAMILIES["llama"]), LoraConfig(r=2, target_modules=["q_proj"]))
    tuned.add_adapter("second", LoraConfig(r=2, target_modules=["q_proj"]))
    tuned.base_model.set_adapter(["default", "second"])
    with pytest.raises(ModelError, match="not exactly one adapter"):
        adapter_matrices(tuned)


class Twice(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(self.inner(x)) if x.shape[-1] else x


@checkpointing_too
def test_a_layer_that_runs_twice_is_refused(checkpointing, gradients):
    model = model_of(FAMILIES["llama"], target_modules=["o_proj"])
    attention = model.network.model.layers[0].self_attn
    attention.o_proj = Twice(attention.o_proj)
    with pytest.raises(ModelError, match=r"o_proj\.inner.* runs more than once in a pass"):
        list(RowGradients(model, checkpointing=checkpointing).iterate_rows(rows_of()))


def test_a_layer_that_does_not_run_is_refused():
    model = model_of(FAMILIES["llama"])
    model.network.model.layers[1].mlp = nn.Identity()
    model.network.model.unused = model_of(FAMILIES["llama"]).network.model.layers[1].mlp
    with pytest.raises(ModelError, match="did not run"):
        list(RowGradients(model).iterate_rows(rows_of()))


class Flat(nn.Module):
    """Runs a layer on flattened tokens, as some families do; on the first `share` of them only."""

    def __init__(self, inner, share=1.0):
        super().__init__()
        self.inner, self.share = inner, share

    def forward(self, x):
        line = x.reshape(-1, x.shape[-1])
        some = int(len(line) * self.share)
        out = self.inner(line[:some])
        return torch.cat([out, line[some:, : out.shape[-1]]]).reshape(*x.shape[:-1], -1)


def test_a_layer_may_run_on_flattened_tokens():
    model = model_of(CALM, target_modules=["o_proj"])
    expected = gradients_by_row(RowGradients(model).iterate_rows(rows_of()))
    attention = model.network.model.layers[0].self_attn
    attention.o_proj = Flat(attention.o_proj)
    actual = gradients_by_row(RowGradients(model).iterate_rows(rows_of()))
    assert_agree({row: {k.replace(".inner", ""): g for k, g in actual[row].items()} for row in actual}, expected)


def test_a_layer_that_runs_on_some_tokens_only_is_refused():
    model = model_of(CALM, target_modules=["o_proj"])
    attention = model.network.model.layers[0].self_attn
    attention.o_proj = Flat(attention.o_proj, share=0.5)
    with pytest.raises(ModelError, match=r"o_proj\.inner.* does not run on every token"):
        list(RowGradients(model).iterate_rows(rows_of()))
