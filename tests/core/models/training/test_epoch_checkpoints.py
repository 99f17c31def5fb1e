"""Epoch checkpoints: the same with or without interruption, and complete enough for influence."""

import resource
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from core.errors import ModelError, WorkspaceError
from core.models.encoder import Encoder
from core.models.loading import load_model
from core.models.lora import adapter_matrices
from core.models.reference import resolve_model
from core.models.training.adam_update import AdamMoments
from core.models.training.checkpoints import MOMENT_NAMES, load_epoch_checkpoints
from core.models.training.finetune import train
from core.models.training.row_gradients import RowGradients
from core.models.training.schedule import TrainSpec
from core.schema import Reading
from core.workspace.files import read_json
from tests.core.conftest import make_tokenizer

SPEC = TrainSpec(
    learning_rate=8e-3,
    epochs=3,
    batch_size=4,
    warmup=0.1,
    lora_rank=4,
    seed=5,
    schedule="linear",
    lora_dropout=0.3,
    epoch_checkpoints=True,
)


@pytest.fixture(scope="module")
def ref(tiny_model_dir):
    return resolve_model(str(tiny_model_dir))


@pytest.fixture(scope="module")
def data():
    """Return ten rows: three steps of at most four per epoch."""
    rows = {"prompt": [f"Add {k} and three." for k in range(10)], "turns": [None] * 10}
    out = Encoder(make_tokenizer(), Reading(max_length=200))(
        rows | {"response": [f"It is {k + 3}." for k in range(10)]}
    )
    return {"tokens": out["tokens"], "spans": out["spans"], "dtype": "float32", "device": "cpu"}


@pytest.fixture(scope="module")
def uninterrupted(ref, data, tmp_path_factory):
    """Run a training without interruption."""
    return train(ref, **data, spec=SPEC, folder=tmp_path_factory.mktemp("whole")).folder


class Interrupted(Exception):
    pass


def interrupt(ref, data, folder, step, spec=SPEC, **settings):
    def on_step(done, total):
        if done == step:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(ref, **data, spec=spec, folder=folder, on_step=on_step, **settings)


def stored_files(folder):
    """Return the bytes of everything stored; adapter_config.json lists its layers in any order."""
    files = (p for p in (folder / "epochs").rglob("*") if p.suffix == ".safetensors" or p.name == "epoch.json")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def adapter(folder):
    return load_file(folder / "adapter_model.safetensors")


# --- contents


def test_each_epoch_has_its_steps_and_the_mean_rate_of_its_own_steps(uninterrupted):
    actual = load_epoch_checkpoints(uninterrupted)  # rates, as shares: 1 1 7/8, 6/8 5/8 4/8, 3/8 2/8 1/8
    assert [c.epoch for c in actual] == [1, 2, 3]
    assert [c.steps for c in actual] == [3, 6, 9]
    assert [c.learning_rate for c in actual] == pytest.approx([8e-3 * 23 / 24, 8e-3 * 5 / 8, 8e-3 * 2 / 8])
    assert read_json(uninterrupted / "epochs" / "2" / "epoch.json").keys() == {
        *("epoch", "steps", "learning_rate", "key")
    }


def test_the_last_epoch_is_the_result_and_all_epochs_differ(uninterrupted):
    first, second, last = (adapter(c.state) for c in load_epoch_checkpoints(uninterrupted))
    outcome = adapter(uninterrupted / "state")
    assert last.keys() == outcome.keys() and all(torch.equal(last[name], outcome[name]) for name in outcome)
    assert all(not torch.equal(first[n], second[n]) and not torch.equal(second[n], last[n]) for n in outcome)


def test_an_epoch_holds_the_same_as_a_checkpoint_of_that_step(ref, data, tmp_path):
    interrupt(ref, data, tmp_path, 3, checkpoint_steps=3)
    place, epoch = tmp_path / "checkpoint" / "step-00000003", tmp_path / "epochs" / "1"
    assert (place / "moments.safetensors").read_bytes() == (epoch / "moments.safetensors").read_bytes()
    weights = load_file(place / "weights.safetensors")
    state = adapter(epoch / "state")
    assert {name.replace(".default", ""): v.tolist() for name, v in weights.items()} == {
        name: v.tolist() for name, v in state.items()
    }


def test_storing_epochs_changes_nothing_else(ref, data, uninterrupted, tmp_path):
    train(ref, **data, spec=replace(SPEC, epoch_checkpoints=False), folder=tmp_path)
    plain, outcome = adapter(tmp_path / "state"), adapter(uninterrupted / "state")
    assert all(torch.equal(plain[name], outcome[name]) for name in outcome)
    assert not (tmp_path / "epochs").exists()


def test_epochs_of_full_weights_are_not_stored(ref, data, tmp_path):
    with pytest.raises(ModelError, match="Epochs are kept of LoRA adapters only"):
        train(ref, **data, spec=replace(SPEC, lora_rank=0), folder=tmp_path)


@pytest.mark.parametrize("change", [{"steps": 5}, {"response_tokens": 99}])
def test_epochs_of_a_training_by_steps_or_tokens_are_not_stored(ref, data, tmp_path, change):
    with pytest.raises(ModelError, match="Set steps and response_tokens to 0"):
        train(ref, **data, spec=replace(SPEC, **change), folder=tmp_path)


# --- interrupting and resuming


@pytest.mark.parametrize("every", [None, 2], ids=["no checkpoint", "every other step"])
@pytest.mark.parametrize("stop", [2, 3, 4, 6, 9])
def test_interrupted_anywhere_and_resumed_the_epochs_are_bit_identical(ref, data, uninterrupted, tmp_path, stop, every):
    interrupt(ref, data, tmp_path, stop, checkpoint_steps=every)
    assert sorted(p.name for p in tmp_path.glob("epochs/*")) == ["1", "2", "3"][: stop // 3]
    torch.manual_seed(stop)  # other random numbers in the process
    train(ref, **data, spec=SPEC, folder=tmp_path, checkpoint_steps=every)
    assert stored_files(tmp_path) == stored_files(uninterrupted) and len(stored_files(uninterrupted)) == 3 * 3


def test_killed_between_the_last_step_of_an_epoch_and_its_folder(ref, data, uninterrupted, tmp_path, monkeypatch):
    import core.models.training.checkpoints as module

    def killed(path, data):
        if path.name == "epoch.json":
            raise Interrupted
        write_json(path, data)

    write_json = module.write_json
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(module, "write_json", killed)
        train(ref, **data, spec=SPEC, folder=tmp_path, checkpoint_steps=1)
    assert [p.name for p in tmp_path.glob("checkpoint/*")] == ["step-00000002"]  # never past an unstored epoch
    assert stored_files(tmp_path) == {}
    train(ref, **data, spec=SPEC, folder=tmp_path)
    assert stored_files(tmp_path) == stored_files(uninterrupted)


def test_a_half_written_epoch_is_ignored(ref, data, uninterrupted, tmp_path):
    """Killed while writing: the temporary folder is left."""
    interrupt(ref, data, tmp_path, 4, checkpoint_steps=2)
    half = tmp_path / "epochs" / ".2.half"
    shutil.copytree(tmp_path / "epochs" / "1", half)
    (half / "epoch.json").unlink()
    train(ref, **data, spec=SPEC, folder=tmp_path)
    assert stored_files(tmp_path) == stored_files(uninterrupted)
    assert sorted(p.name for p in (tmp_path / "epochs").iterdir()) == ["1", "2", "3"]


def test_a_stored_epoch_is_not_written_again(ref, data, tmp_path):
    interrupt(ref, data, tmp_path, 4)  # no checkpoint: all four steps are repeated
    before = (tmp_path / "epochs" / "1").stat().st_ino, (tmp_path / "epochs" / "1" / "epoch.json").stat().st_mtime_ns
    train(ref, **data, spec=SPEC, folder=tmp_path)
    after = (tmp_path / "epochs" / "1").stat().st_ino, (tmp_path / "epochs" / "1" / "epoch.json").stat().st_mtime_ns
    assert before == after


def test_epochs_of_another_training_are_refused(ref, data, tmp_path):
    interrupt(ref, data, tmp_path, 4)
    with pytest.raises(ModelError, match="holds a training on other rows, model or settings"):
        train(ref, **data, spec=replace(SPEC, seed=6), folder=tmp_path)


def test_a_full_disk_is_a_clear_error_and_leaves_no_partial_epoch(ref, data, uninterrupted, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, before[1]))
    try:
        with pytest.raises(WorkspaceError, match=r"cannot be written .* Free some space"):
            train(ref, **data, spec=SPEC, folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "epochs").iterdir()) == []
    train(ref, **data, spec=SPEC, folder=tmp_path)
    assert stored_files(tmp_path) == stored_files(uninterrupted)


# --- missing parts


def test_an_unfinished_training_has_no_epochs_to_load(ref, data, tmp_path):
    interrupt(ref, data, tmp_path, 7)
    with pytest.raises(WorkspaceError, match=r"has no finished training. Run the training again"):
        load_epoch_checkpoints(tmp_path)


def test_a_training_without_stored_epochs_is_a_clear_error(ref, data, tmp_path):
    train(ref, **data, spec=replace(SPEC, epoch_checkpoints=False, epochs=1), folder=tmp_path)
    with pytest.raises(WorkspaceError, match=r"kept none of its epochs. Train again with epoch_checkpoints"):
        load_epoch_checkpoints(tmp_path)


@pytest.mark.parametrize("part", ["", "state", "moments.safetensors", "epoch.json"])
def test_a_removed_epoch_is_a_clear_error(uninterrupted, tmp_path, part):
    folder = shutil.copytree(uninterrupted, tmp_path / "t")
    place = folder / "epochs" / "2" / part
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    with pytest.raises(WorkspaceError, match=r"epochs/2 is missing or incomplete. Remove .*/t and train again"):
        load_epoch_checkpoints(folder)


def test_a_training_does_not_resume_if_an_epoch_is_missing(ref, data, tmp_path):
    interrupt(ref, data, tmp_path, 7, checkpoint_steps=7)
    shutil.rmtree(tmp_path / "epochs" / "1")
    with pytest.raises(WorkspaceError, match=r"epochs/1 is missing or incomplete. Remove .* and train again"):
        train(ref, **data, spec=SPEC, folder=tmp_path)


# --- use for influence


def test_model_and_moments_of_an_epoch_match(ref, uninterrupted):
    for checkpoint in load_epoch_checkpoints(uninterrupted):
        gradients = RowGradients(load_model(ref, state=checkpoint.state, dtype="float32", device="cpu"))
        file = load_file(checkpoint.moments)
        rule = AdamMoments.from_tensors(file, checkpoint.steps).build_update(gradients.shapes, "cpu")
        assert rule.above.keys() == gradients.shapes.keys()
        assert len(file) == len(MOMENT_NAMES) * len(gradients.shapes) == 2 * 2 * 2 * 7  # moments, A/B, layers, modules


def test_the_next_epoch_is_the_adam_update_of_the_gradient_at_this_one(ref, data, tmp_path):
    """One step per epoch, on all rows. Rank 32 makes A and B of four layers square: only names distinguish them."""
    spec = replace(
        SPEC,
        batch_size=99,
        lora_rank=32,
        lora_dropout=0.0,
        lora_on="attention",
        weight_decay=0.0,
        clip=1e9,
        lora_alpha=0.5,
    )
    train(ref, **data, spec=spec, folder=tmp_path)
    _, now, then = load_epoch_checkpoints(tmp_path)
    model, after = (load_model(ref, state=c.state, dtype="float32", device="cpu") for c in (now, then))
    matrices = {n: m.weight.requires_grad_() for n, m in adapter_matrices(model.network).items()}
    moved = {n: (matrices[n] - m.weight).detach() for n, m in adapter_matrices(after.network).items()}
    assert sum(m.shape == (32, 32) for m in matrices.values()) == 2 * (2 + 2 + 1 + 1)  # layers: q, o, and k's, v's A
    lost = token_mean(model.network, data)
    actual = dict(zip(matrices, torch.autograd.grad(lost, list(matrices.values())), strict=True))
    rule = AdamMoments.from_tensors(load_file(now.moments), now.steps).build_update(
        {n: m.shape for n, m in matrices.items()}, "cpu"
    )
    for name, gradient in actual.items():
        step = rule(name, gradient.clone())
        assert torch.allclose(moved[name] / then.learning_rate, step, rtol=1e-3, atol=1e-3), name
        assert step.abs().mean() > 0.1


def token_mean(network, data):
    total, count = torch.zeros(()), 0
    for tokens, (start, end) in zip(data["tokens"], data["spans"], strict=True):
        ids = torch.from_numpy(tokens.astype(np.int64))
        logits = network(ids[None]).logits[0]
        total = total + nn.functional.cross_entropy(logits[start - 1 : end - 1], ids[start:end], reduction="sum")
        count += int(end - start)
    return total / count
