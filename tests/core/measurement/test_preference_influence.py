"""Influences equal a loop over rows and pairs, are stored once, and are resumed to the same bits."""

import json
import random
from dataclasses import asdict

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from core.errors import Cancelled, MethodError, PoolError, ReplayError
from core.measurement.lookup import find_run
from core.measurement.measure import measure
from core.measurement.run_data import load_measured
from core.measurement.stages import PoolStages
from core.measurement.target_pairs import read_pairs
from core.methods import build_method, describe_method
from core.methods.preference_influence import PreferenceInfluence
from core.models.loading import load_model
from core.models.lora import adapter_matrices
from core.models.reference import resolve_model
from core.models.training.checkpoints import load_epoch_checkpoints
from core.output.curate import curate
from core.output.manifest import read_manifest
from core.output.replay import replay_rows
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.selection.recipe import parse_recipe

WORDS = "the cat sat on a mat and saw 12 red birds fly over 7 green hills in May".split()  # noqa: SIM905
ROWS = 30


def words(rng, most):
    return " ".join(rng.choices(WORDS, k=rng.randint(1, most)))


@pytest.fixture(scope="module")
def pool_file(tmp_path_factory):
    """Write rows of 1 to 20 words; the first has the prompt of a pair."""
    rng = random.Random(0)
    rows = [{"instruction": f"{words(rng, 20)} {i}", "output": words(rng, 20)} for i in range(ROWS)]
    rows[0]["instruction"] = "prompt 0"
    file = tmp_path_factory.mktemp("pool") / "pool.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def write_pairs(file, count, seed, **more):
    rng = random.Random(seed)
    rows = [
        {"prompt": f"prompt {k}", "chosen": words(rng, 12) + " yes", "rejected": words(rng, 6), "kind": "ab"[k % 2]}
        for k in range(count)
    ]
    file.write_text("".join(json.dumps(row | more) + "\n" for row in rows))
    return file


@pytest.fixture
def targets(tmp_path):
    return write_pairs(tmp_path / "wanted.jsonl", 5, 1), write_pairs(tmp_path / "other.jsonl", 3, 2)


@pytest.fixture
def reading(tiny_model_dir):
    return Reading(model=str(tiny_model_dir), max_length=128)


QUICK = {"epochs": 2, "lora_rank": 4, "learning_rate": 1e-3, "batch_size": 8}


def method_of(file, **params):
    return build_method("preference_influence", {"targets": f"wanted={file}", **QUICK, **params})


def run_on(pool_file, workspace, reading, method, report=None):
    pool = load_pool(str(pool_file), workspace=workspace.root)
    return measure(pool, method, reading, workspace, seed=0, report=report or SilentReporter())


class StageRecorder(SilentReporter):
    """Records the stages that begin, with the rows done already; `stop_at`: a note that cancels the work."""

    def __init__(self, stop_at=None):
        self.begun, self.stop_at = [], stop_at

    def stage(self, name, *, rows, work, done_rows=0, done_work=0):
        self.begun.append((name, done_rows))

    def note(self, text):
        if self.stop_at and self.stop_at in text:
            raise Cancelled("stopped by the test")


# The formula, in a plain loop


def loss_gradient(model, tokens, spans, mean):
    """Return the gradient of one row's NLL with respect to the LoRA matrices: {name: tensor}."""
    ids = torch.tensor(np.asarray(tokens, np.int64))[None]
    parameters = {name: module.weight for name, module in adapter_matrices(model.network).items()}
    for weight in parameters.values():
        weight.requires_grad_()
    logits = model.network(input_ids=ids).logits[0].float()
    places = np.concatenate([np.arange(a, b) for a, b in np.reshape(spans, (-1, 2))])
    nll = functional.cross_entropy(logits[places - 1], ids[0, places], reduction="mean" if mean else "sum")
    return dict(zip(parameters, torch.autograd.grad(nll, list(parameters.values())), strict=True))


def flat(gradient):
    return torch.cat([g.double().flatten() for g in gradient.values()])


def unit(vector):
    return vector / vector.norm()


def adam_step(gradient, moments, steps):
    parts = []
    for name, g in gradient.items():
        m, v = (
            next(t for k, t in moments.items() if k.endswith(f"{name}.{kind}")) for kind in ("exp_avg", "exp_avg_sq")
        )
        m, v = 0.9 * m.double() + 0.1 * g.double(), 0.999 * v.double() + 0.001 * g.double() ** 2
        parts.append((m / (1 - 0.9 ** (steps + 1)) / ((v / (1 - 0.999 ** (steps + 1))).sqrt() + 1e-8)).flatten())
    return torch.cat(parts)


def loop_over_pairs(pool, pairs, checkpoints, stages):
    """Return influences (N, S) for both losses, computed for one row and one pair at a time."""
    rates = np.array([c.learning_rate for c in checkpoints])
    total = {"preference": 0.0, "sft": 0.0}
    for weight, checkpoint in zip(rates / rates.sum(), checkpoints, strict=True):
        model, moments = stages.model(checkpoint.state), load_file(checkpoint.moments)
        directions = {"preference": [], "sft": []}
        for j in range(len(pairs.subtasks)):
            good, bad = ((side["tokens"][j], side["spans"][j]) for side in (pairs.chosen, pairs.rejected))
            directions["preference"].append(
                unit(flat(loss_gradient(model, *good, False)) - flat(loss_gradient(model, *bad, False)))
            )
            directions["sft"].append(unit(flat(loss_gradient(model, *good, True))))
        cosines = {loss: np.full((len(pool), len(pairs.names)), np.nan) for loss in directions}
        for i in range(len(pool)):
            row = stages.tokens.batch(np.array([i]))
            if len(row["spans"][0]):
                step = adam_step(
                    loss_gradient(model, row["tokens"][0], row["spans"][0], True), moments, checkpoint.steps
                )
                for loss, units in directions.items():
                    for s, name in enumerate(pairs.names):
                        own = [unit(step) @ u for u, of in zip(units, pairs.subtasks, strict=True) if of == name]
                        cosines[loss][i, s] = torch.stack(own).mean()
        total = {loss: total[loss] + weight * cosines[loss] for loss in total}
    return total


def test_influences_equal_a_loop_over_rows_pairs_and_checkpoints(pool_file, workspace, reading, targets):
    method = method_of(targets[0], subtask="kind")
    run = run_on(pool_file, workspace, reading, method)
    influences = load_measured(run).need("influences")
    assert influences.subtasks == {"wanted": ("a", "b")}
    pool = load_pool(str(pool_file), workspace=workspace.root)
    stages = PoolStages(pool, reading, resolve_model(reading.model, None), workspace, SilentReporter())
    checkpoints = load_epoch_checkpoints(next(workspace.root.glob("models/*")))
    expected = loop_over_pairs(pool, read_pairs(stages, method, str(targets[0]), 0), checkpoints, stages)
    for loss in ("preference", "sft"):
        np.testing.assert_allclose(getattr(influences, loss), expected[loss], atol=2e-5)


# Stored once


def test_an_interrupted_measurement_resumes_with_the_same_bits(pool_file, workspace, reading, targets, tmp_path):
    method = method_of(targets[0])
    whole = load_measured(run_on(pool_file, workspace, reading, method)).need("influences")
    other = type(workspace)(tmp_path / "other")
    for place in ("after epoch 1", "after epoch 2"):
        with pytest.raises(Cancelled):
            run_on(pool_file, other, reading, method, StageRecorder(f"Row gradients {place}"))
    report = StageRecorder()
    again = load_measured(run_on(pool_file, other, reading, method, report)).need("influences")
    np.testing.assert_array_equal(again.preference, whole.preference)
    assert ("Row gradients after epoch 1 of 2", 0) not in report.begun  # complete, so it does not begin again


def test_another_target_repeats_no_work_of_the_first(pool_file, workspace, reading, targets):
    first = load_measured(run_on(pool_file, workspace, reading, method_of(targets[0]))).need("influences")
    stamps = {f: f.stat().st_mtime_ns for f in workspace.root.glob("measurements/*/part-*")}
    both = method_of(targets[0], targets=f"wanted={targets[0]}; other={targets[1]}")
    influences = load_measured(run_on(pool_file, workspace, reading, both)).need("influences")
    assert influences.targets == ("wanted", "other")
    np.testing.assert_array_equal(influences.of("wanted", "preference"), first.preference)
    assert {f: f.stat().st_mtime_ns for f in stamps} == stamps
    assert len(list(workspace.root.glob("models/*"))) == 1


def test_form_and_momentum_of_adam_change_influences_but_not_the_warm_up(pool_file, workspace, reading, targets):
    influences = [
        load_measured(run_on(pool_file, workspace, reading, method_of(targets[0], **choice)))
        .need("influences")
        .preference
        for choice in ({}, {"form": "release"}, {"momentum": "off"})
    ]
    assert not np.allclose(influences[0], influences[1], equal_nan=True)
    assert not np.allclose(influences[0], influences[2], equal_nan=True)
    assert len(list(workspace.root.glob("models/*"))) == 1


def test_a_changed_file_of_pairs_is_measured_anew(pool_file, workspace, reading, targets):
    pool = load_pool(str(pool_file), workspace=workspace.root)
    method = method_of(targets[1])
    run_on(pool_file, workspace, reading, method)
    assert find_run(workspace, pool, method, reading, 0) is not None
    write_pairs(targets[1], 3, 99)
    assert find_run(workspace, pool, method, reading, 0) is None
    targets[1].unlink()  # a removed file counts as unchanged
    assert find_run(workspace, pool, method, reading, 0) is not None


# Facts, warnings and errors


def test_the_summary_describes_the_targets_and_the_warm_up(pool_file, workspace, reading, targets):
    run = run_on(pool_file, workspace, reading, method_of(targets[0], subtask="kind", pairs=2))
    (target,) = run.summary["targets"]
    assert (target["name"], target["pairs"], target["available"]) == ("wanted", 4, 5)
    assert target["subtasks"] == {"a": 2, "b": 2}
    assert len(target["accuracy"]) == 1 + 2 and len(target["margin_accuracy"]) == 2
    assert all(0 <= share <= 1 for share in target["accuracy"])
    warm_up = run.summary["warm_up"]
    assert (warm_up["rows"], warm_up["rank"], len(warm_up["loss"])) == (ROWS, 4, warm_up["steps"])
    assert warm_up["epoch_rates"][0] > warm_up["epoch_rates"][1] > 0
    assert any("longer one" in warning for warning in run.summary["warnings"])


def test_rows_with_the_prompt_of_a_pair_are_counted(pool_file, workspace, reading, targets):
    run = run_on(pool_file, workspace, reading, method_of(targets[0]))
    (target,) = run.summary["targets"]
    assert (target["shared_rows"], target["shared_pairs"]) == (1, 1)
    assert any("1 rows of the pool have the same prompt as 1 pairs" in warning for warning in run.summary["warnings"])


def test_a_set_without_a_usable_pair_is_refused(pool_file, workspace, reading, tmp_path):
    file = tmp_path / "same.jsonl"
    file.write_text(json.dumps({"prompt": "p", "chosen": "x " * 400 + "a", "rejected": "x " * 400 + "b"}) + "\n")
    with pytest.raises(MethodError, match="no pair has two different answers within 128 tokens"):
        run_on(pool_file, workspace, reading, method_of(file))
    with pytest.raises(PoolError):
        run_on(pool_file, workspace, reading, method_of(tmp_path / "absent.jsonl"))


def test_a_pool_without_responses_is_refused(workspace, reading, targets, tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"say {i}"}) + "\n" for i in range(9)))
    with pytest.raises(MethodError, match="No row of this pool has a response"):
        run_on(file, workspace, reading, method_of(targets[0]))


def test_each_target_has_its_own_score(pool_file, workspace, reading, targets):
    both = f"wanted={targets[0]}; other={targets[1]}"
    measured = load_measured(run_on(pool_file, workspace, reading, method_of(targets[0], targets=both)))
    scores = PreferenceInfluence(targets=both, target="other").scores(measured)
    assert set(scores) == {"influence", "influence.wanted", "influence.other", "less.wanted", "less.other"}
    np.testing.assert_array_equal(scores["influence"], scores["influence.other"])
    assert not np.allclose(scores["influence.wanted"], scores["less.wanted"], equal_nan=True)


def test_a_manifest_names_the_pairs_and_refuses_others(pool_file, workspace, reading, targets, tmp_path):
    pool = load_pool(str(pool_file), workspace=workspace.root)
    method = method_of(targets[1])
    plan = parse_recipe(
        {
            "pool": {"source": str(pool_file)},
            "method": describe_method(method),
            "reading": asdict(reading),
            "budget": "20%",
        },
        "test",
    )
    written = curate(plan, pool, run_on(pool_file, workspace, reading, method), tmp_path / "chosen.jsonl")
    manifest = read_manifest(written.manifest)
    (target,) = manifest.targets
    assert (target.name, target.source, target.pairs) == ("wanted", str(targets[1]), 3)
    again = replay_rows(manifest, plan, pool, run_on(pool_file, workspace, reading, method), tmp_path / "again.jsonl")
    assert again.sha256 == manifest.output.sha256
    write_pairs(targets[1], 3, 99)
    with pytest.raises(ReplayError, match=r"The target set 'wanted' .* does not hold the pairs"):
        replay_rows(manifest, plan, pool, run_on(pool_file, workspace, reading, method), tmp_path / "again.jsonl")


def test_a_checkpoint_can_be_loaded_as_a_state_of_the_model(pool_file, workspace, reading, targets):
    run_on(pool_file, workspace, reading, method_of(targets[0]))
    last = load_epoch_checkpoints(next(workspace.root.glob("models/*")))[-1]
    assert adapter_matrices(load_model(resolve_model(reading.model, None), state=last.state).network)
