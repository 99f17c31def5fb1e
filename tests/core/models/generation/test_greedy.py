"""Confidence equals a plain loop that runs the whole network for each token, and does not depend on the batch."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import log_softmax
from transformers import RwkvConfig

from core.errors import ModelError
from core.models.encoder import Encoder
from core.models.forward_pass import ForwardPass
from core.models.generation.greedy import GreedyContinuation, end_of_turn_token, end_tokens
from core.models.loading import load_model
from core.schema import Reading
from tests.core.conftest import CHATML, make_tokenizer
from tests.core.models.conftest import fail_above
from tests.core.models.families import FAMILIES, every_family, network_of

LENGTHS = (60, 7, 30, 12, 50, 20, 3, 33, 1, 59)
NEW = 12
CLEAR = 2e-4  # minimum lead of the likeliest token, in logits, in the rows here; rounding is below 2e-5


def prompts(lengths=LENGTHS, seed=0):
    rng = np.random.default_rng(seed)
    tokens = [rng.integers(4, 300, n).astype(np.uint32) for n in lengths]
    return {"tokens": tokens}


def pick(batch, rows):
    return {name: [values[i] for i in rows] for name, values in batch.items()}


def with_ends(model, ends, network=None):
    """Return the model (or another network) with these end tokens in its generation config, none in its tokenizer."""
    network = network or network_of(FAMILIES["llama"])
    network.generation_config.eos_token_id = ends
    tokenizer = make_tokenizer()
    tokenizer.eos_token = None
    return replace(model, network=network, tokenizer=tokenizer)


@torch.inference_mode()
def naive(network, prompt, new_tokens, ends):
    """Run everything again for each token: the tokens, the confidence, and the smallest margin of any step."""
    ids, logp, clear = torch.from_numpy(np.asarray(prompt, np.int64))[None], [], np.inf
    for _ in range(new_tokens):
        logits = network(ids, use_cache=False).logits[0, -1].float()
        token = logits.argmax()
        logp.append(log_softmax(logits, dim=-1)[token].item())
        first, second = logits.topk(2).values.tolist()
        clear = min(clear, first - second)
        ids = torch.cat([ids, token[None, None]], dim=1)
        if token in ends:
            break
    return ids[0, len(prompt) :].tolist(), np.exp(np.mean(logp)), clear


def assert_equals_naive(continuation, batch, new_tokens=NEW):
    actual = continuation(batch)
    expected = [naive(continuation.model.network, t, new_tokens, continuation.ends) for t in batch["tokens"]]
    assert min(clear for *_, clear in expected) > CLEAR, "choose other rows: two tokens are too close to call"
    assert actual["continued"].tolist() == [len(tokens) for tokens, *_ in expected]
    np.testing.assert_allclose(actual["confidence"], [c for _, c, _ in expected], rtol=1e-4)
    return actual


# --- against a plain loop


@every_family
@pytest.mark.parametrize("budget", [100, 400])
def test_it_equals_a_plain_loop_without_a_cache(config, model, budget):
    continuation = GreedyContinuation(with_ends(model, [1], network_of(config)), new_tokens=NEW, batch_tokens=budget)
    assert continuation.can_batch
    actual = assert_equals_naive(continuation, prompts())
    assert (actual["confidence"] > 0).all() and (actual["confidence"] <= 1).all()


def test_a_network_whose_rows_affect_each_other_continues_each_by_itself(model):
    network = network_of(
        RwkvConfig(vocab_size=300, hidden_size=32, attention_hidden_size=32, num_hidden_layers=2, context_length=256)
    )
    continuation = GreedyContinuation(with_ends(model, None, network), new_tokens=4)
    assert not continuation.can_batch
    assert [rows.tolist() for rows in continuation._plan(np.array([3, 9, 0, 3, 9]))] == [[1], [4], [0], [3]]
    assert_equals_naive(continuation, prompts([9, 4, 9, 4, 20]), 4)


@pytest.fixture(scope="module")
def alone(model):
    continuation = GreedyContinuation(model, new_tokens=NEW)
    return np.concatenate([continuation(pick(prompts(), [k]))["confidence"] for k in range(len(LENGTHS))])


@pytest.mark.parametrize("budget", [1, 150, 100_000])
def test_a_row_has_the_same_confidence_in_any_batch_and_order(model, alone, budget):
    batch, order = prompts(), np.random.default_rng(3).permutation(len(LENGTHS))
    continuation = GreedyContinuation(model, new_tokens=NEW, batch_tokens=budget)
    np.testing.assert_allclose(continuation(batch)["confidence"], alone, rtol=1e-4)
    np.testing.assert_allclose(continuation(pick(batch, order))["confidence"], alone[order], rtol=1e-4)


def test_more_padding_changes_nothing(model):
    short = prompts([9])["tokens"][0].astype(np.int64)
    continuation = GreedyContinuation(model, new_tokens=NEW)
    expected, count = continuation._pass([short], np.arange(1))
    for length in (10, 64, 300):  # in one batch, which `plan_batches` would not do
        longer = prompts([length], seed=1)["tokens"][0].astype(np.int64)
        actual, counts = continuation._pass([longer, short], np.arange(2))
        np.testing.assert_allclose(actual[1], expected[0], rtol=1e-4)
        assert counts[1] == count[0]


def test_the_same_call_gives_bit_identical_results(model):
    first, second = (GreedyContinuation(model, new_tokens=NEW)(prompts()) for _ in range(2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


# --- continuations


def test_a_uniform_model_has_the_confidence_of_chance_and_picks_the_lowest_token(model):
    network = network_of(FAMILIES["llama"])
    torch.nn.init.zeros_(network.lm_head.weight)
    for ends, length in ([5], 32), ([0], 1), (None, 32):
        actual = GreedyContinuation(with_ends(model, ends, network))(prompts([5, 9]))
        np.testing.assert_allclose(actual["confidence"], 1 / 300, rtol=1e-5)
        assert actual["continued"].tolist() == [length, length]


def test_a_model_with_one_possible_token_has_confidence_one(model):
    network = network_of(FAMILIES["llama"])
    head = torch.nn.Linear(32, 300)
    torch.nn.init.zeros_(head.weight)
    head.bias.data = torch.where(torch.arange(300) == 7, 0.0, -200.0)
    network.lm_head = head
    actual = GreedyContinuation(with_ends(model, None, network))(prompts([5, 9]))
    assert actual["confidence"].tolist() == [1, 1]


def test_an_answer_counts_up_to_its_end_and_longer_rows_are_not_cut(model):
    batch = prompts([8, 20, 33])
    saying = [naive(network_of(FAMILIES["llama"]), t, NEW, ())[0] for t in batch["tokens"]]
    end = next(t for t in saying[0][2:] if t not in saying[0][:2] and t not in saying[1] + saying[2])
    actual = assert_equals_naive(GreedyContinuation(with_ends(model, end), new_tokens=NEW), batch)
    assert actual["continued"].tolist() == [saying[0].index(end) + 1, NEW, NEW]
    several = [end, saying[1][0]]  # the first of several that occurs
    actual = assert_equals_naive(GreedyContinuation(with_ends(model, several), new_tokens=NEW), batch)
    assert actual["continued"][1] == 1


def test_a_model_s_generation_settings_are_ignored_and_left_unchanged(model):
    own = with_ends(model, [1])
    expected = GreedyContinuation(own, new_tokens=NEW)(prompts())
    own.network.generation_config.update(
        do_sample=True,
        temperature=3.0,
        top_k=2,
        num_beams=3,
        repetition_penalty=5.0,
        no_repeat_ngram_size=1,
        min_new_tokens=5,
        suppress_tokens=list(range(2, 100)),
        forced_eos_token_id=1,
        max_length=20,
    )
    before = own.network.generation_config.to_dict()
    actual = GreedyContinuation(own, new_tokens=NEW)(prompts())
    for name in expected:
        np.testing.assert_array_equal(actual[name], expected[name])
    assert own.network.generation_config.to_dict() == before


def test_the_confidence_of_one_token_is_its_probability(model):
    batch = prompts([9, 30])
    actual = GreedyContinuation(model, new_tokens=1)(batch)
    for tokens, confidence in zip(batch["tokens"], actual["confidence"], strict=True):
        with torch.inference_mode():
            logits = model.network(torch.from_numpy(tokens.astype(np.int64))[None]).logits[0, -1]
        assert confidence == pytest.approx(logits.softmax(-1).max().item(), rel=1e-5)
    assert actual["continued"].tolist() == [1, 1]


def test_a_model_with_an_adapter_is_used_and_not_its_base(model):
    base = network_of(FAMILIES["llama"])
    plain = GreedyContinuation(with_ends(model, [1], base), new_tokens=NEW)(prompts())
    torch.manual_seed(1)
    tuned = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)).get_base_model()
    actual = assert_equals_naive(GreedyContinuation(with_ends(model, [1], tuned.eval()), new_tokens=NEW), prompts())
    assert not np.allclose(actual["confidence"], plain["confidence"], rtol=1e-3)


# --- end of an answer


def test_end_tokens_come_from_the_model_the_tokenizer_and_the_template(model):
    tokenizer = make_tokenizer()  # </s> is 1, <|im_end|> is 3
    own = replace(with_ends(model, [17, 9]), tokenizer=tokenizer)
    assert end_tokens(own) == (1, 9, 17)
    tokenizer.chat_template = CHATML
    assert end_tokens(own) == (1, 3, 9, 17)
    assert end_tokens(with_ends(model, 5)) == (5,)
    assert end_tokens(with_ends(model, None)) == ()


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (None, None),
        (CHATML, 3),
        ("{% for m in messages %}{{ m.role }} {{ m.content }} </s>\n{% endfor %}", 1),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", None),  # no control token
        ("{{ messages[0].content }}", None),  # prints no answer
        ("{{ raise_exception('never') }}", None),
    ],
)
def test_the_end_of_turn_is_the_last_token_of_a_response_if_that_is_a_control_token(tokenizer, template, end):
    tokenizer.chat_template = template
    assert end_of_turn_token(tokenizer) == end
    if end is not None:
        row = Encoder(tokenizer, Reading())({"prompt": ["Say hi."], "response": ["hi"], "turns": [None]})
        assert row["tokens"][0][row["spans"][0][-1] - 1] == end


# --- beginning of an answer

NO_READY = "{% for m in messages %}{{ m.role }}: {{ m.content }}</s>{% endfor %}"  # has no generation prompt
THOUGHT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
TALKS = [
    [("user", "Say hi.")],
    [("system", "Be brief."), ("user", "A?")],
    [("user", "A?"), ("assistant", "1"), ("user", "B<|im_end|>?")],
]


def given(talk, response):
    all_turns = [*talk, ("assistant", response)] if response else talk
    turns = json.dumps([{"role": r, "content": c} for r, c in all_turns])
    return {"prompt": ["x"], "response": [response], "turns": [turns]}


def encoded(encoder, talk):
    return encoder.encode_prompts(given(talk, None), 500)[0]


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize(
    ("template", "opening"),
    [
        (None, "\n\n### Response:\n"),
        (CHATML, "<|im_end|>\n<|im_start|>assistant\n"),
        (NO_READY, "</s>assistant:"),
        (THOUGHT, "<|im_end|>\n<|im_start|>assistant\n"),
    ],
)
def test_the_prompt_is_the_same_with_or_without_a_response_and_ends_where_an_answer_begins(
    tokenizer, template, opening, talk
):
    tokenizer.chat_template = template
    encoder = Encoder(tokenizer, Reading())
    prompt = encoded(encoder, talk)
    assert tokenizer.decode(prompt).endswith(opening)
    assert not tokenizer.decode(prompt).endswith(opening * 2)
    assert encoder.encode_prompts(given(talk, "hi"), 500)[0].tolist() == prompt.tolist()


@pytest.mark.parametrize("template", [None, CHATML])
def test_a_blank_last_turn_is_not_a_response(tokenizer, template):
    tokenizer.chat_template = template
    encoder = Encoder(tokenizer, Reading())
    waiting = encoded(encoder, [("user", "A?"), ("assistant", " ")])
    np.testing.assert_array_equal(waiting, encoded(encoder, [("user", "A?")]))


def test_a_template_that_prints_no_responses_still_makes_prompts(tokenizer):
    tokenizer.chat_template = "{{ messages[0].content }}{% if add_generation_prompt %} ->{% endif %}"
    assert tokenizer.decode(encoded(Encoder(tokenizer, Reading()), [("user", "A?")])) == "A? ->"


def test_only_a_row_without_a_prompt_is_nan(model):
    row = prompts([12])["tokens"][0]
    actual = GreedyContinuation(model)({"tokens": [row[:0], row[:5], row[:0]]})
    assert np.isnan(actual["confidence"]).tolist() == [True, False, True]
    assert (actual["continued"] == 0).tolist() == [True, False, True]


def test_columns_are_as_declared(model):
    continuation = GreedyContinuation(model, new_tokens=2)
    for batch in (prompts(), prompts([4]), {"tokens": []}):
        actual = continuation(batch)
        assert actual.keys() == continuation.columns.keys()
        for name, kind in continuation.columns.items():
            assert (actual[name].shape, actual[name].dtype) == ((len(batch["tokens"]),), kind.to_pandas_dtype())


# --- what does not fit


def test_a_prompt_without_room_for_its_continuation_is_refused(model):
    continuation = GreedyContinuation(replace(model, max_length=40), new_tokens=12)
    assert continuation.room == 28 and len(continuation(prompts([28]))["confidence"]) == 1
    with pytest.raises(ModelError, match=r"A prompt has 29 tokens, and .* there is room for 28\."):
        continuation(prompts([28, 29]))


def test_a_prompt_as_long_as_may_be_is_continued_within_the_positions(model):
    network = network_of(FAMILIES["gpt2"])  # 256 learned positions, an error beyond
    own = replace(with_ends(model, None, network), max_length=256)
    actual = GreedyContinuation(own, new_tokens=16)(prompts([240, 200]))
    assert actual["continued"].tolist() == [16, 16]


@pytest.mark.parametrize("new_tokens", [0, 39, 4000])
def test_a_continuation_that_leaves_no_room_for_a_prompt_is_refused(model, new_tokens):
    with pytest.raises(ModelError, match=rf"{new_tokens:,} tokens .* reads at most 40 .* between 1 and 38\."):
        GreedyContinuation(replace(model, max_length=40), new_tokens=new_tokens)
    GreedyContinuation(replace(model, max_length=40), new_tokens=38)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_batch_that_does_not_fit_is_halved_until_it_does(model, error):
    batch = prompts([20] * 7)
    continuation = GreedyContinuation(model, new_tokens=4)
    expected = continuation(batch)
    hook = fail_above(model.network, 2, error)
    try:
        actual = continuation(batch)
    finally:
        hook.remove()
    np.testing.assert_allclose(actual["confidence"], expected["confidence"], rtol=1e-4)
    np.testing.assert_array_equal(actual["continued"], expected["continued"])


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), ModelError, "A prompt of 20 tokens with its .* memory of cpu"),
        (RuntimeError("something else"), RuntimeError, "something else"),
    ],
)
def test_a_row_that_fails_alone_or_for_another_reason_is_an_error(model, error, raised, words):
    continuation = GreedyContinuation(model, new_tokens=4)
    hook = fail_above(model.network, 0, error)
    try:
        with pytest.raises(raised, match=words):
            continuation(prompts([20]))
    finally:
        hook.remove()


# --- the model's state


def test_the_model_is_left_unchanged(model):
    before = ForwardPass(model)({"tokens": prompts([20])["tokens"], "spans": [np.array([5, 20], np.int32)]})
    attributes = set(vars(model.network))
    GreedyContinuation(model)(prompts())
    after = ForwardPass(model)({"tokens": prompts([20])["tokens"], "spans": [np.array([5, 20], np.int32)]})
    assert set(vars(model.network)) == attributes and not model.network.training
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_bfloat16_logits_are_reduced_in_float32(model):
    lower = load_model(model.ref, dtype="bfloat16", device="cpu")
    actual = GreedyContinuation(lower, new_tokens=1)(prompts([9, 30]))
    expected = GreedyContinuation(model, new_tokens=1)(prompts([9, 30]))
    np.testing.assert_allclose(actual["confidence"], expected["confidence"], rtol=0.1)
    assert actual["confidence"].dtype == np.float32
