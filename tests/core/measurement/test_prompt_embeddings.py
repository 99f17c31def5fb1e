"""What a model says of a prompt depends on the prompt alone: its confidence, its answers, its embedding.

Real passes of the embedded model, over the same prompts without a response, with a short one, and with one that does
not fit beside the prompt.
"""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from core.measurement.measure import measure_all
from core.measurement.prompt_embeddings import sample_key
from core.measurement.run_data import base_parts, load_measured
from core.measurement.stages import PoolStages
from core.methods import build_method
from core.models.encoder import Encoder
from core.models.forward_pass import ForwardPass
from core.models.loading import load_model
from core.models.reference import resolve_model
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.workspace.folder import Workspace

PROMPTS = [
    *(f"What is the capital of country number {k}?" for k in range(4)),
    *(f"Read this story and say what comes next. {'The cat sat on the mat and saw a bird. ' * k}" for k in (3, 9, 40)),
    "",
]
RESPONSES = {"none": None, "short": "It is Paris.", "long": "And then it was told that so it is. " * 60}
ASK = build_method("task_confidence", {"new_tokens": 6, "prompts_per_task": 8, "tasks": "derived", "derived_tasks": 2})
ANSWER = build_method("answer_divergence", {"answers": 2, "max_new_tokens": 5, "bins_measured": 2})


@pytest.fixture
def measured(embedded_reading, tmp_path):
    """Return the runs of both methods on each pool, and embeddings of its prompts, under one layout."""
    return {name: measure_with(response, embedded_reading, tmp_path / name) for name, response in RESPONSES.items()}


def measure_with(response, reading, folder):
    folder.mkdir()
    more = {} if response is None else {"output": response}
    rows = [{"id": str(k), "instruction": text or "?", **more} for k, text in enumerate(PROMPTS)]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    workspace = Workspace(folder / "workspace")
    pool = load_pool(str(folder / "pool.jsonl"), workspace=workspace.root)
    runs = measure_all(pool, [ASK, ANSWER], reading, workspace, report=SilentReporter())
    stages = PoolStages(pool, reading, resolve_model(reading.model), workspace, SilentReporter())
    embeddings = base_parts(workspace, runs[0]).column("prompt_embedding", len(pool))
    columns = [load_measured(run).columns for run in runs]
    answers = stages.workspace.folder("measurements", runs[1].kept["answers"])
    return columns, embeddings, [path.read_bytes() for path in sorted(answers.glob("part-*"))]


def test_confidence_answers_and_embedding_of_a_prompt_are_the_same_with_and_without_a_response(measured):
    (without, geometry), embeddings, answers = measured["none"]
    assert np.isfinite(without["confidence"]).all() and len(set(without["confidence"].tolist())) == len(PROMPTS)
    assert without["prompt_cut"].any()  # one prompt is longer than the model reads, by itself
    for name in ("short", "long"):
        (columns, also), others, same_answers = measured[name]
        np.testing.assert_allclose(columns["confidence"], without["confidence"], rtol=1e-6)
        np.testing.assert_array_equal(columns["task_code"], without["task_code"])
        np.testing.assert_array_equal(also["dispersion"], geometry["dispersion"])
        np.testing.assert_allclose(others, embeddings, rtol=2e-3, atol=2e-3)  # stored in half precision
        assert same_answers == answers
    (long, _), _, _ = measured["long"]
    assert long["truncated"].all() and (long["prompt_cut"] > without["prompt_cut"]).any()
    assert (long["prompt_tokens"] + long["response_tokens"] <= 160).all() and (long["response_tokens"] > 40).all()


def test_the_embedding_of_a_prompt_with_earlier_answers_includes_them_whichever_turns_are_responses(
    chat_model_dir, tmp_path
):

    turns = [("user", "What is 2 plus 2?"), ("assistant", "It is 4."), ("user", "And plus 3?"), ("assistant", "7.")]
    row = {"messages": [{"role": role, "content": content} for role, content in turns]}
    (tmp_path / "pool.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row | {"id": "b"}) + "\n")
    workspace = Workspace(tmp_path / "workspace")
    pool = load_pool(str(tmp_path / "pool.jsonl"), workspace=workspace.root)
    reading = Reading(model=str(chat_model_dir), answers="all", dtype="float32")
    (run,) = measure_all(pool, [build_method("lowest_nll", {})], reading, workspace, report=SilentReporter())
    stored = base_parts(workspace, run).column("prompt_embedding", len(pool))
    model = load_model(resolve_model(str(chat_model_dir)), dtype="float32", device="cpu")
    texts = pool.rows.select(["prompt", "response", "turns"]).to_pydict()
    prompts = Encoder(model.tokenizer, reading).encode_prompts(texts, 500)
    expected = ForwardPass(model)({"tokens": prompts, "spans": [()] * 2})["prompt_embedding"]
    np.testing.assert_allclose(stored, expected, rtol=2e-3, atol=2e-3)


def test_a_sample_for_k_means_is_part_of_the_key_and_reported():
    notes = []
    stages = SimpleNamespace(report=SimpleNamespace(note=notes.append))
    assert sample_key(stages, 100_000, 2048) == {} and not notes
    assert sample_key(stages, 1_000_000, 2048) == {"sample": 131_072}
    assert "a seeded sample of 131,072 of 1,000,000 rows" in notes[0]
