"""Fine-tuning: the loss it minimises, and that interrupting it changes nothing."""

import json
import math
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM, BertConfig, BertLMHeadModel

from core.errors import ModelError, WorkspaceError
from core.models.encoder import Encoder
from core.models.forward_pass import LOGIT_BYTES, ForwardPass
from core.models.loading import load_model
from core.models.lora import add_adapter, find_adapter_layers
from core.models.reference import resolve_model
from core.models.training.finetune import _key, train, train_in_memory
from core.models.training.schedule import LATER_FIELDS, TrainSpec, key_fields, learning_rate
from core.schema import ModelRef, Reading
from core.workspace.folder import content_key
from tests.core.conftest import make_tokenizer, save_model
from tests.core.models.families import FAMILIES, every_family, network_of

FAST = TrainSpec(learning_rate=1e-2, epochs=2, batch_size=4)
full_and_lora = pytest.mark.parametrize("rank", [0, 4], ids=["full", "lora"])


@pytest.fixture(scope="module")
def ref(tiny_model_dir):
    return resolve_model(str(tiny_model_dir))


@pytest.fixture(scope="module")
def data():
    """Return ten rows with a response and one without."""
    prompts = [f"Add {k} and three." for k in range(11)]
    responses = [*(f"{k} plus three is {k + 3}." for k in range(10)), None]
    encoder = Encoder(make_tokenizer(), Reading(max_length=200))
    out = encoder({"prompt": prompts, "response": responses, "turns": [None] * 11})
    return {"tokens": out["tokens"], "spans": out["spans"]}


def changed(spec, **changes):
    return TrainSpec(**{**spec.__dict__, **changes})


def outcome(folder):
    """Return the bytes of every trained weight."""
    (file,) = (folder / "state").glob("*.safetensors")
    return {name: value.numpy().tobytes() for name, value in load_file(file).items()}


class Interrupted(Exception):
    pass


def interrupt_at(step):
    def on_step(done, total):
        if done == step:
            raise Interrupted

    return on_step


# --- loss and steps


@full_and_lora
def test_training_lowers_the_loss_of_its_rows(ref, data, tmp_path, rank):
    result = train(ref, **data, spec=changed(FAST, epochs=8, lora_rank=rank), folder=tmp_path / "t")
    before, after = (
        np.nanmean(ForwardPass(load_model(ref, state=state))(data)["nll"]) for state in (None, tmp_path / "t" / "state")
    )
    assert after < before - 0.5
    assert result.steps == len(result.losses) == 8 * math.ceil(10 / 4)
    assert result.losses[-3:].mean() < result.losses[:3].mean()


def test_the_first_loss_is_the_mean_over_the_response_tokens_of_the_first_step(ref, data, tmp_path):
    losses = train(ref, **data, spec=changed(FAST, batch_size=99, epochs=1), folder=tmp_path / "t").losses
    nll = ForwardPass(load_model(ref))(data)["nll"][:10]
    count = np.array([int(s[1] - s[0]) for s in data["spans"][:10]])
    assert losses == pytest.approx([(nll * count).sum() / count.sum()], rel=1e-5)


def test_one_step_equals_adamw_on_that_loss_in_plain_torch(ref, data, tmp_path):
    spec = changed(FAST, batch_size=99, epochs=1, learning_rate=1e-3, clip=0.5)
    train(ref, **data, spec=spec, folder=tmp_path / "t")
    network = AutoModelForCausalLM.from_pretrained(ref.path, dtype=torch.float32)
    total, count = 0.0, 0
    for tokens, spans in zip(data["tokens"][:10], data["spans"][:10], strict=True):
        ids = torch.from_numpy(tokens.astype(np.int64))[None]
        labels = torch.full_like(ids, -100)
        labels[0, spans[0] : spans[1]] = ids[0, spans[0] : spans[1]]
        logits = network(ids).logits
        total = total + nn.functional.cross_entropy(logits[0, :-1], labels[0, 1:], reduction="sum")
        count += int(spans[1] - spans[0])
    (total / count).backward()
    nn.utils.clip_grad_norm_(network.parameters(), 0.5)
    groups = [
        {"params": [p for p in network.parameters() if p.ndim >= 2], "weight_decay": spec.weight_decay},
        {"params": [p for p in network.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    torch.optim.AdamW(groups, lr=spec.learning_rate).step()
    trained = load_file(tmp_path / "t" / "state" / "model.safetensors")
    for name, parameter in network.named_parameters():  # Adam's first step is ±lr, however small the gradient
        moved = (trained[name] - parameter).abs() / spec.learning_rate
        assert (moved > 1e-2).float().mean() < 1e-3


def test_rows_without_a_response_are_never_trained_on(ref, data, tmp_path):
    answered = {name: values[:10] for name, values in data.items()}
    with_blank = train(ref, **data, spec=FAST, folder=tmp_path / "a")
    without = train(ref, **answered, spec=FAST, folder=tmp_path / "b")
    np.testing.assert_array_equal(with_blank.losses, without.losses)


def test_rows_without_any_response_are_a_clear_error(ref, data, tmp_path):
    with pytest.raises(ModelError, match="None of the rows to train on has a response"):
        train(ref, data["tokens"][10:], data["spans"][10:], FAST, folder=tmp_path / "t")


def test_the_rate_rises_over_the_warm_up_and_falls_as_a_cosine():
    spec = TrainSpec(learning_rate=1.0, warmup=0.1)
    rates = [learning_rate(spec, step, 40) for step in range(40)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[22] == pytest.approx(0.5)  # half of the 36 steps after the warm-up
    assert rates[4:] == sorted(rates[4:], reverse=True) and 0 < rates[-1] < 0.01
    assert learning_rate(TrainSpec(learning_rate=1.0, warmup=0.0), 0, 1) == 1.0


def test_the_rate_may_fall_linearly():
    spec = TrainSpec(learning_rate=1.0, warmup=0.2, schedule="linear")
    rates = [learning_rate(spec, step, 10) for step in range(10)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])


def test_every_epoch_has_every_row_once_in_its_own_order(ref, data, tmp_path):
    still = changed(FAST, learning_rate=0.0, batch_size=1, epochs=3)  # so that a step's loss identifies its row
    epochs = train(ref, **data, spec=still, folder=tmp_path / "t").losses.reshape(3, 10)
    nll = ForwardPass(load_model(ref))(data)["nll"][:10]
    for losses in epochs:
        np.testing.assert_allclose(np.sort(losses), np.sort(nll), rtol=1e-5)
    assert len({tuple(losses.argsort()) for losses in epochs}) == 3


def test_the_loss_curve_is_stored_with_the_settings(ref, data, tmp_path):
    result = train(ref, **data, spec=FAST, folder=tmp_path / "t")
    curve = json.loads((tmp_path / "t" / "loss.json").read_text())
    assert curve["step"] == [1, 2, 3, 4, 5, 6]
    assert curve["loss"] == pytest.approx(result.losses.tolist())
    assert curve["lr"] == pytest.approx([learning_rate(FAST, k, 6) for k in range(6)])
    assert curve["spec"]["batch_size"] == 4 and curve["rows"] == 10


@pytest.mark.parametrize("change", [{"seed": 1}, {"learning_rate": 2e-2}, {"weight_decay": 5.0}, {"clip": 1e-6}])
def test_every_setting_has_an_effect(ref, data, tmp_path, change):
    train(ref, **data, spec=FAST, folder=tmp_path / "a")
    train(ref, **data, spec=changed(FAST, **change), folder=tmp_path / "b")
    assert outcome(tmp_path / "a") != outcome(tmp_path / "b")


@pytest.mark.parametrize(
    "change", [{"schedule": "linear"}, {"lora_dropout": 0.1}, {"lora_on": "attention"}, {"lora_alpha": 4.0}]
)
def test_every_setting_of_an_adapter_has_an_effect(ref, data, tmp_path, change):
    spec = changed(FAST, lora_rank=2)
    train(ref, **data, spec=spec, folder=tmp_path / "a")
    train(ref, **data, spec=changed(spec, **change), folder=tmp_path / "b")
    assert outcome(tmp_path / "a") != outcome(tmp_path / "b")


@pytest.mark.parametrize(
    ("spec", "own", "stored"),
    [
        (TrainSpec(), "083ddaceb7fdd6f367ac419014aa0881", "380a95701f636f21"),
        (
            TrainSpec(learning_rate=1e-4, epochs=1, batch_size=8, lora_rank=8, seed=3),
            "eb11ca7ce1ee744b238f646cae112728",
            "8921264f160429b4",
        ),
    ],
)
def test_trainings_stored_by_the_first_release_keep_their_keys(spec, own, stored):
    ref = ModelRef(name="tiny", path="nowhere", revision="0123abcd", size_bytes=0)
    rows = [
        (np.array([5, 6, 7], np.uint32), np.array([1, 3], np.int32)),
        (np.array([8, 9], np.uint32), np.array([1, 2], np.int32)),
    ]
    assert _key(ref, rows, spec, "float32") == own
    assert content_key({"model": "m", "rows": [3, 1, 4], "spec": key_fields(spec)}) == stored


def test_a_key_holds_later_fields_only_if_not_at_their_default():
    changes = {"schedule": "linear", "lora_dropout": 0.1, "lora_on": "attention", "epoch_checkpoints": True}
    changes |= {"steps": 7, "response_tokens": 99}
    assert changes.keys() == set(LATER_FIELDS)
    assert not key_fields(TrainSpec()).keys() & changes.keys()
    for name, value in changes.items():
        assert key_fields(changed(FAST, **{name: value})) == key_fields(FAST) | {name: value}
    assert key_fields(changed(FAST, lora_rank=8))["lora_rank"] == 8 and key_fields(TrainSpec())["lora_rank"] == 0


@full_and_lora
def test_the_random_state_of_the_process_is_unchanged(ref, data, tmp_path, rank):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(ref, **data, spec=changed(FAST, epochs=1, lora_rank=rank), folder=tmp_path / "t")
    assert torch.equal(torch.rand(3), expected)


def test_a_loss_that_is_not_finite_stops_training(ref, data, tmp_path):
    with pytest.raises(ModelError, match=r"the loss of step \d+ is (nan|inf).*Lower the learning rate"):
        train(ref, **data, spec=changed(FAST, learning_rate=1e30, epochs=9), folder=tmp_path / "t")


def test_bfloat16_keeps_its_master_weights_in_float32(ref, data, tmp_path):
    result = train(ref, **data, spec=FAST, folder=tmp_path / "t", dtype="bfloat16", device="cpu")
    assert {v.dtype for v in load_file(tmp_path / "t" / "state" / "model.safetensors").values()} == {torch.float32}
    plain = train(ref, **data, spec=FAST, folder=tmp_path / "f", dtype="float32", device="cpu")
    np.testing.assert_allclose(result.losses, plain.losses, rtol=0.1)
    assert not np.array_equal(result.losses, plain.losses)


@every_family
def test_every_family_can_be_trained_fully_and_with_an_adapter(config, data, tmp_path):
    ref = resolve_model(str(save_model(network_of(config), tmp_path / "model")))
    for rank in (0, 2):
        spec = changed(FAST, lora_rank=rank, epochs=1, batch_size=99)
        train(ref, **data, spec=spec, folder=tmp_path / f"t{rank}")
        before = ForwardPass(load_model(ref))(data)["nll"]
        after = ForwardPass(load_model(ref, state=tmp_path / f"t{rank}" / "state"))(data)["nll"]
        assert np.nanmax(np.abs(after - before)) > 1e-3


# --- LoRA


def test_an_adapter_covers_exactly_attention_and_feed_forward():
    names = {name.split(".")[-1] for name in find_adapter_layers(network_of(FAMILIES["llama"]))}
    assert names == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.mark.parametrize(
    ("family", "attention", "feed_forward"),
    [
        (
            "llama",
            {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"},
            {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"},
        ),
        ("gpt2", {"attn.c_attn", "attn.c_proj"}, {"mlp.c_fc", "mlp.c_proj"}),
        ("gpt-neox", {"attention.query_key_value", "attention.dense"}, {"mlp.dense_h_to_4h", "mlp.dense_4h_to_h"}),
        (
            "phi with bias",
            {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.dense"},
            {"mlp.fc1", "mlp.fc2"},
        ),
    ],
)
def test_an_adapter_may_cover_attention_only(family, attention, feed_forward):
    network = network_of(FAMILIES[family])
    for on, expected in {"attention": attention, "all": attention | feed_forward}.items():
        names = find_adapter_layers(network, on)
        assert {".".join(name.split(".")[-2:]) for name in names} == expected
        assert len(names) == 2 * len(expected)  # in both layers
    parameters = add_adapter(network, rank=2, alpha=4.0, layers="attention").named_parameters()
    assert {".".join(n.split(".")[-5:-3]) for n, p in parameters if p.requires_grad} == attention


def test_an_adapter_is_small_and_leaves_the_base_unchanged(ref, data, tmp_path):
    train(ref, **data, spec=changed(FAST, lora_rank=2), folder=tmp_path / "t")
    sizes = sum(v.numel() for v in load_file(tmp_path / "t" / "state" / "adapter_model.safetensors").values())
    assert sizes == 2 * 2 * (2 * 64 + 2 * 48 + 3 * 96)  # layers x rank x (in + out) of each adapted layer
    state = load_model(ref, state=tmp_path / "t" / "state").network.state_dict()
    base = load_file(Path(ref.path) / "model.safetensors")
    assert torch.equal(state["model.layers.0.mlp.up_proj.base_layer.weight"], base["model.layers.0.mlp.up_proj.weight"])


def test_a_model_without_layers_known_by_name_is_refused():
    config = BertConfig(
        vocab_size=300,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        is_decoder=True,
    )
    network = BertLMHeadModel(config)
    for _, module in list(network.named_modules()):
        if hasattr(module, "dense"):
            module.oddly_named = module.dense
            del module.dense
    with pytest.raises(ModelError, match="no known attention or feed-forward layers"):
        find_adapter_layers(network)
    with pytest.raises(ModelError, match="no known attention layers"):
        find_adapter_layers(network, "attention")


# --- interrupting and resuming


@full_and_lora
@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_interrupted_anywhere_and_resumed_the_result_is_bit_identical(ref, data, tmp_path, rank, stop):
    spec = changed(FAST, lora_rank=rank)
    whole = train(ref, **data, spec=spec, folder=tmp_path / "whole", checkpoint_steps=2)
    with pytest.raises(Interrupted):
        train(ref, **data, spec=spec, folder=tmp_path / "t", checkpoint_steps=2, on_step=interrupt_at(stop))
    torch.manual_seed(stop)  # other random numbers in the process
    seen = []
    again = train(
        ref, **data, spec=spec, folder=tmp_path / "t", checkpoint_steps=2, on_step=lambda done, _t: seen.append(done)
    )
    assert seen[0] == stop // 2 * 2 + 1  # no step before the last checkpoint is repeated
    np.testing.assert_array_equal(again.losses, whole.losses)
    assert outcome(tmp_path / "t") == outcome(tmp_path / "whole")


@full_and_lora
def test_steps_of_equal_tokens_are_trained_and_resumed_in_the_middle_of_a_pass(ref, data, tmp_path, rank):
    spec = changed(FAST, lora_rank=rank, steps=7, response_tokens=60)
    whole = train(ref, **data, spec=spec, folder=tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(ref, **data, spec=spec, folder=tmp_path / "t", checkpoint_steps=2, on_step=interrupt_at(5))
    again = train(ref, **data, spec=spec, folder=tmp_path / "t")
    assert whole.steps == 7
    np.testing.assert_array_equal(again.losses, whole.losses)
    assert outcome(tmp_path / "t") == outcome(tmp_path / "whole")


@full_and_lora
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_trained_in_memory_is_the_one_that_would_have_been_stored(ref, data, tmp_path, rank, dtype):
    spec, place = changed(FAST, lora_rank=rank), {"dtype": dtype, "device": "cpu"}
    stored = train(ref, **data, spec=spec, folder=tmp_path / "stored", **place)
    model, losses = train_in_memory(ref, **data, spec=spec, folder=tmp_path / "t", **place)
    np.testing.assert_array_equal(losses, stored.losses)
    expected = ForwardPass(load_model(ref, state=tmp_path / "stored" / "state", **place))(data)["nll"]
    np.testing.assert_array_equal(ForwardPass(model)(data)["nll"], expected)
    assert not (tmp_path / "t").exists()


def test_dropout_is_the_same_after_a_resume(data, tmp_path):
    network = network_of(FAMILIES["gpt2"])
    assert network.config.resid_pdrop > 0
    ref = resolve_model(str(save_model(network, tmp_path / "model")))
    train(ref, **data, spec=FAST, folder=tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(ref, **data, spec=FAST, folder=tmp_path / "t", checkpoint_steps=1, on_step=interrupt_at(4))
    train(ref, **data, spec=FAST, folder=tmp_path / "t")
    assert outcome(tmp_path / "t") == outcome(tmp_path / "whole")


def test_a_half_written_checkpoint_is_ignored(ref, data, tmp_path, monkeypatch):
    """Killed while writing: the temporary folder is left, and the checkpoint before it is used."""
    with pytest.raises(Interrupted):
        train(ref, **data, spec=FAST, folder=tmp_path / "t", checkpoint_steps=2, on_step=interrupt_at(2))
    half = tmp_path / "t" / "checkpoint" / ".step-00000004.half"
    shutil.copytree(tmp_path / "t" / "checkpoint" / "step-00000002", half)
    (half / "weights.safetensors").write_bytes(b"half")
    train(ref, **data, spec=FAST, folder=tmp_path / "t")
    train(ref, **data, spec=FAST, folder=tmp_path / "whole")
    assert outcome(tmp_path / "t") == outcome(tmp_path / "whole")
    assert not (tmp_path / "t" / "checkpoint").exists()


def test_checkpoints_are_also_written_by_time(ref, data, tmp_path):
    with pytest.raises(Interrupted):
        train(ref, **data, spec=FAST, folder=tmp_path / "t", checkpoint_seconds=0, on_step=interrupt_at(1))
    assert [p.name for p in (tmp_path / "t" / "checkpoint").iterdir()] == ["step-00000001"]


@pytest.mark.parametrize("limit", [50_000, 200_000], ids=["no weights", "no moments"])
def test_a_full_disk_is_a_clear_error_and_the_previous_checkpoint_stays(ref, data, tmp_path, limit):
    with pytest.raises(Interrupted):
        train(ref, **data, spec=FAST, folder=tmp_path / "t", checkpoint_steps=2, on_step=interrupt_at(3))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(WorkspaceError, match=r"cannot be written .* Free some space"):
            train(ref, **data, spec=FAST, folder=tmp_path / "t", checkpoint_steps=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [p.name for p in (tmp_path / "t" / "checkpoint").iterdir()] == ["step-00000002"]
    train(ref, **data, spec=FAST, folder=tmp_path / "t")
    train(ref, **data, spec=FAST, folder=tmp_path / "whole")
    assert outcome(tmp_path / "t") == outcome(tmp_path / "whole")


def test_many_chunks_of_logits_train_as_one(ref, data, tmp_path, monkeypatch):
    plain = train(ref, **data, spec=FAST, folder=tmp_path / "a", device="cpu")
    monkeypatch.setitem(LOGIT_BYTES, "cpu", 7 * 4 * 300)
    chunked = train(ref, **data, spec=FAST, folder=tmp_path / "b", device="cpu")
    np.testing.assert_allclose(plain.losses, chunked.losses, rtol=1e-3)


def test_a_finished_training_is_not_repeated(ref, data, tmp_path):
    first = train(ref, **data, spec=FAST, folder=tmp_path / "t")
    again = train(ref, **data, spec=FAST, folder=tmp_path / "t", on_step=interrupt_at(1))
    np.testing.assert_array_equal(first.losses, again.losses)


def test_a_folder_with_another_training_is_refused(ref, data, tmp_path):
    train(ref, **data, spec=FAST, folder=tmp_path / "t")
    with pytest.raises(ModelError, match="holds a training on other rows, model or settings"):
        train(ref, **data, spec=changed(FAST, seed=1), folder=tmp_path / "t")
    with pytest.raises(Interrupted):
        train(ref, **data, spec=FAST, folder=tmp_path / "u", checkpoint_steps=1, on_step=interrupt_at(2))
    with pytest.raises(ModelError, match="holds a training on other rows, model or settings"):
        train(ref, data["tokens"][:4], data["spans"][:4], FAST, folder=tmp_path / "u")


# --- memory


def failing_above(monkeypatch, tokens_at_most):
    import core.models.training.micro_batch as module

    def measured(network, tokens, spans, **settings):
        if len(tokens) * max(map(len, tokens)) > tokens_at_most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss(network, tokens, spans, **settings)

    loss = module.response_loss
    monkeypatch.setattr(module, "response_loss", measured)


def test_a_batch_that_does_not_fit_is_split(ref, data, tmp_path, monkeypatch):
    plain = train(ref, **data, spec=FAST, folder=tmp_path / "a")
    failing_above(monkeypatch, 200)
    smaller = train(ref, **data, spec=FAST, folder=tmp_path / "b")
    np.testing.assert_allclose(plain.losses, smaller.losses, rtol=1e-3)


def test_graphs_are_released_before_a_batch_is_split(ref, data, tmp_path, monkeypatch):
    import core.models.training.micro_batch as module

    ran, released = [], iter([True])
    same = {name: [values[0]] * FAST.batch_size for name, values in data.items()}
    tokens = FAST.batch_size * len(same["tokens"][0])  # that just fit
    monkeypatch.setattr("core.models.training.finetune.CPU_TOKENS", tokens)

    def once(network, tokens, spans, **settings):
        ran.append(len(tokens))
        if len(ran) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss(network, tokens, spans, **settings)

    loss = module.response_loss
    monkeypatch.setattr(module, "response_loss", once)
    monkeypatch.setattr(module.MicroBatches, "stop_capturing", lambda self: next(released))
    train(ref, **same, spec=FAST, folder=tmp_path / "g")
    assert set(ran) == {FAST.batch_size}


def test_a_row_too_long_for_memory_is_a_clear_error(ref, data, tmp_path, monkeypatch):
    failing_above(monkeypatch, 10)
    with pytest.raises(ModelError, match=r"Training on a row of \d+ tokens does not fit into the memory of cpu"):
        train(ref, **data, spec=FAST, folder=tmp_path / "t", device="cpu")


def test_an_optimizer_that_does_not_fit_is_a_clear_error(ref, data, tmp_path, monkeypatch):
    def step(_self):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(ModelError, match=r"AdamW's averages do not fit into the memory of cpu .*lora_rank 8"):
        train(ref, **data, spec=FAST, folder=tmp_path / "t", device="cpu")
