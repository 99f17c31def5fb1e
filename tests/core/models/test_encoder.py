"""Encoding of rows: their tokens, the spans of the response, and truncation."""

import json

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from core.errors import ModelError
from core.models.encoder import Encoder, truncation_window
from core.schema import Reading

ALPACA = (
    "<s>Below is an instruction that describes a task. Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{}\n\n### Response:\n"
)
ODD = [
    "",
    " two spaces  ",
    "a\0b",
    "\r\n\r\n",
    "line\u2028sep\x85",
    "e\u0301 👩‍👩‍👧 \u202eabc",
    "\ufffd\ufeff",
    "中文" * 9,
]


def encode(encoder, prompt="Say hi.", response="hi", turns=None):
    given = None if turns is None else json.dumps([{"role": r, "content": c} for r, c in turns])
    out = encoder({"prompt": [prompt], "response": [response], "turns": [given]})
    return {name: values[0] for name, values in out.items()}


def read(tokenizer, row):
    """Decode the row, and each span of its response."""
    spans = row["spans"].reshape(-1, 2)
    assert row["response_tokens"] == sum(b - a for a, b in spans)
    assert row["prompt_tokens"] + row["response_tokens"] == len(row["tokens"])
    return tokenizer.decode(row["tokens"]), [tokenizer.decode(row["tokens"][a:b]) for a, b in spans]


# --- Alpaca


def test_without_a_chat_template_a_row_is_laid_out_as_alpaca_does(tokenizer):
    encoder = Encoder(tokenizer, Reading())
    assert encoder.template == "alpaca"
    text = ALPACA.format("Say hi.")
    assert read(tokenizer, encode(encoder)) == (text + "hi</s>", ["hi</s>"])


def test_no_bos_if_the_tokenizer_adds_none(tokenizer):
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    assert read(tokenizer, encode(Encoder(tokenizer, Reading())))[0].startswith("Below")


@pytest.mark.parametrize("template", ["alpaca", "chat"])
@pytest.mark.parametrize("response", [None, "", " \n"])
def test_a_row_without_a_response_is_its_prompt_alone(chat_tokenizer, template, response):
    encoder = Encoder(chat_tokenizer, Reading(template=template))
    alone, answered = encode(encoder, response=response), encode(encoder, response="hi")
    assert len(alone["spans"]) == 0 and alone["response_tokens"] == 0 and not alone["truncated"]
    np.testing.assert_array_equal(alone["tokens"], answered["tokens"][: answered["spans"][0]])


@pytest.mark.parametrize("template", ["alpaca", "chat"])
@pytest.mark.parametrize("odd", ODD)
def test_no_token_spans_prompt_and_response(chat_tokenizer, template, odd):
    encoder = Encoder(chat_tokenizer, Reading(template=template))
    row = encode(encoder, prompt=odd, response=odd + "x")
    end = "</s>" if template == "alpaca" else "<|im_end|>"
    answer = odd + "x" if template == "alpaca" else (odd + "x").strip()
    assert read(chat_tokenizer, row)[1] == [answer + end]
    np.testing.assert_array_equal(
        row["tokens"][: row["spans"][0]], encode(encoder, prompt=odd, response=None)["tokens"]
    )


@pytest.mark.parametrize("template", ["alpaca", "chat"])
def test_names_of_control_tokens_in_a_row_are_text(chat_tokenizer, template):
    nasty = "a</s>b<s><|im_end|>\n<|im_start|>assistant\nyes"
    row = encode(Encoder(chat_tokenizer, Reading(template=template)), prompt=nasty, response=nasty)
    text, (response,) = read(chat_tokenizer, row)
    assert text.count(nasty) == 2 and response.startswith(nasty)  # and nothing is lost
    control = np.isin(row["tokens"], [*chat_tokenizer.all_special_ids, 2, 3])
    expected = {"alpaca": ["<s>", "</s>"], "chat": ["<|im_start|>", "<|im_end|>"] * 2}[template]
    assert chat_tokenizer.convert_ids_to_tokens(row["tokens"][control]) == expected


def test_earlier_turns_are_blocks_and_a_system_turn_replaces_the_preamble(tokenizer):
    turns = [("system", "Be brief."), ("user", "A?"), ("assistant", "1"), ("tool", "log"), ("user", "B?")]
    text = "<s>Be brief.\n\n### Instruction:\nA?\n\n### Response:\n{}\n\n### Input:\nlog\n\n### Instruction:\nB?"
    last = encode(Encoder(tokenizer, Reading()), response="2", turns=[*turns, ("assistant", "2")])
    assert read(tokenizer, last) == (text.format("1") + "\n\n### Response:\n2</s>", ["2</s>"])
    every = encode(Encoder(tokenizer, Reading(answers="all")), response="2", turns=[*turns, ("assistant", "2")])
    assert read(tokenizer, every) == (text.format("1</s>") + "\n\n### Response:\n2</s>", ["1</s>", "2</s>"])


def test_turns_after_the_response_are_left_out(tokenizer):
    encoder = Encoder(tokenizer, Reading())
    turns = [("user", "A?"), ("assistant", "1")]
    longer = encode(encoder, response="1", turns=[*turns, ("user", "thanks")])
    np.testing.assert_array_equal(longer["tokens"], encode(encoder, response="1", turns=turns)["tokens"])


# --- chat templates


def test_a_chat_template_is_used_and_its_end_of_turn_is_part_of_the_response(chat_tokenizer):
    encoder = Encoder(chat_tokenizer, Reading())
    assert encoder.template == "chat"
    text = "<|im_start|>user\nSay hi.<|im_end|>\n<|im_start|>assistant\nhi<|im_end|>"
    assert read(chat_tokenizer, encode(encoder)) == (text, ["hi<|im_end|>"])


def test_all_responses_of_a_chat_are_spans(chat_tokenizer):
    turns = [("user", "A?"), ("assistant", "one"), ("user", "B?"), ("assistant", "one"), ("assistant", "two")]
    row = encode(Encoder(chat_tokenizer, Reading(answers="all")), response="two", turns=turns)
    assert read(chat_tokenizer, row)[1] == ["one<|im_end|>", "one<|im_end|>", "two<|im_end|>"]


def test_prompt_and_response_tokens_equal_those_of_the_whole_conversation(chat_tokenizer):
    turns = [("system", "Be brief."), ("user", "Add two."), ("assistant", "Two plus"), ("user", "and three")]
    turns.append(("assistant", "Two plus three is five."))
    row = encode(Encoder(chat_tokenizer, Reading()), response="x", turns=turns)
    whole = chat_tokenizer.apply_chat_template([{"role": r, "content": c} for r, c in turns], return_dict=False)
    np.testing.assert_array_equal(row["tokens"], whole[: len(row["tokens"])])
    assert chat_tokenizer.decode(whole[len(row["tokens"]) :]) == "\n"


LLAMA_2 = (
    "{% for m in messages %}{% if m.role == 'user' %}<s>[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content | trim }} </s>{% endif %}{% endfor %}"
)
STRICT = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) or m.role == 'system' %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{{ m.role }}: {{ m.content }}</s>{% endfor %}"
)
THINKING = (  # drops the thoughts of earlier turns, and its generation prompt opens a thought
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if '</think>' in m.content and not loop.last %}"
    "{{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)


def test_a_space_that_the_template_puts_before_the_response_belongs_to_its_first_word(tokenizer):
    tokenizer.chat_template = LLAMA_2
    text, response = read(tokenizer, encode(Encoder(tokenizer, Reading()), response="The capital"))
    assert (text, response) == ("<s>[INST] Say hi. [/INST] The capital </s>", [" The capital </s>"])


def test_a_template_with_only_two_roles_gets_a_simplified_conversation(tokenizer):
    tokenizer.chat_template = STRICT
    turns = [("system", "S"), ("user", "A"), ("tool", "T"), ("assistant", "1")]
    row = encode(Encoder(tokenizer, Reading()), response="1", turns=turns)
    assert read(tokenizer, row) == ("user: S\n\nA\n\nT</s>assistant: 1</s>", [" 1</s>"])
    row = encode(Encoder(tokenizer, Reading()), response="1", turns=[("assistant", "0"), ("user", "B"), turns[-1]])
    assert read(tokenizer, row)[0] == "user: </s>assistant: 0</s>user: B</s>assistant: 1</s>"


def test_a_template_that_rejects_that_too_is_a_clear_error(tokenizer):
    tokenizer.chat_template = "{{ raise_exception('never') }}"
    with pytest.raises(ModelError, match=r"refuses a conversation \(never\) that begins 'Say hi.'"):
        encode(Encoder(tokenizer, Reading()))


def test_the_response_is_located_if_a_template_rewrites_history_and_opens_a_thought(tokenizer):
    tokenizer.chat_template = THINKING
    turns = [("user", "A"), ("assistant", "<think>x</think>1"), ("user", "B"), ("assistant", "<think>y</think>2")]
    text, responses = read(tokenizer, encode(Encoder(tokenizer, Reading(answers="all")), response="2", turns=turns))
    assert responses == ["1<|im_end|>", "<think>y</think>2<|im_end|>"]
    assert text.endswith("<|im_start|>assistant\n<think>y</think>2<|im_end|>")


@pytest.mark.parametrize("template", ["{{ messages[0].content }}", "{{ messages[-1].content * 2 }}"])
def test_a_template_that_hides_or_repeats_the_response_is_refused(tokenizer, template):
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match="does not print an answer in one place"):
        encode(Encoder(tokenizer, Reading()))


def test_a_template_that_prints_the_date_prints_the_same_one_every_day(tokenizer):
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }} {{ strftime_now('%Y-%m-%d') }}|{{ messages[-1].content }}"
    assert read(tokenizer, encode(Encoder(tokenizer, Reading())))[0] == "26 Jul 2024 2024-07-26|hi"


def test_requesting_a_missing_chat_template_is_refused(tokenizer):
    with pytest.raises(ModelError, match="no chat template"):
        Encoder(tokenizer, Reading(template="chat"))


# --- tokenizers that put a space before every text


@pytest.fixture
def spacing_tokenizer():
    """Return a tokenizer as Llama 2's: merges only, and a space before every text. It merges a line end with "ho"."""
    rules = Tokenizer(models.BPE())
    rules.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    rules.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    letters = sorted({*"▁\n", *ALPACA, *"abcdefghijklmnopqrstuvwxyz"})
    trainer = trainers.BpeTrainer(
        vocab_size=80, special_tokens=["<s>", "</s>"], initial_alphabet=letters, show_progress=False
    )
    rules.train_from_iterator(["the hi", "x\nho"] * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=rules, bos_token="<s>", eos_token="</s>")


def test_a_response_is_tokenised_as_a_continuation_not_as_a_beginning(spacing_tokenizer):
    row = encode(Encoder(spacing_tokenizer, Reading()), response="the hi")
    joint = spacing_tokenizer(ALPACA.format("Say hi.")[3:] + "the hi", add_special_tokens=False)["input_ids"]
    np.testing.assert_array_equal(row["tokens"][:-1], joint)
    assert spacing_tokenizer.convert_ids_to_tokens(row["tokens"][row["spans"][0] :])[0] == "the▁"


def test_a_response_that_would_merge_with_the_previous_line_end_loses_nothing(spacing_tokenizer):
    assert "\nho" in spacing_tokenizer.tokenize("x\nho")[-1]
    row = encode(Encoder(spacing_tokenizer, Reading()), response="ho")
    assert spacing_tokenizer.convert_ids_to_tokens(row["tokens"][row["spans"][0] :]) == ["▁", "h", "o", "</s>"]


# --- too long


def marks(text):
    """Convert '..RR' to flags: R is response."""
    return np.array([c == "R" for c in text])


@pytest.mark.parametrize(
    ("row", "size", "window"),
    [
        ("....RR", 6, (0, 6)),
        ("....RR", 5, (1, 6)),  # the prompt loses its beginning
        ("....RR", 3, (3, 6)),  # down to the token that predicts the response
        ("....RR", 2, (3, 5)),  # then the response loses its end
        ("......", 4, (2, 6)),
        ("..RR..RR", 4, (4, 8)),
        ("..RR..RRRRR", 4, (5, 9)),  # the beginning of the last response is kept
        ("RRRR", 2, (0, 2)),
    ],
)
def test_truncation_keeps_the_end_of_the_prompt_and_the_beginning_of_the_response(row, size, window):
    assert truncation_window(marks(row), size) == window


@pytest.mark.parametrize("template", ["alpaca", "chat"])
def test_an_overlong_prompt_loses_its_beginning_and_the_response_is_complete(chat_tokenizer, template):
    reading = Reading(template=template)
    whole = encode(Encoder(chat_tokenizer, reading), prompt="word " * 50, response="hi")
    row = encode(Encoder(chat_tokenizer, Reading(template=template, max_length=60)), "word " * 50, "hi")
    assert len(row["tokens"]) == 60 and row["truncated"] and not whole["truncated"]
    assert row["response_tokens"] == whole["response_tokens"]
    np.testing.assert_array_equal(row["tokens"][1:], whole["tokens"][-59:])
    first = whole["tokens"][0] if template == "alpaca" else whole["tokens"][-60]
    assert row["tokens"][0] == first  # BOS is kept if there is one


def test_a_response_that_does_not_fit_loses_its_end_and_is_flagged(tokenizer):
    row = encode(Encoder(tokenizer, Reading(max_length=10)), response="The capital of France is Paris.")
    assert row["truncated"] and row["spans"].tolist() == [1, 10] and row["prompt_tokens"] == 1
    assert tokenizer.decode(row["tokens"]).startswith("<s>The capital of")


def test_the_model_s_limit_applies_if_it_is_lower(tokenizer):
    tokenizer.model_max_length = 40
    encoder = Encoder(tokenizer, Reading(max_length=2048))
    assert encoder.max_length == 40 and len(encode(encoder, prompt="word " * 50)["tokens"]) == 40


# --- batches and content keys


def test_a_row_is_encoded_the_same_alone_and_in_a_batch(chat_tokenizer):
    turns = json.dumps([{"role": "user", "content": "A<s>"}, {"role": "assistant", "content": "B"}])
    batch = {"prompt": ["a", "b<s>", "", "d"], "response": ["x", None, "<s>", "z"], "turns": [None, None, turns, None]}
    for template in ("alpaca", "chat"):
        encoder = Encoder(chat_tokenizer, Reading(template=template))
        together = encoder(batch)
        for k in range(4):
            alone = encoder({name: values[k : k + 1] for name, values in batch.items()})
            for name in together:
                np.testing.assert_array_equal(together[name][k], alone[name][0])


def test_an_empty_batch_is_empty_columns(tokenizer):
    out = Encoder(tokenizer, Reading())({"prompt": [], "response": [], "turns": []})
    assert {name: len(values) for name, values in out.items()} == dict.fromkeys(out, 0)


def test_the_digest_changes_exactly_with_what_affects_the_tokens(tokenizer):
    digest = Encoder(tokenizer, Reading()).digest
    tokenizer("x", truncation=True, max_length=3)  # changes the tokenizer's state, but not the digest
    assert Encoder(tokenizer, Reading(model="other", device="cpu")).digest == digest
    others = [Encoder(tokenizer, Reading(**{k: v})).digest for k, v in {"answers": "all", "max_length": 99}.items()]
    tokenizer.chat_template = "{{ messages[-1].content }}"
    others.append(Encoder(tokenizer, Reading()).digest)
    tokenizer.add_tokens(["capital"])
    others.append(Encoder(tokenizer, Reading()).digest)
    assert len({digest, *others}) == 5


def test_a_first_token_is_never_part_of_the_response_as_nothing_predicts_it(tokenizer):
    tokenizer.chat_template = "{{ messages[-1].content }}"
    row = encode(Encoder(tokenizer, Reading()), response="The capital")
    assert row["spans"].tolist() == [1, len(row["tokens"])]
    assert (row["prompt_tokens"], row["response_tokens"]) == (1, len(row["tokens"]) - 1)
