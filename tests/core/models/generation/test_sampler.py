"""Sampled answers equal a plain loop without a cache, and a row has the same answers in any batch."""

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from transformers import RwkvConfig

from core.demo import MODEL_PATH
from core.errors import ModelError
from core.models.encoder import Encoder
from core.models.generation import sampler as module
from core.models.generation.answers import SamplingSettings, answer_table, count_answers
from core.models.generation.greedy import GreedyContinuation
from core.models.generation.sampler import Sampler
from core.models.generation.top_p import TopPProcessor
from core.models.loading import load_model
from core.models.reference import resolve_model
from core.schema import Reading
from tests.core.conftest import make_tokenizer
from tests.core.models.families import every_family, network_of

LENGTHS = (40, 7, 30, 12, 40, 20, 3, 33, 1, 39)
WARM = SamplingSettings(answers=3, temperature=6.0, top_p=0.9, max_new_tokens=34)  # these networks are very certain


def prompts(lengths=LENGTHS, seed=0):
    rng = np.random.default_rng(seed)
    tokens = [rng.integers(4, 300, n).astype(np.uint32) for n in lengths]
    return {"tokens": tokens, "ids": [f"row {k}" for k in range(len(tokens))]}


def pick(batch, rows):
    return {name: [values[i] for i in rows] for name, values in batch.items()}


def with_network(model, network, ends=None):
    network.generation_config.eos_token_id = ends
    tokenizer = make_tokenizer()
    tokenizer.eos_token = None
    return replace(model, network=network, tokenizer=tokenizer)


@torch.inference_mode()
def naive(network, prompt, settings, stream, ends):
    """Sample one answer, running everything again for each token."""
    draw, ids = (
        TopPProcessor(np.array([stream], np.uint64), settings),
        torch.from_numpy(np.asarray(prompt, np.int64))[None],
    )
    for _ in range(settings.max_new_tokens):
        token = draw(None, network(ids, use_cache=False).logits[:, -1]).argmax(dim=1)
        ids = torch.cat([ids, token[None]], dim=1)
        if int(token) in ends:
            break
    return ids[0, len(prompt) :].tolist()


def assert_equals_naive(sampler, batch, settings):
    actual = sampler(batch)
    keys = settings.random_streams(batch["ids"])
    for row, prompt in enumerate(batch["tokens"]):
        for k in range(settings.answers):
            tokens = naive(sampler.model.network, prompt, settings, keys[row, k], sampler.ends)
            stopped = tokens[-1] in sampler.ends
            text = sampler.model.tokenizer.decode(tokens[: len(tokens) - stopped], skip_special_tokens=True)
            got = tuple(actual[name][row][k] for name in sampler.columns)
            assert got == (text, len(tokens), "stop" if stopped else "length")
    return actual


# --- against a plain loop


@every_family
def test_it_equals_a_plain_loop_without_a_cache(config, model):
    settings = replace(WARM, answers=2, max_new_tokens=36)
    ends = [int(t) for t in range(1, 300, 25)]  # many, so that answers do end
    sampler = Sampler(with_network(model, network_of(config), ends), settings, batch_tokens=500)
    assert sampler.can_batch
    actual = assert_equals_naive(sampler, prompts(LENGTHS[:4]), settings)
    ended = {e for row in actual["ended"] for e in row}
    assert "stop" in ended


def test_a_network_whose_rows_affect_each_other_runs_each_answer_by_itself(model):
    network = network_of(
        RwkvConfig(vocab_size=300, hidden_size=32, attention_hidden_size=32, num_hidden_layers=2, context_length=256)
    )
    settings = replace(WARM, answers=2, max_new_tokens=4)
    sampler = Sampler(with_network(model, network), settings)
    assert not sampler.can_batch
    assert_equals_naive(sampler, prompts([9, 4, 9]), settings)


def test_near_temperature_zero_all_answers_are_the_greedy_continuation(model):
    actual = Sampler(model, SamplingSettings(answers=3, temperature=1e-6, max_new_tokens=12))(prompts())
    greedy = GreedyContinuation(model, new_tokens=12)(prompts())
    for answers, tokens, count in zip(actual["answers"], actual["answer_tokens"], greedy["continued"], strict=True):
        assert len(set(answers)) == 1 and tokens == [count] * 3


# --- independence of the batch


@pytest.fixture(scope="module")
def alone(model):
    sampler = Sampler(model, WARM)
    rows = [sampler(pick(prompts(), [k])) for k in range(len(LENGTHS))]
    return {name: [row[name][0] for row in rows] for name in sampler.columns}


@pytest.mark.parametrize("budget", [1, 700, 100_000])
def test_a_row_has_the_same_answers_in_any_batch_and_order(model, alone, budget):
    batch, order = prompts(), np.random.default_rng(3).permutation(len(LENGTHS)).tolist()
    sampler = Sampler(model, WARM, batch_tokens=budget)
    assert sampler(batch) == alone
    assert sampler(pick(batch, order)) == pick(alone, order)


@pytest.mark.usefixtures("two_threads")
def test_batches_at_once_give_the_same_answers(model, alone, monkeypatch):
    plans, real = [], module.run_at_once
    monkeypatch.setattr(
        module, "run_at_once", lambda plan, *rest, **more: plans.append(plan) or real(plan, *rest, **more)
    )
    assert Sampler(model, WARM, batch_tokens=700)(prompts()) == alone
    assert [len(plan) > 1 for plan in plans] == [True]


def test_another_seed_or_id_gives_other_answers_and_fewer_answers_are_the_first_of_more(model, alone):
    batch = pick(prompts(), [0, 2])
    other = Sampler(model, replace(WARM, seed=1))(batch)["answers"]
    renamed = Sampler(model, WARM)(batch | {"ids": ["x", "y"]})["answers"]
    fewer = Sampler(model, replace(WARM, answers=2))(batch)["answers"]
    expected = pick(alone, [0, 2])["answers"]
    assert all(set(a).isdisjoint(b) for a, b in zip(expected * 2, other + renamed, strict=True))
    assert fewer == [row[:2] for row in expected]
    assert len(set(expected[0])) == 3


def test_a_row_without_a_prompt_has_no_answers(model, alone):
    row = prompts()["tokens"][0]
    tokens = [row, row, row[:0], row[:0]]
    calls = []
    actual = Sampler(model, WARM)({"tokens": tokens, "ids": ["row 0"] * 4}, lambda *call: calls.append(call))
    assert actual["answers"] == [alone["answers"][0]] * 2 + [[None] * 3] * 2
    assert actual["ended"][2:] == actual["answer_tokens"][2:] == [[None] * 3] * 2
    assert calls[-1] == (6, 6)
    counts = count_answers(answer_table(actual))
    assert (counts.missing, counts.lone_rows) == (6, 2)


def test_no_rows_give_no_answers(model):
    assert Sampler(model, WARM)(prompts([])) == {"answers": [], "answer_tokens": [], "ended": []}


# --- what does not fit


def test_with_a_limit_a_prompt_keeps_its_first_tokens(model):
    batch, limited = prompts([60]), replace(WARM, prompt_tokens=20)
    first = {"tokens": [batch["tokens"][0][:20]], "ids": batch["ids"]}
    assert Sampler(model, limited)(batch) == Sampler(model, WARM)(first) != Sampler(model, WARM)(batch)


def test_a_prompt_without_room_for_its_answers_is_refused(model):
    sampler = Sampler(replace(model, max_length=46), WARM)
    with pytest.raises(ModelError, match=r"A prompt has 13 tokens, and .* there is room for 12\."):
        sampler(prompts([sampler.room, sampler.room + 1]))


def test_answers_that_leave_no_room_for_a_prompt_are_refused(model):
    with pytest.raises(
        ModelError, match=r"34 tokens .* at most 35 tokens, prompt included\. Set max_new_tokens to 33 or less"
    ):
        Sampler(replace(model, max_length=35), WARM)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_batch_that_does_not_fit_is_halved_until_it_does(model, alone, error):
    sampler = Sampler(model, WARM)
    most = {"rows": 6}

    def hook(_module, _args, kwargs):
        if len(kwargs["input_ids"]) > most["rows"]:
            raise error

    handle = model.network.base_model.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        assert sampler(prompts()) == alone
        most["rows"] = 2
        with pytest.raises(ModelError, match="A prompt of 40 tokens with its 3 answers does not fit into"):
            sampler(prompts())
    finally:
        handle.remove()


def test_nan_logits_are_an_error_and_the_model_is_left_unchanged(model):
    before = set(vars(model.network))
    sampler = Sampler(model, WARM)
    head = model.network.get_output_embeddings()
    handle = head.register_forward_hook(lambda _module, _args, out: out * torch.nan)
    try:
        with pytest.raises(ModelError, match="logits that are not numbers in float32"):
            sampler(prompts([5]))
    finally:
        handle.remove()
    assert set(vars(model.network)) == before and not model.network.training


# --- the embedded model


def test_the_embedded_model_answers_and_ends_its_answers():
    model = load_model(resolve_model(str(MODEL_PATH)), dtype="float32", device="cpu")
    questions = ["What is the capital of France?", "Add 2 and 3.", "Name a colour."]
    texts = {"prompt": questions, "response": [None] * 3, "turns": [None] * 3}
    settings = SamplingSettings(answers=4, temperature=0.5, max_new_tokens=80)
    sampler = Sampler(model, settings)
    tokens = Encoder(model.tokenizer, Reading()).encode_prompts(texts, sampler.room)
    actual = sampler({"tokens": tokens, "ids": ["a", "b", "c"]})
    counts = count_answers(answer_table(actual))
    assert (counts.asked, counts.missing) == (12, 0) and counts.truncated < 12
    for tokens, ended in zip(chain(*actual["answer_tokens"]), chain(*actual["ended"]), strict=True):
        assert tokens == 80 or ended == "stop"
    assert "<|eos|>" not in "".join(chain(*actual["answers"]))
